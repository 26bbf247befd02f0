import IotoBase
import IotoMQTT
import Testing

/// A broker that breaks the protocol, or does what Mosquitto never does.
@Suite struct MQTTHostileBrokerTests {
    private func recorder(_ broker: ScriptedBroker) throws -> Recorder {
        try Recorder(MQTTOptions(host: "127.0.0.1", port: broker.port, clientID: "d1"))
    }

    @Test(arguments: [
        (1, ErrorCode.protocolViolation), (2, .configuration), (3, .offline), (4, .configuration), (5, .configuration),
        (6, .protocolViolation), (255, .protocolViolation),
    ] as [(UInt8, ErrorCode)])
    func refusalIsToldWithItsCode(_ code: UInt8, _ expected: ErrorCode) throws {
        let broker = try ScriptedBroker { _, _ in ScriptedBroker.connack(code) }
        let recorder = try recorder(broker)
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.connections.isEmpty)
        #expect(recorder.lastError?.code == expected)
        #expect(recorder.lastError?.detail == Int32(code))
    }

    @Test func refusedFilterIsTold() throws {
        let broker = try ScriptedBroker { head, body in
            head == 0x82 ? ScriptedBroker.suback(body, [1, 0x80]) : ScriptedBroker.accepted
        }
        let recorder = try recorder(broker)
        defer { recorder.client.close() }
        try recorder.connect()
        let id = try recorder.client.subscribe(["mine", "others"])
        #expect(recorder.step { $0.subscriptions.count == 1 })
        #expect(recorder.subscriptions.first?.id == id)
        #expect(recorder.subscriptions.first?.accepted == false)
        #expect(recorder.client.isConnected)
    }

    @Test(arguments: [
        [0x00, 0x00],  // a reserved type
        [0xF0, 0x00],  // another
        [0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],  // a length of five bytes
        [0x30, 0x02, 0x00, 0x00],  // PUBLISH before the CONNACK
        [0x20, 0x01, 0x00],  // a CONNACK cut off
        [0x20, 0x00],
        [0x16, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00],  // TLS
        [0x48, 0x54, 0x54, 0x50, 0x2F, 0x31, 0x2E, 0x31],  // HTTP/1.1
    ] as [[UInt8]])
    func garbageInsteadOfAnAcceptanceEndsTheAttempt(_ bytes: [UInt8]) throws {
        let broker = try ScriptedBroker { _, _ in bytes }
        var options = MQTTOptions(host: "127.0.0.1", port: broker.port, clientID: "d1")
        options.connectTimeout = 1000
        let recorder = try Recorder(options)
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step(seconds: 3) { $0.ends.count == 1 })
        #expect(recorder.connections.isEmpty)
        #expect(recorder.lastError != nil)
    }

    @Test(arguments: [
        ScriptedBroker.publish(topic: [0x61, 0xFF], payload: [1]),
        ScriptedBroker.publish(topic: [0x61, 0x00], payload: [1]),
        ScriptedBroker.publish(topic: [], payload: [1]),
        [0x30, 0x03, 0xFF, 0xFF, 0x61],  // a topic longer than its packet
        [0x32, 0x05, 0x00, 0x01, 0x61, 0x00, 0x00],  // QoS 1 with the id 0
        [0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01],  // QoS 3
        [0x40, 0x00], [0x40, 0x02, 0x00, 0x00], [0x90, 0x01, 0x00], [0xE0, 0x00],
    ] as [[UInt8]])
    func malformedPacketEndsTheConnection(_ bytes: [UInt8]) throws {
        let broker = try ScriptedBroker { head, _ in head == 0x10 ? ScriptedBroker.accepted + bytes : [] }
        let recorder = try recorder(broker)
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step(seconds: 3) { $0.ends.count == 1 })
        #expect(recorder.connections == [false])
        #expect(recorder.received.isEmpty)
        #expect(recorder.lastError?.code == .protocolViolation || recorder.lastError?.code == .offline)
    }

    @Test func acknowledgementOfAnUnknownMessageIsIgnored() throws {
        let broker = try ScriptedBroker { head, _ in
            head == 0x10 ? ScriptedBroker.accepted + [0x40, 2, 0x12, 0x34] : []
        }
        let recorder = try recorder(broker)
        defer { recorder.client.close() }
        try recorder.connect()
        recorder.step(seconds: 0.2)
        #expect(recorder.published.isEmpty)
        #expect(recorder.client.isConnected)
    }

    @Test func closedConnectionIsTold() throws {
        let broker = try ScriptedBroker { _, _ in nil }
        let recorder = try recorder(broker)
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step(seconds: 3) { $0.ends.count == 1 })
        #expect(
            recorder.lastError?.message == "127.0.0.1:\(broker.port): the broker has closed the connection")
    }
}
