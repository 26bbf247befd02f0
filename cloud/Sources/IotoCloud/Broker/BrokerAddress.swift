import Foundation
import IotoBase

/// Where the broker is and how the cloud proves itself to it.
public struct BrokerAddress: Sendable, Equatable {
    public var host: String
    public var port: Int32
    public var usesTLS: Bool
    public var username: String?
    public var password: String?
    /// Files in PEM format.
    public var authority: String?
    public var certificate: String?
    public var key: String?

    /// Reads `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`, or `mqtts://` for TLS; the ports are 1883 and 8883 unless given.
    ///
    /// - Throws: `.configuration` with what is wrong.
    public init(_ url: String) throws(IotoError) {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme, scheme == "mqtt" || scheme == "mqtts"
        else {
            throw IotoError(.configuration, "broker \"\(url)\": mqtt://HOST[:PORT] or mqtts://HOST[:PORT] is expected")
        }
        // Without the brackets of an IPv6 address.
        guard let host = parts.host?.trimmingCharacters(in: ["[", "]"]), !host.isEmpty else {
            throw IotoError(.configuration, "broker \"\(url)\": the host is missing")
        }
        guard parts.path.isEmpty || parts.path == "/", parts.query == nil, parts.fragment == nil else {
            throw IotoError(.configuration, "broker \"\(url)\": nothing may follow host and port")
        }
        self.host = host
        usesTLS = scheme == "mqtts"
        let port = parts.port ?? (usesTLS ? 8883 : 1883)
        guard (1...65_535).contains(port) else {
            throw IotoError(.configuration, "broker \"\(url)\": the port is not within 1...65535")
        }
        self.port = Int32(port)
        username = parts.user
        password = parts.password
    }

    /// Without the password, for messages.
    public var description: String { "\(usesTLS ? "mqtts" : "mqtt")://\(host):\(port)" }
}
