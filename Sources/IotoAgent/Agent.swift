import CPlatform
import IotoBase
import IotoMQTT
import IotoStore
import IotoSync

/// A database with its replication: what `Io` stands for. Any thread may call any function; the network is the business of
/// one thread of the agent's own, which alone touches the replicator and the MQTT client.
public final class Agent: OutboxListener, @unchecked Sendable {
    /// State of the link to the broker, numbered as `IoLink`.
    public enum Link: UInt32, Sendable {
        case stopped = 0
        case connecting = 1
        case connected = 2
        case waiting = 3
        case fenced = 4
    }

    public struct Status: Sendable {
        public var link = Link.stopped
        public var isCaughtUp = false
        public var pendingItems: Int64 = 0
        public var rejectedItems: Int64 = 0
        public var statistics = ReplicationStatistics()
        public var sentBytes: Int64 = 0
        public var receivedBytes: Int64 = 0
        public var connections: Int64 = 0
        public var lastError: IotoError?
        public var pendingBytes: Int64 = 0
        /// How long the oldest change waits, in milliseconds; 0: none does.
        public var oldestPending: Int64 = 0
        public var conflicts: Int64 = 0
        public var isHolding = false
        public var catchUp: (done: Int64, total: Int64) = (0, 0)

        /// Whether an observer has to be told.
        func differs(from other: Status) -> Bool {
            link != other.link || isCaughtUp != other.isCaughtUp || connections != other.connections
                || isHolding != other.isHolding || catchUp != other.catchUp || lastError?.code != other.lastError?.code
                || lastError?.message != other.lastError?.message
        }
    }

    /// What is asked of the network thread, with its outcome.
    final class Request {
        let kind: SyncDirection
        /// What the replicator gave for it; nil: not begun.
        var target: Int64?
        /// Of a request to send: nil when nothing was pending.
        var flush: FlushProgress?
        var outcome: Result<Void, IotoError>?

        init(_ kind: SyncDirection) {
            self.kind = kind
        }
    }

    public let configuration: AgentConfiguration
    public let database: Database

    /// Guards everything below, and nothing else.
    let lock = Lock()
    let condition = Condition()
    private var thread: Thread?
    private var session: NetworkSession?
    private var shared: SharedSession?
    var isStopping = false
    var requests: [Request] = []
    /// What is asked for and nobody waits for: as much as it is asked for, it is done once.
    var asked: (up: Bool, down: Bool) = (false, false)
    var changedBytes: Int? = nil
    /// Told of changes of the status, on the network thread.
    private var observer: (() -> Void)?
    private var told = Status()
    /// The network thread while it tells, or 0.
    private var teller: UInt = 0
    /// The database has a new identity, which the network thread does not know of yet.
    var hasRejoined = false
    var status = Status()
    /// What was sent and is not answered yet, for receipts.
    var sent: SentChanges?
    let wake: Int32

    /// Opens the database and makes an agent that is not started.
    public init(_ configuration: AgentConfiguration) throws(IotoError) {
        for warning in configuration.warnings { Log.warning(warning) }
        wake = platform_event_new()
        guard wake >= 0 else { throw IotoError(.memory, "no file descriptor is left for the agent") }
        self.configuration = configuration
        var options = StoreOptions()
        options.durability = configuration.durability
        do throws(IotoError) {
            database = try Database(
                path: configuration.databasePath, schemaPath: configuration.schemaPath, options: options)
        } catch {
            platform_close(wake)
            throw error
        }
        do throws(IotoError) {
            if configuration.ceilings != Ceilings() { try database.setCeilings(configuration.ceilings) }
            try database.store.assign(to: configuration.deviceID)
        } catch {
            database.close()
            platform_close(wake)
            throw error
        }
        database.setContext("deviceId", configuration.deviceID)
        if !configuration.accountID.isEmpty { database.setContext("accountId", configuration.accountID) }
        database.setOutboxListener(self)
    }

    deinit {
        platform_close(wake)
    }

    /// Starts the network thread; does nothing when it runs.
    ///
    /// - Parameter waits: Wait for the end of a stop that is under way. A callback can't, which the network thread may wait for.
    /// - Throws: `.offline` when it would have to wait; `.memory`.
    public func start(waits: Bool = true) throws(IotoError) {
        try lock.withLock { () throws(IotoError) in
            while thread != nil, isStopping {
                guard waits else { throw IotoError(.offline, "the agent is being stopped") }
                condition.wait(lock)
            }
            guard thread == nil else { return }
            isStopping = false
            // Kept from start to start, with what it has counted.
            if session == nil { session = try NetworkSession(self, shared) }
            guard let session else { return }
            thread = try Thread(name: "ioto-network") { session.run() }
        }
    }

    /// Ends the network thread. What is pending stays in the database.
    public func stop() {
        let ending: Thread? = lock.withLock {
            // One joins the thread, which is not forgotten before that; others wait for him.
            while thread != nil, isStopping { condition.wait(lock) }
            isStopping = thread != nil
            return thread
        }
        guard let ending else { return }
        platform_event_signal(wake)
        ending.join()
        lock.withLock {
            thread = nil
            isStopping = false
            condition.broadcast()
        }
    }

    /// Whether somebody works at what is asked for. Under the lock.
    var isRunning: Bool { thread != nil && !isStopping }

    /// Stops, and closes the database.
    public func close() {
        stop()
        session?.close()
        session = nil
        database.setOutboxListener(nil)
        database.close()
    }

    /// Sends all that is pending, asks for all that is new, or both, and waits for the cloud's answers.
    ///
    /// - Parameter timeout: Milliseconds; 0 asks and returns.
    /// - Throws: `.timeout`; `.offline` when the agent is not started or is stopped meanwhile.
    public func sync(_ kinds: [SyncDirection], timeout: Int64) throws(IotoError) {
        let deadline = platform_monotonic_ms() + max(0, timeout)
        try database.store.flushDelayed()
        let requests = timeout > 0 ? kinds.map { Request($0) } : []
        try lock.withLock { () throws(IotoError) in
            guard isRunning else { throw IotoError(.offline, "the agent is not started") }
            self.requests.append(contentsOf: requests)
            if timeout <= 0 {
                for kind in kinds {
                    switch kind {
                    case .up: asked.up = true
                    case .down: asked.down = true
                    }
                }
            }
        }
        platform_event_signal(wake)
        guard timeout > 0 else { return }
        try lock.withLock { () throws(IotoError) in
            defer { self.requests.removeAll { request in requests.contains { $0 === request } } }
            for request in requests {
                while request.outcome == nil {
                    let left = deadline - platform_monotonic_ms()
                    guard left > 0 else {
                        throw IotoError(.timeout, "the cloud has not answered in time")
                    }
                    _ = condition.wait(lock, timeout: left)
                }
                if case .failure(let error) = request.outcome { throw error }
            }
        }
    }

    /// Gives the database a new identity, under which it goes on as the device.
    public func rejoin() throws(IotoError) {
        try database.store.renewIdentity()
        lock.withLock {
            hasRejoined = true
            if status.link == .fenced { status.link = .connecting }
        }
        platform_event_signal(wake)
    }

    /// Takes a session of the firmware's in place of one of its own.
    ///
    /// - Throws: `.misuse` once the agent has been started.
    public func share(_ session: SharedSession) throws(IotoError) {
        try lock.withLock { () throws(IotoError) in
            guard self.session == nil else { throw IotoError(.misuse, "the agent has been started already") }
            shared = session
        }
    }

    public func sharedSession() throws(IotoError) -> SharedSession {
        guard let shared = lock.withLock({ shared }) else {
            throw IotoError(.misuse, "the agent has an MQTT session of its own")
        }
        return shared
    }

    /// Whether messages on a topic are replication's.
    public func concerns(_ topic: Text) -> Bool { configuration.topics.parseDown(topic) != nil }

    /// Wakes the network thread.
    public var wakeEvent: Int32 { wake }

    public func currentStatus() throws(IotoError) -> Status {
        var status = lock.withLock { self.status }
        let pending = try database.store.pendingWeight()
        (status.pendingItems, status.pendingBytes, status.oldestPending) = (pending.items, pending.bytes, pending.age)
        status.rejectedItems = try database.store.rejectedCount()
        status.conflicts = database.conflicts
        return status
    }

    /// Sets who is told when the status changes; the one before is not called any more when this returns.
    public func setObserver(_ observer: (() -> Void)?) {
        lock.withLock {
            while teller != 0, teller != Thread.currentIdentity { condition.wait(lock) }
            self.observer = observer
            told = Status()
        }
        platform_event_signal(wake)
    }

    /// Tells the observer when the status is another one than it was told last. On the network thread.
    func tellStatus() {
        lock.lock()
        defer { lock.unlock() }
        guard let observer, status.differs(from: told) else { return }
        told = status
        teller = Thread.currentIdentity
        lock.unlock()
        observer()
        lock.lock()
        teller = 0
        condition.broadcast()
    }

    public func outboxDidChange(bytes: Int) {
        let isFirst = lock.withLock {
            defer { changedBytes = (changedBytes ?? 0).addingReportingOverflow(bytes).partialValue }
            // The thread knows of changes that it has not fetched yet; what can be due at once is worth another wake-up.
            return changedBytes == nil || changedBytes.map { $0 >= configuration.syncLimit } == true
        }
        if isFirst { platform_event_signal(wake) }
    }
}

/// Which way to synchronize.
public enum SyncDirection: Sendable {
    case up
    case down
}
