import CPlatform
import CSQLite
import IotoBase
import IotoSync
import Synchronization

/// Writing: one thread at a time, in transactions.
extension Store {
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
    func acquire(isHeld willHold: Bool = false) throws(IotoError) {
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

    func release() {
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
            let generation = cache.beginWrite()
            do throws(IotoError) {
                // SQLite is asked only where the log's header does not say that nobody else has committed.
                if generation == nil || generation != ownGeneration { try noticeOthers(writer) }
            } catch {
                StoreFormat.rollBack(writer)
                cache.abandonWrite()
                throw error
            }
            gaugeBefore = gauge
            let transaction = StoreTransaction(self, writer)
            do throws(IotoError) {
                try takeLate(transaction)
            } catch {
                end(transaction)
                throw error
            }
            return transaction
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
            if let event = transaction.events.first { transaction.noteRefusal(event.item, error) }
            throw error
        }
        let generation = cache.endWrite(transaction.written)
        ownGeneration = generation
        gaugeBefore = nil
        transaction.endMemory(commits: true)
        clock.didCommit()
        transaction.isEnded = true
        if transaction.isThrough { gathering.clear() } else { gathering.add(transaction.staged) }
        let observer = lock.withLock {
            counters.commits += 1
            counters.dropped += transaction.dropped
            counters.refused += transaction.refused
            weighed = nil
            late = nil
            if transaction.hasEdited { edits += 1 }
            if let gauge, let generation { weighed = (gauge.total, generation) }
            return self.observer
        }
        guard !transaction.events.isEmpty else { return }
        // Told before the next commit, which makes the order that of the commits.
        observer?.storeDidCommit(transaction.events)
    }

    /// Rolls back.
    func end(_ transaction: StoreTransaction) {
        #if IOTO_MUTANTS
            if Mutant.isActive(.rollbackKept), let writer { try? writer.run(.commit) }
        #endif
        if let writer { StoreFormat.rollBack(writer) }
        cache.abandonWrite()
        transaction.endMemory(commits: false)
        clock.didRollBack()
        gauge = gaugeBefore
        gaugeBefore = nil
        transaction.isEnded = true
    }

    /// Counts and reports a change that met a ceiling.
    private func didRefuse(_ refusal: Refusal) {
        let observer = lock.withLock {
            counters.refused += 1
            return self.observer
        }
        let event = StoreEvent(
            .full, before: nil, after: refusal.item, isRemote: false, reason: "refused: " + refusal.reason)
        if let event { observer?.storeDidCommit([event]) }
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
    /// of this time before. Of all that this process has committed by then, no version has to be taken there again.
    func makeDurable(upTo time: UInt64) throws(IotoError) {
        guard let writer, !isInTransaction else { return }
        try acquire()
        defer { release() }
        guard time > durableTime else { return }
        try writer.syncLog()
        durableTime = max(time, clock.committed)
    }

    /// Lends the writer's connection outside a transaction, for the upkeep of the file. Not within a transaction.
    func maintain(_ body: (Connection) throws(IotoError) -> Void) throws(IotoError) {
        guard let writer else { throw IotoError(.readOnly, "\(path): the database is open for reading only") }
        try acquire()
        defer { release() }
        readers.endSnapshots()
        try body(writer)
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
}
