import IotoBase
import IotoSchema

extension Store {
    /// The item of that key; nil when there is none, or one of another model, or one that has expired.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        try read { (connection) throws(IotoError) in
            guard let row = try row(.readItem, key, connection) else { return nil }
            return live(row, key, model)
        }
    }

    /// The row of that key in `item` (`.readItem`) or `tombstone` (`.readTombstone`), of whatever model.
    func row(_ sql: SQL, _ key: ItemKey, _ connection: Connection) throws(IotoError) -> StoredRow? {
        let statement = try connection.statement(sql)
        defer { statement.end() }
        guard try statement.step(key: key) else { return nil }
        return try StoredRow(statement, connection, replica: replica)
    }

    func item(_ row: StoredRow, _ key: ItemKey, _ model: Model) -> StoredItem? {
        guard row.model == models.number(model) else { return nil }
        return StoredItem(model: model, key: key, body: row.body, version: row.version)
    }
}
