import CPlatform
import IotoBase
import IotoMQTT
import Testing

/// A client with a delegate that writes down what it is told.
final class Recorder: MQTTDelegate {
    let client: MQTTClient
    var connections: [Bool] = []
    var ends: [IotoError?] = []
    var subscriptions: [(id: Int32, accepted: Bool)] = []
    var published: [Int32] = []
    var received: [(topic: Text, payload: [UInt8])] = []
    var steps = 0
    /// Called from within the delegate's method, after the recording.
    var onConnected: (() -> Void)?
    var onReceived: (() -> Void)?
    var onDisconnected: (() -> Void)?

    init(_ options: MQTTOptions) throws {
        client = try MQTTClient(options)
        client.delegate = self
    }

    convenience init(
        _ broker: Broker, _ id: Text, persistent: Bool = false, change: (inout MQTTOptions) -> Void = { _ in }
    ) throws {
        var options = MQTTOptions(host: "127.0.0.1", port: broker.port, clientID: id)
        options.cleanSession = !persistent
        change(&options)
        try self.init(options)
    }

    /// Steps until `condition` holds; false when it does not within `seconds`.
    @discardableResult
    func step(seconds: Double = 10, until condition: (Recorder) -> Bool) -> Bool {
        let end = platform_monotonic_ms() + Int64(seconds * 1000)
        while !condition(self) {
            let rest = end - platform_monotonic_ms()
            if rest <= 0 { return false }
            client.step(wake: -1, timeout: rest)
            steps += 1
        }
        return true
    }

    func step(seconds: Double) {
        step(seconds: seconds) { _ in false }
    }

    /// Connects and waits for the broker's acceptance.
    func connect() throws {
        try client.connect()
        guard step(until: { $0.client.isConnected }) else {
            throw TestFailure("not connected: \(ends.last??.message ?? "no answer")")
        }
    }

    func subscribe(_ filters: [Text]) throws {
        let id = try client.subscribe(filters)
        guard step(until: { $0.subscriptions.contains { $0.id == id && $0.accepted } }) else {
            throw TestFailure("not subscribed")
        }
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    func publish(_ topic: Text, _ payload: [UInt8]) throws {
        let id = try client.publish(MQTTMessage(topic: topic, payload: payload), qos: 1)
        guard step(until: { $0.published.contains(id) }) else { throw TestFailure("not acknowledged") }
    }

    /// Says goodbye and waits for the end.
    func disconnect() {
        let count = ends.count
        client.disconnect()
        step(until: { $0.ends.count > count })
    }

    /// Takes so many steps at most until a connection ends for want of an answer; returns the milliseconds since `start`.
    func timeout(since start: Int64, stepsMax: Int) -> Int64 {
        let count = ends.count
        steps = 0
        #expect(step(seconds: 30) { $0.ends.count > count })
        #expect(lastError?.code == .timeout)
        #expect(steps <= stepsMax)
        return platform_monotonic_ms() - start
    }

    var lastError: IotoError? { ends.last ?? nil }

    func mqttConnected(sessionPresent: Bool) {
        connections.append(sessionPresent)
        onConnected?()
    }

    func mqttDisconnected(_ error: IotoError?) {
        ends.append(error)
        onDisconnected?()
    }

    func mqttSubscribed(_ id: Int32, accepted: Bool) { subscriptions.append((id, accepted)) }
    func mqttPublished(_ id: Int32, _ error: IotoError?) { if error == nil { published.append(id) } }

    func mqttReceived(_ topic: Text, _ payload: [UInt8]) {
        received.append((topic, payload))
        onReceived?()
    }
}
