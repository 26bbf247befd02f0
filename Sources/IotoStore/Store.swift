import CPlatform
import CSQLite
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
    /// Recover the file when it is damaged, see `StoreRecovery`.
    public var isRecovering = false
    /// Unix milliseconds.
    public var wallClock: @Sendable () -> Int64 = { platform_wall_ms() }
    /// Milliseconds that only go forward, from some moment on.
    public var monotonicClock: @Sendable () -> Int64 = { platform_monotonic_ms() }
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
    public private(set) var replica: UInt64

    let options: StoreOptions
    let models: ModelTable
    let indexes: StoreIndexes
    let lanes: SendLanes
    let readers: ReaderPool
    let cache = ItemCache(bytesMax: Limits.itemCacheBytesMax)
    /// Keeps the log's header, that cache and readers look at, in memory for as long as the store is open.
    private let anchor: Connection
    private var sharedHeader: UnsafeRawPointer?
    /// The items of models in memory; nil when the schema has none.
    private(set) var memory: ReaderPool?
    let gathering = Gathering()
    let meter: FileMeter
    let hasReservedModels: Bool
    /// Guards what stands up to `isClosed`; held for moments only.
    private let lock = Lock()
    private let released = Condition()
    /// The thread that writes, or 0. What stands below `isClosed` is its own.
    private let owner = Atomic<UInt>(0)
    /// Whether it does so by `begin`, for as long as the firmware likes.
    private var isHeld = false
    /// Threads that wait to write, and how often one began to.
    private var waiting = 0
    private var turns: UInt32 = 0
    private var observer: (any StoreObserver)?
    private var isClosing = false
    private var isClosed = false
    private var counters = StoreStatistics()
    /// Nil in a store that is only read.
    let writer: Connection?
    var clock: StoreClock
    /// What the cloud's time of day is ahead of the monotonic clock; 0: not known.
    let cloudOffset = Atomic<Int64>(0)
    /// What the time of day was ahead of the monotonic clock as the file was opened, and the hybrid clock's time.
    let openedOffset: Int64
    let openedTime: UInt64
    /// Asked while nothing is locked; set before replication begins.
    public var resolver: (any ConflictResolver)?
    var ceilings = Ceilings()
    /// What waits in the outbox; nil: to be weighed.
    var gauge: OutboxGauge?
    /// Whether commits give free pages back to the file system.
    var isShrinking = false
    /// Whether the file has this schema's indexes: not when another process has opened it with another schema.
    var isIndexed = false
    /// Whether the file has indexes at all: it may be of an older format, and open for reading only.
    private(set) var hasIndexes = true
    /// The transaction of `begin`, which writes of its thread join.
    private var session: StoreTransaction?
    /// Whether such a write is under way.
    private var isJoined = false
    /// Size of the log, in pages, at which it is relieved next.
    private var reliefPages = StoreLimits.longLogPages
    /// What had been written in the transaction when it joined.
    private var changesBefore: Int64 = 0
    /// Of durability `.normal`: time of the newest version that is known to be on the disk.
    var durableTime: UInt64 = 0
    /// The hub's clock, as it was heard of last, or up to a day before.
    var hubTime: UInt64 = 0

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
            replica = try StoreFormat.readMeta(connection, StoreFormat.metaReplica)
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
        replica = try StoreFormat.readMeta(connection, StoreFormat.metaReplica)
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
                Log.warning("changes in memory are not committed for now: \(error.message)")
            }
        }
    }

    /// Empties a log that has become long in a moment without readers: where there are always some, there is none by
    /// chance. Called by the thread that writes, between transactions.
    private func relieveLog(_ writer: Connection) {
        guard let sharedHeader else { return }
        var header = ioto_log_header()
        ioto_log_header_read(sharedHeader, &header)
        let pages = Int64(ioto_log_header_frames(&header))
        guard pages >= reliefPages else {
            if pages < StoreLimits.longLogPages { reliefPages = StoreLimits.longLogPages }
            return
        }
        // When a reader of another process is in the way, it is not tried again at once.
        reliefPages = pages + StoreLimits.checkpointPages
        // Most of it is done beside them.
        writer.checkpoint()
        readers.withoutReaders { writer.checkpoint() }
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

    // MARK: Transactions

    /// Runs `body` in one durable transaction: all that it writes is committed when this returns, and nothing when it
    /// throws. The observer is told after the commit. Within a transaction of `begin` on the same thread it becomes part
    /// of that one; otherwise transactions don't nest.
    ///
    /// - Throws: What `body` throws; `.readOnly`; `.busy` when another process, or another thread's transaction, writes
    ///   for too long; `.full` and SQLite's other errors.
    public func write<Result>(
        _ body: (StoreTransaction) throws(IotoError) -> Result
    ) throws(IotoError) -> Result {
        var transaction = try enter()
        while true {
            do throws(IotoError) {
                let result = try body(transaction)
                try leave(transaction)
                return result
            } catch {
                transaction = try retry(transaction, error)
            }
        }
    }

    // The steps of `write`, apart from it: one copy of them for every type of its result keeps the library small.

    /// The transaction of `begin` on this thread, or a new one.
    @inline(never)
    private func enter() throws(IotoError) -> StoreTransaction {
        guard isInTransaction else { return try start() }
        guard let transaction = session, !isJoined else { throw nested() }
        try transaction.use(nil)
        isJoined = true
        changesBefore = transaction.changes
        return transaction
    }

    @inline(never)
    private func leave(_ transaction: StoreTransaction) throws(IotoError) {
        if isJoined {
            isJoined = false
        } else {
            try finish(transaction)
            release()
        }
    }

    /// Ends a write that failed.
    ///
    /// - Returns: A transaction to try it again in.
    /// - Throws: The error, when there is no point in that.
    @inline(never)
    private func retry(_ transaction: StoreTransaction, _ error: IotoError) throws(IotoError) -> StoreTransaction {
        let refusal = transaction.refusal
        transaction.refusal = nil
        if isJoined {
            isJoined = false
            // What has been done of it must not be committed without the rest.
            if transaction.changes != changesBefore { transaction.failure = transaction.failure ?? error }
        } else {
            end(transaction)
            release()
            // The log may have taken the room, and give it back.
            if error.code == .full, error.detail != 0, !transaction.isRetry, reuseLog() {
                let again = try start()
                again.isRetry = true
                return again
            }
        }
        if let refusal { didRefuse(refusal) }
        throw error
    }

    /// Begins a transaction that the writes of the calling thread join, until `commit` or `rollBack` on the same thread.
    /// Other threads' writes wait for it, for at most `Limits.busyTimeout`; their reads don't.
    ///
    /// - Throws: `.misuse` when one is under way on this thread; as `write`.
    public func begin() throws(IotoError) {
        let transaction = try start(isHeld: true)
        do throws(IotoError) {
            try transaction.writeGathered()
        } catch {
            end(transaction)
            release()
            throw error
        }
        session = transaction
    }

    /// Commits the transaction of `begin`. It is over in any case: when this throws, it is rolled back.
    ///
    /// - Throws: `.misuse` when none is under way on this thread; the error of a write that failed half-way; as `write`.
    public func commit() throws(IotoError) {
        let transaction = try takeSession()
        do throws(IotoError) {
            try finish(transaction)
            release()
        } catch {
            let refusal = transaction.refusal
            end(transaction)
            release()
            if let refusal { didRefuse(refusal) }
            if error.code == .full { _ = reuseLog() }
            throw error
        }
    }

    /// Takes back everything since `begin`.
    ///
    /// - Throws: `.misuse` when no transaction is under way on this thread.
    public func rollBack() throws(IotoError) {
        let transaction = try takeSession()
        end(transaction)
        release()
        if transaction.failure?.code == .full { _ = reuseLog() }
    }

    /// Lets threads that wait to write have a turn.
    func giveWay() {
        lock.withLock {
            let turn = turns
            while waiting > 0, turns == turn, released.wait(lock, timeout: 100) {}
        }
    }

    /// The writes of this thread's transaction are to be under a receipt from now on.
    func beginReceipt() throws(IotoError) {
        guard isInTransaction, let session, session.receipted == nil else {
            throw IotoError(.misuse, "\(path): no receipt can be made here")
        }
        session.receipted = []
    }

    func endReceipt() throws(IotoError) -> Int64 {
        guard isInTransaction, let session else { return 0 }
        return try session.endReceipt()
    }

    func forgetReceipt() {
        if isInTransaction { session?.receipted = nil }
    }

    /// Whether the calling thread is in a transaction of `begin`.
    var isInSession: Bool { isInTransaction && session != nil }

    /// Whether the calling thread is in a transaction.
    public var isInTransaction: Bool { owner.load(ordering: .relaxed) == Thread.currentIdentity }

    private func takeSession() throws(IotoError) -> StoreTransaction {
        guard isInTransaction, !isJoined, let transaction = session else {
            throw IotoError(.misuse, "\(path): no transaction is under way on this thread")
        }
        session = nil
        return transaction
    }

    private func nested() -> IotoError {
        IotoError(.misuse, "\(path): a transaction is under way on this thread")
    }

    /// Makes the calling thread the one that writes, once the others are done.
    private func acquire(isHeld willHold: Bool = false) throws(IotoError) {
        let thread = Thread.currentIdentity
        guard owner.load(ordering: .relaxed) != thread else { throw nested() }
        try lock.withLock { () throws(IotoError) in
            var deadline: Int64?
            waiting += 1
            defer { waiting -= 1 }
            while owner.load(ordering: .relaxed) != 0 {
                guard isHeld else {
                    released.wait(lock)
                    continue
                }
                guard !isClosing else { break }
                // The firmware holds it, and may have forgotten it.
                let now = platform_monotonic_ms()
                let until = deadline ?? now + Limits.busyTimeout
                deadline = until
                guard now < until else {
                    throw IotoError(.busy, "\(path): a transaction of another thread is under way for too long")
                }
                _ = released.wait(lock, timeout: until - now)
            }
            guard !isClosed, owner.load(ordering: .relaxed) == 0 else {
                throw IotoError(.misuse, "\(path): the database is closed")
            }
            owner.store(thread, ordering: .relaxed)
            isHeld = willHold
            turns &+= 1
        }
    }

    private func release() {
        lock.withLock {
            owner.store(0, ordering: .relaxed)
            isHeld = false
            released.broadcast()
        }
    }

    /// Begins a transaction; the calling thread then writes, until `release`.
    private func start(isHeld: Bool = false) throws(IotoError) -> StoreTransaction {
        try acquire(isHeld: isHeld)
        do throws(IotoError) {
            guard let writer else {
                throw IotoError(.readOnly, "\(path): the database is open for reading only")
            }
            readers.endSnapshots()
            relieveLog(writer)
            try writer.run(.begin)
            cache.beginWrite()
            do throws(IotoError) {
                try noticeOthers(writer)
            } catch {
                StoreFormat.rollBack(writer)
                cache.abandonWrite()
                throw error
            }
            return StoreTransaction(self, writer)
        } catch {
            release()
            throw error
        }
    }

    /// Commits. When it throws, the transaction is still to be rolled back.
    private func finish(_ transaction: StoreTransaction) throws(IotoError) {
        if let failure = transaction.failure { throw failure }
        try shrink(transaction)
        do throws(IotoError) {
            try writer?.run(.commit)
        } catch {
            if let event = transaction.events.first, let item = event.after ?? event.before {
                transaction.noteRefusal(item, error)
            }
            throw error
        }
        cache.endWrite(transaction.written)
        transaction.endMemory(.commit)
        clock.didCommit()
        transaction.isEnded = true
        if transaction.isThrough { gathering.clear() } else { gathering.add(transaction.staged) }
        let observer = lock.withLock {
            counters.commits += 1
            counters.dropped += transaction.dropped
            counters.refused += transaction.refused
            return self.observer
        }
        guard !transaction.events.isEmpty else { return }
        // Told before the next commit, which makes the order that of the commits.
        observer?.storeDidCommit(transaction.events)
    }

    /// Rolls back.
    private func end(_ transaction: StoreTransaction) {
        if let writer { StoreFormat.rollBack(writer) }
        cache.abandonWrite()
        transaction.endMemory(.rollback)
        clock.didRollBack()
        gauge = nil
        transaction.isEnded = true
    }

    /// Counts and reports a change that met a ceiling.
    private func didRefuse(_ refusal: Refusal) {
        let observer = lock.withLock {
            counters.refused += 1
            return self.observer
        }
        observer?.storeDidCommit([
            StoreEvent(
                .full, before: nil, after: refusal.item, model: refusal.item.model, key: refusal.item.key,
                isRemote: false, reason: "refused: " + refusal.reason)
        ])
    }

    /// Moves the log into the file, as far as its readers let it, so that the next change can use its room.
    private func reuseLog() -> Bool {
        do throws(IotoError) {
            try maintain { (writer) throws(IotoError) in try writer.execute("PRAGMA wal_checkpoint(PASSIVE)") }
            return true
        } catch {
            return false
        }
    }

    /// What has been counted since the store was opened.
    var counted: StoreStatistics { lock.withLock { counters } }

    /// Adds what the writer's connection has done, unless somebody uses it.
    func countWriter(_ statistics: inout StoreStatistics) {
        lock.withLock {
            if let writer, !isClosed, owner.load(ordering: .relaxed) == 0 { statistics.count(writer) }
        }
    }

    /// Takes all that is committed to the disk, whatever the store's durability, unless that was done for a version
    /// of this time before.
    func makeDurable(upTo time: UInt64) throws(IotoError) {
        guard let writer, !isInTransaction else { return }
        try acquire()
        defer { release() }
        guard time > durableTime else { return }
        try writer.setDurability(.full)
        let result: Result<Void, IotoError>
        do throws(IotoError) {
            try StoreFormat.transaction(writer) { () throws(IotoError) in
                cache.beginWrite()
                try noticeOthers(writer)
                try clock.touch(writer)
            }
            cache.endWrite([])
            clock.didCommit()
            durableTime = time
            result = .success(())
        } catch {
            cache.abandonWrite()
            clock.didRollBack()
            result = .failure(error)
        }
        try writer.setDurability(options.durability)
        try result.get()
    }

    // MARK: Identity

    public func epoch() throws(IotoError) -> Epoch {
        try read { (connection) throws(IotoError) in
            let bits = try StoreFormat.findMeta(connection, StoreFormat.metaEpoch)
            return Epoch(
                number: Int64(bitPattern: bits >> 2), nonce: try StoreFormat.findMeta(connection, StoreFormat.metaNonce),
                isConfirmed: bits & 1 != 0, isFenced: bits & 2 != 0)
        }
    }

    public func setEpoch(_ epoch: Epoch) throws(IotoError) {
        let bits = UInt64(bitPattern: epoch.number) << 2 | (epoch.isConfirmed ? 1 : 0) | (epoch.isFenced ? 2 : 0)
        try writeDurably { (connection) throws(IotoError) in
            try StoreFormat.writeMeta(connection, StoreFormat.metaEpoch, bits: bits)
            try StoreFormat.writeMeta(connection, StoreFormat.metaNonce, bits: epoch.nonce)
        }
    }

    public func counter(_ name: Text) throws(IotoError) -> UInt64 {
        try read { (connection) throws(IotoError) in try StoreFormat.findMeta(connection, "sent " + name) }
    }

    public func setCounter(_ name: Text, _ bits: UInt64) throws(IotoError) {
        try write { (transaction) throws(IotoError) in
            try StoreFormat.writeMeta(transaction.connection, "sent " + name, bits: bits)
        }
    }

    /// Gives the database a new id, as if it had been made now, with the items that it has: what was written until now is another's.
    /// A reader beside this may still tell the id from before.
    public func renewIdentity() throws(IotoError) {
        var renewed: UInt64 = 0
        try writeDurably { (connection) throws(IotoError) in
            renewed = try StoreFormat.renewReplica(connection, options.random)
        }
        replica = renewed
    }

    /// Notes whose database it is. One that was another device's gets a new id.
    public func assign(to device: Text) throws(IotoError) {
        var fingerprint = Fingerprint()
        fingerprint.add(device)
        let owner = max(1, fingerprint.value)
        let known = try read { (connection) throws(IotoError) in try StoreFormat.findMeta(connection, StoreFormat.metaOwner) }
        guard known != owner else { return }
        if known != 0 { try renewIdentity() }
        try writeDurably { (connection) throws(IotoError) in
            try StoreFormat.writeMeta(connection, StoreFormat.metaOwner, bits: owner)
        }
    }

    /// A transaction that is on the disk when this returns, whatever the store's durability.
    private func writeDurably(_ body: (Connection) throws(IotoError) -> Void) throws(IotoError) {
        try maintain { (connection) throws(IotoError) in
            try connection.setDurability(.full)
            let result: Result<Void, IotoError>
            do throws(IotoError) {
                result = .success(try StoreFormat.transaction(connection) { () throws(IotoError) in try body(connection) })
            } catch {
                result = .failure(error)
            }
            try connection.setDurability(options.durability)
            try result.get()
        }
    }

    /// Lends the writer's connection outside a transaction, for the upkeep of the file. Not within a transaction.
    func maintain(_ body: (Connection) throws(IotoError) -> Void) throws(IotoError) {
        guard let writer else { throw IotoError(.readOnly, "\(path): the database is open for reading only") }
        try acquire()
        defer { release() }
        readers.endSnapshots()
        try body(writer)
    }

    /// The hub's clock, as it was heard of last, or up to a day before; 0: never.
    func lastHubTime() throws(IotoError) -> UInt64 {
        if isInTransaction { return hubTime }
        try acquire()
        defer { release() }
        return hubTime
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
