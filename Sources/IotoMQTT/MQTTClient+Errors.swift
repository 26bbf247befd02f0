import CMosquitto
import IotoBase

// Errors carry `host:port` in front, and as detail the errno, the CONNACK return code, or libmosquitto's code.
extension MQTTClient {
    /// EPROTO: libmosquitto's errno for whatever OpenSSL reports on an established connection.
    private static let tlsFailed: Int32 = 71
    /// ECONNRESET.
    private static let reset: Int32 = 104

    /// Why a connection has ended or has not come about.
    func failure(_ outcome: MosquittoHandle.Outcome, _ handle: MosquittoHandle) -> IotoError {
        if handle.inbox.refusal != 0 { return refusal(handle.inbox.refusal) }
        let reason = handle.inbox.errorText
        if !reason.isEmpty, outcome.is(MOSQ_ERR_TLS) || outcome.is(MOSQ_ERR_ERRNO) {
            // libmosquitto's own lines about the files it was given; a handshake's failure has OpenSSL's or others.
            let isFile = reason.hasPrefix("Error: Unable to") || reason.hasPrefix("Error: Client certificate")
            return error(isFile ? .configuration : .offline, "TLS: \(reason)", outcome.code)
        }
        if outcome.is(MOSQ_ERR_ERRNO) { return socketFailure(outcome.systemCode) }
        if outcome.is(MOSQ_ERR_KEEPALIVE) {
            return error(.timeout, "no answer for \(options.keepalive) s: the connection is dead", outcome.code)
        }
        if outcome.is(MOSQ_ERR_EAI) { return error(.offline, "the name can't be resolved", outcome.code) }
        if outcome.is(MOSQ_ERR_NOMEM) { return error(.memory, "memory can't be had", outcome.code) }
        if outcome.isSuccess || outcome.is(MOSQ_ERR_CONN_LOST) || outcome.is(MOSQ_ERR_NO_CONN) {
            return socketFailure(-1)
        }
        let isProtocol =
            outcome.is(MOSQ_ERR_PROTOCOL) || outcome.is(MOSQ_ERR_MALFORMED_PACKET)
            || outcome.is(MOSQ_ERR_MALFORMED_UTF8)
        return error(
            isProtocol ? .protocolViolation : .offline, MosquittoHandle.text(outcome.code), outcome.code)
    }

    /// - Parameter code: An errno, or -1 when the peer has closed the connection.
    func socketFailure(_ code: Int32) -> IotoError {
        // A broker that does not like a certificate says so, or just hangs up.
        let hungUp = timing.isReachable || code == Self.reset || code < 0
        if options.usesTLS, code == Self.tlsFailed || link != .connected && hungUp {
            let phase: Text = link == .connected ? "connection" : "connection before accepting it"
            return error(.offline, "TLS: the broker has ended the \(phase)", code)
        }
        guard code > 0 else {
            return error(
                .offline, "the broker has closed the connection", Int32(MOSQ_ERR_CONN_LOST.rawValue))
        }
        return error(.offline, systemErrorText(code), code)
    }

    /// - Parameter code: A return code of MQTT 3.1.1, 3.2.2.3, or a reason code of MQTT 5.0, 3.2.2.2.
    private func refusal(_ code: Int32) -> IotoError {
        switch code {
        case 1, 0x84:
            return error(.protocolViolation, "the broker does not speak MQTT \(version == .v5 ? "5" : "3.1.1")", code)
        case 2, 0x85: return error(.configuration, "the broker refuses the client id", code)
        case 3, 0x88, 0x89: return error(.offline, "the broker is not available", code)
        case 4, 0x86: return error(.configuration, "the broker refuses the user name or password", code)
        case 5, 0x87: return error(.configuration, "the broker refuses the client: not authorized", code)
        default: return error(.protocolViolation, "the broker refuses the connection with code \(code)", code)
        }
    }

    /// - Parameter code: A reason code of MQTT 5.0, 3.4.2.1, of which those from 0x80 on are refusals.
    func refusedPublication(_ code: Int32) -> IotoError? {
        guard code >= 0x80 else { return nil }
        let reason: Text = code == 0x87 ? "not authorized" : "code \(code)"
        return error(.denied, "the broker does not take what is published: \(reason)", code)
    }

    func notConnected() -> IotoError {
        error(.offline, handle == nil ? "the MQTT client is closed" : "not connected", 0)
    }

    /// A call that libmosquitto has refused.
    func refused(_ code: Int32, _ call: Text) -> IotoError {
        let isMemory = code == Int32(MOSQ_ERR_NOMEM.rawValue)
        return IotoError(isMemory ? .memory : .misuse, "\(call): \(MosquittoHandle.text(code))", detail: code)
    }

    private func error(_ code: ErrorCode, _ message: Text, _ detail: Int32) -> IotoError {
        IotoError(code, "\(options.place): \(message)", detail: detail)
    }
}
