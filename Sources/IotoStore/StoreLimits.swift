import IotoBase

/// The store's own limits and sizes.
enum StoreLimits {
    /// Page cache of one connection, in KiB: there are at most `Limits.readersMax` and the writer's.
    static let pageCacheKiB: Int64 = 2048
    /// Size that the write-ahead log has, in pages, when a commit moves it into the database file.
    static let checkpointPages: Int64 = 1000
    /// Size in bytes that the log's file is cut back to after that.
    static let logBytesMax: Int64 = 8 * 1024 * 1024
    /// Longest value that is read from a file, in bytes; a longer one is damage.
    static let valueBytesMax: Int32 = 1024 * 1024
    /// Changes refused by the cloud that are kept; the oldest give way.
    static let rejectedMax: Int64 = 1000
    /// Tombstones that one open looks at to find those whose time is over.
    static let purgeStep: Int64 = 1000
    /// Longest stretch of the clock that is reserved ahead, in milliseconds.
    static let clockReserveMax: UInt64 = 10_000
    /// Part of a ceiling that is kept for models marked `reserve`, and for removals, where the schema has such models.
    static let reservedPart: Int64 = 8
    /// Smallest page cache of one connection, in KiB.
    static let pageCacheKiBMin: Int64 = 32
    /// Pages that a commit gives back to the file system while the file shrinks; `SQL.vacuumStep` has the number.
    static let vacuumStep: Int64 = 16
    /// The file begins to shrink when more than this many pages are free, and a quarter of all.
    static let vacuumPagesMin: Int64 = 64
    /// Most pages that SQLite lets a file have.
    static let pagesMax: Int64 = 1_073_741_823
}
