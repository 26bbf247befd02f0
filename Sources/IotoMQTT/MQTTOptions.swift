import IotoBase

/// Version of the protocol, as libmosquitto numbers it.
public enum MQTTVersion: Int32, Sendable {
    /// MQTT 5, and 3.1.1 when the broker does not speak it.
    case automatic = 0
    case v311 = 4
    case v5 = 5
}

/// A message to be sent, or left as the last will.
public struct MQTTMessage: Sendable {
    public var topic: Text
    public var payload: [UInt8]

    public init(topic: Text, payload: [UInt8]) {
        self.topic = topic
        self.payload = payload
    }
}

/// How an `MQTTClient` finds its broker and what it tells it.
public struct MQTTOptions: Sendable {
    /// Name or address of the broker.
    public var host: Text
    public var port: Int32
    /// At most 65,535 bytes; the broker knows the session by it.
    public var clientID: Text
    public var username: Text?
    /// Sent with a `username` only.
    public var password: Text?
    /// PEM file, or folder of hashed PEM files, of the certificate authorities that are trusted. When it is nil and a
    /// certificate is given, the system's: `MQTTOptions.systemAuthorities`.
    public var authority: Text?
    /// PEM file of the certificate chain that proves this client, with its key.
    public var certificate: Text?
    /// PEM file of the private key, not encrypted: nobody is there to type a passphrase. With an `engine`, what that knows the
    /// key by: `pkcs11:token=device;object=key;pin-value=...`.
    public var key: Text?
    /// Engine of OpenSSL that keeps the key: `pkcs11`.
    public var engine: Text?
    /// Key shared with the broker, in hexadecimal digits, which takes the place of certificates; with `identity`, the name by
    /// which the broker knows it.
    public var psk: Text?
    public var identity: Text?
    /// Protocol asked for in the TLS handshake; AWS IoT Core wants `mqtt` on port 443. At most 254 bytes.
    public var alpn: Text?
    /// Seconds without traffic before the broker is asked for a sign of life, 5...65,535.
    public var keepalive: Int32 = 60
    /// False: for a week, with MQTT 5, the broker keeps subscriptions and undelivered messages of QoS 1 while the client is away.
    public var cleanSession = true
    /// Published by the broker when the connection ends without a goodbye, with QoS 1.
    public var will: MQTTMessage?
    /// Messages that are on their way to the broker without its acknowledgement, 1...65,535; more wait in memory.
    public var inflightMax: Int32 = 20
    /// Milliseconds from the start of a connection to the broker's acceptance, name resolution not counted; also what
    /// the goodbye may take. 1...3,600,000.
    public var connectTimeout: Int64 = 10_000
    /// Largest payload that `publish` takes, in bytes.
    public var payloadBytesMax = Limits.publishBytesMax
    public var version = MQTTVersion.v311

    /// Where OpenSSL's hashed certificates live on most systems.
    public static let systemAuthorities: Text = "/etc/ssl/certs"

    /// - Parameter port: 8883 with TLS and 1883 without, unless given.
    public init(
        host: Text, port: Int32? = nil, clientID: Text, username: Text? = nil, password: Text? = nil,
        authority: Text? = nil, certificate: Text? = nil, key: Text? = nil
    ) {
        self.host = host
        self.clientID = clientID
        self.username = username
        self.password = password
        self.authority = authority
        self.certificate = certificate
        self.key = key
        self.port = port ?? (authority != nil || certificate != nil ? 8883 : 1883)
    }

    /// Whether the connection is encrypted: an authority, a certificate or a shared key is given.
    public var usesTLS: Bool { authority != nil || certificate != nil || psk != nil }

    /// `broker.example.com:8883`, for messages.
    var place: Text { "\(host):\(port)" }
}

extension MQTTOptions {
    /// Refuses what libmosquitto would misread, with the name of the option.
    func validate() throws(IotoError) {
        try require(!host.isEmpty && host.isValidUTF8, "'host' is not a name or an address")
        try require((1...65_535).contains(port), "'port' is not within 1...65535")
        try require((5...65_535).contains(keepalive), "'keepalive' is not within 5...65535 seconds")
        try require((1...65_535).contains(inflightMax), "'inflightMax' is not within 1...65535")
        try require(
            (1...3_600_000).contains(connectTimeout), "'connectTimeout' is not within 1...3600000 milliseconds")
        // libmosquitto 2.0.11 closes descriptor 0 when mosquitto_new() refuses a client id.
        try require(
            !clientID.isEmpty && MosquittoHandle.isValidText(clientID),
            "'clientID' is not a text of 1...65535 bytes")
        if let username {
            try require(MosquittoHandle.isValidText(username), "'username' is not a text of at most 65535 bytes")
        }
        if let password {
            try require(username != nil, "'password' is given without 'username'")
            try require(
                password.count <= 65_535 && !password.bytes.contains(0),
                "'password' is longer than 65535 bytes or holds a NUL")
        }
        if let alpn {
            try require((1...254).contains(alpn.count) && alpn.isValidUTF8, "'alpn' is not within 1...254 bytes")
        }
        try require(
            (certificate == nil) == (key == nil), "'certificate' and 'key' are given together or not at all")
        try require((psk == nil) == (identity == nil), "'psk' and 'identity' are given together or not at all")
        try require(
            psk == nil || authority == nil && certificate == nil, "'psk' takes the place of 'authority' and 'certificate'")
        try require(engine == nil || key != nil, "'engine' is given without 'key'")
        try requireFile(authority, "authority")
        try requireFile(certificate, "certificate")
        if engine == nil { try requireFile(key, "key") }
    }

    private func require(_ condition: Bool, _ message: Text) throws(IotoError) {
        if !condition { throw IotoError(.configuration, "MQTT: \(message)") }
    }

    private func requireFile(_ path: Text?, _ name: Text) throws(IotoError) {
        guard let path else { return }
        try require(
            path.isValidUTF8 && Files.size(path) != nil, "'\(name)': '\(path)' can't be read")
    }
}
