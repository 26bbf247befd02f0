import CPlatform
import IotoBase
import IotoMQTT
import IotoSync
import Synchronization

/// The cloud's place at the broker: a thread that owns the MQTT client, keeps the connection up, and passes messages
/// between it and the inbox of the hub.
///
/// The session is persistent: the broker keeps what devices send while the cloud is away.
final class BrokerSession: @unchecked Sendable {
    /// Longest first wait and longest wait of all before the next attempt to connect, in milliseconds.
    static let backoff = (first: Int64(500), last: Int64(10_000))
    /// Messages on their way to the broker without its acknowledgement; the others wait here.
    static let unacknowledgedMax = 100
    /// Messages that wait; beyond, they are dropped, and the devices ask again.
    static let outgoingMax = 10_000
    static let outgoingBytesMax = 64 * 1024 * 1024
    /// How long the end waits for the broker to acknowledge what was sent, in milliseconds.
    static let stopMax: Int64 = 5_000
    /// What may come in between the broker's welcome and its answer to the subscription.
    static let earlyMax = 10_000
    static let earlyBytesMax = 64 * 1024 * 1024

    private let inbox: HubInbox
    private let filters: [Text]
    private let place: String
    private let event: Int32
    private var thread: IotoBase.Thread?

    // Shared, under the lock.
    private let lock = Lock()
    private var outgoing = Outgoing()
    private var toldPacketBytesMax: Int?
    private var isStopping = false

    // The thread's own.
    private let client: MQTTClient
    private var retry = Backoff(first: BrokerSession.backoff.first, last: BrokerSession.backoff.last)
    private var jitter = JitterGenerator(seed: SystemRandom.uint64())
    private var isIdle = true
    private var connectAt: Int64 = 0
    private var unacknowledged = 0
    /// The hub's tickets of what is unacknowledged, by the id of the message.
    private var tickets: [Int32: Int64] = [:]
    private var isSubscribed = false
    private var isNew = false
    private var early: [(Text, [UInt8])] = []
    private var earlyBytes = 0
    /// Called after each step, on the thread: what has come may be seen to there.
    private var turn: () -> Void = {}
    /// Of the thread, once it runs.
    private let identity = Atomic<UInt>(0)

    /// - Throws: `.configuration` and `.memory` as `MQTTClient`.
    init(broker: BrokerAddress, clientID: Text, filters: [Text], inbox: HubInbox) throws(IotoError) {
        self.inbox = inbox
        self.filters = filters
        place = broker.description
        client = try MQTTClient(broker.options(clientID: clientID))
        event = platform_event_new()
        guard event >= 0 else { throw IotoError(.memory, "the system has no event descriptor left") }
    }

    deinit {
        platform_close(event)
    }

    func start(turn: @escaping () -> Void) throws(IotoError) {
        client.delegate = self
        self.turn = turn
        thread = try IotoBase.Thread(name: "ioto-mqtt") { self.run() }
    }

    /// Queues a message. From any thread.
    func publish(_ publication: Publication) {
        let isTaken = lock.withLock { outgoing.append(publication) }
        if !isTaken {
            Log.warning("\(publication.topic): too many messages wait for the broker, one is dropped")
            if let ticket = publication.ticket { inbox.put(.published(ticket: ticket, isSent: false)) }
        }
        // The thread itself looks before it waits.
        if identity.load(ordering: .relaxed) != Thread.currentIdentity { platform_event_signal(event) }
    }

    /// The largest packet that the broker takes, as it has told with this connection; nil: it has not. From any thread.
    var packetBytesMax: Int? { lock.withLock { toldPacketBytesMax } }

    /// Sends what is queued, says goodbye and waits for the thread to end. To be called once, if it was started.
    func stop() async {
        lock.withLock { isStopping = true }
        platform_event_signal(event)
        guard let thread else { return }
        await withCheckedContinuation { continuation in
            Task.detached {
                thread.join()
                continuation.resume()
            }
        }
    }

    // MARK: - On the thread

    private func run() {
        identity.store(Thread.currentIdentity, ordering: .relaxed)
        defer { turn = {} }
        var stopAt = Int64.max
        while true {
            let now = Instant.now.monotonic
            if lock.withLock({ isStopping }) {
                stopAt = min(stopAt, now + BrokerSession.stopMax)
                if isIdle || now >= stopAt || outgoingIsSent() { break }
            }
            if isIdle, now >= connectAt { connect() }
            send()
            let due = min(stopAt, isIdle ? connectAt : Int64.max)
            client.step(wake: event, timeout: due == Int64.max ? -1 : max(0, due - Instant.now.monotonic))
            turn()
        }
        client.disconnect()
        while !isIdle { client.step(wake: event, timeout: -1) }
        client.close()
    }

    private func outgoingIsSent() -> Bool {
        lock.withLock { outgoing.isEmpty } && unacknowledged == 0
    }

    private func connect() {
        isIdle = false
        do throws(IotoError) {
            try client.connect()
        } catch {
            mqttDisconnected(error)
        }
    }

    private func send() {
        var hasSent = false
        defer { if hasSent { client.flush() } }
        while isSubscribed, unacknowledged < BrokerSession.unacknowledgedMax,
            let publication = lock.withLock({ outgoing.removeFirst() }) {
            do throws(IotoError) {
                let id = try client.publish(MQTTMessage(topic: publication.topic, payload: publication.payload), qos: 1)
                hasSent = true
                unacknowledged += 1
                if let ticket = publication.ticket { tickets[id] = ticket }
            } catch {
                if let ticket = publication.ticket { inbox.put(.published(ticket: ticket, isSent: false)) }
                // Of no message that a device waits for: it will ask again.
                Log.warning("\(publication.topic): \(error.message)")
            }
        }
    }

    private func deliver(_ topic: Text, _ payload: [UInt8]) {
        if !inbox.put(message: topic, payload) {
            Log.warning("\(topic): the store is slower than the devices, a message is dropped and will come again")
        }
    }
}

extension BrokerSession: MQTTDelegate {
    func mqttConnected(sessionPresent: Bool) {
        isNew = !sessionPresent
        Log.debug("\(place): connected, session \(sessionPresent ? "resumed" : "new")")
        do throws(IotoError) {
            _ = try client.subscribe(filters)
        } catch {
            Log.error("\(place): \(error.message)")
            client.disconnect()
        }
    }

    func mqttSubscribed(_ id: Int32, accepted: Bool) {
        guard accepted else {
            Log.error("\(place): the broker refuses the cloud's subscriptions")
            client.disconnect()
            return
        }
        Log.info("\(place): subscribed")
        retry.reset()
        isSubscribed = true
        lock.withLock { toldPacketBytesMax = client.packetBytesMax }
        inbox.put(.subscribed)
        if isNew { publish(HubReplicator.announcement) }
        for (topic, payload) in early { deliver(topic, payload) }
        (early, earlyBytes) = ([], 0)
    }

    func mqttDisconnected(_ error: IotoError?) {
        // What was sent without an acknowledgement is sent again by the client, which then tells of it as usual.
        isIdle = true
        isSubscribed = false
        (early, earlyBytes) = ([], 0)
        let wait = retry.next(using: &jitter)
        connectAt = Instant.now.monotonic + wait
        if lock.withLock({ isStopping }) { return }
        Log.warning("\(error?.message ?? "disconnected from the broker"); next attempt in \(wait) ms")
    }

    func mqttPublished(_ id: Int32, _ error: IotoError?) {
        unacknowledged = max(0, unacknowledged - 1)
        if let error { Log.warning(error.message) }
        if let ticket = tickets.removeValue(forKey: id) { inbox.put(.published(ticket: ticket, isSent: error == nil)) }
    }

    func mqttReceived(_ topic: Text, _ payload: [UInt8]) {
        // A resumed session may bring messages before the hub knows that it is connected.
        if isSubscribed {
            deliver(topic, payload)
        } else if early.count < BrokerSession.earlyMax, earlyBytes + payload.count <= BrokerSession.earlyBytesMax {
            early.append((topic, payload))
            earlyBytes += payload.count
        }
    }
}

/// Messages that wait for the broker, bounded in number and size.
private struct Outgoing {
    private var messages: [Publication] = []
    private var next = 0
    private var bytes = 0

    var isEmpty: Bool { next == messages.count }

    /// - Returns: False when there is no room.
    mutating func append(_ message: Publication) -> Bool {
        guard messages.count - next < BrokerSession.outgoingMax,
            isEmpty || bytes + message.payload.count <= BrokerSession.outgoingBytesMax
        else { return false }
        messages.append(message)
        bytes += message.payload.count
        return true
    }

    mutating func removeFirst() -> Publication? {
        guard next < messages.count else { return nil }
        let message = messages[next]
        next += 1
        bytes -= message.payload.count
        if next == messages.count || next > 1000 {
            messages.removeFirst(next)
            next = 0
        }
        return message
    }
}

extension BrokerAddress {
    func options(clientID: Text) -> MQTTOptions {
        var options = MQTTOptions(
            host: Text(host), port: port, clientID: clientID, username: username.map { Text($0) },
            password: password.map { Text($0) }, authority: authority.map { Text($0) },
            certificate: certificate.map { Text($0) }, key: key.map { Text($0) })
        // Which is also what turns TLS on.
        if usesTLS, options.authority == nil { options.authority = MQTTOptions.systemAuthorities }
        options.cleanSession = false
        options.version = .automatic
        options.keepalive = 30
        // A page has one item at least, which may be far larger than what a device may send.
        options.payloadBytesMax = Limits.messageBytesMax
        return options
    }
}
