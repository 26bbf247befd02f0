import CPlatform
import CSQLite
import IotoBase

/// One connection to the database file, with its prepared statements. One thread at a time uses it.
final class Connection {
    enum Mode {
        /// Reads and writes, and makes the file when there is none.
        case writer(Durability)
        /// Reads, beside a writer of this process.
        case reader
        /// Reads a file that this process must not change.
        case readOnly
        /// Writes a file that is of no use before it is complete.
        case copy
        /// A database in memory, with nothing else than this connection.
        case memory
        /// Reads as much of a damaged file as there is.
        case salvage
    }

    let path: Text
    /// Outlives the connection, whose file system layer it is.
    private let meter: FileMeter?
    private(set) var handle: OpaquePointer?
    /// One slot for each case of `SQL`, filled when it is first used.
    private var statements: [Statement?]
    /// Most pages, where there is a limit; else 0.
    var pagesMax: Int64 = 0
    /// How often the thread that reads with it has borrowed it.
    var loans = 0
    /// Whether it is to be closed when it comes back.
    var isStale = false
    /// The header of the log when the snapshot was taken that stays open between reads; nil: there is none.
    private(set) var snapshot: ioto_log_header?
    /// Looks for rows in that snapshot, once it has begun to; and how many rows were looked for before.
    var lookup: OpaquePointer?
    var isLookingUp = false
    var lookups = 0
    /// Pages that it keeps.
    private(set) var lookupPages: Int64 = 0
    private let isReader: Bool

    /// - Throws: `.io` when the file can't be opened, `.corrupt` when it is no database, and SQLite's other errors.
    init(path: Text, mode: Mode, meter: FileMeter? = nil) throws(IotoError) {
        self.path = path
        self.meter = meter
        statements = [Statement?](repeating: nil, count: SQL.allCases.count)
        switch mode {
        case .reader, .readOnly: isReader = true
        default: isReader = false
        }
        guard sqlite3_threadsafe() != 0 else {
            throw IotoError(.configuration, "the SQLite library is built without threads")
        }
        let flags: Int32
        switch mode {
        case .writer, .copy, .memory: flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        case .reader, .salvage: flags = SQLITE_OPEN_READWRITE
        case .readOnly: flags = SQLITE_OPEN_READONLY
        }
        var name = Connection.fileName(path)
        if case .memory = mode { name = ":memory:" }
        let code = name.withCString { name in
            sqlite3_open_v2(name, &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, meter?.name)
        }
        do throws(IotoError) {
            guard code == SQLITE_OK, handle != nil else { throw error(code, "open") }
            try configure(mode)
        } catch {
            close()
            throw error
        }
    }

    deinit {
        close()
    }

    /// SQLite reads `file:` names as URIs, and takes "" and ":memory:" for no file at all: `./` in front makes them
    /// names.
    static func fileName(_ path: Text) -> Text {
        path.bytes.first == UInt8(ascii: "/") ? path : "./" + path
    }

    private func configure(_ mode: Mode) throws(IotoError) {
        sqlite3_extended_result_codes(handle, 1)
        waitForOthers()
        guard ioto_sqlite_add_functions(handle) == SQLITE_OK else { throw error(SQLITE_NOMEM, "open") }
        _ = sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, StoreLimits.valueBytesMax)
        // With this SQLite reads a file that lacks its end, and a schema of which it understands a part.
        if case .salvage = mode { try execute("PRAGMA writable_schema = ON") }
        // The file is not trusted: what its schema says runs no function with side effects, and cells are checked.
        try execute("PRAGMA trusted_schema = OFF")
        try execute("PRAGMA cell_size_check = ON")
        try execute("PRAGMA foreign_keys = OFF")
        try execute("PRAGMA temp_store = MEMORY")
        try execute("PRAGMA mmap_size = 0")
        try setPageCache(StoreLimits.pageCacheKiB)
        if case .copy = mode {
            try execute("PRAGMA journal_mode = OFF")
            try execute("PRAGMA synchronous = OFF")
            return
        }
        if case .memory = mode { return }
        guard case .writer(let durability) = mode else {
            try execute("PRAGMA query_only = ON")
            return
        }
        // Deleted content is overwritten where that costs no page of its own: flash keeps old copies in any case.
        try execute("PRAGMA secure_delete = FAST")
        try execute("PRAGMA wal_autocheckpoint = " + Text(decimal: StoreLimits.checkpointPages))
        try execute("PRAGMA journal_size_limit = " + Text(decimal: StoreLimits.logBytesMax))
        try setDurability(durability)
    }

    /// Has calls wait for other processes. SQLite's own handler soon tries every 100 ms only, and so never meets the moment
    /// between two commits of a process that writes without a pause.
    private func waitForOthers() {
        sqlite3_busy_handler(
            handle,
            { _, tries in
                guard Int64(tries) * StoreLimits.busyPause < Limits.busyTimeout else { return 0 }
                sqlite3_sleep(Int32(truncatingIfNeeded: StoreLimits.busyPause))
                return 1
            }, nil)
    }

    func setDurability(_ durability: Durability) throws(IotoError) {
        #if IOTO_MUTANTS
            if Mutant.isActive(.neverSynced) { return try execute("PRAGMA synchronous = OFF") }
        #endif
        switch durability {
        case .full: try execute("PRAGMA synchronous = FULL")
        case .normal: try execute("PRAGMA synchronous = NORMAL")
        }
    }

    /// Rows that the last statement which writes has changed.
    var changes: Int64 { Int64(sqlite3_changes(handle)) }

    /// Takes all that is committed to the disk.
    func syncLog() throws(IotoError) {
        #if IOTO_MUTANTS
            if Mutant.isActive(.neverSynced) { return }
        #endif
        let code = ioto_sqlite_sync_log(handle)
        if code != SQLITE_OK { throw error(code, "sync") }
    }

    /// Sets the memory for pages of the file. Of a reader's, two thirds are for lookups, whose pages SQLite doesn't see.
    func setPageCache(_ kibibytes: Int64) throws(IotoError) {
        lookupPages = isReader ? kibibytes / 6 : 0
        try execute("PRAGMA cache_size = -" + Text(decimal: kibibytes - 4 * lookupPages))
    }

    /// Closes the file; the last connection of all processes empties the log. Idempotent.
    func close() {
        guard let open = handle else { return }
        forgetSnapshot()
        platform_lookup_free(lookup)
        lookup = nil
        for index in statements.indices { statements[index] = nil }
        // Statements that are still borrowed keep the connection half open until they are gone.
        sqlite3_close_v2(open)
        handle = nil
    }

    /// Whether a transaction is under way.
    var isInTransaction: Bool {
        guard let handle else { return false }
        return sqlite3_get_autocommit(handle) == 0
    }

    // MARK: Snapshots

    /// Where the header of the log stands in memory, once the database has been read; nil when it can't be had.
    func sharedLogHeader() throws(IotoError) -> UnsafeRawPointer? {
        guard let handle, try text("PRAGMA journal_mode") == "wal" else { return nil }
        return ioto_sqlite_log_header(handle)
    }

    var hasSnapshot: Bool { snapshot != nil }

    /// Moves what is in the log into the database, as far as no reader needs it where it is.
    func checkpoint() {
        guard let handle else { return }
        // What fails now is tried again by a later commit.
        _ = sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
    }

    /// Empties the log, unless somebody needs it at this moment.
    func truncateLog() {
        guard let handle else { return }
        sqlite3_busy_handler(handle, nil, nil)
        _ = sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
        waitForOthers()
    }

    /// Takes a snapshot that the reads to come share, or goes on with the one there is if nobody has committed since: to
    /// begin and to end one for each read takes more time than the read.
    ///
    /// - Parameter shared: The header of the log; nil: each statement takes a snapshot of its own.
    func keepSnapshot(_ shared: UnsafeRawPointer?) throws(IotoError) {
        if var known = snapshot {
            if let shared, ioto_log_header_is(shared, &known) { return }
            try endSnapshot()
        }
        guard let shared else { return }
        var header = ioto_log_header()
        ioto_log_header_read(shared, &header)
        guard ioto_log_is_short(shared, &header, UInt32(StoreLimits.checkpointPages)) else { return }
        // The snapshot is taken by the next read, and so is not older than the header.
        try run(.beginRead)
        snapshot = header
    }

    func endSnapshot() throws(IotoError) {
        guard snapshot != nil else { return }
        forgetSnapshot()
        // Some errors have ended it already.
        if isInTransaction { try run(.commit) }
    }

    private func forgetSnapshot() {
        snapshot = nil
        isLookingUp = false
        lookups = 0
    }

    /// Runs one statement that is not needed again and gives no rows that matter.
    func execute(_ sql: Text) throws(IotoError) {
        let statement = try prepare(sql, isPersistent: false)
        while try statement.step() {}
    }

    /// The first column of the first row, a whole number.
    func integer(_ sql: Text) throws(IotoError) -> Int64 {
        let statement = try prepare(sql, isPersistent: false)
        guard try statement.step() else { throw corrupt("no row") }
        return try statement.integer(0)
    }

    /// The first column of the first row, a text.
    func text(_ sql: Text) throws(IotoError) -> Text {
        let statement = try prepare(sql, isPersistent: false)
        guard try statement.step() else { throw corrupt("no row") }
        return try statement.text(0)
    }

    /// Borrows a prepared statement until its `end()`. While it is borrowed another caller gets one of its own.
    func statement(_ sql: SQL) throws(IotoError) -> Statement {
        if let statement = statements[sql.rawValue], !statement.isBorrowed {
            statement.isBorrowed = true
            return statement
        }
        let statement = try prepare(sql.text, isPersistent: true)
        if statements[sql.rawValue] == nil { statements[sql.rawValue] = statement }
        statement.isBorrowed = true
        return statement
    }

    /// Borrows a statement without parameters and rows, runs it, and gives it back.
    func run(_ sql: SQL) throws(IotoError) {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.run()
    }

    func prepare(_ sql: Text, isPersistent: Bool) throws(IotoError) -> Statement {
        guard let handle else { throw IotoError(.misuse, "\(path): the database is closed") }
        var pointer: OpaquePointer?
        let flags = isPersistent ? UInt32(SQLITE_PREPARE_PERSISTENT) : 0
        let code = sql.withCString { sqlite3_prepare_v3(handle, $0, -1, flags, &pointer, nil) }
        guard code == SQLITE_OK, let pointer else {
            // The library's own SQL is sound: where it doesn't fit, the file has other tables.
            if code & 0xFF == SQLITE_ERROR { throw corrupt(message) }
            throw error(code, "prepare")
        }
        return Statement(pointer, connection: self)
    }

    /// Copies every page to another database, in steps. Within a transaction the copy is that of its snapshot.
    func copy(to target: Connection) throws(IotoError) {
        guard let handle, let other = target.handle, let backup = sqlite3_backup_init(other, "main", handle, "main")
        else { throw target.error(SQLITE_ERROR, "copy") }
        var code = SQLITE_OK
        while code == SQLITE_OK { code = sqlite3_backup_step(backup, StoreLimits.backupStep) }
        let end = sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE, end == SQLITE_OK else {
            throw target.error(end == SQLITE_OK ? code : end, "copy")
        }
    }

    /// One of SQLite's counters of a connection, `SQLITE_DBSTATUS_CACHE_HIT` and so on.
    func status(_ counter: Int32) -> Int64 {
        var current: Int32 = 0
        var highest: Int32 = 0
        sqlite3_db_status(handle, counter, &current, &highest, 0)
        return Int64(current)
    }

    /// The error of a failed call.
    func error(_ code: Int32, _ action: Text) -> IotoError {
        let kind: ErrorCode
        switch code & 0xFF {
        case SQLITE_FULL: return IotoError(.full, path + ": " + fullReason, detail: code)
        // A value above the limit for reading: what is written is checked before.
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_TOOBIG: kind = .corrupt
        case SQLITE_BUSY, SQLITE_LOCKED: kind = .busy
        case SQLITE_READONLY: kind = .readOnly
        case SQLITE_CANTOPEN, SQLITE_IOERR: kind = .io
        case SQLITE_NOMEM: kind = .memory
        default: kind = .storage
        }
        return IotoError(kind, "\(path): \(action): \(message)", detail: code)
    }

    /// The file holds what the library would not write.
    func corrupt(_ reason: Text) -> IotoError {
        IotoError(.corrupt, "\(path): the database is damaged: \(reason)", detail: SQLITE_CORRUPT)
    }

    /// Which limit is met: a change that finds no room needs a few pages.
    private var fullReason: Text {
        guard pagesMax > 0, let pages = try? count(.pageCount), pages + 8 >= pagesMax else { return "the disk is full" }
        return meter == nil ? "the models in memory have as much as they may" : "the database is as large as it may be"
    }

    private var message: Text {
        guard let handle, let text = sqlite3_errmsg(handle) else { return "out of memory" }
        return Text(cString: text)
    }
}
