import CMosquitto
import CPlatform
import IotoBase

// The state of the connection: what `step` does between waiting and delivering.
extension MQTTClient {
    /// Packets received per step, so that the owner's other work gets its turn.
    private static let packetsPerStepMax = 64
    /// How often a TLS handshake is looked at, in milliseconds, should it want to write.
    private static let handshakeInterval: Int64 = 250

    private static let readable = Int32(PLATFORM_READABLE)
    private static let writable = Int32(PLATFORM_WRITABLE)

    /// When the connection has to be looked at, at the latest.
    func due(_ handle: MosquittoHandle) -> Int64 {
        switch link {
        case .idle:
            return Int64.max
        case .connecting where isHandshaking:
            return min(timing.deadline, platform_monotonic_ms() + Self.handshakeInterval)
        case .connecting, .disconnecting:
            return timing.deadline
        case .connected:
            return timing.keepaliveDue(keepalive(handle))
        }
    }

    /// Seconds: as configured, or as the broker has said.
    private func keepalive(_ handle: MosquittoHandle) -> Int32 {
        handle.inbox.keepalive > 0 ? Int32(handle.inbox.keepalive) : options.keepalive
    }

    /// TLS is being agreed on, or CONNECT being sent through it.
    private var isHandshaking: Bool { link == .connecting && options.usesTLS && timing.isReachable }

    /// Whether to wait for the socket to be writable. In a TLS handshake libmosquitto says that it wants to write from
    /// the first attempt on, until CONNECT is sent: waiting for that would be a busy loop.
    func wantsWrite(_ handle: MosquittoHandle) -> Bool {
        switch link {
        case .connecting: return !timing.isReachable || (!options.usesTLS && handle.wantsWrite)
        default: return handle.wantsWrite
        }
    }

    func receive(_ handle: MosquittoHandle, _ ready: Int32) {
        let now = platform_monotonic_ms()
        switch link {
        case .idle:
            return
        case .connecting:
            guard now < timing.deadline else {
                return giveUp(handle, "the broker has not answered within \(options.connectTimeout) ms")
            }
            guard ready & (Self.readable | Self.writable) != 0 || isHandshaking else { return }
            // libmosquitto takes a system error during the handshake for a wish to wait.
            let state = platform_socket_state(handle.socket)
            guard state == 0 else {
                changeVersion(handle)
                end(handle, socketFailure(state))
                handle.hangUp()
                return
            }
            timing.isReachable = true
            if options.usesTLS || ready & Self.readable != 0 { read(handle) }
        case .connected:
            if ready & Self.readable != 0 { read(handle) }
            if link == .connected { keepAlive(handle) }
        case .disconnecting:
            guard now < timing.deadline else {
                handle.hangUp()
                return end(handle, nil)
            }
            // The goodbye goes first: libmosquitto hangs up on whatever arrives after it.
            write(handle, ready)
            if link == .disconnecting, ready & Self.readable != 0 { read(handle) }
        }
    }

    func send(_ handle: MosquittoHandle, _ ready: Int32) {
        switch link {
        case .idle: return
        case .connecting:
            if timing.isReachable { write(handle, ready) }
        case .connected, .disconnecting: write(handle, ready)
        }
    }

    private func read(_ handle: MosquittoHandle) {
        for _ in 0..<Self.packetsPerStepMax {
            let count = handle.inbox.count
            guard stands(handle.read(), handle) else { return }
            if link == .connecting, handle.inbox.isAccepted {
                handle.settle()
                link = .connected
            }
            // Nothing came, or part of a packet, or what concerns libmosquitto alone.
            if handle.inbox.count == count {
                guard !isFlooded(handle) else { return }
                break
            }
            takenBytes = -1
            if handle.inbox.payloadBytes >= Limits.messageBytesMax { break }
        }
        hasTaken = true
        timing.received(now: platform_monotonic_ms())
    }

    /// Whether more of one packet has come than a packet may have.
    private func isFlooded(_ handle: MosquittoHandle) -> Bool {
        let taken = platform_socket_taken(handle.socket)
        if takenBytes < 0 || taken < takenBytes { takenBytes = taken }
        guard taken - takenBytes > Int64(Limits.packetBytesMax) else { return false }
        handle.hangUp()
        end(
            handle,
            IotoError(.protocolViolation, "\(options.place): a packet of more than \(Limits.packetBytesMax) bytes"))
        return true
    }

    func write(_ handle: MosquittoHandle, _ ready: Int32) {
        guard handle.wantsWrite, stands(handle.write(), handle) else { return }
        if ready & Self.writable != 0 || !handle.wantsWrite { timing.sent(now: platform_monotonic_ms()) }
    }

    private func keepAlive(_ handle: MosquittoHandle) {
        let now = platform_monotonic_ms()
        let keepalive = keepalive(handle)
        guard !timing.isGivenUp(keepalive, now: now) else {
            return giveUp(handle, "nothing could be sent for \((now - timing.lastOut) / 1000) s")
        }
        guard now >= timing.keepaliveDue(keepalive) else { return }
        let wantedWrite = handle.wantsWrite
        guard stands(handle.keepAlive(), handle) else { return }
        if !wantedWrite, handle.wantsWrite {
            timing.pinged(now: now)
        } else {
            timing.checkAfter = now + 1000
        }
    }

    /// Whether the connection stands after a call into libmosquitto, which closes the socket when it does not.
    private func stands(_ outcome: MosquittoHandle.Outcome, _ handle: MosquittoHandle) -> Bool {
        if outcome.isSuccess, handle.socket >= 0 { return true }
        handle.hangUp()
        let error = failure(outcome, handle)
        if link == .connecting { changeVersion(handle) }
        end(handle, link == .disconnecting ? nil : error)
        return false
    }

    /// After an attempt that failed: a broker that does not speak MQTT 5 says so, or hangs up.
    private func changeVersion(_ handle: MosquittoHandle) {
        guard options.version == .automatic, timing.isReachable, handle.inbox.errorText.isEmpty else { return }
        let refusal = handle.inbox.refusal
        guard refusal == 0 || refusal == 1 || refusal == 0x84 else { return }
        version = version == .v5 ? .v311 : .v5
        Log.debug("\(options.place): the next attempt is of MQTT \(version == .v5 ? "5" : "3.1.1")")
    }

    private func giveUp(_ handle: MosquittoHandle, _ reason: Text) {
        handle.hangUp()
        end(handle, IotoError(.timeout, "\(options.place): \(reason)", detail: Int32(MOSQ_ERR_KEEPALIVE.rawValue)))
    }

    /// Notes the end of the connection for the delegate.
    func end(_ handle: MosquittoHandle, _ error: IotoError?) {
        handle.settle()
        link = .idle
        handle.inbox.append(.disconnected(error))
    }
}
