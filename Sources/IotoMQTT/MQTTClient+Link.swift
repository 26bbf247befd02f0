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
            return timing.keepaliveDue(options.keepalive)
        }
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
                end(handle, socketFailure(state, handle))
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
            if handle.inbox.count == count || handle.inbox.payloadBytes >= Limits.messageBytesMax { break }
        }
        timing.received(now: platform_monotonic_ms())
    }

    private func write(_ handle: MosquittoHandle, _ ready: Int32) {
        guard handle.wantsWrite, stands(handle.write(), handle) else { return }
        if ready & Self.writable != 0 || !handle.wantsWrite { timing.sent(now: platform_monotonic_ms()) }
    }

    private func keepAlive(_ handle: MosquittoHandle) {
        let now = platform_monotonic_ms()
        guard !timing.isGivenUp(options.keepalive, now: now) else {
            return giveUp(handle, "nothing could be sent for \((now - timing.lastOut) / 1000) s")
        }
        guard now >= timing.keepaliveDue(options.keepalive) else { return }
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
        end(handle, link == .disconnecting ? nil : failure(outcome, handle))
        return false
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
