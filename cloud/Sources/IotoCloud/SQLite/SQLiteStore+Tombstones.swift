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
            let last: Int64? = try StoreFormat.meta("forgotten", in: db)
            let newest = keys.reduce(last ?? 0) { max($0, $1.time) }
            if newest != last { try StoreFormat.setMeta("forgotten", newest, in: db) }
            for (key, stream, position, _) in keys {
                if let stream, let position { try SQLiteStore.raiseFloor(of: stream, to: position, db) }
                // Entries of streams that it had left before go with it.
                let parted = try Row.fetchAll(
                    db.cachedStatement(sql: "SELECT stream, position FROM parted WHERE hash = ? AND sort = ?"),
                    arguments: [key.hash.string, key.sort.string])
                for row in parted { try SQLiteStore.raiseFloor(of: row[0], to: row[1], db) }
                for table in parted.isEmpty ? ["item"] : ["item", "parted"] {
                    try db.cachedStatement(sql: "DELETE FROM \(table) WHERE hash = ? AND sort = ?")
                        .execute(arguments: [key.hash.string, key.sort.string])
                }
            }
            return keys.count
        }
    }

    private static func expired(before time: Int64, in db: Database) throws -> [(key: ItemKey, stream: String?, position: Int64?, time: Int64)] {
        let statement = try db.cachedStatement(
            sql: "SELECT hash, sort, stream, position, time FROM item WHERE removed IS NOT NULL AND removed < ? ORDER BY removed LIMIT ?")
        return try Row.fetchAll(statement, arguments: [time, purgeMax]).map { row in
            (ItemKey(hash: Text(row[0] as String), sort: Text(row[1] as String)), row[2], row[3], row[4])
        }
    }

    /// What was removed up to there is forgotten.
    private static func raiseFloor(of stream: String, to position: Int64, _ db: Database) throws {
        try db.cachedStatement(sql: "UPDATE head SET floor = max(floor, ?) WHERE stream = ?")
            .execute(arguments: [position, stream])
    }
}
