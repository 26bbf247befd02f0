import CPlatform
import IotoBase

/// The connections for reading, opened when they are needed: at most `Limits.readersMax`.
///
/// That of models in memory has one connection, with the items, and who writes borrows it as well.
///
/// A thread that reads while it reads (within a scan) gets the connection that it has, and so never waits for itself.
final class ReaderPool {
    private struct Loan {
        let connection: Connection
        let thread: UInt
        var depth: Int
        var isStale = false
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
    /// Memory for pages that a connection gets.
    private var pageCacheKiB = StoreLimits.pageCacheKiB

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
            for index in loans.indices { loans[index].isStale = true }
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
        defer { giveBack() }
        return try body(connection)
    }

    /// Closes the connections: idle ones now, others when they come back.
    func close() {
        lock.withLock {
            isClosed = true
            for connection in idle { connection.close() }
            idle = []
            returned.broadcast()
        }
    }

    func borrow() throws(IotoError) -> Connection {
        let thread = Thread.currentIdentity
        if let connection = try lock.withLock({ () throws(IotoError) in try take(for: thread) }) { return connection }
        do throws(IotoError) {
            let connection = try Connection(path: path, mode: mode, meter: meter)
            try connection.setPageCache(lock.withLock { pageCacheKiB })
            lock.withLock {
                opening -= 1
                loans.append(Loan(connection: connection, thread: thread, depth: 1))
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
            loans[index].depth += 1
            return loans[index].connection
        }
        let deadline = platform_monotonic_ms() + Limits.busyTimeout
        while true {
            guard !isClosed else { throw IotoError(.misuse, "\(path): the database is closed") }
            if let connection = idle.popLast() {
                loans.append(Loan(connection: connection, thread: thread, depth: 1))
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

    func giveBack() {
        let thread = Thread.currentIdentity
        lock.withLock {
            for index in loans.indices where loans[index].thread == thread {
                loans[index].depth -= 1
                guard loans[index].depth == 0 else { return }
                let loan = loans.remove(at: index)
                if isClosed || loan.isStale {
                    loan.connection.close()
                } else {
                    idle.append(loan.connection)
                }
                returned.broadcast()
                return
            }
        }
    }
}
