import CSQLite
import IotoBase
import IotoSchema

/// What a database holds, and what it has done since it was opened.
public struct StoreStatistics: Sendable {
    public var items: Int64 = 0
    public var tombstones: Int64 = 0
    public var outboxItems: Int64 = 0
    /// Bytes of the items that wait in the outbox.
    public var outboxBytes: Int64 = 0
    public var rejectedItems: Int64 = 0
    /// Size of the file and of its log, and what of the file is free.
    public var fileBytes: Int64 = 0
    public var logBytes: Int64 = 0
    public var freeBytes: Int64 = 0
    /// Memory for the items of models in memory.
    public var memoryBytes: Int64 = 0
    public var bytesWritten: Int64 = 0
    public var syncs: Int64 = 0
    public var commits: Int64 = 0
    /// Items and pages that were in memory and pages that were not, as far as the connections know that nobody uses now, and
    /// the memory of both.
    public var cacheHits: Int64 = 0
    public var cacheMisses: Int64 = 0
    public var cacheBytes: Int64 = 0
    /// Changes that met a ceiling: refused, and given up for a later one.
    public var refused: Int64 = 0
    public var dropped: Int64 = 0
}

extension StoreStatistics {
    mutating func count(_ connection: Connection) {
        cacheHits += connection.status(SQLITE_DBSTATUS_CACHE_HIT)
        cacheMisses += connection.status(SQLITE_DBSTATUS_CACHE_MISS)
        cacheBytes += connection.status(SQLITE_DBSTATUS_CACHE_USED)
    }
}

extension Connection {
    /// Sets how large the database may become; 0: as large as it can.
    ///
    /// - Returns: The number of pages.
    @discardableResult func setSize(_ bytes: Int64) throws(IotoError) -> Int64 {
        let pages = bytes == 0 ? StoreLimits.pagesMax : min(max(1, bytes / StoreLimits.pageBytes), StoreLimits.pagesMax)
        try execute("PRAGMA max_page_count = " + Text(decimal: pages))
        pagesMax = bytes == 0 ? 0 : pages
        return pages
    }
}

extension Store {
    /// - Complexity: In the number of items.
    public func statistics() throws(IotoError) -> StoreStatistics {
        var statistics = counted
        (statistics.bytesWritten, statistics.syncs) = meter.written
        try read { (connection) throws(IotoError) in
            statistics.items = try connection.count(.countItems)
            statistics.tombstones = try connection.count(.countTombstones)
            statistics.rejectedItems = try rejectedCount(connection)
            let outbox = isSettledLate ? OutboxGauge.Weight() : try OutboxGauge(connection).total
            statistics.outboxItems = outbox.items
            statistics.outboxBytes = outbox.bytes
            statistics.freeBytes = try connection.count(.freePages) * StoreLimits.pageBytes
            statistics.count(connection)
        }
        try memory?.read { (connection) throws(IotoError) in
            statistics.items += try connection.count(.countItems)
            statistics.memoryBytes = (try connection.count(.pageCount) - connection.count(.freePages)) * StoreLimits.pageBytes
        }
        readers.count(&statistics)
        let items = cache.currentStatistics
        statistics.cacheHits += items.hits
        statistics.cacheBytes += Int64(items.bytes)
        if !isInTransaction { countWriter(&statistics) }
        statistics.fileBytes = Files.size(path) ?? 0
        statistics.logBytes = Files.size(path + "-wal") ?? 0
        return statistics
    }

    /// Sets what the database may take, from the next change on. A file that is larger already stays as it is, and does
    /// not grow.
    public func setCeilings(_ ceilings: Ceilings) throws(IotoError) {
        guard ceilings.fileBytes >= 0, ceilings.outboxItems >= 0, ceilings.outboxBytes >= 0, ceilings.cacheBytes >= 0,
            ceilings.memoryBytes >= 0
        else { throw IotoError(.misuse, "a limit is negative") }
        guard !isInTransaction else { throw IotoError(.misuse, "\(path): limits don't change within a transaction") }
        readers.setPageCache(ceilings.pageCacheKiB)
        cache.limit(to: ceilings.itemCacheBytes)
        if let memory {
            _ = try memory.read { (connection) throws(IotoError) in try connection.setSize(ceilings.memoryBytes) }
        }
        guard writer != nil else { return }
        try maintain { (writer) throws(IotoError) in
            let pages = try writer.setSize(ceilings.fileBytes)
            // On a small file system the log must not take what the file needs.
            try writer.execute(
                "PRAGMA wal_autocheckpoint = " + Text(decimal: max(16, min(StoreLimits.checkpointPages, pages / 4))))
            try writer.setPageCache(ceilings.pageCacheKiB)
            self.ceilings = ceilings
        }
    }

    // MARK: Free pages

    /// Gives some free pages back to the file system within a commit, while removals have left many.
    func shrink(_ transaction: StoreTransaction) throws(IotoError) {
        guard let connection = writer else { return }
        if transaction.hasRemoved || isShrinking {
            let free = try connection.count(.freePages)
            let limit = try connection.count(.pageCount) / (isShrinking ? 8 : 4)
            isShrinking = free > max(limit, StoreLimits.vacuumPagesMin)
        }
        guard isShrinking else { return }
        do throws(IotoError) {
            try connection.run(.shrink)
        } catch {
            // It can wait; the commit can't.
            isShrinking = false
            if !connection.isInTransaction { throw error }
        }
    }
}
