import IotoBase

/// The store's own limits and sizes.
enum StoreLimits {
    /// Size of a page of the database file, in bytes, which `page.h` has as well.
    static let pageBytes: Int64 = 4096
    /// Page cache of one connection, in KiB: there are at most `Limits.readersMax` and the writer's.
    static let pageCacheKiB: Int64 = 3072
    /// Reads of single items in one snapshot after which the next ones go by pages beside SQLite.
    static let lookupsBefore = 4
    /// Frames of the log that make it one read more.
    static let framesPerLookup = 32
    /// Size that the write-ahead log has, in pages, when a commit moves it into the database file.
    static let checkpointPages: Int64 = 1000
    /// How long a snapshot stays open that nobody reads from, in milliseconds: it keeps the log from being emptied.
    static let snapshotRest: Int64 = 25
    /// Size of the log, in pages, at which readers that never rest are kept waiting until it is emptied.
    static let longLogPages: Int64 = 4 * checkpointPages
    /// How long a writer waits for the readers then, in milliseconds.
    static let drainTime: Int64 = 20
    /// Changes of one transaction that the cache of items follows; after more it begins anew.
    static let followedChangesMax = 1000
    /// Size in bytes that the log's file is cut back to after that.
    static let logBytesMax: Int64 = 8 * 1024 * 1024
    /// Longest value that is read from a file, in bytes; a longer one is damage.
    static let valueBytesMax: Int32 = 1024 * 1024
    /// Changes refused by the cloud that are kept; the oldest give way.
    static let rejectedMax: Int64 = 1000
    /// Receipts of changes that are settled; the oldest give way.
    static let receiptsMax: Int64 = 10_000
    /// Open receipts of one item; the oldest give way.
    static let receiptsOfItemMax: Int64 = 100
    /// Tombstones that one open looks at to find those whose time is over.
    static let purgeStep: Int64 = 1000
    /// The same of one message of the cloud.
    static let purgeStepOfMessage: Int64 = 100
    /// Items after which the log tells how far the making of indexes has come.
    static let indexingReport: Int64 = 10_000
    /// Items that one transaction looks at to remove those that have expired.
    static let expiryStep: Int64 = 200
    /// How long after an open expired items wait for the cloud to tell the time of day before they are removed, in milliseconds.
    static let removalHold: Int64 = 3_600_000
    /// Age of a change, in milliseconds, from which on the cloud is told that it has had the item: it keeps tombstones for longer.
    static let knownAfter = Instant.dayLength
    /// Longest stretch of the clock that is reserved ahead, in milliseconds.
    static let clockReserveMax: UInt64 = 10_000
    /// How far ahead of the hub's clock a version may be that is sure to be taken as it is.
    static let clockTrust = UInt64(Limits.clockDriftMax / 2) << 16
    /// Part of a ceiling that is kept for models marked `reserve`, and for removals, where the schema has such models.
    static let reservedPart: Int64 = 8
    /// Smallest page cache of one connection, in KiB.
    static let pageCacheKiBMin: Int64 = 32
    /// Commits make the file smaller, 16 pages each (`SQL.shrink`), when more than this many pages are free, and a quarter of all.
    static let vacuumPagesMin: Int64 = 64
    /// Most pages that SQLite lets a file have.
    static let pagesMax: Int64 = 1_073_741_823
    /// Changes of models with a `delay` that gather in memory, and their bytes; with more the call commits them.
    static let gatheredMax = 256
    static let gatheredBytesMax = 512 * 1024
    /// Pause between two tries to get what another process has locked, in milliseconds.
    static let busyPause: Int64 = 3
    /// Items that the end of a snapshot looks at together: bytes of those it has in memory, and how many it sends again.
    static let snapshotStepBytes = 256 * 1024
    static let snapshotStep = 4096
    /// Problems that a check reports before it ends.
    static let problemsMax = 100
    /// Pages that one step of `vacuum` gives back, after which others can write.
    static let vacuumStep: Int64 = 128
    /// Pages that a backup copies at a time.
    static let backupStep: Int32 = 256
}
