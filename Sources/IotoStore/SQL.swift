import IotoBase

/// The statements that a connection keeps prepared.
///
/// Where an item is meant, its key is always parameters 1 and 2, and a body that is written is parameter 3.
enum SQL: Int, CaseIterable {
    case begin, commit, rollback, dataVersion, pageCount, freePages, vacuumStep
    case readMeta, writeMeta
    case readItem, writeItem, deleteItem, setItemPosition, setItemVersion
    case readTombstone, writeTombstone, deleteTombstone, setTombstonePosition, setTombstoneVersion
    case readExpiredTombstones
    case scanHash, scanHashReversed, scanAll, scanAllReversed
    case enqueue, dequeue, readOutbox, isPending, pending, countPending, pendingRange, weighPending, oldestPending
    case countItems, countTombstones
    case readCursor, writeCursor
    case writeRejected, trimRejected, countRejected, readRejected

    var text: Text {
        switch self {
        case .begin: "BEGIN IMMEDIATE"
        case .commit: "COMMIT"
        case .rollback: "ROLLBACK"
        case .dataVersion: "PRAGMA data_version"
        case .pageCount: "PRAGMA page_count"
        case .freePages: "PRAGMA freelist_count"
        // Pages: `StoreLimits.vacuumStep`.
        case .vacuumStep: "PRAGMA incremental_vacuum(16)"

        case .countItems: "SELECT count(*) FROM item"
        case .countTombstones: "SELECT count(*) FROM tombstone"

        case .readMeta: "SELECT value FROM meta WHERE name = ?1"
        case .writeMeta: "REPLACE INTO meta(name, value) VALUES(?1, ?2)"

        case .readItem:
            "SELECT model, time, writer, position, json FROM item WHERE hash = ?1 AND sort = ?2"
        case .writeItem:
            "REPLACE INTO item(hash, sort, json, model, time, writer, position) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        case .deleteItem: "DELETE FROM item WHERE hash = ?1 AND sort = ?2"
        case .setItemPosition: "UPDATE item SET position = ?3 WHERE hash = ?1 AND sort = ?2"
        case .setItemVersion: "UPDATE item SET time = ?3, writer = ?4 WHERE hash = ?1 AND sort = ?2"

        case .readTombstone:
            "SELECT model, time, writer, position, json FROM tombstone WHERE hash = ?1 AND sort = ?2"
        case .writeTombstone:
            """
            REPLACE INTO tombstone(hash, sort, json, model, time, writer, position) \
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """
        case .deleteTombstone: "DELETE FROM tombstone WHERE hash = ?1 AND sort = ?2"
        case .setTombstonePosition: "UPDATE tombstone SET position = ?3 WHERE hash = ?1 AND sort = ?2"
        case .setTombstoneVersion: "UPDATE tombstone SET time = ?3, writer = ?4 WHERE hash = ?1 AND sort = ?2"
        case .readExpiredTombstones:
            """
            SELECT hash, sort FROM \
            (SELECT hash, sort, position FROM tombstone WHERE time < ?1 ORDER BY time LIMIT ?2) AS old \
            WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.position = old.position) \
            AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.position = old.position)
            """

        // Bounds: 1 hash, 2 lowest sort key, 3 the sort key above the last, 4 model.
        case .scanHash:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE hash = ?1 AND sort >= ?2 AND sort < ?3 AND model = ?4 ORDER BY sort
            """
        case .scanHashReversed:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE hash = ?1 AND sort >= ?2 AND sort < ?3 AND model = ?4 ORDER BY sort DESC
            """
        // Bounds of every hash: as above, with 1 and 5 the key to go on from.
        case .scanAll:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE (hash, sort) >= (?1, ?5) AND sort >= ?2 AND sort < ?3 AND model = ?4 ORDER BY hash, sort
            """
        case .scanAllReversed:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE (hash, sort) < (?1, ?5) AND sort >= ?2 AND sort < ?3 AND model = ?4 \
            ORDER BY hash DESC, sort DESC
            """

        case .enqueue: "INSERT INTO outbox(hash, sort, position) VALUES(?1, ?2, ?3)"
        case .dequeue: "DELETE FROM outbox WHERE position = ?1"
        case .readOutbox: "SELECT hash, sort FROM outbox WHERE position = ?1"
        case .isPending: "SELECT 1 FROM outbox WHERE position = ?1"
        case .pending:
            """
            SELECT coalesce(i.model, t.model) AS model, coalesce(i.time, t.time) AS time, \
            CASE WHEN i.hash IS NULL THEN t.writer ELSE i.writer END AS writer, o.position, \
            coalesce(i.json, t.json) AS json, \
            o.hash, o.sort, i.hash IS NULL, i.hash IS NULL AND t.hash IS NULL \
            FROM outbox AS o \
            LEFT JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort \
            LEFT JOIN tombstone AS t ON t.hash = o.hash AND t.sort = o.sort \
            WHERE o.position > ?1 ORDER BY o.position
            """
        case .countPending: "SELECT count(*) FROM outbox"
        case .weighPending:
            """
            SELECT coalesce(i.model, t.model, 0) AS m, count(*), sum(length(CAST(coalesce(i.json, t.json, '') AS BLOB))) \
            FROM outbox AS o \
            LEFT JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort \
            LEFT JOIN tombstone AS t ON t.hash = o.hash AND t.sort = o.sort GROUP BY m
            """
        case .oldestPending:
            """
            SELECT o.position, o.hash, o.sort FROM outbox AS o \
            LEFT JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort \
            LEFT JOIN tombstone AS t ON t.hash = o.hash AND t.sort = o.sort \
            WHERE coalesce(i.model, t.model) = ?1 ORDER BY o.position LIMIT 1
            """
        case .pendingRange: "SELECT (SELECT min(position) FROM outbox), (SELECT max(position) FROM outbox)"

        case .readCursor: "SELECT history, position FROM cursor WHERE stream = ?1"
        case .writeCursor: "REPLACE INTO cursor(stream, history, position) VALUES(?1, ?2, ?3)"

        case .writeRejected:
            """
            REPLACE INTO rejected(hash, sort, json, position, model, time, writer, removal, code, reason, at) \
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            """
        case .trimRejected:
            """
            DELETE FROM rejected WHERE position <= \
            (SELECT position FROM rejected ORDER BY position DESC LIMIT 1 OFFSET ?1)
            """
        case .countRejected: "SELECT count(*) FROM rejected"
        case .readRejected:
            """
            SELECT model, time, writer, position, json, hash, sort, removal, code, reason, at FROM rejected \
            WHERE position > ?1 ORDER BY position LIMIT ?2
            """
        }
    }
}
