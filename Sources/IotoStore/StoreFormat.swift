import IotoBase

/// The format of the database file.
///
/// `user_version` is `1000 * major + minor`. A newer minor version adds what an older library may leave alone; a newer
/// major version is refused.
///
/// ```
/// item       (hash, sort) -> model, time, writer, position, json, trail    the items; writer NULL: written by this database;
///                                           trail: the versions before, see `Trail`, or NULL
/// tombstone  (hash, sort) -> as item, json = the properties that the key is made of; position -1: left by expiry
/// outbox     position -> hash, sort         changes that the cloud has not acknowledged, one row an item
/// parked     as outbox                      the same of models that the present schema does not send
/// model      id -> name, sent               sent: whether the schema that was last used sends the model's changes
/// cursor     stream -> history, position    how far the hub's streams are applied; `snapshot/<stream>` while a snapshot of one
///                                           is under way: its floor, and 1 if what the hub has lost is sent again
/// snapshot   stream, hash, sort             what that snapshot has named
/// field      (hash, sort) -> stamps           which fields a waiting change changed, of models with `merge: 'fields'`
/// receipt    number, hash, sort -> time, state, code, reason           changes that receipts were asked for, see `Receipt`
/// rejected   position -> the change, code, reason, at                  what the cloud refused
/// idx        index, hash, sort, item's key  the indexes, see `StoreIndexes`
/// idxdef     id -> name                     which there are
/// meta       name -> value                  `replica`: id of this database; `clock`: no version is issued above it;
///                                           `indexes`: fingerprint of the schema whose indexes `idx` has, 0: none's;
///                                           `hub`: the hub's clock, exact to a day, once it was heard of;
///                                           `epoch`, `nonce`: see `Epoch`; `device`: fingerprint of whose it is;
///                                           `stamp`: the last version that the hub gave to a change from the future;
///                                           `copy`: there in a backup until it is opened for writing;
///                                           `library`: format of the library that has opened it last for writing
/// ```
/// | version | adds |
/// |---|---|
/// | 1.0 | |
/// | 1.1 | `idx`, `idxdef`, `meta.indexes`, and a row of `model` without a name, whose `sent` a library of 1.0 sets to 0 when it opens the file: what it then writes is not in the indexes |
/// | 1.2 | `snapshot`, `receipt`, `field` |
/// | 1.3 | `trail` of items and tombstones, which an older library takes away from what it changes |
///
/// A library leaves alone what a later one has added, so that the firmware can be rolled back. What it thereby leaves behind is
/// seen to when the later one is back, which `library` tells it; of 1.0, which does not write that, the row without a name does.
///
/// `position` of an item is its place in the outbox: the time of the version that put it there. The hybrid clock never
/// gives a time twice, so a position without a row says that the change is acknowledged.
enum StoreFormat {
    /// "ioto".
    static let applicationID: Int64 = 0x696F_746F
    static let major: Int64 = 1
    static let version: Int64 = 1003

    static let metaReplica: Text = "replica"
    static let metaClock: Text = "clock"
    static let metaIndexes: Text = "indexes"
    static let metaHub: Text = "hub"
    static let metaEpoch: Text = "epoch"
    static let metaNonce: Text = "nonce"
    static let metaLost: Text = "lost"
    static let metaOwner: Text = "device"
    static let metaCopy: Text = "copy"
    static let metaLibrary: Text = "library"

    private static let tables: [Text] = [
        """
        CREATE TABLE item(hash TEXT NOT NULL, sort TEXT NOT NULL, model INTEGER NOT NULL, time INTEGER NOT NULL, \
        writer INTEGER, position INTEGER, json TEXT NOT NULL, trail TEXT, PRIMARY KEY(hash, sort)) WITHOUT ROWID
        """,
        """
        CREATE TABLE tombstone(hash TEXT NOT NULL, sort TEXT NOT NULL, model INTEGER NOT NULL, time INTEGER NOT NULL, \
        writer INTEGER, position INTEGER, json TEXT NOT NULL, trail TEXT, PRIMARY KEY(hash, sort)) WITHOUT ROWID
        """,
        "CREATE INDEX tombstone_time ON tombstone(time)",
        "CREATE TABLE outbox(position INTEGER PRIMARY KEY, hash TEXT NOT NULL, sort TEXT NOT NULL)",
        "CREATE TABLE parked(position INTEGER PRIMARY KEY, hash TEXT NOT NULL, sort TEXT NOT NULL)",
        "CREATE TABLE model(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sent INTEGER NOT NULL)",
        """
        CREATE TABLE cursor(stream TEXT PRIMARY KEY, history INTEGER NOT NULL, position INTEGER NOT NULL) \
        WITHOUT ROWID
        """,
        """
        CREATE TABLE rejected(position INTEGER PRIMARY KEY, model INTEGER NOT NULL, hash TEXT NOT NULL, \
        sort TEXT NOT NULL, time INTEGER NOT NULL, writer INTEGER, removal INTEGER NOT NULL, json TEXT NOT NULL, \
        code INTEGER NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL)
        """,
        "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    ]

    /// What format 1.2 adds.
    private static let tables1002: [Text] = [
        """
        CREATE TABLE snapshot(stream TEXT NOT NULL, hash TEXT NOT NULL, sort TEXT NOT NULL, \
        PRIMARY KEY(stream, hash, sort)) WITHOUT ROWID
        """,
        """
        CREATE TABLE receipt(number INTEGER NOT NULL, hash TEXT NOT NULL, sort TEXT NOT NULL, time INTEGER NOT NULL, \
        state INTEGER NOT NULL, code INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY(number, hash, sort)) \
        WITHOUT ROWID
        """,
        """
        CREATE TABLE field(hash TEXT NOT NULL, sort TEXT NOT NULL, stamps TEXT NOT NULL, PRIMARY KEY(hash, sort)) \
        WITHOUT ROWID
        """,
        "CREATE INDEX receipt_open ON receipt(hash, sort, time) WHERE state = 0",
        "CREATE INDEX receipt_closed ON receipt(number) WHERE state <> 0",
    ]

    /// What format 1.1 adds.
    private static let tables1001: [Text] = [
        """
        CREATE TABLE idx(index_id INTEGER NOT NULL, hash TEXT NOT NULL, sort TEXT NOT NULL, item_hash TEXT NOT NULL, \
        item_sort TEXT NOT NULL, PRIMARY KEY(index_id, hash, sort, item_hash, item_sort)) WITHOUT ROWID
        """,
        "CREATE TABLE idxdef(id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "INSERT INTO model(name, sent) VALUES('', 0)",
        "REPLACE INTO meta(name, value) VALUES('indexes', 0)",
    ]

    /// Says that the indexes are kept, which an older library undoes.
    static let markIndexed: Text = "UPDATE model SET sent = 1 WHERE name = ''"

    /// Whether no library that knows of no indexes has opened the file since they were made.
    static func isIndexed(_ connection: Connection) throws(IotoError) -> Bool {
        try connection.integer("SELECT coalesce(max(sent), 0) FROM model WHERE name = ''") != 0
    }

    /// Makes the tables when the file is new, and checks it when it is not.
    ///
    /// - Throws: `.corrupt` when it is not a database of this library; `.format` when it is of a newer version.
    static func prepare(_ connection: Connection, random: () -> UInt64) throws(IotoError) {
        // A file that lost its power between its first two writes is empty too: it has a header and nothing else.
        if try isEmpty(connection) {
            try connection.execute("PRAGMA page_size = " + Text(decimal: StoreLimits.pageBytes))
            try connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            try useLog(connection)
            try transaction(connection) { () throws(IotoError) in
                // Another process may have been faster.
                if try isEmpty(connection) { try create(connection, random) }
            }
        }
        try check(connection)
        try useLog(connection)
        try migrate(connection)
    }

    /// Brings a file of an older minor version to the present one, in one transaction.
    private static func migrate(_ connection: Connection) throws(IotoError) {
        guard try connection.integer("PRAGMA user_version") < version else { return }
        try transaction(connection) { () throws(IotoError) in
            // Another process may have been faster.
            let found = try connection.integer("PRAGMA user_version")
            guard found < version else { return }
            if found < 1001 {
                for statement in tables1001 { try connection.execute(statement) }
            }
            if found < 1002 {
                for statement in tables1002 { try connection.execute(statement) }
            }
            for table: Text in ["item", "tombstone"] {
                try connection.execute("ALTER TABLE \(table) ADD COLUMN trail TEXT")
            }
            try connection.execute("PRAGMA user_version = " + Text(decimal: version))
            Log.info("\(connection.path): the file is migrated from format 1.\(found % 1000) to 1.\(version % 1000)")
        }
    }

    /// - Throws: as `prepare`.
    static func check(_ connection: Connection) throws(IotoError) {
        let path = connection.path
        guard try connection.integer("PRAGMA application_id") == applicationID else {
            throw IotoError(.corrupt, "\(path): the file is not a database of ioto")
        }
        let found = try connection.integer("PRAGMA user_version")
        guard found >= 1000, try connection.text("PRAGMA encoding") == "UTF-8" else {
            throw connection.corrupt("format \(found)")
        }
        guard found / 1000 <= major else {
            throw IotoError(
                .format,
                "\(path): the file has format \(found / 1000).\(found % 1000); this library reads up to \(major).x")
        }
    }

    /// Gives a backup that is opened for writing an id of its own: what the original has written since is another's, comes
    /// back from the cloud, and is not mistaken for what is written here.
    static func adopt(_ connection: Connection, random: () -> UInt64) throws(IotoError) {
        let count = "SELECT count(*) FROM meta WHERE name = '" + metaCopy + "'"
        guard try connection.integer(count) != 0 else { return }
        try transaction(connection) { () throws(IotoError) in
            _ = try renewReplica(connection, random)
            try connection.execute("DELETE FROM meta WHERE name = '" + metaCopy + "'")
        }
    }

    /// What an older library has left behind: receipts of changes that were answered, and stamps of items that it has changed,
    /// without which the whole item counts.
    private static let settlements: [Text] = [
        """
        UPDATE receipt SET state = 2, code = r.code, reason = r.reason FROM rejected AS r WHERE receipt.state = 0 \
        AND r.hash = receipt.hash AND r.sort = receipt.sort AND r.time >= receipt.time
        """,
        """
        UPDATE receipt SET state = 1 + 2 * EXISTS(SELECT 1 FROM item AS i WHERE i.hash = receipt.hash \
        AND i.sort = receipt.sort AND i.writer IS NOT NULL AND i.time > receipt.time) WHERE state = 0 \
        AND (hash, sort) NOT IN (SELECT hash, sort FROM outbox UNION ALL SELECT hash, sort FROM parked)
        """,
        """
        DELETE FROM field WHERE NOT EXISTS(SELECT 1 FROM item AS i WHERE i.hash = field.hash AND i.sort = field.sort \
        AND instr(field.stamps, printf('%016x', i.time)))
        """,
    ]

    /// Notes that this library opens the file for writing, and sees to what an older one has left behind if it was here.
    static func arrive(_ connection: Connection) throws(IotoError) {
        let own = UInt64(version)
        let isKnown = try findMeta(connection, metaLibrary) == own
        if isKnown, try isIndexed(connection) { return }
        try transaction(connection) { () throws(IotoError) in
            for statement in settlements { try connection.execute(statement) }
            if !isKnown { try writeMeta(connection, metaLibrary, bits: own) }
        }
    }

    /// Removes every item, pending change and cursor, and gives the database a new id. The clock goes on.
    static func reset(_ connection: Connection, random: () -> UInt64) throws(IotoError) {
        try transaction(connection) { () throws(IotoError) in
            for table: Text in ["item", "tombstone", "outbox", "parked", "cursor", "rejected", "idx", "snapshot", "receipt", "field"] {
                try connection.execute("DELETE FROM " + table)
            }
            _ = try renewReplica(connection, random)
        }
        try connection.execute("PRAGMA incremental_vacuum")
    }

    /// Gives the database another id, which was never connected.
    static func renewReplica(_ connection: Connection, _ random: () -> UInt64) throws(IotoError) -> UInt64 {
        let replica = newReplica(random)
        try writeMeta(connection, metaReplica, bits: replica)
        try writeMeta(connection, metaEpoch, bits: 0)
        return replica
    }

    /// Runs `body` in a transaction of its own, which an error rolls back.
    @inline(never)
    static func transaction(
        _ connection: Connection, _ body: () throws(IotoError) -> Void
    ) throws(IotoError) {
        try connection.run(.begin)
        do throws(IotoError) {
            try body()
            try connection.run(.commit)
        } catch {
            rollBack(connection)
            throw error
        }
    }

    /// Ends a transaction that failed. Some errors have ended it already.
    @inline(never)
    static func rollBack(_ connection: Connection) {
        guard connection.isInTransaction else { return }
        do throws(IotoError) {
            try connection.run(.rollback)
        } catch {
            // The next transaction can't begin, and says so.
            Log.error(error.message)
        }
    }

    static func readMeta(_ connection: Connection, _ name: Text) throws(IotoError) -> UInt64 {
        try meta(connection, name, isRequired: true)
    }

    /// The same; 0 when there is none.
    static func findMeta(_ connection: Connection, _ name: Text) throws(IotoError) -> UInt64 {
        try meta(connection, name, isRequired: false)
    }

    private static func meta(_ connection: Connection, _ name: Text, isRequired: Bool) throws(IotoError) -> UInt64 {
        let statement = try connection.statement(.readMeta)
        defer { statement.end() }
        try statement.bind(1, name)
        guard try statement.step() else {
            if isRequired { throw connection.corrupt("'\(name)' is missing") }
            return 0
        }
        return try statement.bits(0)
    }

    static func writeMeta(_ connection: Connection, _ name: Text, bits: UInt64) throws(IotoError) {
        let statement = try connection.statement(.writeMeta)
        defer { statement.end() }
        try statement.bind(1, name)
        try statement.bind(2, bits: bits)
        try statement.run()
    }

    private static func isEmpty(_ connection: Connection) throws(IotoError) -> Bool {
        guard try connection.integer("PRAGMA application_id") == 0 else { return false }
        guard try connection.integer("PRAGMA user_version") == 0 else { return false }
        return try connection.integer("SELECT count(*) FROM sqlite_master") == 0
    }

    /// Makes a database in memory, for entries of these indexes.
    static func prepareMemory(_ connection: Connection, _ fingerprint: UInt64) throws(IotoError) {
        for table in tables { try connection.execute(table) }
        for statement in tables1001 { try connection.execute(statement) }
        for statement in tables1002 { try connection.execute(statement) }
        try writeMeta(connection, metaIndexes, bits: fingerprint)
    }

    private static func create(_ connection: Connection, _ random: () -> UInt64) throws(IotoError) {
        try prepareMemory(connection, 0)
        try writeMeta(connection, metaReplica, bits: newReplica(random))
        try writeMeta(connection, metaClock, bits: 0)
        try writeMeta(connection, metaLibrary, bits: UInt64(version))
        try connection.execute("PRAGMA application_id = " + Text(decimal: applicationID))
        try connection.execute("PRAGMA user_version = " + Text(decimal: version))
    }

    private static func useLog(_ connection: Connection) throws(IotoError) {
        guard try connection.text("PRAGMA journal_mode = WAL") == "wal" else {
            throw IotoError(
                .io, "\(connection.path): the file system has no shared memory for a write-ahead log")
        }
    }

    private static func newReplica(_ random: () -> UInt64) -> UInt64 {
        // 0 is the writer of no one.
        max(1, random())
    }
}
