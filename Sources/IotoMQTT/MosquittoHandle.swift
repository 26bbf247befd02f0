import CMosquitto
import CPlatform
import IotoBase

/// Owns one libmosquitto client and its inbox; everything that touches the socket goes through here.
///
/// Checked against the source of libmosquitto 2.0.11, which Debian 12 ships:
/// - It writes with write(2) and has `mosquitto_new` set SIGPIPE to "ignore" for the whole process (later versions use
///   MSG_NOSIGNAL). The firmware's action is put back at once, and SIGPIPE is held back during each call that may
///   write.
/// - Told that it is used from several threads (`mosquitto_threaded_set`), it never writes from within `publish` or a
///   callback: packets are queued, and leave in `write()` alone. That decides when acknowledgements leave.
/// - It gives back 0 when the TLS handshake fails with a system error; the client therefore looks at the socket itself.
final class MosquittoHandle {
    let inbox = Inbox()
    private let pointer: OpaquePointer
    private let options: MQTTOptions

    /// A `MOSQ_ERR_*` and the errno that belongs to MOSQ_ERR_ERRNO.
    struct Outcome {
        let code: Int32
        let systemCode: Int32

        init(_ code: Int32, systemCode: Int32 = 0) {
            self.code = code
            self.systemCode = systemCode
        }

        init(_ code: mosq_err_t) {
            self.init(Int32(code.rawValue))
        }

        func `is`(_ code: mosq_err_t) -> Bool { self.code == Int32(code.rawValue) }
        var isSuccess: Bool { `is`(MOSQ_ERR_SUCCESS) }
    }

    init(_ options: MQTTOptions) throws(IotoError) {
        try options.validate()
        let code = Self.library
        guard code == 0 else { throw IotoError(.memory, "libmosquitto can't be started", detail: code) }
        // Without its socket pair, libmosquitto 2.0.11 writes to descriptor 0 and closes it in the end.
        guard platform_descriptors_left() else {
            throw IotoError(.memory, "no descriptors are left for a connection")
        }
        self.options = options
        let object = Unmanaged.passUnretained(inbox).toOpaque()
        platform_sigpipe_action_save()
        let client = options.clientID.withCString { mosquitto_new($0, options.cleanSession, object) }
        platform_sigpipe_action_restore()
        guard let client else { throw IotoError(.memory, "memory for an MQTT client can't be had") }
        pointer = client
        Inbox.attach(to: client)
        try configure()
        if options.usesTLS { try configureTLS() }
    }

    deinit {
        // The end of a TLS connection writes to the socket.
        let held = platform_sigpipe_hold()
        mosquitto_destroy(pointer)
        platform_sigpipe_release(held)
    }

    /// mosquitto_lib_init() is not thread safe: the initializer of a static property runs once. Never undone, since
    /// other users of libmosquitto in the process can't be known.
    private static let library = mosquitto_lib_init()

    /// Whether libmosquitto takes a text: UTF-8 without control characters, 65,535 bytes at most.
    static func isValidText(_ text: Text) -> Bool {
        text.count <= 65_535 && text.isValidUTF8
            && text.withCString { mosquitto_validate_utf8($0, Int32(truncatingIfNeeded: text.count)) } == 0
    }

    private func configure() throws(IotoError) {
        try check(mosquitto_threaded_set(pointer, true), "threads")
        // A packet leaves in one write, and nothing follows that would be worth waiting for.
        try check(mosquitto_int_option(pointer, MOSQ_OPT_TCP_NODELAY, 1), "TCP_NODELAY")
        try check(mosquitto_int_option(pointer, MOSQ_OPT_SEND_MAXIMUM, options.inflightMax), "inflightMax")
        if let username = options.username {
            let code = username.withCString { username in
                withOptionalCString(options.password) { mosquitto_username_pw_set(pointer, username, $0) }
            }
            try check(code, "username")
        }
        if let will = options.will {
            guard !will.topic.isEmpty, will.topic.isValidUTF8, will.payload.count <= options.payloadBytesMax else {
                throw IotoError(.configuration, "MQTT: 'will' has no valid topic or too large a payload")
            }
            let code = will.topic.withCString { topic in
                will.payload.withUnsafeBytes {
                    mosquitto_will_set(
                        pointer, topic, Int32(truncatingIfNeeded: $0.count), $0.baseAddress, 1, false)
                }
            }
            try check(code, "will")
        }
    }

    /// What MQTT 5 asks of the broker beyond 3.1.1, which knows none of it. A connection without waiting takes no properties, but uses those of the last
    /// call that did, which goes no further than to its port.
    private func setProperties(_ version: MQTTVersion) -> Outcome {
        var list: OpaquePointer?
        defer { mosquitto_property_free_all(&list) }
        if version == .v5 {
            let expiry: UInt32 = options.cleanSession ? 0 : 7 * 24 * 3600
            for (property, value) in [
                (MQTT_PROP_SESSION_EXPIRY_INTERVAL, expiry), (MQTT_PROP_MAXIMUM_PACKET_SIZE, UInt32(Limits.packetBytesMax)),
            ] {
                let added = Outcome(mosquitto_property_add_int32(&list, Int32(property.rawValue), value))
                guard added.isSuccess else { return added }
            }
        }
        // It has no port, and fails.
        _ = mosquitto_connect_bind_v5(pointer, "", -1, options.keepalive, nil, list)
        return Outcome(MOSQ_ERR_SUCCESS)
    }

    private func configureTLS() throws(IotoError) {
        if let psk = options.psk, let identity = options.identity {
            let code = psk.withCString { psk in
                identity.withCString { mosquitto_tls_psk_set(pointer, psk, $0, nil) }
            }
            return try check(code, "psk")
        }
        let hasEngine = options.engine != nil
        if hasEngine { try configureEngine() }
        let authority = options.authority ?? MQTTOptions.systemAuthorities
        let isFolder = authority.withCString { platform_is_folder($0) }
        let code = withOptionalCString(isFolder ? nil : authority) { file in
            withOptionalCString(isFolder ? authority : nil) { folder in
                withOptionalCString(hasEngine ? nil : options.certificate) { certificate in
                    withOptionalCString(hasEngine ? nil : options.key) { key in
                        // An empty passphrase: OpenSSL would ask for one on the terminal.
                        mosquitto_tls_set(pointer, file, folder, certificate, key) { _, _, _, _ in 0 }
                    }
                }
            }
        }
        try check(code, "authority', 'certificate' or 'key")
        if let alpn = options.alpn {
            try check(alpn.withCString { mosquitto_string_option(pointer, MOSQ_OPT_TLS_ALPN, $0) }, "alpn")
        }
    }

    /// Hands the certificate and the engine's key to libmosquitto, which does the rest as without an engine.
    private func configureEngine() throws(IotoError) {
        var reason = [CChar](repeating: 0, count: 256)
        let context = reason.withUnsafeMutableBufferPointer { reason in
            withOptionalCString(options.engine) { engine in
                withOptionalCString(options.key) { key in
                    withOptionalCString(options.certificate) { certificate in
                        platform_engine_context(engine, key, certificate, reason.baseAddress, reason.count)
                    }
                }
            }
        }
        guard let context else {
            throw IotoError(.configuration, "MQTT: \(Text(cString: reason))")
        }
        defer { platform_engine_context_free(context) }
        try check(mosquitto_int_option(pointer, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 1), "engine")
        try check(mosquitto_void_option(pointer, MOSQ_OPT_SSL_CTX, context), "engine")
    }

    private func check(_ code: Int32, _ option: Text) throws(IotoError) {
        if Outcome(code).isSuccess { return }
        throw IotoError(
            Outcome(code).is(MOSQ_ERR_NOMEM) ? .memory : .configuration,
            "MQTT: '\(option)': \(Self.text(code))", detail: code)
    }

    static func text(_ code: Int32) -> Text {
        guard let text = mosquitto_strerror(code) else { return "" }
        return Text(cString: text)
    }

    private func withOptionalCString<Result>(
        _ text: Text?, _ body: (UnsafePointer<CChar>?) -> Result
    ) -> Result {
        guard let text else { return body(nil) }
        return text.withCString { body($0) }
    }
}

// MARK: - The connection

extension MosquittoHandle {
    /// The socket, or -1.
    var socket: Int32 { mosquitto_socket(pointer) }
    /// Whether packets wait to be written.
    var wantsWrite: Bool { mosquitto_want_write(pointer) }

    /// Ends what there was and starts a connection: resolves the name, which may block, and connects without waiting.
    func connect(_ version: MQTTVersion) -> Outcome {
        inbox.startConnection()
        _ = mosquitto_int_option(pointer, MOSQ_OPT_PROTOCOL_VERSION, version.rawValue)
        let prepared = setProperties(version)
        guard prepared.isSuccess else { return prepared }
        Inbox.listenForErrors(of: pointer, true)
        let outcome = guarded {
            options.host.withCString { mosquitto_connect_async(pointer, $0, options.port, options.keepalive) }
        }
        let socket = socket
        if socket >= 0 { platform_close_on_exec(socket) }
        return outcome
    }

    /// The connection is accepted: from now on libmosquitto's log lines are not worth their formatting.
    func settle() {
        Inbox.listenForErrors(of: pointer, false)
    }

    func read() -> Outcome { guarded { mosquitto_loop_read(pointer, 1) } }
    func write() -> Outcome { guarded { mosquitto_loop_write(pointer, 1) } }
    /// Queues a PINGREQ when one is due, or ends the connection when the answer to the last one is.
    func keepAlive() -> Outcome { guarded { mosquitto_loop_misc(pointer) } }
    /// Queues a DISCONNECT.
    func sayGoodbye() { _ = mosquitto_disconnect(pointer) }
    /// Ends the connection without a goodbye. The descriptor stays until the next `connect()` or the end of this
    /// object: libmosquitto has no call that closes it.
    func hangUp() { platform_socket_shutdown(socket) }

    func publish(_ message: MQTTMessage, _ qos: Int32, _ id: inout Int32) -> Int32 {
        message.topic.withCString { topic in
            message.payload.withUnsafeBytes {
                mosquitto_publish(
                    pointer, &id, topic, Int32(truncatingIfNeeded: $0.count), $0.baseAddress, qos, false)
            }
        }
    }

    func subscribe(_ filters: [Text], _ id: inout Int32) -> Int32 {
        var bytes: [CChar] = []
        var starts: [Int] = []
        for filter in filters {
            starts.append(bytes.count)
            for byte in filter.bytes { bytes.append(CChar(bitPattern: byte)) }
            bytes.append(0)
        }
        return bytes.withUnsafeMutableBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return Int32(MOSQ_ERR_INVAL.rawValue) }
            var names: [UnsafeMutablePointer<CChar>?] = []
            for start in starts { names.append(base + start) }
            return names.withUnsafeMutableBufferPointer {
                mosquitto_subscribe_multiple(
                    pointer, &id, Int32(truncatingIfNeeded: $0.count), $0.baseAddress, 1, 0, nil)
            }
        }
    }

    private func guarded(_ call: () -> Int32) -> Outcome {
        let held = platform_sigpipe_hold()
        let code = call()
        let outcome = Outcome(code, systemCode: platform_errno())
        platform_sigpipe_release(held)
        return outcome
    }
}
