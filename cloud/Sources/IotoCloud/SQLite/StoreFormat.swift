import GRDB
import IotoBase

/// The file format of `SQLiteStore`: what its tables hold, and how a file is known to be one.
enum StoreFormat {
    /// "IoCl", the application id in the file's header (sqlite.org/fileformat2.html, 1.3.15).
    static let applicationID = 0x496F_436C
    /// Raised by every change to the tables that an older program would not understand.
    static let version = 7

    /// What `PRAGMA application_id` and the tables say of a file.
    enum Kind {
        case empty
        case store(version: Int)
        case foreign
    }

    static func kind(of db: Database) throws -> Kind {
        let id = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        if id == applicationID {
            return .store(version: try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0)
        }
        let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        return id == 0 && tables == 0 ? .empty : .foreign
    }

    /// - Throws: `.format` when the file is not a store that this program can use.
    static func check(_ kind: Kind, path: String) throws(IotoError) {
        switch kind {
        case .empty:
            return
        case .store(let version):
            guard version <= StoreFormat.version else {
                throw IotoError(
                    .format, "\(path): the store has format \(version), this program knows \(StoreFormat.version)")
            }
        case .foreign:
            throw IotoError(.format, "\(path): the file is a database of another kind")
        }
    }

    /// Makes the tables. Versions are kept as the 64-bit patterns of their unsigned halves.
    static func create(in db: Database) throws {
        try db.execute(sql: tables + partedTable + journalTable + removedIndex + feedIndexes)
        for name in ["history", "writer"] {
            try setMeta(name, Int64(bitPattern: SystemRandom.uint64()), in: db)
        }
        try setMeta("clock", 0, in: db)
        try db.execute(sql: "PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version)")
    }

    /// Brings a file of an older program to this one's format, within the transaction.
    static func upgrade(_ kind: Kind, in db: Database) throws {
        guard case .store(let found) = kind, found < version else { return }
        for (format, sql) in upgrades where found < format { try db.execute(sql: sql) }
        try db.execute(sql: "PRAGMA user_version = \(version)")
    }

    /// What brings a file to each format from the one before.
    private static let upgrades: [(format: Int, sql: String)] = [
        (
            2,
            """
            ALTER TABLE item ADD COLUMN marks TEXT;
            ALTER TABLE item ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE item ADD COLUMN stamps TEXT;
            ALTER TABLE feed ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE head ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE device ADD COLUMN synced INTEGER NOT NULL DEFAULT 0;
            CREATE INDEX item_removed ON item(removed) WHERE removed IS NOT NULL;
            """
        ),
        (
            3,
            """
            ALTER TABLE device ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
            ALTER TABLE device ADD COLUMN nonce INTEGER NOT NULL DEFAULT 0;
            """
        ),
        (4, "ALTER TABLE item ADD COLUMN trail TEXT;"),
        // The entries of feeds were a table of their own.
        (
            5,
            """
            ALTER TABLE item ADD COLUMN position INTEGER;
            ALTER TABLE item ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;
            UPDATE item SET position = f.position, committed = f.committed FROM feed AS f
                WHERE f.stream = item.stream AND f.hash = item.hash AND f.sort = item.sort AND f.parted IS NULL;
            \(partedTable)
            INSERT INTO parted(stream, position, hash, sort, model, json, time, writer, committed)
                SELECT f.stream, f.position, f.hash, f.sort, i.model, f.parted, f.time, f.writer, f.committed
                FROM feed AS f JOIN item AS i ON i.hash = f.hash AND i.sort = f.sort WHERE f.parted IS NOT NULL;
            DROP TABLE feed;
            \(feedIndexes)
            """
        ),
        (6, "ALTER TABLE device ADD COLUMN former INTEGER NOT NULL DEFAULT 0;"),
        (7, journalTable),
    ]

    /// A named value; nil when there is none.
    static func meta<Value: DatabaseValueConvertible>(_ name: String, in db: Database) throws -> Value? {
        try Value.fetchOne(db.cachedStatement(sql: "SELECT value FROM meta WHERE name = ?"), arguments: [name])
    }

    static func setMeta(_ name: String, _ value: any DatabaseValueConvertible, in db: Database) throws {
        try db.cachedStatement(
            sql: "INSERT INTO meta(name, value) VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
        ).execute(arguments: [name, value])
    }

    /// By which tombstones are found whose time is over.
    private static let removedIndex = "CREATE INDEX item_removed ON item(removed) WHERE removed IS NOT NULL;"

    private static let feedIndexes = """
        CREATE UNIQUE INDEX item_feed ON item(stream, position) WHERE position IS NOT NULL;
        CREATE INDEX parted_item ON parted(hash, sort);
        """

    private static let partedTable = """
        -- Entries of streams that items have left: the removal that those who follow the stream get to see.
        CREATE TABLE parted(
            stream TEXT NOT NULL, position INTEGER NOT NULL,
            hash TEXT NOT NULL, sort TEXT NOT NULL, model TEXT NOT NULL, json TEXT NOT NULL,
            time INTEGER NOT NULL, writer INTEGER NOT NULL, committed INTEGER NOT NULL,
            PRIMARY KEY(stream, position)) STRICT, WITHOUT ROWID;
        """

    private static let journalTable = """
        -- New items that wait for their table, see `Journal`: those of a request, in order of their positions, from `first` to
        -- `last`, in `stream`, or in none. `owner` is their device; `items` is of `JournalCodec`.
        CREATE TABLE journal(
            id INTEGER PRIMARY KEY, owner TEXT NOT NULL, stream TEXT,
            first INTEGER NOT NULL, last INTEGER NOT NULL, items BLOB NOT NULL) STRICT;
        CREATE INDEX journal_feed ON journal(stream, last) WHERE stream IS NOT NULL;
        """

    private static let tables = """
        CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID;

        -- The latest state of every item. `removed` is when a tombstone was stored, in Unix milliseconds, by this
        -- machine's clock. `owner` is the device that the item belongs to, or ''; `stream` the feed that it is in, and
        -- `position` its entry there, of which there is one in the order of commits. `committed` is the store's clock at the
        -- commit, which rises with the position.
        -- `marks` are the last changes of an agent of version 1, see `Arrival`, as numbers with commas between.
        -- `own` is the time of the owner's last version under a `ConflictRule`; `stamps` the times of the fields' changes
        -- as a JSON object, of models with `merge: 'fields'`. `trail` are the versions before, see `Trail`.
        CREATE TABLE item(
            id INTEGER PRIMARY KEY,
            hash TEXT NOT NULL, sort TEXT NOT NULL, model TEXT NOT NULL,
            time INTEGER NOT NULL, writer INTEGER NOT NULL,
            removed INTEGER, json TEXT NOT NULL, owner TEXT NOT NULL, stream TEXT, marks TEXT,
            own INTEGER NOT NULL DEFAULT 0, stamps TEXT, trail TEXT,
            position INTEGER, committed INTEGER NOT NULL DEFAULT 0,
            UNIQUE(hash, sort)) STRICT;
        CREATE INDEX item_model ON item(model, hash, sort) WHERE removed IS NULL;

        -- The last position given in each stream. `moved` counts the moves of all streams, so that a reader finds
        -- those that moved since it looked last without reading the others. A tombstone of an entry up to `floor` may be
        -- gone: whoever has not come that far has to begin anew.
        CREATE TABLE head(
            stream TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL, moved INTEGER NOT NULL,
            floor INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX head_moved ON head(moved);

        CREATE TABLE device(
            id TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL, replica INTEGER NOT NULL,
            seen INTEGER NOT NULL, synced INTEGER NOT NULL,
            epoch INTEGER NOT NULL DEFAULT 0, nonce INTEGER NOT NULL DEFAULT 0,
            former INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
        """
}
