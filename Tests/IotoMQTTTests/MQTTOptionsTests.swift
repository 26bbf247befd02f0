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

    @Test func whatIsNotValidIsRefused() {
        let tooLong = Text([UInt8](repeating: 0x61, count: 65_536))
        let changes: [(String, (inout MQTTOptions) -> Void)] = [
            ("no host", { $0.host = "" }),
            ("host not UTF-8", { $0.host = Text([0xFF]) }),
            ("port 0", { $0.port = 0 }),
            ("port 65536", { $0.port = 65_536 }),
            ("keepalive 0", { $0.keepalive = 0 }),
            ("keepalive 4", { $0.keepalive = 4 }),
            ("keepalive 65536", { $0.keepalive = 65_536 }),
            ("inflight 0", { $0.inflightMax = 0 }),
            ("timeout 0", { $0.connectTimeout = 0 }),
            ("timeout too long", { $0.connectTimeout = Int64.max }),
            ("no client id", { $0.clientID = "" }),
            ("client id not UTF-8", { $0.clientID = Text([0xC0, 0x80]) }),
            ("client id with a control character", { $0.clientID = Text([0x61, 0x01]) }),
            ("client id with a NUL", { $0.clientID = Text([0x61, 0x00]) }),
            ("client id too long", { $0.clientID = tooLong }),
            ("user name too long", { $0.username = tooLong }),
            ("password without user name", { $0.password = "secret" }),
            (
                "password with a NUL",
                {
                    $0.username = "u"
                    $0.password = Text([0x61, 0x00])
                }
            ),
            ("empty ALPN", { $0.alpn = "" }),
            ("ALPN too long", { $0.alpn = Text([UInt8](repeating: 0x61, count: 255)) }),
            ("will without topic", { $0.will = MQTTMessage(topic: "", payload: []) }),
            ("will with a wildcard", { $0.will = MQTTMessage(topic: "a/#", payload: []) }),
            ("will too large", { $0.will = MQTTMessage(topic: "a", payload: [UInt8](repeating: 0, count: 1 << 20)) }),
            ("certificate without key", { $0.certificate = "/etc/hostname" }),
            ("no such file", { $0.authority = "/nowhere/ca.pem" }),
        ]
        for (name, change) in changes {
            #expect(error(change)?.code == .configuration, "\(name)")
        }
    }

    @Test func missingFileIsNamed() {
        let error = error { $0.authority = "/nowhere/ca.pem" }
        #expect(error?.message == "MQTT: 'authority': '/nowhere/ca.pem' can't be read")
    }
}
