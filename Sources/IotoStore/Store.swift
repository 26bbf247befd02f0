import CPlatform
import CSQLite
import IotoBase
import IotoSchema
import IotoSync
import Synchronization

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
    public var replica: UInt64 { identity.load(ordering: .relaxed) }
    let identity: Atomic<UInt64>

    let options: StoreOptions
    let models: ModelTable
    let indexes: StoreIndexes
    let lanes: SendLanes
    let readers: ReaderPool
    let cache = ItemCache(bytesMax: Limits.itemCacheBytesMax)
    /// Keeps the log's header, that cache and readers look at, in memory for as long as the store is open.
    private let anchor: Connection
    var sharedHeader: UnsafeRawPointer?
    /// The items of models in memory; nil when the schema has none.
    private(set) var memory: ReaderPool?
    let gathering = Gathering()
    let meter: FileMeter
    let hasReservedModels: Bool
    /// Guards what stands up to `isClosed`; held for moments only.
    let lock = Lock()
    let released = Condition()
    /// The thread that writes, or 0. What stands below `isClosed` is its own.
    let owner = Atomic<UInt>(0)
    /// Whether it does so by `begin`, for as long as the firmware likes.
    var isHeld = false
    /// Threads that wait to write, and how often one began to.
    var waiting = 0
    var turns: UInt32 = 0
    var observer: (any StoreObserver)?
    var isClosing = false
    var isClosed = false
    var counters = StoreStatistics()
    /// Nil in a store that is only read.
    let writer: Connection?
    var clock: StoreClock
    /// Somebody is told of every change, not of those alone that replication and expiry have to know of. To be set before the changes
    /// that he is to be told of.
    public let isWatched = Atomic<Bool>(true)
    /// What the cloud's time of day is ahead of the monotonic clock; 0: not known.
    let cloudOffset = Atomic<Int64>(0)
    /// What the time of day was ahead of the monotonic clock as the file was opened, and the hybrid clock's time.
    let openedOffset: Int64
    let openedTime: UInt64
    /// See `removalHold`.
    private(set) var holdUntil: Int64 = 0
    private let resolverLock = Lock()
    private var givenResolver: (any ConflictResolver)?
    /// Asked while nothing is locked.
    public var resolver: (any ConflictResolver)? {
        get { resolverLock.withLock { givenResolver } }
        set { resolverLock.withLock { givenResolver = newValue } }
    }
    var ceilings = Ceilings()
    /// What waits in the outbox, as the transaction under way sees it, and as it was before; nil: to be weighed.
    var gauge: OutboxGauge?
    var gaugeBefore: OutboxGauge?
    /// What waited after the last commit, and the cache's generation then; under the lock.
    var weighed: (total: OutboxGauge.Weight, generation: UInt64)?
    /// How often items have been changed or removed that were there, as far as it is known; under the lock.
    var edits: Int64 = 0
    /// What the next transaction begins with; under the lock.
    var late: LateSettlement?
    /// Whether commits give free pages back to the file system.
    var isShrinking = false
    /// Whether the file has this schema's indexes: not when another process has opened it with another schema.
    var isIndexed = false
    /// Whether the file has indexes at all: it may be of an older format, and open for reading only.
    private(set) var hasIndexes = true
    /// The transaction of `begin`, which writes of its thread join.
    var session: StoreTransaction?
    /// Whether such a write is under way.
    var isJoined = false
    /// Size of the log, in pages, at which it is relieved next.
    var reliefPages = StoreLimits.longLogPages
    /// The cache's generation after the last commit of this store; nil: not known.
    var ownGeneration: UInt64?
    /// What had been written in the transaction when it joined.
    var changesBefore: Int64 = 0
    /// Of durability `.normal`: time of the newest version that is known to be on the disk.
    var durableTime: UInt64 = 0
    /// The hub's clock, as it was heard of last, or up to a day before.
    var hubTime: UInt64 = 0
    /// Tombstones below this time are removed with the next messages of the cloud; 0: there are none.
    var purgeLimit: UInt64 = 0

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
        meter = try FileMeter(base: options.vfs)
        readers = ReaderPool(path: path, mode: options.isReadOnly ? .readOnly : .reader, meter: meter)
        hasReservedModels = schema.models.contains { $0.process.isReserved }
        openedOffset = options.wallClock() - options.monotonicClock()
        indexes = StoreIndexes(schema)
        lanes = SendLanes(schema)
        if schema.models.contains(where: { $0.process.isMemory }) {
            memory = ReaderPool(path: path, mode: .memory, meter: nil, most: 1)
        }
        if options.isReadOnly {
            guard !options.isReset else {
                throw IotoError(.readOnly, "\(path): a database that is only read can't be reset")
            }
            let connection = try Connection(path: path, mode: .readOnly, meter: meter)
            try StoreFormat.check(connection)
            hasIndexes = try connection.integer("PRAGMA user_version") >= 1001
            models = try ModelTable(connection, schema)
            identity = Atomic(try StoreFormat.readMeta(connection, StoreFormat.metaReplica))
            clock = try StoreClock(connection, wall: options.wallClock)
            openedTime = clock.last
            writer = nil
            anchor = connection
            try prepareMemory()
            try followLog()
            return
        }
        if options.isRecovering { try StoreRecovery.run(path, random: options.random) }
        let connection = try Connection(path: path, mode: .writer(options.durability), meter: meter)
        try StoreFormat.prepare(connection, random: options.random)
        try StoreFormat.adopt(connection, random: options.random)
        if options.isReset { try StoreFormat.reset(connection, random: options.random) }
        models = try ModelTable(updating: connection, schema)
        hubTime = try StoreFormat.findMeta(connection, StoreFormat.metaHub)
        if hubTime > 0 { holdUntil = options.monotonicClock() + StoreLimits.removalHold }
        identity = Atomic(try StoreFormat.readMeta(connection, StoreFormat.metaReplica))
        clock = try StoreClock(connection, wall: options.wallClock)
        openedTime = clock.last
        writer = connection
        anchor = connection
        try StoreFormat.arrive(connection)
        try updateIndexes(connection)
        try prepareMemory()
        try followLog()
        _ = try purgeTombstones()
        guard schema.models.contains(where: { $0.isDelayed }) else { return }
        try gathering.start { [unowned(unsafe) self] in
            do throws(IotoError) {
                try self.flushDelayed()
            } catch {
                Log.warning("changes in memory can't be committed, which is tried again: \(error.message)")
            }
        }
    }

    /// Begins to keep items and snapshots, where commits can be noticed in memory.
    private func followLog() throws(IotoError) {
        guard let header = try anchor.sharedLogHeader() else { return }
        sharedHeader = header
        cache.open(header)
        readers.keepSnapshots(header)
    }

    deinit {
        close()
    }

    private func prepareMemory() throws(IotoError) {
        try memory?.read { (connection) throws(IotoError) in
            try StoreFormat.prepareMemory(connection, indexes.fingerprint)
        }
    }

    /// Closes the files, and rolls a transaction of `begin` back whose thread has forgotten it. Calls that follow throw
    /// `.misuse`; reads and writes that are under way end first on their own threads. Idempotent. Not to be called from
    /// within a write or a scan, nor while the thread of a transaction of `begin` calls the store.
    public func close() {
        let thread = Thread.currentIdentity
        guard owner.load(ordering: .relaxed) != thread || (session != nil && !isJoined) else {
            Log.error("\(path): a transaction can't close its database")
            return
        }
        prepareToClose()
        gathering.stop()
        let isFirst = lock.withLock {
            while owner.load(ordering: .relaxed) != 0, !isHeld { released.wait(lock) }
            guard !isClosed else { return false }
            isClosed = true
            observer = nil
            owner.store(thread, ordering: .relaxed)
            return true
        }
        guard isFirst else { return }
        defer { release() }
        if let session {
            Log.warning("\(path): closed within a transaction, which is rolled back")
            end(session)
            self.session = nil
        }
        cache.close()
        readers.close()
        defer { memory?.close() }
        guard let writer else { return anchor.close() }
        settle(writer)
        // The last connection to the file empties the log into it.
        writer.close()
    }

    /// The last transaction.
    @inline(never)
    private func settle(_ writer: Connection) {
        do throws(IotoError) {
            try StoreFormat.transaction(writer) { () throws(IotoError) in
                try noticeOthers(writer)
                try takeLate(StoreTransaction(self, writer))
                if !gathering.isEmpty { try StoreTransaction(self, writer).writeGathered() }
                _ = try clock.settle(writer)
            }
        } catch {
            // What has gathered in memory is lost then; the clock begins later than it has to.
            Log.warning(error.message)
        }
    }

    /// Ends the waits for a transaction of `begin`, which nobody will end any more.
    public func prepareToClose() {
        lock.withLock {
            isClosing = true
            released.broadcast()
        }
    }

    /// Sets who is told of commits; nil: no one. The store keeps it alive until it is closed or gets another.
    public func setObserver(_ observer: (any StoreObserver)?) {
        lock.withLock { self.observer = observer }
    }

    /// - Throws: `.readOnly` when the store is only read.
    public func requireWriter() throws(IotoError) {
        if writer == nil { throw IotoError(.readOnly, "\(path): the database is open for reading only") }
    }

    /// As `read` of the items of a model.
    func read<Result>(
        _ model: Model, _ body: (Connection) throws(IotoError) -> Result
    ) throws(IotoError) -> Result {
        if let memory, model.process.isMemory { return try memory.read(body) }
        return try read(body)
    }

    /// Lends a connection for reading: the writer's within a transaction of this thread, else one of the pool.
    func read<Result>(_ body: (Connection) throws(IotoError) -> Result) throws(IotoError) -> Result {
        if let writer, isInTransaction { return try body(writer) }
        return try readers.read(body)
    }
}
