import CPlatform
import Foundation
import IotoBase
import IotoMQTT
import Testing

@Suite struct MQTTClientTests {
    @Test func messagesGoRoundAndAreAcknowledged() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        #expect(recorder.connections == [false])
        try recorder.subscribe(["a/+", "b/#"])
        try recorder.publish("a/1", [1, 2, 0, 255])
        try recorder.publish("b/2/3", [])
        try recorder.publish("c", [9])
        #expect(recorder.step { $0.received.count == 2 })
        #expect(recorder.received.map(\.topic) == ["a/1", "b/2/3"])
        #expect(recorder.received.map(\.payload) == [[1, 2, 0, 255], []])
        #expect(recorder.client.bytesOut == 5)
        #expect(recorder.client.bytesIn == 4)
    }

    @Test func everyOneOfManyMessagesArrivesInOrder() throws {
        let broker = try Broker(["max_queued_messages 5000"])
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["n"])
        for number in 0..<1000 {
            _ = try recorder.client.publish(
                MQTTMessage(topic: "n", payload: Text(decimal: number).bytes), qos: 1)
        }
        #expect(recorder.step(seconds: 20) { $0.received.count == 1000 && $0.published.count == 1000 })
        #expect(recorder.received.map { Text($0.payload).decimal } == (0..<1000).map { Int64($0) })
    }

    @Test func qualityOfServiceZeroIsToldWhenWritten() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        let id = try recorder.client.publish(MQTTMessage(topic: "a", payload: [1]), qos: 0)
        #expect(recorder.step { $0.published == [id] })
    }

    @Test func persistentSessionDeliversWhatWasPublishedMeanwhile() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1", persistent: true)
        let other = try Recorder(broker, "other")
        defer {
            recorder.client.close()
            other.client.close()
        }
        try recorder.connect()
        try recorder.subscribe(["a"])
        recorder.disconnect()
        #expect(recorder.ends.count == 1 && recorder.lastError == nil)
        try other.connect()
        try other.publish("a", [7])
        try recorder.connect()
        #expect(recorder.connections == [false, true])
        #expect(recorder.step { $0.received.count == 1 })
        #expect(recorder.received.first?.payload == [7])
    }

    @Test func cleanSessionForgetsSubscriptions() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["a"])
        recorder.disconnect()
        try recorder.connect()
        #expect(recorder.connections == [false, false])
        try recorder.publish("a", [7])
        recorder.step(seconds: 0.3)
        #expect(recorder.received.isEmpty)
    }

    @Test func lastWillIsPublishedWithoutAGoodbyeAndNotWithOne() throws {
        let broker = try Broker()
        let watcher = try Recorder(broker, "watcher")
        try watcher.connect()
        try watcher.subscribe(["gone"])
        let scripted = { (will: [UInt8]) in
            try Recorder(broker, "d1") {
                $0.keepalive = 5
                $0.will = MQTTMessage(topic: "gone", payload: will)
            }
        }
        let polite = try scripted([1])
        try polite.connect()
        polite.client.close()
        // Another client of the same id throws this one out, without a goodbye.
        let thrownOut = try scripted([2])
        try thrownOut.connect()
        let successor = try scripted([3])
        try successor.connect()
        #expect(watcher.step { !$0.received.isEmpty })
        #expect(watcher.received.map(\.payload) == [[2]])
        #expect(thrownOut.step { $0.ends.count == 1 })
        #expect(thrownOut.lastError?.code == .offline)
        for recorder in [successor, thrownOut, watcher] { recorder.client.close() }
    }

    @Test func eventWakesAStepAndIsCleared() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1") { $0.keepalive = 600 }
        let event = platform_event_new()
        defer {
            recorder.client.close()
            platform_close(event)
        }
        try recorder.connect()
        platform_event_signal(event)
        let start = platform_monotonic_ms()
        recorder.client.step(wake: event, timeout: 5000)
        #expect(platform_monotonic_ms() - start < 1000)
        let again = platform_monotonic_ms()
        recorder.client.step(wake: event, timeout: 300)
        #expect(platform_monotonic_ms() - again >= 300)
    }

    @Test func stepOfAClosedClientWaitsForItsTimeout() throws {
        let recorder = try Recorder(MQTTOptions(host: "127.0.0.1", clientID: "d1"))
        recorder.client.close()
        let start = platform_monotonic_ms()
        recorder.client.step(wake: -1, timeout: 100)
        #expect(platform_monotonic_ms() - start >= 99)
        #expect(throws: IotoError.self) { try recorder.client.connect() }
        recorder.client.close()
        recorder.client.disconnect()
    }

    @Test func everyCallIsAllowedWithinTheDelegate() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        recorder.onConnected = { [unowned recorder] in
            _ = try? recorder.client.subscribe(["a"])
            _ = try? recorder.client.publish(MQTTMessage(topic: "a", payload: [1]), qos: 1)
            recorder.client.step(wake: -1, timeout: 1000)
        }
        recorder.onReceived = { [unowned recorder] in recorder.client.disconnect() }
        recorder.onDisconnected = { [unowned recorder] in
            guard recorder.ends.count == 1 else { return }
            recorder.onConnected = nil
            try? recorder.client.connect()
        }
        try recorder.client.connect()
        #expect(recorder.step { $0.connections.count == 2 })
        #expect(recorder.received.count == 1)
        #expect(recorder.step { $0.published.count == 1 })
        #expect(recorder.ends.count == 1 && recorder.lastError == nil)
        recorder.onConnected = { [unowned recorder] in recorder.client.close() }
        recorder.disconnect()
        try recorder.client.connect()
        #expect(recorder.step { $0.connections.count == 3 })
        #expect(!recorder.client.isConnected)
        #expect(recorder.client.delegate == nil)
    }

    @Test func closeWithinTheDelegateLeavesUndeliveredMessagesToTheSession() throws {
        let broker = try Broker()
        var recorder = try Recorder(broker, "d1", persistent: true)
        let other = try Recorder(broker, "other")
        try recorder.connect()
        try recorder.subscribe(["n"])
        recorder.disconnect()
        try other.connect()
        for number in 0..<5 { try other.publish("n", [UInt8(number)]) }
        recorder.onReceived = { [unowned recorder] in recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { !$0.received.isEmpty })
        #expect(recorder.received.count == 1)
        recorder = try Recorder(broker, "d1", persistent: true)
        try recorder.connect()
        #expect(recorder.step { $0.received.contains { $0.payload == [4] } })
        let numbers = Set(recorder.received.map { $0.payload[0] })
        #expect(numbers.isSuperset(of: [1, 2, 3, 4]))
        recorder.client.close()
        other.client.close()
    }

    @Test func nothingIsLeftOfAClosedClient() throws {
        let broker = try Broker()
        weak var released: Recorder?
        do {
            let recorder = try Recorder(broker, "d1")
            released = recorder
            try recorder.connect()
            #expect(try sockets(to: broker) == 1)
            recorder.client.close()
        }
        #expect(released == nil)
        #expect(try sockets(to: broker) == 0)
    }

    @Test func callsAreRefusedWithoutAConnection() throws {
        let recorder = try Recorder(MQTTOptions(host: "127.0.0.1", clientID: "d1"))
        defer { recorder.client.close() }
        let error = #expect(throws: IotoError.self) {
            try recorder.client.publish(MQTTMessage(topic: "a", payload: []), qos: 1)
        }
        #expect(error?.code == .offline)
        #expect(throws: IotoError.self) { try recorder.client.subscribe(["a"]) }
        recorder.client.disconnect()
        recorder.step(seconds: 0.05)
        #expect(recorder.ends.isEmpty)
    }

    @Test func malformedTopicsAndFiltersAreRefused() throws {
        let broker = try Broker()
        let recorder = try Recorder(broker, "d1")
        defer { recorder.client.close() }
        try recorder.connect()
        let tooLong = Text([UInt8](repeating: 0x61, count: 65_536))
        for topic: Text in ["", "a/+", "#", Text([0xFF]), Text([0x61, 0]), tooLong] {
            let error = #expect(throws: IotoError.self, "topic of \(topic.count) bytes: \(topic.bytes.prefix(4))") {
                try recorder.client.publish(MQTTMessage(topic: topic, payload: []), qos: 1)
            }
            #expect(error?.code == .misuse)
        }
        for filters: [Text] in [[], [""], ["a#"], ["ok", "a+/b"], [Text([0xFF])], [tooLong]] {
            let error = #expect(throws: IotoError.self) { try recorder.client.subscribe(filters) }
            #expect(error?.code == .misuse)
        }
        try recorder.publish("still/connected", [])
    }

    /// This process's descriptors of connections to the broker: other tests open and close others meanwhile.
    private func sockets(to broker: Broker) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { Int32($0) }.count { descriptor in
            var peer = sockaddr_in()
            var bytes = socklen_t(MemoryLayout.size(ofValue: peer))
            let isConnected = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &bytes) == 0 }
            }
            return isConnected && peer.sin_family == AF_INET && Int32(UInt16(bigEndian: peer.sin_port)) == broker.port
        }
    }
}
