import Foundation
import IotoBase
import IotoMQTT
import Testing

@Suite struct MQTTLimitsTests {
    @Test func payloadAtTheLimitIsSentAndOneAboveIsRefused() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["a"])
        let payload = [UInt8](repeating: 7, count: Limits.publishBytesMax)
        try recorder.publish("a", payload)
        #expect(recorder.step { $0.received.count == 1 })
        #expect(recorder.received.first?.payload == payload)
        let error = #expect(throws: IotoError.self) {
            try recorder.client.publish(MQTTMessage(topic: "a", payload: payload + [7]), qos: 1)
        }
        #expect(error?.code == .limit)
        #expect(recorder.client.bytesOut == Int64(payload.count))
    }

    @Test(arguments: [(["max_packet_size 20000"], 20_000 as Int?), ([], nil)])
    func whatTheBrokerTakesIsTold(settings: [String], expected: Int?) throws {
        let broker = try Broker(settings)
        let recorder = try Recorder(broker, "d1") { $0.version = .v5 }
        defer { recorder.client.close() }
        try recorder.connect()
        #expect(recorder.client.packetBytesMax == expected)
    }

    @Test func receivedPayloadAtTheLimitIsDeliveredAndOneAboveIsDropped() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.payloadBytesMax = Limits.messageBytesMax + 1 }
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["a"])
        let lines = Lines()
        Log.set({ _, line in lines.append(line.string) }, level: .warning)
        defer { Log.set(nil, level: .warning) }
        let payload = [UInt8](repeating: 7, count: Limits.messageBytesMax)
        try recorder.publish("a", payload)
        try recorder.publish("a", payload + [7])
        try recorder.publish("a", [1])
        #expect(recorder.step { $0.received.count == 2 })
        #expect(recorder.received.map(\.payload.count) == [Limits.messageBytesMax, 1])
        #expect(
            lines.all.contains(
                "MQTT: a message of \(Limits.messageBytesMax + 1) bytes on 'a' is dropped: the limit is "
                    + "\(Limits.messageBytesMax)"))
    }
}

private final class Lines: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    func append(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}
