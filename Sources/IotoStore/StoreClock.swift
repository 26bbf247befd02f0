import IotoBase

/// The hybrid clock of a database file, which must not give a time twice: not after a crash, and not to two processes.
///
/// The file holds a ceiling: whoever raises it, within the transaction that needs it, owns the times between the old
/// one and the new one. An open clock begins above the ceiling it finds. How much is reserved ahead doubles while
/// nobody else writes, so that a process alone seldom writes the ceiling, and two that alternate don't chase each
/// other into the future.
struct StoreClock {
    private var clock: HybridClock
    /// The ceiling in the file, as this connection sees it.
    private var ceiling: UInt64
    private var committedCeiling: UInt64
    /// The last time given, and the last that was given in a transaction that is committed. Whatever another process gives
    /// after that is above it, since the ceiling that it finds is.
    private var issued: UInt64 = 0
    private(set) var committed: UInt64 = 0
    /// Milliseconds that the next raise reserves.
    private var reserve: UInt64 = 0
    /// SQLite's counter of the commits of others.
    private var dataVersion: Int64
    private let wall: @Sendable () -> Int64

    init(_ connection: Connection, wall: @escaping @Sendable () -> Int64) throws(IotoError) {
        self.wall = wall
        // Read first: a commit of another process between the two is then noticed by the first transaction.
        dataVersion = try StoreClock.dataVersion(connection)
        ceiling = try StoreClock.ceiling(connection)
        committedCeiling = ceiling
        clock = HybridClock(last: ceiling)
    }

    /// Highest time issued or observed.
    var last: UInt64 { clock.last }

    /// Takes notice of other processes' commits. To be called as a write transaction begins.
    ///
    /// - Returns: Whether there were any.
    mutating func begin(_ connection: Connection) throws(IotoError) -> Bool {
        let found = try StoreClock.dataVersion(connection)
        guard found != dataVersion else { return false }
        let stored = try StoreClock.ceiling(connection)
        dataVersion = found
        guard stored != committedCeiling else { return true }
        // The times reserved here are no longer ours alone.
        clock.observe(stored)
        ceiling = stored
        committedCeiling = stored
        reserve = 0
        return true
    }

    /// A time above every one issued or observed, within a write transaction. It is even: the hub gives a change another time
    /// that is odd, and not that of another change.
    mutating func next(_ connection: Connection) throws(IotoError) -> UInt64 {
        var time = clock.next(wall: wall())
        if time & 1 != 0 { time = clock.next(wall: wall()) }
        try raise(connection)
        issued = time
        return time
    }

    mutating func observe(_ time: UInt64) {
        clock.observe(time)
    }

    /// Raises the ceiling when the clock has passed it.
    mutating func raise(_ connection: Connection) throws(IotoError) {
        guard clock.last > ceiling else { return }
        #if IOTO_MUTANTS
            if Mutant.isActive(.clockNotPersisted) { return }
        #endif
        let raised = clock.last + (reserve << 16)
        try StoreFormat.writeMeta(connection, StoreFormat.metaClock, bits: raised)
        ceiling = raised
        reserve = min(max(1, reserve * 2), StoreLimits.clockReserveMax)
    }

    mutating func didCommit() {
        committedCeiling = ceiling
        committed = issued
    }

    /// The clock itself stays ahead: a time that was rolled back is not given again.
    mutating func didRollBack() {
        ceiling = committedCeiling
        issued = committed
    }

    /// Gives back what is reserved, within a write transaction: the next one who opens the file need not skip it.
    ///
    /// - Returns: Whether something was written.
    mutating func settle(_ connection: Connection) throws(IotoError) -> Bool {
        guard clock.last < ceiling else { return false }
        try StoreFormat.writeMeta(connection, StoreFormat.metaClock, bits: clock.last)
        ceiling = clock.last
        return true
    }

    private static func dataVersion(_ connection: Connection) throws(IotoError) -> Int64 {
        let statement = try connection.statement(.dataVersion)
        defer { statement.end() }
        guard try statement.step() else { throw connection.corrupt("no data version") }
        return try statement.integer(0)
    }

    private static func ceiling(_ connection: Connection) throws(IotoError) -> UInt64 {
        let stored = try StoreFormat.readMeta(connection, StoreFormat.metaClock)
        guard HybridClock.isReadable(stored) else { throw connection.corrupt("the clock is beyond every date") }
        return stored
    }
}
