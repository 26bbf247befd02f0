import CPlatform
import Foundation
import IotoBase
import IotoMQTT
import Testing

@Suite struct MQTTLinkTests {
    @Test func wrongPortIsToldByTheDelegate() throws {
        let port = try freePort()
        let recorder = try Recorder(MQTTOptions(host: "127.0.0.1", port: port, clientID: "d1"))
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.ends.isEmpty)
        #expect(recorder.step(seconds: 2) { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .offline)
        #expect(recorder.lastError?.detail == ECONNREFUSED)
        #expect(recorder.lastError?.message == "127.0.0.1:\(port): Connection refused")
        try recorder.client.connect()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 2 })
    }

    @Test func unknownHostIsToldByTheDelegate() throws {
        let recorder = try Recorder(MQTTOptions(host: "no-such-host.invalid", clientID: "d1"))
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .offline)
        #expect(recorder.lastError?.message == "no-such-host.invalid:1883: the name can't be resolved")
    }

    @Test func secondConnectIsRefused() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        let error = #expect(throws: IotoError.self) { try recorder.client.connect() }
        #expect(error?.code == .misuse)
        #expect(recorder.client.isConnected)
    }

    @Test func killedBrokerIsNoticedAndComesBack() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["a"])
        broker.kill()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .offline)
        #expect(!recorder.client.isConnected)
        try recorder.client.connect()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 2 })
        try broker.start()
        try recorder.connect()
        try recorder.subscribe(["a"])
        try recorder.publish("a", [5])
        #expect(recorder.step { $0.received.count == 1 })
    }

    @Test func unacknowledgedMessagesAreSentAgain() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.inflightMax = 2 }
        let watcher = try Recorder(broker, "watcher", persistent: true)
        defer {
            recorder.client.close()
            watcher.client.close()
        }
        try recorder.connect()
        broker.pause()
        var ids: [Int32] = []
        for number in 0..<5 {
            let message = MQTTMessage(topic: "a", payload: [UInt8(number)])
            ids.append(try recorder.client.publish(message, qos: 1))
        }
        recorder.step(seconds: 0.2)
        #expect(recorder.published.isEmpty)
        broker.kill()
        #expect(recorder.step { $0.ends.count == 1 })
        try broker.start()
        try watcher.connect()
        try watcher.subscribe(["a"])
        try recorder.connect()
        #expect(recorder.step { $0.published.count == 5 })
        #expect(recorder.published == ids)
        #expect(watcher.step { $0.received.count == 5 })
        #expect(watcher.received.map(\.payload) == [[0], [1], [2], [3], [4]])
    }

    @Test func refusedCredentialsAreToldClearly() throws {
        let folder = try makeTemporaryFolder("passwords")
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("passwords")
        let tool = try Process.run(
            URL(fileURLWithPath: "/usr/bin/mosquitto_passwd"), arguments: ["-b", "-c", file.path, "good", "secret"])
        tool.waitUntilExit()
        let broker = try Broker(["password_file \(file.path)"], anonymous: false)
        let refused = try Recorder(broker, "d1") {
            $0.username = "good"
            $0.password = "wrong"
        }
        try refused.client.connect()
        #expect(refused.step { $0.ends.count == 1 })
        #expect(refused.connections.isEmpty)
        #expect(refused.lastError?.code == .configuration)
        #expect(refused.lastError?.detail == 5)
        #expect(
            refused.lastError?.message
                == "127.0.0.1:\(broker.port): the broker refuses the client: not authorized")
        let accepted = try Recorder(broker, "d1") {
            $0.username = "good"
            $0.password = "secret"
        }
        try accepted.connect()
        for recorder in [refused, accepted] { recorder.client.close() }
    }

    @Test func silentBrokerTimesOut() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.connectTimeout = 400 }
        defer { recorder.client.close() }
        broker.pause()
        let start = platform_monotonic_ms()
        try recorder.client.connect()
        let took = recorder.timeout(since: start, stepsMax: 9)
        #expect((400..<2_000).contains(took))
        broker.resume()
        try recorder.connect()
    }

    @Test func disconnectWhileConnectingEndsTheAttempt() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.client.connect()
        recorder.client.disconnect()
        #expect(recorder.step(seconds: 1) { $0.ends.count == 1 })
        #expect(recorder.connections.isEmpty && recorder.lastError == nil)
        try recorder.connect()
    }

    @Test func goodbyeToAFrozenBrokerIsBounded() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") {
            $0.connectTimeout = 500
            $0.payloadBytesMax = 16 * 1024 * 1024
        }
        defer { recorder.client.close() }
        try recorder.connect()
        broker.pause()
        // More than the socket's buffers hold.
        let message = MQTTMessage(topic: "a", payload: [UInt8](repeating: 0, count: 16 * 1024 * 1024))
        _ = try recorder.client.publish(message, qos: 1)
        recorder.client.disconnect()
        #expect(recorder.step(seconds: 3) { $0.ends.count == 1 })
        #expect(recorder.lastError == nil)
        #expect(recorder.steps < 50)
    }

    @Test func idleConnectionWakesTwicePerKeepalive() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.keepalive = 5 }
        defer { recorder.client.close() }
        try recorder.connect()
        recorder.step(seconds: 0.5)
        recorder.steps = 0
        recorder.step(seconds: 6)
        // PINGREQ, PINGRESP, and the step that ends the count.
        #expect(recorder.steps <= 3)
        #expect(recorder.client.isConnected)
    }

    @Test func incomingMessagesDoNotKeepTheBrokerFromHearingOfTheClient() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.keepalive = 5 }
        let other = try Recorder(broker, "other")
        defer {
            recorder.client.close()
            other.client.close()
        }
        try recorder.connect()
        try recorder.subscribe(["a"])
        try other.connect()
        // Messages of QoS 0 are not acknowledged: for nine seconds, more than the broker
        // allows, the client has no reason of its own to write.
        for _ in 0..<18 {
            _ = try other.client.publish(MQTTMessage(topic: "a", payload: [1]), qos: 0)
            other.step(seconds: 0.1)
            recorder.step(seconds: 0.4)
        }
        #expect(recorder.client.isConnected)
        #expect(recorder.ends.isEmpty)
    }

    @Test func halfOpenConnectionIsFoundOutWithinTwoKeepalives() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.keepalive = 5 }
        defer { recorder.client.close() }
        try recorder.connect()
        broker.pause()
        let took = recorder.timeout(since: platform_monotonic_ms(), stepsMax: 4)
        #expect((8_000..<11_500).contains(took))
    }
}
