import CMosquitto
import IotoBase

/// What libmosquitto's callbacks leave for `MQTTClient.step` to deliver.
///
/// The delegate is never called from within a callback: libmosquitto holds locks and half-updated state there, and a
/// call that ends the connection would pull the ground from under it.
final class Inbox {
    enum Event {
        case connected(sessionPresent: Bool)
        case disconnected(IotoError?)
        case subscribed(Int32, accepted: Bool)
        case published(Int32, code: Int32)
        case received(Text, [UInt8])
    }

    private var events: [Event] = []
    private var next = 0
    /// Payload bytes of the messages that wait.
    private(set) var payloadBytes = 0
    /// Payload bytes received since the start.
    private(set) var bytesIn: Int64 = 0
    /// The broker has accepted the connection that is being made.
    private(set) var isAccepted = false
    /// The CONNACK return code with which the broker has refused it, or 0.
    private(set) var refusal: Int32 = 0
    /// The keepalive in seconds that it tells to use in place of the one that it was asked for (MQTT 5.0, 3.2.2.3.14), or 0.
    private(set) var keepalive: UInt16 = 0
    /// The largest packet that it takes (MQTT 5.0, 3.2.2.3.6), or 0: it has not told.
    private(set) var packetBytesMax: UInt32 = 0
    /// What libmosquitto has logged as errors during it: OpenSSL's reasons are told nowhere else.
    private(set) var errorText = Text()

    private static let errorTextMax = 400

    var isEmpty: Bool { next == events.count }
    var count: Int { events.count - next }

    func append(_ event: Event) {
        events.append(event)
    }

    func removeFirst() -> Event? {
        guard next < events.count else { return nil }
        let event = events[next]
        next += 1
        if next == events.count {
            events.removeAll(keepingCapacity: events.capacity <= 256)
            next = 0
            payloadBytes = 0
        }
        return event
    }

    func removeAll() {
        events = []
        next = 0
        payloadBytes = 0
    }

    /// Whether a received message waits.
    var holdsMessage: Bool {
        for event in events[next...] {
            if case .received = event { return true }
        }
        return false
    }

    /// Forgets what was found out about the connection before.
    func startConnection() {
        isAccepted = false
        refusal = 0
        keepalive = 0
        packetBytesMax = 0
        errorText = Text()
    }
}

// MARK: - Callbacks

extension Inbox {
    /// Has the callbacks of `client` fill this inbox, which has to outlive it.
    static func attach(to client: OpaquePointer) {
        mosquitto_connect_v5_callback_set(client) { _, object, code, flags, properties in
            Inbox.from(object)?.connected(code, flags, properties)
        }
        mosquitto_subscribe_v5_callback_set(client) { _, object, id, count, granted, _ in
            Inbox.from(object)?.subscribed(Int32(id), Int(count), granted)
        }
        mosquitto_publish_v5_callback_set(client) { _, object, id, code, _ in
            Inbox.from(object)?.append(.published(Int32(id), code: Int32(code)))
        }
        mosquitto_message_v5_callback_set(client) { _, object, message, _ in
            guard let message else { return }
            Inbox.from(object)?.received(message.pointee)
        }
    }

    /// Keeps the error lines that libmosquitto logs, or no longer: it formats every line for a listener, each packet's
    /// too.
    static func listenForErrors(of client: OpaquePointer, _ listens: Bool) {
        guard listens else {
            mosquitto_log_callback_set(client, nil)
            return
        }
        mosquitto_log_callback_set(client) { _, object, level, line in
            guard level == MOSQ_LOG_ERR, let line else { return }
            Inbox.from(object)?.logged(Text(cString: line))
        }
    }

    private static func from(_ object: UnsafeMutableRawPointer?) -> Inbox? {
        guard let object else { return nil }
        return Unmanaged<Inbox>.fromOpaque(object).takeUnretainedValue()
    }

    private func connected(_ code: Int32, _ flags: Int32, _ properties: OpaquePointer?) {
        guard code == 0 else {
            refusal = code
            return
        }
        mosquitto_property_read_int16(properties, Int32(MQTT_PROP_SERVER_KEEP_ALIVE.rawValue), &keepalive, false)
        mosquitto_property_read_int32(properties, Int32(MQTT_PROP_MAXIMUM_PACKET_SIZE.rawValue), &packetBytesMax, false)
        isAccepted = true
        append(.connected(sessionPresent: flags & 1 != 0))
    }

    private func subscribed(_ id: Int32, _ count: Int, _ granted: UnsafePointer<Int32>?) {
        var accepted = count > 0
        if let granted {
            for index in 0..<max(count, 0) where granted[index] >= 0x80 { accepted = false }
        }
        append(.subscribed(id, accepted: accepted))
    }

    private func received(_ message: mosquitto_message) {
        let count = Int(message.payloadlen)
        guard let name = message.topic, count >= 0 else { return }
        let topic = Text(cString: name)
        guard topic.isValidUTF8 else {
            Log.warning("MQTT: a message is dropped: its topic is not UTF-8")
            return
        }
        guard count <= Limits.messageBytesMax else {
            Log.warning(
                "MQTT: a message of \(count) bytes on '\(topic)' is dropped: the limit is "
                    + "\(Limits.messageBytesMax)")
            return
        }
        var payload: [UInt8] = []
        if count > 0, let start = message.payload {
            payload = copyBytes(UnsafeRawBufferPointer(start: start, count: count))
        }
        bytesIn += Int64(count)
        payloadBytes += count
        append(.received(topic, payload))
    }

    private func logged(_ line: Text) {
        guard errorText.count < Self.errorTextMax else { return }
        if !errorText.isEmpty { errorText.append("; ") }
        errorText.append(Text(line.bytes.prefix(Self.errorTextMax)))
    }
}
