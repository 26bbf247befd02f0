import CPlatform
import IotoBase
import Synchronization

/// The connections for reading, opened when they are needed: at most `Limits.readersMax`.
///
/// That of models in memory has one connection, with the items, and who writes borrows it as well.
///
/// A thread that reads while it reads (within a scan) gets the connection that it has, and so never waits for itself.
///
/// A connection that comes back keeps its snapshot, for the next read before the next commit. A thread ends the snapshots
/// that are not used any more, and a writer of this process ends them as it begins: else they kept the log from being
/// emptied.
final class ReaderPool: @unchecked Sendable {
    private struct Loan {
        let connection: Connection
        let thread: UInt
    }

    private let path: Text
    private let mode: Connection.Mode
    private let meter: FileMeter?
    private let most: Int
    private let lock = Lock()
    private let returned = Condition()
    private var idle: [Connection] = []
    private var loans: [Loan] = []
    /// Connections that are being opened.
    private var opening = 0
    private var isClosed = false
    /// Loans wait until `withoutReaders` is done.
    private var isDraining = false
    /// Memory for pages that a connection gets.
    private var pageCacheKiB = StoreLimits.pageCacheKiB

    /// The header of the log; nil: no snapshot is kept.
    private var shared: UnsafeRawPointer?
    /// Whether an idle connection may have a snapshot.
    private let hasSnapshots = Atomic<Bool>(false)
    /// Counts reads, to tell whether snapshots are used.
    private var reads: UInt64 = 0
    private let resting = Condition()
    private var isResting = false
    /// How long a snapshot stays open that nobody reads from, in milliseconds. To be set before the first read.
    var rest = StoreLimits.snapshotRest
    private var keeper: Thread?

    init(path: Text, mode: Connection.Mode, meter: FileMeter?, most: Int = Limits.readersMax) {
        self.path = path
        self.most = most
        self.mode = mode
        self.meter = meter
    }

    /// Sets the memory for pages of each connection, from its next use on.
    func setPageCache(_ kibibytes: Int64) {
        lock.withLock {
            pageCacheKiB = kibibytes
            // Those that are lent give way when they come back.
            for loan in loans { loan.connection.isStale = true }
            for connection in idle { connection.close() }
            idle = []
            returned.broadcast()
        }
    }

    /// Adds what the idle connections have done.
    func count(_ statistics: inout StoreStatistics) {
        lock.withLock {
            for connection in idle { statistics.count(connection) }
        }
    }

    /// Lends a connection to the calling thread for the time of `body`.
    func read<Result>(_ body: (Connection) throws(IotoError) -> Result) throws(IotoError) -> Result {
        let connection = try borrow()
        defer { giveBack(connection) }
        return try body(connection)
    }

    /// Begins to keep snapshots.
    ///
    /// - Parameter shared: The header of the log in shared memory, which has to stay there until `close`.
    func keepSnapshots(_ shared: UnsafeRawPointer) {
        lock.withLock { self.shared = shared }
    }

    /// Ends the snapshots of connections that nobody reads with.
    func endSnapshots() {
        guard hasSnapshots.load(ordering: .acquiring) else { return }
        lock.withLock { endIdleSnapshots() }
    }

    /// Runs `body` while no thread of this process reads; new readers wait for it. When a reader takes too long, as a
    /// long scan does, nothing is done.
    func withoutReaders(_ body: () -> Void) {
        let isDrained = lock.withLock {
            isDraining = true
            endIdleSnapshots()
            let deadline = platform_monotonic_ms() + StoreLimits.drainTime
            while !loans.isEmpty || opening > 0 {
                let left = deadline - platform_monotonic_ms()
                guard left > 0 else { return false }
                _ = returned.wait(lock, timeout: left)
            }
            return true
        }
        if isDrained { body() }
        lock.withLock {
            isDraining = false
            returned.broadcast()
        }
    }

    /// Closes the connections: idle ones now, others when they come back.
    func close() {
        let keeper: Thread? = lock.withLock {
            isClosed = true
            shared = nil
            for connection in idle { connection.close() }
            idle = []
            returned.broadcast()
            resting.broadcast()
            defer { self.keeper = nil }
            return self.keeper
        }
        keeper?.join()
    }

    // MARK: Loans

    func borrow() throws(IotoError) -> Connection {
        let thread = Thread.currentIdentity
        var shared: UnsafeRawPointer?
        let found = try lock.withLock { () throws(IotoError) -> Connection? in
            shared = self.shared
            return try take(for: thread)
        }
        let connection: Connection
        if let found { connection = found } else { connection = try open(for: thread) }
        guard connection.loans == 1 else { return connection }
        do throws(IotoError) {
            try connection.keepSnapshot(shared)
        } catch {
            giveBack(connection)
            throw error
        }
        return connection
    }

    private func open(for thread: UInt) throws(IotoError) -> Connection {
        do throws(IotoError) {
            let connection = try Connection(path: path, mode: mode, meter: meter)
            try connection.setPageCache(lock.withLock { pageCacheKiB })
            connection.loans = 1
            lock.withLock {
                opening -= 1
                loans.append(Loan(connection: connection, thread: thread))
            }
            return connection
        } catch {
            lock.withLock {
                opening -= 1
                returned.broadcast()
            }
            throw error
        }
    }

    /// A connection that is there, or nil when the caller shall open one, for which the place is then kept.
    private func take(for thread: UInt) throws(IotoError) -> Connection? {
        for index in loans.indices where loans[index].thread == thread {
            loans[index].connection.loans += 1
            return loans[index].connection
        }
        let deadline = platform_monotonic_ms() + Limits.busyTimeout
        while true {
            guard !isClosed else { throw IotoError(.misuse, "\(path): the database is closed") }
            if isDraining {
                returned.wait(lock)
                continue
            }
            if let connection = idle.popLast() {
                connection.loans = 1
                loans.append(Loan(connection: connection, thread: thread))
                return connection
            }
            if loans.count + opening < most {
                opening += 1
                return nil
            }
            let left = deadline - platform_monotonic_ms()
            guard left > 0 else { throw IotoError(.busy, "\(path): other threads read for too long") }
            _ = returned.wait(lock, timeout: left)
        }
    }

    func giveBack(_ connection: Connection) {
        connection.loans -= 1
        guard connection.loans == 0 else { return }
        lock.lock()
        defer { lock.unlock() }
        for index in loans.indices where loans[index].connection === connection {
            loans.remove(at: index)
            break
        }
        guard !isClosed, !connection.isStale else {
            returned.broadcast()
            return connection.close()
        }
        idle.append(connection)
        reads &+= 1
        if connection.hasSnapshot { noteSnapshot() }
        if isDraining || loans.count + opening + 1 >= most { returned.broadcast() }
    }

    // MARK: Snapshots

    /// Sees to it that the snapshot of a connection that came back is ended some time.
    private func noteSnapshot() {
        hasSnapshots.store(true, ordering: .releasing)
        if keeper == nil {
            do throws(IotoError) {
                keeper = try Thread(name: "ioto-reader") { [unowned(unsafe) self] in self.keep() }
            } catch {
                // Nobody would end it.
                shared = nil
                endIdleSnapshots()
            }
        } else if isResting {
            resting.broadcast()
        }
    }

    private func keep() {
        lock.lock()
        defer { lock.unlock() }
        while !isClosed {
            guard hasSnapshots.load(ordering: .relaxed) else {
                isResting = true
                resting.wait(lock)
                isResting = false
                continue
            }
            let before = reads
            _ = resting.wait(lock, timeout: rest)
            if reads == before { endIdleSnapshots() }
        }
    }

    private func endIdleSnapshots() {
        hasSnapshots.store(false, ordering: .relaxed)
        for (index, connection) in idle.enumerated().reversed() where connection.hasSnapshot {
            do throws(IotoError) {
                try connection.endSnapshot()
            } catch {
                // A damaged file; the next read opens another connection, and tells.
                connection.close()
                idle.remove(at: index)
            }
        }
    }
}
