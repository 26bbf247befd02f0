import Foundation
import IotoBase

/// A certificate authority with a server's and a client's certificate, made anew by the openssl command.
final class Certificates {
    let folder: URL

    init() throws {
        folder = try makeTemporaryFolder("certificates")
        try run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ioto-test-ca "
                + "-keyout ca.key -out ca.pem")
        try "subjectAltName=IP:127.0.0.1,DNS:localhost\n"
            .write(to: folder.appendingPathComponent("server.ext"), atomically: true, encoding: .utf8)
        try sign("server", extensions: "-extfile server.ext")
        try sign("client", extensions: "")
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
    func text(_ name: String) -> Text { Text(path(name)) }

    /// Lines that have a broker ask for a client's certificate.
    var brokerLines: [String] {
        [
            "cafile \(path("ca.pem"))", "certfile \(path("server.pem"))", "keyfile \(path("server.key"))",
            "require_certificate true", "use_identity_as_username true",
        ]
    }

    private func sign(_ name: String, extensions: String) throws {
        try run(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name) -keyout \(name).key "
                + "-out \(name).csr")
        try run(
            "x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out \(name).pem \(extensions)")
    }

    private func run(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments.split(separator: " ").map(String.init)
        process.currentDirectoryURL = folder
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw TestFailure("openssl \(arguments) failed") }
    }
}
