import GRDB
import IotoBase
import IotoSchema
import IotoSync

extension SQLiteStore {
    /// Tombstones of one transaction, so that writers don't wait long.
    static let purgeMax = 500

    public func purgeTombstones(before time: Int64) async throws(IotoError) -> Int {
        // Most often there is none, and then nothing is written.
        let found = try await read { db in try SQLiteStore.expired(before: time, in: db).count }
        if found == 0 { return 0 }
        return try await write { db in
            let keys = try SQLiteStore.expired(before: time, in: db)
            for (key, stream) in keys {
                // Entries of streams that it had left before are read through the item, and go with it.
                let parted = try String.fetchAll(
                    db.cachedStatement(
                        sql: "SELECT stream FROM feed WHERE hash = ? AND sort = ? AND parted IS NOT NULL"),
                    arguments: [key.hash.string, key.sort.string])
                for stream in [stream].compactMap({ $0 }) + parted { try SQLiteStore.forget(key, in: stream, db) }
                try db.cachedStatement(sql: "DELETE FROM item WHERE hash = ? AND sort = ?")
                    .execute(arguments: [key.hash.string, key.sort.string])
            }
            return keys.count
        }
    }

    private static func expired(before time: Int64, in db: Database) throws -> [(key: ItemKey, stream: String?)] {
        let statement = try db.cachedStatement(
            sql: "SELECT hash, sort, stream FROM item WHERE removed IS NOT NULL AND removed < ? ORDER BY removed LIMIT ?")
        return try Row.fetchAll(statement, arguments: [time, purgeMax]).map { row in
            (ItemKey(hash: Text(row[0] as String), sort: Text(row[1] as String)), row[2])
        }
    }

    /// Removes the item's entry from a feed, whose floor rises to it.
    private static func forget(_ key: ItemKey, in stream: String, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                UPDATE head SET floor = max(floor, coalesce(
                    (SELECT position FROM feed WHERE stream = ?1 AND hash = ?2 AND sort = ?3), 0)) WHERE stream = ?1
                """
        ).execute(arguments: [stream, key.hash.string, key.sort.string])
        try db.cachedStatement(sql: "DELETE FROM feed WHERE stream = ? AND hash = ? AND sort = ?")
            .execute(arguments: [stream, key.hash.string, key.sort.string])
    }
}
