import IotoBase
import IotoSync

/// What waits in the outbox, by model. Rows that lead to nothing count as those of model 0.
struct OutboxGauge {
    struct Weight {
        var items: Int64 = 0
        var bytes: Int64 = 0

        mutating func add(_ items: Int64, _ bytes: Int64) {
            self.items += items
            self.bytes += bytes
        }
    }

    private(set) var total = Weight()
    private var models: [Int64: Weight] = [:]

    init(_ connection: Connection) throws(IotoError) {
        let statement = try connection.statement(.weighPending)
        defer { statement.end() }
        while try statement.step() {
            add(try statement.integer(0), items: try statement.integer(1), bytes: try statement.integer(2))
        }
    }

    mutating func add(_ model: Int64, items: Int64, bytes: Int64) {
        total.add(items, bytes)
        var weight = models[model] ?? Weight()
        weight.add(items, bytes)
        models[model] = weight
    }

    func weight(of model: Int64) -> Weight { models[model] ?? Weight() }
}

extension Store {
    /// What waits in the outbox, as the transaction sees it.
    func outboxGauge(_ connection: Connection) throws(IotoError) -> OutboxGauge {
        if let gauge { return gauge }
        let weighed = try OutboxGauge(connection)
        gauge = weighed
        return weighed
    }

    /// What waits in the outbox, and for how long, in milliseconds.
    ///
    /// - Complexity: In the number of changes when it is asked for first, and after another process has written to the file.
    public func pendingWeight() throws(IotoError) -> (items: Int64, bytes: Int64, age: Int64) {
        let total = try pendingTotal()
        guard total.items > 0, let oldest = try read({ (connection) throws(IotoError) in try oldestEntry(connection) })
        else { return (total.items, total.bytes, 0) }
        return (total.items, total.bytes, age(of: oldest))
    }

    /// How long ago a time of the database's clock was, in milliseconds, at least 1. What the machine's clock said since the file was
    /// opened, or wrongly, is compared with what that clock would say by now if nobody had set it.
    private func age(of entered: Int64) -> Int64 {
        let time = entered >> 16
        let (age, unset) = (timeOfDay() - time, options.monotonicClock() + openedOffset - time)
        let isOfUnset = unset >= 0 && UInt64(bitPattern: entered) > openedTime || age < 0 || time < Instant.earliestPlausible
        return max(1, isOfUnset ? unset : age)
    }

    private func pendingTotal() throws(IotoError) -> OutboxGauge.Weight {
        if isInTransaction, let writer { return try outboxGauge(writer).total }
        if isSettledLate { return OutboxGauge.Weight() }
        let (weighed, isTaken) = lock.withLock { (self.weighed, isHeld) }
        if let weighed, cache.isCurrent(weighed.generation) { return weighed.total }
        if writer != nil, !isTaken {
            // From then on each commit keeps it up.
            do throws(IotoError) {
                return try write { (transaction) throws(IotoError) in try outboxGauge(transaction.connection).total }
            } catch {
                guard error.code == .busy else { throw error }
            }
        }
        return try read { (connection) throws(IotoError) in try OutboxGauge(connection).total }
    }

    /// When the change entered that waits longest, by the database's clock. Positions of urgent models are moved: the first of every
    /// lane is looked at.
    private func oldestEntry(_ connection: Connection) throws(IotoError) -> Int64? {
        var oldest: Int64?
        var (lane, isLast) = (Int64.min, false)
        while !isLast {
            let statement = try connection.statement(.firstPending)
            defer { statement.end() }
            try statement.bind(1, lane)
            guard try statement.step(), let position = try statement.optionalInteger(0) else { break }
            oldest = min(oldest ?? .max, PendingChange.time(of: position))
            (lane, isLast) = (position - PendingChange.time(of: position)).addingReportingOverflow(1 << 60)
        }
        return oldest
    }
}
