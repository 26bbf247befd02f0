import CPlatform
import IotoBase

/// A session that somebody else has with the broker, and lends: it tells by `state` whether the session is there, passes
/// messages on by `receive`, both from any thread, and publishes and subscribes when it is asked.
public final class SharedSession: MQTTConnection, @unchecked Sendable {
    /// Bytes of messages that wait; beyond, they are refused, and what they said is asked for again.
    private static let waitingBytesMax = 4 * Limits.messageBytesMax
    /// Bytes of memory that a message takes beside its texts, about.
    private static let messageBytes = 128

    public var delegate: (any MQTTDelegate)?
    public private(set) var isConnected = false
    public var packetBytesMax: Int? { nil }
    public private(set) var bytesOut: Int64 = 0
    public private(set) var bytesIn: Int64 = 0

    private let sends: (MQTTMessage, Int32) -> Bool
    private let subscribes: ([Text]) -> Bool
    private let eventFD: Int32

    /// Guards what follows.
    private let lock = Lock()
    /// `connect` has been called, and the session has not ended since: else messages are of no interest.
    private var isWanted = false
    private var isThere = false
    /// `state` has been called since the last step: what stood then is gone, even when it is there again.
    private var hasChanged = false
    private var waiting: [Publication] = []
    private var waitingBytes = 0

    private struct Publication {
        let topic: Text
        let payload: [UInt8]
    }

    /// - Parameters:
    ///   - eventFD: The event that `step` is given.
    ///   - sends: Publishes a message; false when it can't be.
    ///   - subscribes: Asks the broker for the messages of these filters; false when it can't be.
    public init(
        wake eventFD: Int32, sends: @escaping (MQTTMessage, Int32) -> Bool, subscribes: @escaping ([Text]) -> Bool
    ) {
        self.eventFD = eventFD
        self.sends = sends
        self.subscribes = subscribes
    }

    // MARK: The lender, any thread

    public func state(_ isThere: Bool) {
        lock.withLock {
            self.isThere = isThere
            hasChanged = true
        }
        platform_event_signal(eventFD)
    }

    /// - Throws: `.limit` when too much waits already, or the message is too large.
    public func receive(_ topic: Text, _ payload: UnsafeRawBufferPointer) throws(IotoError) {
        guard payload.count <= Limits.messageBytesMax else {
            throw IotoError(.limit, "a message on '\(topic)' has \(payload.count) bytes, at most \(Limits.messageBytesMax) are taken")
        }
        let isTaken = lock.withLock {
            guard isWanted else { return true }
            guard waitingBytes < SharedSession.waitingBytesMax else { return false }
            waitingBytes += payload.count + topic.count + SharedSession.messageBytes
            waiting.append(Publication(topic: topic, payload: copyBytes(payload)))
            return true
        }
        guard isTaken else { throw IotoError(.limit, "a message on '\(topic)' is dropped: too much waits already") }
        platform_event_signal(eventFD)
    }

    // MARK: The borrower

    public func connect() throws(IotoError) {
        lock.withLock { isWanted = true }
        platform_event_signal(eventFD)
    }

    public func publish(_ message: MQTTMessage, qos: Int32) throws(IotoError) -> Int32 {
        guard isConnected, sends(message, qos) else {
            throw IotoError(.offline, "the shared MQTT session takes no message on '\(message.topic)'")
        }
        bytesOut += Int64(message.payload.count)
        return 0
    }

    public func subscribe(_ filters: [Text]) throws(IotoError) -> Int32 {
        let isAccepted = isConnected && subscribes(filters)
        delegate?.mqttSubscribed(0, accepted: isAccepted)
        return 0
    }

    public func flush() {}

    public func disconnect() {
        if end() { delegate?.mqttDisconnected(nil) }
    }

    private func end() -> Bool {
        isConnected = false
        return lock.withLock {
            defer {
                isWanted = false
                waiting = []
                waitingBytes = 0
            }
            return isWanted
        }
    }

    public func step(wake eventFD: Int32, timeout: Int64) {
        if platform_poll(eventFD, -1, false, timeout) & Int32(PLATFORM_EVENT) != 0 { platform_event_clear(eventFD) }
        var messages: [Publication] = []
        var isNew = false
        let isUsable = lock.withLock {
            messages = waiting
            waiting = []
            waitingBytes = 0
            isNew = hasChanged
            hasChanged = false
            return isThere && isWanted
        }
        if isConnected, isNew {
            if end() { delegate?.mqttDisconnected(IotoError(.offline, "the shared MQTT session has ended")) }
        } else if isUsable, !isConnected {
            isConnected = true
            delegate?.mqttConnected(sessionPresent: false)
        }
        for message in messages where isConnected {
            bytesIn += Int64(message.payload.count)
            delegate?.mqttReceived(message.topic, message.payload)
        }
    }

    public func close() {
        delegate = nil
    }
}
