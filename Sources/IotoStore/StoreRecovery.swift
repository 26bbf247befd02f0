import CPlatform
import CSQLite
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// Makes a sound database of a damaged one.
///
/// Every readable item, tombstone and change that waits is read out of the damaged file into a new one, which then takes its
/// place; the damaged one is kept beside it. The new one has an id of its own and follows the cloud's streams from the
/// beginning: what was lost here comes back from the cloud, where the cloud has it.
final class StoreRecovery {
    private let target: Connection
    private var statements: [Statement] = []
    private var failure: IotoError?
    private var items: Int64 = 0
    /// Rows that were read but hold what the library would not write.
    private var spoiled: Int64 = 0
    private var highest: UInt64 = 0

    /// In the order of `PLATFORM_ITEM` and on; what leads to nothing is of no use.
    private static let inserts: [Text] = [
        "item VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", "tombstone VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        "outbox VALUES(?1, ?2, ?3)", "parked VALUES(?1, ?2, ?3)", "model VALUES(?1, ?2, ?3)",
        "rejected VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    ]

    /// Recovers the database at `path` if it is damaged, which reads all of it.
    ///
    /// - Throws: `.corrupt` when the file is something else than a database of this library; `.format` when it is of a newer
    ///   version; `.busy` when somebody else has it open; what keeps the new file from being written. The damaged one is then
    ///   where it was.
    static func run(_ path: Text, random: () -> UInt64) throws(IotoError) {
        let part = path + ".part"
        guard Files.size(path) ?? 0 > 0 else { return }
        guard let damage = try damage(of: path) else { return }
        // What stands in the log goes into the file, if SQLite still opens it.
        try? Connection(path: path, mode: .salvage).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        // Until the new one is in its place.
        let file = try DamagedFile(path)
        defer { file.close() }
        Log.error("\(damage.message); recovering what can be read")
        try Files.removeDatabase(part)
        do throws(IotoError) {
            try salvage(file, part, random)
            try Files.sync(part)
            let kept = try Files.exchangeDatabase(path, by: part)
            Log.error("\(path): recovered; the damaged file is kept as \(kept)")
        } catch {
            try? Files.removeDatabase(part)
            throw error
        }
    }

    /// - Returns: What is wrong with the file; nil when nothing is.
    private static func damage(of path: Text) throws(IotoError) -> IotoError? {
        do throws(IotoError) {
            let connection = try Connection(path: path, mode: .reader)
            try StoreFormat.check(connection)
            for name in [StoreFormat.metaReplica, StoreFormat.metaClock] { _ = try StoreFormat.readMeta(connection, name) }
            let finding = try connection.text("PRAGMA quick_check(1)")
            guard finding != "ok" else { return nil }
            // The finding stands on the last line.
            let line = finding.bytes.lastIndex(of: 10).map { Text(finding.bytes[($0 + 1)...]) } ?? finding
            return connection.corrupt(line)
        } catch {
            // A sound file of somebody else's is none of ours to recover.
            guard error.code == .corrupt, error.detail != 0 else { throw error }
            return error
        }
    }

    private static func salvage(_ file: DamagedFile, _ part: Text, _ random: () -> UInt64) throws(IotoError) {
        let target = try Connection(path: part, mode: .writer(.normal))
        defer { target.close() }
        try StoreFormat.prepare(target, random: random)
        // The file is of no use before it is complete, and so needs no log.
        guard try target.text("PRAGMA journal_mode = OFF") == "off" else {
            throw IotoError(.io, "\(part): the new file can't be written")
        }
        let recovery = try StoreRecovery(target)
        try StoreFormat.transaction(target) { () throws(IotoError) in try recovery.copyAll(file) }
    }

    private init(_ target: Connection) throws(IotoError) {
        self.target = target
        for insert in StoreRecovery.inserts {
            statements.append(try target.prepare("INSERT OR IGNORE INTO " + insert, isPersistent: true))
        }
    }

    private func copyAll(_ file: DamagedFile) throws(IotoError) {
        // The numbers of the models are those of the damaged file, without which no item says what it is.
        try target.execute("UPDATE model SET id = 1000000")
        let path = file.path
        var damaged: UInt32 = 0
        var source = platform_file(file: file.file, read: ioto_sqlite_read, bytes: Files.size(path) ?? 0)
        let code = platform_salvage(
            &source,
            { context, table, values, count in
                guard let context, let values else { return false }
                return Unmanaged<StoreRecovery>.fromOpaque(context)._withUnsafeGuaranteedRef {
                    $0.take(table, UnsafeBufferPointer(start: values, count: Int(count)))
                }
            }, Unmanaged.passUnretained(self).toOpaque(), &damaged)
        if let failure { throw failure }
        guard code == 0 else { throw IotoError(.io, "\(path): \(systemErrorText(code))", detail: code) }
        // To send a change twice does no harm.
        if damaged & (1 << UInt32(PLATFORM_OUTBOX) | 1 << UInt32(PLATFORM_PARKED)) != 0 {
            Log.error("\(path): the queue is damaged; every change made here is sent again")
            try target.execute(
                """
                INSERT OR IGNORE INTO outbox(position, hash, sort) \
                SELECT position, hash, sort FROM item WHERE writer IS NULL AND position <> -1 \
                UNION ALL SELECT position, hash, sort FROM tombstone WHERE writer IS NULL AND position <> -1
                """)
        }
        // What leads to nothing any more would stand in the way.
        for rest: Text in [
            "outbox WHERE (hash, sort) NOT IN (SELECT hash, sort FROM item UNION ALL SELECT hash, sort FROM tombstone)",
            "parked WHERE (hash, sort) NOT IN (SELECT hash, sort FROM item UNION ALL SELECT hash, sort FROM tombstone)",
        ] { try target.execute("DELETE FROM " + rest) }
        // No time that was given is given again.
        try StoreFormat.writeMeta(target, StoreFormat.metaClock, bits: highest)
        Log.error("\(path): \(items) items recovered; \(spoiled) rows unreadable")
    }

    /// - Returns: Whether to go on.
    private func take(_ table: Int32, _ values: UnsafeBufferPointer<platform_value>) -> Bool {
        if table == PLATFORM_META {
            if bytes(values[0]) == StoreFormat.metaClock.bytes { didSee(values[1].number) }
            return true
        }
        if table == PLATFORM_ITEM || table == PLATFORM_TOMBSTONE {
            guard values[0].count <= Limits.keyBytesMax, values[1].count <= Limits.keyBytesMax,
                Text(bytes(values[0])).isValidUTF8, Text(bytes(values[1])).isValidUTF8,
                values[6].count <= Limits.itemBytesMax, case .object? = try? JSON.parse(bytes(values[6])),
                didSee(values[3].number)
            else {
                spoiled += 1
                return true
            }
            if table == PLATFORM_ITEM { items += 1 }
        }
        let statement = statements[Int(table)]
        do throws(IotoError) {
            for (index, value) in values.enumerated() {
                let place = Int32(index + 1)
                if value.bytes != nil {
                    try statement.bind(place, bytes(value))
                } else {
                    try statement.bind(place, value.is_null ? nil : value.number)
                }
            }
            _ = try statement.step()
            statement.end()
        } catch {
            failure = error
        }
        return failure == nil
    }

    private func bytes(_ value: platform_value) -> [UInt8] {
        [UInt8](UnsafeBufferPointer(start: value.bytes, count: value.count))
    }

    /// - Returns: Whether it is the time of a version.
    @discardableResult private func didSee(_ time: Int64) -> Bool {
        guard time >= 0 else { return false }
        // One that no clock comes to is no reason to begin there.
        if UInt64(time) < HybridClock.timeMax { highest = max(highest, UInt64(time)) }
        return true
    }
}

/// A damaged database file, which nobody else has open while this one is.
///
/// It is read through SQLite: a process that opens and closes a file by itself loses all its locks of it (fcntl(2)), those of
/// its other connections as well.
private final class DamagedFile {
    let path: Text
    private var handle: OpaquePointer?
    let file: UnsafeMutableRawPointer

    /// - Throws: `.busy` when another connection has it open, of this process or of another.
    init(_ path: Text) throws(IotoError) {
        var opened: OpaquePointer?
        let code = Connection.fileName(path).withCString {
            sqlite3_open_v2($0, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nil)
        }
        guard code == SQLITE_OK, let opened, let file = ioto_sqlite_file(opened, false) else {
            sqlite3_close_v2(opened)
            throw IotoError(.io, "\(path): the damaged file can't be opened", detail: code)
        }
        let locked = ioto_sqlite_lock(file)
        guard locked == SQLITE_OK else {
            sqlite3_close_v2(opened)
            guard locked & 0xFF == SQLITE_BUSY else {
                throw IotoError(.io, "\(path): the damaged file can't be locked", detail: locked)
            }
            throw IotoError(.busy, "\(path): damaged, and not recovered while it is open elsewhere", detail: locked)
        }
        self.path = path
        self.file = file
        handle = opened
    }

    func close() {
        sqlite3_close_v2(handle)
        handle = nil
    }
}
