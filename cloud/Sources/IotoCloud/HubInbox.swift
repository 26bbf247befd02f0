import IotoBase
import IotoSync

/// What waits for the hub: its only owner takes it from here, one after the other, whatever thread it comes from.
///
/// The owner is the hub's thread, but for a small message that comes when nothing is under way: the thread that has read it
/// takes the hub for that one, since to wake another thread takes longer than what the hub does with it.
///
/// It is bounded. Messages and requests to the store that are out count as load, and messages by their bytes; at a limit, the
/// thread that reads from the broker has to wait, the broker with it, and in the end the devices.
final class HubInbox: @unchecked Sendable {
    enum Event: Sendable {
        /// The broker has taken the subscriptions, after each connection.
        case subscribed
        case message(topic: Text, payload: [UInt8])
        case answer(ticket: Int64, HubAnswer)
        case moved([Text])
        /// What became of a publication that has a ticket.
        case published(ticket: Int64, isSent: Bool)
    }

    static let loadMax = 1000
    static let bytesMax = 64 * 1024 * 1024
    /// How long the broker's thread waits for room, in milliseconds: less than a keepalive.
    static let patience: Int64 = 5_000
    /// Largest message that the broker's thread sees to itself, in bytes.
    static let smallBytes = 4 * 1024

    private let loadMax: Int
    private let bytesMax: Int
    private let patience: Int64
    private let lock = Lock()
    private let room = Condition()
    private let arrival = Condition()
    private var events: [Event] = []
    private var moved: [Text] = []
    /// Messages that wait and requests that are out.
    private var load = 0
    /// Of the messages that wait.
    private var bytes = 0
    private var requests = 0
    private var isDraining = false
    /// Whether the hub's thread works on what it has taken last, or somebody else does.
    private var isOwned = false
    private var isLent = false

    init(
        loadMax: Int = HubInbox.loadMax, bytesMax: Int = HubInbox.bytesMax, patience: Int64 = HubInbox.patience
    ) {
        self.loadMax = loadMax
        self.bytesMax = bytesMax
        self.patience = patience
    }

    func put(_ event: Event) {
        lock.withLock {
            events.append(event)
            arrival.broadcast()
        }
    }

    /// Waits for room, and puts a message.
    ///
    /// What is small is not told to the hub's thread before `takeSmall()`.
    ///
    /// - Returns: False when there was no room in time, or the hub is to stop: the message is dropped.
    func put(message topic: Text, _ payload: [UInt8]) -> Bool {
        lock.withLock {
            if load >= loadMax || bytes > 0 { arrival.broadcast() }
            while load >= loadMax || bytes > 0 && bytes + payload.count > bytesMax, !isDraining {
                if !room.wait(lock, timeout: patience) { return false }
            }
            if isDraining { return false }
            load += 1
            bytes += payload.count
            events.append(.message(topic: topic, payload: payload))
            if payload.count > HubInbox.smallBytes { arrival.broadcast() }
            return true
        }
    }

    /// Takes the message that waits if it is small and alone, and nothing else is under way; the caller is the hub's owner then, until
    /// `release()`. Else the hub's thread is told of what waits.
    func takeSmall() -> Event? {
        lock.withLock {
            guard !isOwned, !isLent, events.count == 1, load == 1, moved.isEmpty, !isDraining, case .message(_, let payload) = events[0],
                payload.count <= HubInbox.smallBytes
            else {
                if !events.isEmpty { arrival.broadcast() }
                return nil
            }
            isLent = true
            return take()[0]
        }
    }

    func release() {
        lock.withLock {
            isLent = false
            if !events.isEmpty || !moved.isEmpty || isDraining { arrival.broadcast() }
        }
    }

    /// Notes streams that moved; those that wait already are not noted twice.
    func put(moved streams: [Text]) {
        lock.withLock {
            for stream in streams where !moved.contains(stream) { moved.append(stream) }
            arrival.broadcast()
        }
    }

    /// Counts a request in, before it goes out.
    ///
    /// - Returns: False when the hub is to stop: the request is not to be made.
    func beginRequest() -> Bool {
        lock.withLock {
            if isDraining { return false }
            load += 1
            requests += 1
            return true
        }
    }

    func endRequest(ticket: Int64, _ answer: HubAnswer) {
        lock.withLock {
            requests -= 1
            events.append(.answer(ticket: ticket, answer))
            arrival.broadcast()
        }
    }

    /// Takes no more messages and lets no request begin. `next()` ends when the requests that are out are answered.
    func drain() {
        lock.withLock {
            isDraining = true
            room.broadcast()
            arrival.broadcast()
        }
    }

    var isStopping: Bool { lock.withLock { isDraining } }

    /// Whether nothing waits, and no request is out.
    var isIdle: Bool { lock.withLock { load == 0 && events.isEmpty && moved.isEmpty } }

    /// Waits for events.
    ///
    /// - Returns: All that wait, at least one; nil when it is drained. For the owner alone.
    func next() -> [Event]? {
        lock.withLock {
            isOwned = false
            while isLent || events.isEmpty && moved.isEmpty {
                if !isLent && isDraining && requests == 0 { return nil }
                arrival.wait(lock)
            }
            isOwned = true
            return take()
        }
    }

    private func take() -> [Event] {
        var taken = events
        events = []
        bytes = 0
        for event in taken {
            switch event {
            case .message, .answer: load -= 1
            case .subscribed, .moved, .published: break
            }
        }
        if !moved.isEmpty { taken.append(.moved(moved)) }
        moved = []
        if load < loadMax { room.broadcast() }
        return taken
    }
}
