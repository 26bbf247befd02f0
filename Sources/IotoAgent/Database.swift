import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import Synchronization

/// Told of local changes that wait in the outbox, for the agent. Called on the thread that made the change, with the
/// store's writer locked: it must return at once.
public protocol OutboxListener: AnyObject {
    /// - Parameter bytes: Size of the items that changed.
    func outboxDidChange(bytes: Int)
}

/// An open database: the store under its schema, with context values and triggers. What `Db` stands for.
///
/// Any thread may call any function. A change is checked against the schema, stored and queued for replication in one
/// transaction; its triggers run after the commit, on the dispatcher's thread.
public final class Database: StoreObserver, @unchecked Sendable {
    public let schema: Schema
    public let store: Store
    let triggers: TriggerDispatcher
    private let lock = Lock()
    private var sharedContext = Context()
    /// Whether there is anything in it.
    private let hasContext = Atomic<Bool>(false)
    private var outboxListener: (any OutboxListener)?
    private var expiry: ExpiryWorker?
    private var conflictCount: Int64 = 0

    /// Conflicts since the database was opened.
    public var conflicts: Int64 { lock.withLock { conflictCount } }

    /// Opens or creates the database at `path` under the schema file.
    public init(path: Text, schemaPath: Text, options: StoreOptions) throws(IotoError) {
        let schema = try Schema.load(schemaPath)
        for warning in schema.warnings { Log.warning(warning) }
        self.schema = schema
        store = try Store(path: path, schema: schema, options: options)
        triggers = TriggerDispatcher()
        if store.hasExpiry, !options.isReadOnly { expiry = try ExpiryWorker(store, triggers) }
        store.isWatched.store(false, ordering: .relaxed)
        store.setObserver(self)
    }

    /// Lets calls end that wait for what won't come: triggers that nobody may run any more, or the end of a transaction.
    public func prepareToClose() {
        store.prepareToClose()
        triggers.stopWaiting()
    }

    /// Delivers the triggers of what is committed, then closes the file. No call is under way.
    public func close() {
        expiry?.stop()
        // So that its triggers are told; what fails here is tried once more when the file is closed.
        try? store.flushDelayed()
        triggers.stop()
        store.setObserver(nil)
        store.close()
    }

    deinit {
        expiry?.stop()
    }

    public var context: Context { hasContext.load(ordering: .acquiring) ? lock.withLock { sharedContext } : Context() }

    /// Sets a context value; nil takes it away.
    public func setContext(_ name: Text, _ value: Text?) {
        lock.withLock { sharedContext.set(name, value) }
        hasContext.store(true, ordering: .releasing)
    }

    /// The model of that name.
    ///
    /// - Throws: `.model` when the schema has none.
    public func model(_ name: Text) throws(IotoError) -> Model {
        guard let model = schema.model(name) else {
            throw IotoError(.model, "schema \"\(schema.name)\" has no model \"\(name)\"")
        }
        return model
    }

    /// The model, if items of it may exist on the device.
    ///
    /// - Throws: `.model`; `.denied` when the schema enables it in the cloud alone.
    func deviceModel(_ name: Text) throws(IotoError) -> Model {
        let model = try model(name)
        guard model.existsOnDevice else {
            throw IotoError(.denied, "model \"\(name)\" is enabled in the cloud only")
        }
        return model
    }

    public func setOutboxListener(_ listener: (any OutboxListener)?) {
        lock.withLock { outboxListener = listener }
    }

    public func storeDidCommit(_ events: [StoreEvent]) {
        triggers.enqueue(events)
        expiry?.notice(events)
        var bytes = 0
        for event in events where !event.isRemote && event.kind.isChange && event.model.syncsUp {
            bytes += event.after?.body.count ?? event.key.sort.count
        }
        if bytes > 0 { lock.withLock { outboxListener }?.outboxDidChange(bytes: bytes) }
        var conflicts: Int64 = 0
        for event in events where event.kind == .conflict { conflicts += 1 }
        if conflicts > 0 { lock.withLock { conflictCount += conflicts } }
    }

    /// Removes every item that has expired, now.
    ///
    /// - Parameter isSilent: Without triggers.
    /// - Returns: The number removed.
    public func removeExpired(isSilent: Bool) throws(IotoError) -> Int {
        try store.requireWriter()
        var count = 0
        var hasMore = true
        while hasMore {
            let step = try store.removeExpired(isSilent: isSilent)
            count += step.removed
            hasMore = step.hasMore
            waitForTriggers()
        }
        return count
    }

    // MARK: Triggers

    /// Adds a trigger for a model, or for every model.
    public func addTrigger(
        _ identity: TriggerIdentity, events: TriggerEvents, _ body: @escaping (TriggerCall) -> Void
    ) throws(IotoError) {
        if let name = identity.model { _ = try model(name) }
        store.isWatched.store(true, ordering: .relaxed)
        try triggers.add(Trigger(identity: identity, events: events, body: body))
    }

    /// Removes the triggers of that identity, and waits for one that is running on another thread.
    ///
    /// - Returns: How many there were.
    public func removeTrigger(_ identity: TriggerIdentity) -> Int {
        triggers.remove(identity)
    }

    /// Gives triggers to the firmware's loop: a descriptor that is readable while `dispatch` has something to do.
    public func triggerDescriptor() throws(IotoError) -> Int32 {
        try triggers.descriptor()
    }

    /// Calls triggers that wait, on the calling thread, until `timeMax` milliseconds have passed (negative: until none
    /// waits).
    ///
    /// - Returns: The number of calls.
    /// - Throws: `.misuse` when they have a thread of their own.
    public func dispatch(timeMax: Int64) throws(IotoError) -> Int {
        try triggers.dispatch(timeMax: timeMax)
    }

    // MARK: Space

    /// Sets what the database may take.
    public func setCeilings(_ ceilings: Ceilings) throws(IotoError) {
        try store.setCeilings(ceilings)
    }

    public func statistics() throws(IotoError) -> StoreStatistics {
        try store.statistics()
    }
}
