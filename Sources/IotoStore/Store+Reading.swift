import IotoBase
import IotoSchema

extension Store {
    /// The item of that key; nil when there is none, or one of another model, or one that has expired.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        if model.isDelayed, !isInSession, let change = gathering.change(of: key) { return live(change, model) }
        return try read(model) { (connection) throws(IotoError) in
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

    /// The item as a change that has gathered leaves it.
    func live(_ change: StoredItem, _ model: Model) -> StoredItem? {
        guard !change.body.isEmpty, change.model === model, !isExpired(model, change.body) else { return nil }
        return change
    }

    func item(_ row: StoredRow, _ key: ItemKey, _ model: Model) -> StoredItem? {
        guard row.model == models.number(model) else { return nil }
        return StoredItem(model: model, key: key, body: row.body, version: row.version)
    }
}
