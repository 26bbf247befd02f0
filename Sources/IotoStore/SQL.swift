import IotoBase
import IotoSync

/// The statements that a connection keeps prepared.
///
/// Where an item is meant, its key is always parameters 1 and 2, and a body that is written is parameter 3. What the row was
/// before is added to its trail, of which four entries of 34 bytes stay (`Trail`): the item's and its tombstone's go over to each other,
/// so the one is deleted after the other is written. Changes that were not sent take each other's place there, before they push
/// out what the cloud had.
enum SQL: Int, CaseIterable {
    case begin, beginRead, commit, rollback, dataVersion, pageCount, freePages, shrink
    case readMeta, writeMeta
    case readItem, writeItem, insertItem, insertUnsent, deleteItem, setItemPosition, setItemVersion
    case readTombstone, writeTombstone, deleteTombstone, setTombstonePosition, setTombstoneVersion
    case readExpiredTombstones
    case itemRoot, scanHash, scanHashReversed, scanModel, scanAll, scanAllReversed
    case enqueue, dequeue, dequeueKey, dequeueRun, dequeueAll, readRun, readOutbox, isPending, pending, pendingTrailed, countPending
    case pendingRange, weighPending, wasRejected
    case firstPending, oldestPending
    case countItems, countTombstones
    case readCursor, writeCursor, deleteCursor
    case nameInSnapshot, isNamedInSnapshot, clearSnapshot, isParked, readSettled
    case addEntry, removeEntry, readHolders, readExpired, firstExpiry
    case scanIndex, scanIndexReversed, scanIndexAll, scanIndexAllReversed
    case writeRejected, trimRejected, countRejected, readRejected, deleteRejected
    case readStamps, writeStamps, deleteStamps
    case writeReceipt, readReceipt, openReceipt, closeReceipts, moveReceipts, trimReceipts, trimOpenReceipts

    var text: Text {
        switch self {
        case .begin: "BEGIN IMMEDIATE"
        case .beginRead: "BEGIN"
        case .commit: "COMMIT"
        case .rollback: "ROLLBACK"
        case .dataVersion: "PRAGMA data_version"
        case .pageCount: "PRAGMA page_count"
        case .freePages: "PRAGMA freelist_count"
        case .shrink: "PRAGMA incremental_vacuum(16)"

        case .countItems: "SELECT count(*) FROM item"
        case .countTombstones: "SELECT count(*) FROM tombstone"

        case .readMeta: "SELECT value FROM meta WHERE name = ?1"
        case .writeMeta: "REPLACE INTO meta(name, value) VALUES(?1, ?2)"

        case .readItem:
            "SELECT model, time, writer, position, json FROM item WHERE hash = ?1 AND sort = ?2"
        case .writeItem: SQL.write("item")
        // Writes nothing when there is a row of that key, or a tombstone.
        case .insertItem:
            """
            INSERT OR IGNORE INTO item(hash, sort, json, model, time, writer, position) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
            WHERE NOT EXISTS(SELECT 1 FROM tombstone WHERE hash = ?1 AND sort = ?2)
            """
        // The same of an item that is not replicated, and so has no tombstones.
        case .insertUnsent: "INSERT OR IGNORE INTO item(hash, sort, json, model, time) VALUES(?1, ?2, ?3, ?4, 0)"
        case .deleteItem: "DELETE FROM item WHERE hash = ?1 AND sort = ?2"
        case .setItemPosition: "UPDATE item SET position = ?3 WHERE hash = ?1 AND sort = ?2"
        case .setItemVersion: SQL.setVersion("item")

        case .readTombstone:
            "SELECT model, time, writer, position, json FROM tombstone WHERE hash = ?1 AND sort = ?2"
        case .writeTombstone: SQL.write("tombstone")
        case .deleteTombstone: "DELETE FROM tombstone WHERE hash = ?1 AND sort = ?2"
        case .setTombstonePosition: "UPDATE tombstone SET position = ?3 WHERE hash = ?1 AND sort = ?2"
        case .setTombstoneVersion: SQL.setVersion("tombstone")
        case .readExpiredTombstones:
            """
            SELECT hash, sort FROM \
            (SELECT hash, sort, position FROM tombstone WHERE time < ?1 ORDER BY time LIMIT ?2) AS old \
            WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.position = old.position) \
            AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.position = old.position)
            """

        case .itemRoot: "SELECT rootpage FROM sqlite_master WHERE name = 'item'"
        // In every scan 9 is a text that an item must have in it, or NULL.
        // Bounds: 1 hash, 2 lowest sort key, 3 the sort key above the last, 4 model.
        case .scanHash:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE hash = ?1 AND sort >= ?2 AND sort < ?3 AND model = ?4 AND has(json, ?9) ORDER BY sort
            """
        case .scanHashReversed:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE hash = ?1 AND sort >= ?2 AND sort < ?3 AND model = ?4 AND has(json, ?9) ORDER BY sort DESC
            """
        // All of it.
        case .scanModel:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE has(json, ?9) AND model = ?4 ORDER BY hash, sort
            """
        // Bounds of every hash: as above, with 1 and 5 the key to go on from.
        case .scanAll:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE (hash, sort) >= (?1, ?5) AND sort >= ?2 AND sort < ?3 AND model = ?4 AND has(json, ?9) ORDER BY hash, sort
            """
        case .scanAllReversed:
            """
            SELECT model, time, writer, position, json, hash, sort FROM item \
            WHERE (hash, sort) < (?1, ?5) AND sort >= ?2 AND sort < ?3 AND model = ?4 AND has(json, ?9) \
            ORDER BY hash DESC, sort DESC
            """

        case .enqueue: "INSERT INTO outbox(hash, sort, position) VALUES(?1, ?2, ?3)"
        case .dequeue: "DELETE FROM outbox WHERE position = ?1"
        case .dequeueKey: "DELETE FROM outbox WHERE position = ?3 AND hash = ?1 AND sort = ?2"
        // Of items that are as they were when they entered: the rest of a position beside its lane is the version's time.
        case .dequeueRun:
            """
            DELETE FROM outbox WHERE position BETWEEN ?1 AND ?2 AND EXISTS(SELECT 1 FROM item AS i \
            WHERE i.hash = outbox.hash AND i.sort = outbox.sort AND i.time = outbox.position & \(SendLanes.timeMask) \
            AND i.writer IS NULL)
            """
        case .dequeueAll: "DELETE FROM outbox WHERE position BETWEEN ?1 AND ?2"
        case .readRun: "SELECT position FROM outbox WHERE position BETWEEN ?1 AND ?2"
        case .readOutbox: "SELECT hash, sort FROM outbox WHERE position = ?1"
        case .wasRejected: "SELECT 1 FROM rejected WHERE hash = ?1 AND sort = ?2"
        case .isPending: "SELECT 1 FROM outbox WHERE position = ?1"
        case .pending: SQL.pending(trail: "NULL")
        case .pendingTrailed: SQL.pending(trail: "i.trail")
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
        case .firstPending: "SELECT min(position) FROM outbox WHERE position >= ?1"
        case .pendingRange: "SELECT (SELECT min(position) FROM outbox), (SELECT max(position) FROM outbox)"

        case .readCursor: "SELECT history, position FROM cursor WHERE stream = ?1"
        case .writeCursor: "REPLACE INTO cursor(stream, history, position) VALUES(?1, ?2, ?3)"

        case .deleteRejected: "DELETE FROM rejected WHERE position = ?1"

        case .readStamps: "SELECT stamps FROM field WHERE hash = ?1 AND sort = ?2"
        case .writeStamps: "REPLACE INTO field(hash, sort, stamps) VALUES(?1, ?2, ?3)"
        case .deleteStamps: "DELETE FROM field WHERE hash = ?1 AND sort = ?2"
        case .writeReceipt: "REPLACE INTO receipt(hash, sort, number, time, state, code, reason) VALUES(?1, ?2, ?3, ?4, 0, 0, '')"
        case .readReceipt: "SELECT state, code, reason, hash, sort, time FROM receipt WHERE number = ?1"
        case .openReceipt: "SELECT 1 FROM receipt WHERE state = 0"
        case .closeReceipts:
            """
            UPDATE receipt SET state = ?4, code = ?5, reason = ?6 \
            WHERE hash = ?1 AND sort = ?2 AND time <= ?3 AND state = 0
            """
        case .moveReceipts: "UPDATE receipt SET time = ?4 WHERE hash = ?1 AND sort = ?2 AND state = 0 AND time <= ?3"
        case .trimReceipts:
            """
            DELETE FROM receipt WHERE state <> 0 AND number <= \
            (SELECT number FROM receipt WHERE state <> 0 ORDER BY number DESC LIMIT 1 OFFSET ?1)
            """
        case .trimOpenReceipts:
            """
            DELETE FROM receipt WHERE hash = ?1 AND sort = ?2 AND state = 0 AND time <= \
            (SELECT time FROM receipt WHERE hash = ?1 AND sort = ?2 AND state = 0 ORDER BY time DESC LIMIT 1 OFFSET ?3)
            """

        case .deleteCursor: "DELETE FROM cursor WHERE stream = ?1"

        case .nameInSnapshot: "INSERT OR IGNORE INTO snapshot(hash, sort, stream) VALUES(?1, ?2, ?3)"
        case .isNamedInSnapshot: "SELECT 1 FROM snapshot WHERE hash = ?1 AND sort = ?2 AND stream = ?3"
        case .clearSnapshot: "DELETE FROM snapshot WHERE stream = ?1"
        // 3 the stream whose snapshot may have named them, "" for a model that comes down in none.
        case .readSettled:
            """
            SELECT hash, sort FROM item WHERE ?3 = '' AND model = ?1 AND time <> 0 \
            AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.position = item.position) \
            UNION ALL SELECT hash, sort FROM tombstone AS t WHERE model = ?1 AND coalesce(position, 0) <> -1 \
            AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.position = t.position) \
            AND NOT EXISTS (SELECT 1 FROM snapshot AS n WHERE n.hash = t.hash AND n.sort = t.sort AND n.stream = ?3) LIMIT ?2
            """
        case .isParked: "SELECT 1 FROM parked WHERE position = ?1"
        // 3 index, 4 and 5 the key in it.
        case .addEntry:
            "INSERT OR IGNORE INTO idx(index_id, hash, sort, item_hash, item_sort) VALUES(?3, ?4, ?5, ?1, ?2)"
        case .removeEntry:
            """
            DELETE FROM idx WHERE index_id = ?3 AND hash = ?4 AND sort = ?5 AND item_hash = ?1 AND item_sort = ?2
            """
        // The key is that in the index.
        case .readHolders: "SELECT item_hash, item_sort FROM idx WHERE index_id = ?3 AND hash = ?1 AND sort = ?2"
        case .readExpired:
            """
            SELECT sort, item_hash, item_sort FROM idx WHERE index_id = ?1 AND hash = '' AND sort <= ?2 \
            ORDER BY sort LIMIT ?3
            """
        case .firstExpiry: "SELECT sort FROM idx WHERE index_id = ?1 AND hash = '' ORDER BY sort LIMIT 1"

        // 1 index, 2 model, 3 hash; 4 sort, 5 and 6 item's key: those before the first; 7 the sort key that bounds the
        // other end.
        case .scanIndex:
            """
            SELECT i.model, i.time, i.writer, i.position, i.json, x.item_hash, x.item_sort, x.hash, x.sort \
            FROM idx AS x CROSS JOIN item AS i ON i.hash = x.item_hash AND i.sort = x.item_sort \
            WHERE x.index_id = ?1 AND x.hash = ?3 AND (x.sort, x.item_hash, x.item_sort) > (?4, ?5, ?6) \
            AND x.sort < ?7 AND i.model = ?2 AND has(i.json, ?9) ORDER BY x.sort, x.item_hash, x.item_sort
            """
        case .scanIndexReversed:
            """
            SELECT i.model, i.time, i.writer, i.position, i.json, x.item_hash, x.item_sort, x.hash, x.sort \
            FROM idx AS x CROSS JOIN item AS i ON i.hash = x.item_hash AND i.sort = x.item_sort \
            WHERE x.index_id = ?1 AND x.hash = ?3 AND (x.sort, x.item_hash, x.item_sort) < (?4, ?5, ?6) \
            AND x.sort >= ?7 AND i.model = ?2 AND has(i.json, ?9) ORDER BY x.sort DESC, x.item_hash DESC, x.item_sort DESC
            """
        // Of every hash: 3 to 6 is the key in the index to go on from, 7 the lowest sort key, 8 the one above the last.
        case .scanIndexAll:
            """
            SELECT i.model, i.time, i.writer, i.position, i.json, x.item_hash, x.item_sort, x.hash, x.sort \
            FROM idx AS x CROSS JOIN item AS i ON i.hash = x.item_hash AND i.sort = x.item_sort \
            WHERE x.index_id = ?1 AND (x.hash, x.sort, x.item_hash, x.item_sort) > (?3, ?4, ?5, ?6) \
            AND x.sort >= ?7 AND x.sort < ?8 AND i.model = ?2 AND has(i.json, ?9) ORDER BY x.hash, x.sort, x.item_hash, x.item_sort
            """
        case .scanIndexAllReversed:
            """
            SELECT i.model, i.time, i.writer, i.position, i.json, x.item_hash, x.item_sort, x.hash, x.sort \
            FROM idx AS x CROSS JOIN item AS i ON i.hash = x.item_hash AND i.sort = x.item_sort \
            WHERE x.index_id = ?1 AND (x.hash, x.sort, x.item_hash, x.item_sort) < (?3, ?4, ?5, ?6) \
            AND x.sort >= ?7 AND x.sort < ?8 AND i.model = ?2 AND has(i.json, ?9) \
            ORDER BY x.hash DESC, x.sort DESC, x.item_hash DESC, x.item_sort DESC
            """

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
        case .countRejected: "SELECT model FROM rejected"
        case .readRejected:
            """
            SELECT model, time, writer, position, json, hash, sort, removal, code, reason, at FROM rejected \
            WHERE position > ?1 ORDER BY position
            """
        }
    }

    private static let trailBytes = Trail.entriesMax * Trail.entryBytes

    /// Writes an item, or a tombstone, with what the row was before on its trail.
    private static func write(_ table: Text) -> Text {
        """
        REPLACE INTO \(table)(hash, sort, json, model, time, writer, position, trail) \
        VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, CASE WHEN ?8 IS NULL THEN NULL ELSE (\
        WITH old(trail) AS MATERIALIZED (SELECT coalesce((SELECT trail FROM item WHERE hash = ?1 AND sort = ?2), \
        (SELECT trail FROM tombstone WHERE hash = ?1 AND sort = ?2), '')) \
        SELECT nullif(CASE WHEN ?8 LIKE 'u%' AND trail LIKE 'u%' AND length(trail) = \(trailBytes) \
        THEN ?8 || substr(trail, \(Trail.entryBytes + 1)) ELSE substr(?8 || trail, 1, \(trailBytes)) END, '') FROM old) END)
        """
    }

    /// Gives an item, or a tombstone, another version. The one that it had is put on the trail, unless it stands there.
    private static func setVersion(_ table: Text) -> Text {
        """
        UPDATE \(table) SET time = ?3, writer = ?4, \
        trail = CASE WHEN instr(coalesce(trail, ''), substr(?5, 2, \(Trail.entryBytes - 1))) > 0 \
        THEN trail ELSE substr(?5 || coalesce(trail, ''), 1, \(trailBytes)) END WHERE hash = ?1 AND sort = ?2
        """
    }

    /// What waits for the cloud, with the trail of items that are there.
    private static func pending(trail: Text) -> Text {
        """
        SELECT coalesce(i.model, t.model) AS model, coalesce(i.time, t.time) AS time, \
        CASE WHEN i.hash IS NULL THEN t.writer ELSE i.writer END AS writer, o.position, \
        coalesce(i.json, t.json) AS json, \
        o.hash, o.sort, i.hash IS NULL, i.hash IS NULL AND t.hash IS NULL, \(trail) \
        FROM outbox AS o \
        LEFT JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort \
        LEFT JOIN tombstone AS t ON t.hash = CASE WHEN i.hash IS NULL THEN o.hash END AND t.sort = o.sort \
        WHERE o.position > ?1 ORDER BY o.position
        """
    }
}
