import CMosquitto
import CPlatform
import IotoBase

/// A connection to an MQTT broker, driven by its owner.
///
/// One thread owns a client and makes every call. Nothing happens behind its back: the socket is read and written, and
/// the delegate called, within `step(wake:timeout:)` alone.
///
///     let client = try MQTTClient(MQTTOptions(host: "localhost", clientID: "d1"))
///     client.delegate = self
///     try client.connect()
///     while isRunning { client.step(wake: event, timeout: 60_000) }
///     client.close()
///
/// - Messages of QoS 1 that are not acknowledged when a connection ends are sent again by the next one of the same
///   client (MQTT 3.1.1, 4.4), before anything else, under their old ids. Those of QoS 0 are lost.
/// - A client does not connect again by itself: when and how often is the owner's to decide.
/// - libmosquitto holds a packet from the broker in memory as a whole before its size can be looked at. A broker of MQTT 5 is
///   told the largest that is taken; of any broker the connection is ended when more has come of one packet.
public final class MQTTClient {
    /// Told what happens. Held strongly; `close()` lets go of it, and so breaks the cycle with an owner that is its own
    /// delegate.
    public var delegate: (any MQTTDelegate)?

    let options: MQTTOptions
    /// Nil once closed.
    var handle: MosquittoHandle?
    var link = Link.idle
    var timing = Timing()
    /// The version that the broker is thought to speak.
    var version: MQTTVersion
    /// What had been taken from the socket when the last packet was whole.
    var takenBytes: Int64 = 0
    /// Something was taken from the socket in this step.
    var hasTaken = false
    private var isStepping = false
    private var isClosing = false
    /// Payload bytes that `publish` has taken.
    public private(set) var bytesOut: Int64 = 0
    private var bytesInAtClose: Int64 = 0

    enum Link {
        case idle
        /// From connect() to the CONNACK.
        case connecting
        case connected
        /// From disconnect() until the DISCONNECT is written.
        case disconnecting
    }

    /// - Throws: `.configuration` naming the option that is not valid or the file that can't be read; `.memory` when
    ///   memory or descriptors are short.
    public init(_ options: MQTTOptions) throws(IotoError) {
        self.options = options
        version = options.version == .automatic ? .v5 : options.version
        handle = try MosquittoHandle(options)
    }

    /// Whether the broker has accepted the connection and it has not ended.
    public var isConnected: Bool { link == .connected }

    public var packetBytesMax: Int? {
        guard let bytes = handle?.inbox.packetBytesMax, bytes > 0 else { return nil }
        return Int(clamping: bytes)
    }

    /// Payload bytes received.
    public var bytesIn: Int64 { handle?.inbox.bytesIn ?? bytesInAtClose }

    /// Starts a connection. It blocks for as long as the resolution of the host's name takes, and no longer.
    ///
    /// Whether it comes about is told by `mqttConnected` or, within `connectTimeout`, `mqttDisconnected`.
    /// Certificates are read anew by each attempt; what is wrong with them is told by `mqttDisconnected` too, with
    /// `.configuration`.
    /// - Throws: `.misuse` when there is a connection already or the client is closed.
    public func connect() throws(IotoError) {
        guard let handle else { throw IotoError(.misuse, "the MQTT client is closed") }
        guard link == .idle, handle.inbox.isEmpty else {
            throw IotoError(.misuse, "\(options.place): there is a connection already")
        }
        takenBytes = 0
        let outcome = handle.connect(version)
        if outcome.isSuccess || outcome.is(MOSQ_ERR_CONN_PENDING) {
            link = .connecting
            timing = Timing(now: platform_monotonic_ms(), limit: options.connectTimeout)
        } else {
            handle.inbox.append(.disconnected(failure(outcome, handle)))
        }
    }

    /// Sends what is queued, as far as the socket takes it at once.
    public func flush() {
        if let handle, link == .connected { write(handle, 0) }
    }

    /// Queues a message; the next `step` sends it, or `flush`.
    ///
    /// - Parameter qos: 0 or 1.
    /// - Returns: The id that `mqttPublished` will tell, 1...65,535.
    /// - Throws: `.offline` when not connected; `.limit` when the payload is above `payloadBytesMax`; `.misuse` when
    ///   the topic is empty, too long, not UTF-8 or has wildcards.
    public func publish(_ message: MQTTMessage, qos: Int32) throws(IotoError) -> Int32 {
        guard let handle, link == .connected else { throw notConnected() }
        guard qos == 0 || qos == 1 else { throw IotoError(.misuse, "QoS \(qos) is neither 0 nor 1") }
        guard message.payload.count <= options.payloadBytesMax else {
            throw IotoError(
                .limit,
                "a message of \(message.payload.count) bytes on '\(message.topic)' is above the limit of "
                    + "\(options.payloadBytesMax)")
        }
        guard MosquittoHandle.isValidText(message.topic) else {
            throw IotoError(.misuse, "the topic of a message is not UTF-8 or too long")
        }
        var id: Int32 = 0
        let code = handle.publish(message, qos, &id)
        guard code == 0 else { throw refused(code, "publish on '\(message.topic)'") }
        bytesOut += Int64(message.payload.count)
        return id
    }

    /// Asks for the messages of topic filters, with QoS 1; the next `step` sends the request.
    ///
    /// - Returns: The id that `mqttSubscribed` will tell.
    /// - Throws: `.offline` when not connected; `.misuse` when there is no filter or one is not valid.
    public func subscribe(_ filters: [Text]) throws(IotoError) -> Int32 {
        guard let handle, link == .connected else { throw notConnected() }
        for filter in filters where filter.isEmpty || !MosquittoHandle.isValidText(filter) {
            throw IotoError(.misuse, "a topic filter is empty, not UTF-8 or too long")
        }
        var id: Int32 = 0
        let code = handle.subscribe(filters, &id)
        guard code == 0 else { throw refused(code, "subscribe") }
        return id
    }

    /// Ends the connection: what is queued is sent, then the goodbye that keeps the will from being published. Steps
    /// until `mqttDisconnected(nil)` carry it out, within `connectTimeout`. Does nothing when there is no connection.
    public func disconnect() {
        guard let handle else { return }
        switch link {
        case .connecting:
            handle.hangUp()
            end(handle, nil)
        case .connected:
            handle.sayGoodbye()
            link = .disconnecting
            timing.deadline = platform_monotonic_ms() + options.connectTimeout
        case .idle, .disconnecting:
            break
        }
    }

    /// Ends the connection without waiting and frees everything; the delegate is not called any more. From within a
    /// delegate's method it takes effect when `step` returns.
    ///
    /// The broker is told goodbye unless messages are undelivered: those are left for the session's next connection.
    public func close() {
        isClosing = true
        if !isStepping { finishClose() }
    }

    private func finishClose() {
        guard let handle else { return }
        if link == .connected || link == .disconnecting, !handle.inbox.holdsMessage {
            if link == .connected { handle.sayGoodbye() }
            _ = handle.write()
        }
        bytesInAtClose = handle.inbox.bytesIn
        handle.inbox.removeAll()
        link = .idle
        self.handle = nil
        delegate = nil
    }

    /// Waits until the socket or the event is ready or `timeout` has passed, then sends, receives, keeps the connection
    /// alive and calls the delegate. It may return earlier than any of these.
    ///
    /// A bounded number of messages is received per call. In idle it wakes as `Timing` says: twice per keepalive.
    ///
    /// - Parameters:
    ///   - eventFD: An event of `platform_event_new()`, cleared when it was signalled: look at what it announces after
    ///     this returns. Negative: none.
    ///   - timeout: Milliseconds; negative: for ever.
    public func step(wake eventFD: Int32, timeout: Int64) {
        guard !isStepping else { return }
        isStepping = true
        let ready = wait(eventFD, timeout)
        if let handle {
            if link != .idle { receive(handle, ready) }
            deliver(handle)
            // After the delegate has seen the messages: their acknowledgements leave here.
            if link != .idle, !isClosing {
                send(handle, ready)
                deliver(handle)
            }
            // With what was sent, if anything was.
            if hasTaken { platform_socket_acknowledge(handle.socket) }
            hasTaken = false
        }
        isStepping = false
        if isClosing { finishClose() }
    }

    private func wait(_ eventFD: Int32, _ timeout: Int64) -> Int32 {
        var limit = timeout
        var socket: Int32 = -1
        var wantsWrite = false
        if let handle {
            if !handle.inbox.isEmpty {
                limit = 0
            } else if link != .idle {
                socket = handle.socket
                wantsWrite = self.wantsWrite(handle)
                let rest = max(0, due(handle) - platform_monotonic_ms())
                limit = timeout < 0 ? rest : min(timeout, rest)
            }
        }
        let ready = platform_poll(eventFD, socket, wantsWrite, limit)
        if ready & Int32(PLATFORM_EVENT) != 0 { platform_event_clear(eventFD) }
        return ready
    }

    private func deliver(_ handle: MosquittoHandle) {
        while !isClosing, let event = handle.inbox.removeFirst() {
            guard let delegate else { continue }
            switch event {
            case .connected(let sessionPresent): delegate.mqttConnected(sessionPresent: sessionPresent)
            case .disconnected(let error): delegate.mqttDisconnected(error)
            case .subscribed(let id, let accepted): delegate.mqttSubscribed(id, accepted: accepted)
            case .published(let id, let code): delegate.mqttPublished(id, refusedPublication(code))
            case .received(let topic, let payload): delegate.mqttReceived(topic, payload)
            }
        }
    }
}
