import CPlatform
import IotoBase
import IotoSchema
import IotoSync
import Synchronization

/// When a commit is on the disk.
public enum Durability: Sendable {
    /// When the call returns: a power failure loses nothing that returned.
    case full
    /// Soon after: the death of the process loses nothing, a power failure may lose the last moments, never the
    /// consistency of the file. What is sent to the cloud is on the disk before it is sent.
    case normal
}

public struct StoreOptions: Sendable {
    public var durability = Durability.full
    /// Open a file that exists for reading only.
    public var isReadOnly = false
    /// Remove every item, pending change and cursor first.
    public var isReset = false
    /// Unix milliseconds.
    public var wallClock: @Sendable () -> Int64 = { platform_wall_ms() }
    /// Name of the SQLite VFS that the file is on; nil: the default one, the operating system's files.
    public var vfs: Text?
    /// Where the id of a new database comes from.
    public var random: @Sendable () -> UInt64 = { SystemRandom.uint64() }

    public init() {}
}

/// The items of one database file, and what replication keeps with them.
///
/// ```swift
/// let store = try Store(path: "state.db", schema: schema, options: StoreOptions())
/// try store.write { (transaction) throws(IotoError) in
///     _ = try transaction.put(model, key, body: text)
/// }
/// let item = try store.get(key, model: model)
/// ```
///
/// Any thread may call any function. One connection writes, under a lock; others read snapshots beside it and wait
/// neither for it nor for its fsync. A read within `write`, on the same thread, sees what the transaction has
/// written.
///
/// ## Topics
/// - Reading: `get`, `scan`
/// - Writing: `write`, `StoreTransaction`
/// - Replication: the functions of `DeviceStorage`, `rejectedChanges`, `rejectedCount`, `purgeTombstones`
/// - Events: `setObserver`, `StoreEvent`
public final class Store: DeviceStorage, @unchecked Sendable {
    public let path: Text
    public let schema: Schema
    /// Random id of this file, the writer in the versions that it issues.
    public let replica: UInt64

    let options: StoreOptions
    let models: ModelTable
    let readers: ReaderPool
    /// Guards what stands below it.
    private let lock = Lock()
    /// The thread that holds the lock for a transaction, or 0.
    private let owner = Atomic<UInt>(0)
    /// Nil in a store that is only read.
    let writer: Connection?
    var clock: StoreClock
    private var observer: (any StoreObserver)?
    private var isClosed = false
    /// Of durability `.normal`: time of the newest version that is known to be on the disk.
    private var durableTime: UInt64 = 0

    /// Opens a file, and makes it when there is none.
    ///
    /// - Throws: `.io` when it can't be opened; `.corrupt` when it is not a database of this library, or damaged;
    ///   `.format` when it is of a newer version; `.readOnly` when a file that is only read shall be reset; SQLite's
    ///   other errors.
    public init(path: Text, schema: Schema, options: StoreOptions) throws(IotoError) {
        guard !path.isEmpty, path.isValidUTF8 else { throw IotoError(.misuse, "the database has no file name") }
        self.path = path
        self.schema = schema
        self.options = options
        readers = ReaderPool(path: path, vfs: options.vfs, mode: options.isReadOnly ? .readOnly : .reader)
        if options.isReadOnly {
            guard !options.isReset else {
                throw IotoError(.readOnly, "\(path): a database that is only read can't be reset")
            }
            let connection = try Connection(path: path, vfs: options.vfs, mode: .readOnly)
            try StoreFormat.check(connection)
            models = try ModelTable(connection, schema)
            replica = try StoreFormat.readMeta(connection, StoreFormat.metaReplica)
            clock = try StoreClock(connection, wall: options.wallClock)
            writer = nil
            return
        }
        let connection = try Connection(path: path, vfs: options.vfs, mode: .writer(options.durability))
        try StoreFormat.prepare(connection, random: options.random)
        if options.isReset { try StoreFormat.reset(connection, random: options.random) }
        models = try ModelTable(updating: connection, schema)
        replica = try StoreFormat.readMeta(connection, StoreFormat.metaReplica)
        clock = try StoreClock(connection, wall: options.wallClock)
        writer = connection
        _ = try purgeTombstones()
    }

    deinit {
        close()
    }

    /// Closes the files. Calls that follow throw `.misuse`; reads that are under way end first on their own threads.
    /// Idempotent. Not to be called from within a transaction or a scan.
    public func close() {
        guard owner.load(ordering: .relaxed) != Thread.currentIdentity else {
            Log.error("\(path): a transaction can't close its database")
            return
        }
        lock.lock()
        defer { lock.unlock() }
        guard !isClosed else { return }
        isClosed = true
        observer = nil
        readers.close()
        guard let writer else { return }
        do throws(IotoError) {
            try StoreFormat.transaction(writer) { () throws(IotoError) in
                try clock.begin(writer)
                _ = try clock.settle(writer)
            }
        } catch {
            // The clock then begins later than it has to.
            Log.warning(error.message)
        }
        // The last connection to the file empties the log into it.
        writer.close()
    }

    /// Sets who is told of commits; nil: no one. The store keeps it alive until it is closed or gets another.
    public func setObserver(_ observer: (any StoreObserver)?) {
        lock.withLock { self.observer = observer }
    }

    // MARK: Transactions

    /// Runs `body` in one durable transaction: all that it writes is committed when this returns, and nothing when it
    /// throws. The observer is told after the commit. Transactions don't nest.
    ///
    /// - Throws: What `body` throws; `.readOnly`; `.busy` when another process writes for too long; `.full` and
    ///   SQLite's other errors.
    public func write<Result>(
        _ body: (StoreTransaction) throws(IotoError) -> Result
    ) throws(IotoError) -> Result {
        let transaction = try begin()
        do throws(IotoError) {
            let result = try body(transaction)
            try commit(transaction)
            return result
        } catch {
            rollBack(transaction)
            throw error
        }
    }

    /// Begins a transaction, which `commit` or `rollBack` ends on the same thread.
    func begin() throws(IotoError) -> StoreTransaction {
        let thread = Thread.currentIdentity
        guard owner.load(ordering: .relaxed) != thread else {
            throw IotoError(.misuse, "\(path): a transaction is under way on this thread")
        }
        lock.lock()
        do throws(IotoError) {
            guard !isClosed else { throw IotoError(.misuse, "\(path): the database is closed") }
            guard let writer else {
                throw IotoError(.readOnly, "\(path): the database is open for reading only")
            }
            try writer.run(.begin)
            do throws(IotoError) {
                try clock.begin(writer)
            } catch {
                StoreFormat.rollBack(writer)
                throw error
            }
            owner.store(thread, ordering: .relaxed)
            return StoreTransaction(self, writer)
        } catch {
            lock.unlock()
            throw error
        }
    }

    /// Commits. When it throws, the transaction is still to be rolled back.
    func commit(_ transaction: StoreTransaction) throws(IotoError) {
        if let failure = transaction.failure { throw failure }
        try transaction.connection.run(.commit)
        clock.didCommit()
        transaction.isEnded = true
        if !transaction.events.isEmpty { observer?.storeDidCommit(transaction.events) }
        owner.store(0, ordering: .relaxed)
        lock.unlock()
    }

    func rollBack(_ transaction: StoreTransaction) {
        StoreFormat.rollBack(transaction.connection)
        clock.didRollBack()
        transaction.isEnded = true
        owner.store(0, ordering: .relaxed)
        lock.unlock()
    }

    /// Takes all that is committed to the disk, whatever the store's durability, unless that was done for a version
    /// of this time before.
    func makeDurable(upTo time: UInt64) throws(IotoError) {
        guard let writer, owner.load(ordering: .relaxed) != Thread.currentIdentity else { return }
        try lock.withLock { () throws(IotoError) in
            guard !isClosed, time > durableTime else { return }
            try writer.setDurability(.full)
            let result: Result<Void, IotoError>
            do throws(IotoError) {
                try StoreFormat.transaction(writer) { () throws(IotoError) in
                    try clock.begin(writer)
                    try clock.touch(writer)
                }
                clock.didCommit()
                durableTime = time
                result = .success(())
            } catch {
                clock.didRollBack()
                result = .failure(error)
            }
            try writer.setDurability(options.durability)
            try result.get()
        }
    }

    /// Highest time that was issued or observed here.
    var clockTime: UInt64 {
        if owner.load(ordering: .relaxed) == Thread.currentIdentity { return clock.last }
        return lock.withLock { clock.last }
    }

    /// Lends a connection for reading: the writer's within a transaction of this thread, else one of the pool.
    func read<Result>(_ body: (Connection) throws(IotoError) -> Result) throws(IotoError) -> Result {
        if let writer, owner.load(ordering: .relaxed) == Thread.currentIdentity { return try body(writer) }
        return try readers.read(body)
    }
}
