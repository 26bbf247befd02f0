import CPlatform
import Foundation
import IotoBase
import IotoMQTT
import Testing

@Suite struct MQTTSecurityTests {
    private let certificates: Certificates
    private let broker: Broker

    init() throws {
        certificates = try Certificates()
        broker = try Broker(certificates.brokerLines)
    }

    private func recorder(host: Text = "127.0.0.1", change: (inout MQTTOptions) -> Void = { _ in }) throws -> Recorder {
        var options = MQTTOptions(
            host: host, port: broker.port, clientID: "d1", authority: certificates.text("ca.pem"),
            certificate: certificates.text("client.pem"), key: certificates.text("client.key"))
        options.connectTimeout = 5000
        change(&options)
        return try Recorder(options)
    }

    @Test func clientCertificateIsAccepted() throws {
        let recorder = try recorder()
        defer { recorder.client.close() }
        try recorder.connect()
        try recorder.subscribe(["a"])
        let payload = [UInt8](repeating: 3, count: 100_000)
        try recorder.publish("a", payload)
        #expect(recorder.step { $0.received.count == 1 })
        #expect(recorder.received.first?.payload == payload)
        recorder.disconnect()
        #expect(recorder.lastError == nil)
        try recorder.connect()
    }

    @Test func authorityMayBeAFolder() throws {
        let tool = try Process.run(
            URL(fileURLWithPath: "/usr/bin/openssl"), arguments: ["rehash", certificates.folder.path])
        tool.waitUntilExit()
        let recorder = try recorder { $0.authority = certificates.text("") }
        defer { recorder.client.close() }
        try recorder.connect()
    }

    @Test func unknownAuthorityIsToldWithItsReason() throws {
        let other = try Certificates()
        let recorder = try recorder { $0.authority = other.text("ca.pem") }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .offline)
        #expect(recorder.lastError?.message.contains("certificate verify failed") == true)
    }

    @Test func serverOfAnotherNameIsRefused() throws {
        let recorder = try recorder(host: "127.0.0.2")
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.connections.isEmpty)
        #expect(recorder.lastError != nil)
    }

    @Test func missingClientCertificateIsRefused() throws {
        let recorder = try recorder {
            $0.certificate = nil
            $0.key = nil
        }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.connections.isEmpty)
        // The alert with the reason is lost when the broker resets the connection right after it.
        #expect(recorder.lastError?.code == .offline)
    }

    @Test func keyThatDoesNotFitIsTold() throws {
        let recorder = try recorder { $0.key = certificates.text("server.key") }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .configuration)
        #expect(recorder.lastError?.message.contains("server.key") == true)
    }

    @Test func fileThatIsNoCertificateIsTold() throws {
        let recorder = try recorder { $0.authority = certificates.text("ca.key") }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .configuration)
        #expect(recorder.lastError?.message.contains("ca.key") == true)
    }

    @Test func encryptedKeyIsRefusedWithoutAskingForItsPassphrase() throws {
        let tool = try Process.run(
            URL(fileURLWithPath: "/usr/bin/openssl"),
            arguments: [
                "ec", "-aes256", "-passout", "pass:secret", "-in", certificates.path("client.key"),
                "-out", certificates.path("encrypted.key"),
            ])
        tool.waitUntilExit()
        let recorder = try recorder { $0.key = certificates.text("encrypted.key") }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .configuration)
    }

    @Test func killedBrokerIsNoticedAndComesBack() throws {
        let recorder = try recorder()
        defer { recorder.client.close() }
        try recorder.connect()
        broker.kill()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 1 })
        recorder.steps = 0
        try recorder.client.connect()
        #expect(recorder.step(seconds: 2) { $0.ends.count == 2 })
        #expect(recorder.steps < 20)
        try broker.start()
        try recorder.connect()
    }

    @Test func silentHandshakeTimesOutWithoutABusyLoop() throws {
        let recorder = try recorder { $0.connectTimeout = 1000 }
        defer { recorder.client.close() }
        broker.pause()
        try recorder.client.connect()
        #expect(recorder.step(seconds: 3) { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .timeout)
        #expect(recorder.steps < 12)
        broker.resume()
        try recorder.connect()
    }

    @Test func plainBrokerIsTold() throws {
        let plain = try Broker()
        let recorder = try recorder { $0.port = plain.port }
        defer { recorder.client.close() }
        try recorder.client.connect()
        #expect(recorder.step { $0.ends.count == 1 })
        #expect(recorder.lastError?.code == .offline)
        #expect(recorder.steps < 20)
    }
}
