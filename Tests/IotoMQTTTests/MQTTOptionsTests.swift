import IotoBase
import IotoMQTT
import Testing

@Suite struct MQTTOptionsTests {
    private func error(_ change: (inout MQTTOptions) -> Void) -> IotoError? {
        var options = MQTTOptions(host: "127.0.0.1", clientID: "d1")
        change(&options)
        do throws(IotoError) {
            try MQTTClient(options).close()
            return nil
        } catch {
            return error
        }
    }

    @Test func portFollowsTLS() {
        #expect(MQTTOptions(host: "h", clientID: "c").port == 1883)
        #expect(MQTTOptions(host: "h", clientID: "c", authority: "ca.pem").port == 8883)
        #expect(MQTTOptions(host: "h", clientID: "c", certificate: "c.pem", key: "c.key").port == 8883)
        #expect(MQTTOptions(host: "h", port: 443, clientID: "c", authority: "ca.pem").port == 443)
    }

    @Test func bordersAreTaken() {
        #expect(error { $0.keepalive = 5 } == nil)
        #expect(error { $0.keepalive = 65_535 } == nil)
        #expect(error { $0.port = 65_535 } == nil)
        #expect(error { $0.inflightMax = 65_535 } == nil)
        #expect(error { $0.clientID = Text([UInt8](repeating: 0x61, count: 65_535)) } == nil)
        #expect(error { $0.connectTimeout = 3_600_000 } == nil)
        #expect(error { $0.alpn = Text([UInt8](repeating: 0x61, count: 254)) } == nil)
    }

    @Test(arguments: [
        { (options: inout MQTTOptions) in options.host = "" },
        { $0.host = Text([0xFF]) },
        { $0.port = 0 },
        { $0.port = 65_536 },
        { $0.keepalive = 4 },
        { $0.keepalive = 0 },
        { $0.keepalive = 65_536 },
        { $0.inflightMax = 0 },
        { $0.connectTimeout = 0 },
        { $0.connectTimeout = Int64.max },
        { $0.clientID = "" },
        { $0.clientID = Text([0xC0, 0x80]) },
        { $0.clientID = Text([0x61, 0x01]) },
        { $0.clientID = Text([0x61, 0x00]) },
        { $0.clientID = Text([UInt8](repeating: 0x61, count: 65_536)) },
        { $0.password = "secret" },
        { $0.alpn = "" },
        { $0.will = MQTTMessage(topic: "", payload: []) },
        { $0.will = MQTTMessage(topic: "a/#", payload: []) },
        { $0.certificate = "/etc/hostname" },
        { $0.authority = "/nowhere/ca.pem" },
    ] as [@Sendable (inout MQTTOptions) -> Void])
    func whatIsNotValidIsRefused(_ change: @Sendable (inout MQTTOptions) -> Void) {
        #expect(error(change)?.code == .configuration)
    }

    @Test func missingFileIsNamed() {
        let error = error { $0.authority = "/nowhere/ca.pem" }
        #expect(error?.message == "MQTT: 'authority': '/nowhere/ca.pem' can't be read")
    }
}
