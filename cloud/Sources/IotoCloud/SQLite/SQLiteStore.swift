import Foundation
import GRDB
import IotoBase
import IotoSchema
import IotoStore
import IotoSync
import Synchronization

/// The cloud's data in one SQLite file. Several processes may have it open: one that serves, and the command line's.
public final class SQLiteStore: CloudStore {
    /// Whether a file that is not there is made.
    public enum Mode: Sendable {
        case create
        case existing
    }

    /// Memory for pages of the connection that writes.
    private static let cacheKiB = 16 * 1024
    /// Pages of the log from which on a commit moves them into the file: many commits change the same ones.
    static let checkpointPages = 4000

    public let path: String
    public let writer: UInt64
    /// Random id of the feeds, see `StreamCursor.history`.
    public let history: UInt64

    /// Nil once closed. GRDB must not be called on what `close()` has closed: the connections close when the last call
    /// that has taken the pool lets go of it.
    private let pool: Mutex<DatabasePool?>
    private let watchers = Mutex<[FeedWatcher]>([])
    let journal: Journal

    /// Opens the store.
    ///
    /// - Throws: `.notFound` when there is no file and none is to be made; `.format` when the file is of another kind or
    ///   of a newer program; `.corrupt`, `.busy`, `.io` and `.storage` as SQLite says.
    public convenience init(path: String, mode: Mode = .create) throws(IotoError) {
        try self.init(path: path, mode: mode, journal: Journal())
    }

    init(path: String, mode: Mode, journal: Journal) throws(IotoError) {
        self.path = path
        self.journal = journal
        DefaultLayer.install()
        if FileManager.default.fileExists(atPath: path) {
            // Before the pool is opened, which would turn another program's file to the WAL mode.
            try SQLiteStore.check(path)
        } else if mode == .existing {
            throw IotoError(.notFound, "\(path): there is no store")
        }
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(Double(Limits.busyTimeout) / 1000)
            configuration.maximumReaderCount = Limits.readersMax
            configuration.label = "ioto-cloud"
            let pool = try DatabasePool(path: path, configuration: configuration)
            // What is acknowledged must outlive a power cut: the pool's own setting only outlives the process.
            try pool.writeWithoutTransaction { db in
                try db.execute(
                    sql: """
                        PRAGMA synchronous = FULL; PRAGMA cache_size = -\(SQLiteStore.cacheKiB);
                        PRAGMA wal_autocheckpoint = \(SQLiteStore.checkpointPages)
                        """)
            }
            (history, writer) = try pool.write { db in
                let kind = try StoreFormat.kind(of: db)
                try StoreFormat.check(kind, path: path)
                if case .empty = kind { try StoreFormat.create(in: db) }
                try StoreFormat.upgrade(kind, in: db)
                // Of a process that was killed.
                try SQLiteStore.merge(in: db)
                let history: Int64? = try StoreFormat.meta("history", in: db)
                let writer: Int64? = try StoreFormat.meta("writer", in: db)
                guard let history, let writer else {
                    throw IotoError(.corrupt, "\(path): the store has lost its identity")
                }
                return (UInt64(bitPattern: history), UInt64(bitPattern: writer))
            }
            self.pool = Mutex(pool)
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    private static func check(_ path: String) throws(IotoError) {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(Double(Limits.busyTimeout) / 1000)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            try StoreFormat.check(try queue.read(StoreFormat.kind), path: path)
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    public func close() async {
        journal.close()
        watchers.withLock { $0 }.forEach { $0.stop() }
        let pool = pool.withLock { pool in
            defer { pool = nil }
            return pool
        }
        do {
            // Behind the writer's last transaction and every reader.
            try await pool?.barrierWriteWithoutTransaction { _ in }
        } catch {
            Log.warning("\(path): \(error)")
        }
    }

    public func movedStreams() throws(IotoError) -> AsyncStream<[Text]> {
        do {
            let watcher = try FeedWatcher(path: path)
            watchers.withLock { $0.append(watcher) }
            return AsyncStream { await watcher.next() } onCancel: { watcher.stop() }
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    public func clock() async throws(IotoError) -> HybridClock {
        try await read(.kept, SQLiteStore.clock)
    }

    public func schema() async throws(IotoError) -> SchemaText? {
        try await read(.kept) { db in
            let name: String? = try StoreFormat.meta("schemaName", in: db)
            let source: Data? = try StoreFormat.meta("schema", in: db)
            guard let name, let source else { return nil }
            return SchemaText(name: Text(name), source: [UInt8](source))
        }
    }

    public func save(_ schema: SchemaText) async throws(IotoError) {
        try await write(.kept) { db in
            try StoreFormat.setMeta("schemaName", schema.name.string, in: db)
            try StoreFormat.setMeta("schema", Data(schema.source), in: db)
        }
    }

    // MARK: - For the extensions

    func read<Value: Sendable>(
        _ use: JournalUse = .merged, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(IotoError) -> Value {
        do {
            let value = try await opened().read { db in try SQLiteStore.reading(use, body, db) }
            if let value { return value }
            return try await write(isTold: true, .merged, body)
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    /// One durable transaction. Watchers look again when it is done.
    ///
    /// - Parameter isTold: Whoever asked for it hears what has moved; watchers find it in their own time.
    func write<Value: Sendable>(
        isTold: Bool = false, _ use: JournalUse = .merged, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(IotoError) -> Value {
        do {
            let value = try await opened().write { db in try SQLiteStore.writing(use, body, db) }
            if !isTold { watchers.withLock { $0 }.forEach { $0.look() } }
            return value
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    /// Reads, or changes as `write` does what is told, on the calling thread.
    func now<Value>(isWrite: Bool, _ use: JournalUse, _ body: (Database) throws -> Value) throws(IotoError) -> Value {
        do {
            let pool = try opened()
            if !isWrite, let value = try pool.read({ db in try SQLiteStore.reading(use, body, db) }) { return value }
            return try pool.writeWithoutTransaction { db in
                try SQLiteStore.transaction(db) { db in try SQLiteStore.writing(use, body, db) }
            }
        } catch {
            throw IotoError.of(error, path: path)
        }
    }

    /// - Returns: nil, and nothing is read, when the journal has to be merged first: then whoever reads has to write.
    private static func reading<Value>(
        _ use: JournalUse, _ body: (Database) throws -> Value, _ db: Database
    ) throws -> Value? {
        if use == .merged, try !isJournalEmpty(in: db) { return nil }
        return try body(db)
    }

    private static func writing<Value>(_ use: JournalUse, _ body: (Database) throws -> Value, _ db: Database) throws -> Value {
        if use == .merged { try merge(in: db) }
        return try body(db)
    }

    /// The same as GRDB's, with statements that are kept.
    static func transaction<Value>(_ db: Database, _ body: (Database) throws -> Value) throws -> Value {
        try ByteStatement("BEGIN IMMEDIATE", in: db).run()
        do {
            let value = try body(db)
            try ByteStatement("COMMIT", in: db).run()
            return value
        } catch {
            // Some errors have ended it already.
            if db.isInsideTransaction { try ByteStatement("ROLLBACK", in: db).run() }
            throw error
        }
    }

    private func opened() throws(IotoError) -> DatabasePool {
        guard let pool = pool.withLock({ $0 }) else { throw IotoError(.misuse, "\(path): the store is closed") }
        return pool
    }

    static func clock(in db: Database) throws -> HybridClock {
        let last: Int64? = try StoreFormat.meta("clock", in: db)
        return HybridClock(last: UInt64(bitPattern: last ?? 0))
    }

    static func setClock(_ clock: HybridClock, in db: Database) throws {
        try StoreFormat.setMeta("clock", Int64(bitPattern: clock.last), in: db)
    }
}

extension IotoError {
    /// The store's error for whatever GRDB, SQLite or the store itself threw.
    static func of(_ error: any Error, path: String) -> IotoError {
        switch error {
        case let error as IotoError:
            return error
        case let error as DatabaseError:
            let code: ErrorCode =
                switch error.resultCode {
                case .SQLITE_BUSY, .SQLITE_LOCKED: .busy
                case .SQLITE_FULL: .full
                case .SQLITE_CORRUPT: .corrupt
                case .SQLITE_NOTADB: .format
                case .SQLITE_READONLY: .readOnly
                case .SQLITE_CANTOPEN, .SQLITE_IOERR, .SQLITE_PERM: .io
                case .SQLITE_NOMEM: .memory
                default: .storage
                }
            return IotoError(
                code, "\(path): \(error.message ?? "SQLite error")", detail: error.extendedResultCode.rawValue)
        default:
            return IotoError(.storage, "\(path): \(error)")
        }
    }
}
