import IotoBase
import IotoSchema

extension Store {
    /// The item of that key; nil when there is none, or one of another model, or one that has expired.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        if let writer, isInTransaction {
            // It sees what it has changed.
            return try item(key, model, writer)
        }
        var ticket: UInt64 = 0
        let cached = key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in cache.find(hash, sort, &ticket) }
        }
        if let cached { return live(cached, model) }
        return try readers.read { (connection) throws(IotoError) in
            guard let item = try item(key, model, connection) else { return nil }
            // A read within a scan sees the scan's snapshot.
            if connection.loans == 1 { cache.insert(item, ticket) }
            return item
        }
    }

    /// The item of a key that is put together elsewhere, if it is one of those that were read last.
    public func cached(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, model: Model
    ) -> StoredItem? {
        guard !isInTransaction else { return nil }
        var ticket: UInt64 = 0
        guard let item = cache.find(hash, sort, &ticket) else { return nil }
        return live(item, model)
    }

    private func item(
        _ key: ItemKey, _ model: Model, _ connection: Connection
    ) throws(IotoError) -> StoredItem? {
        guard let row = try row(.readItem, key, connection) else { return nil }
        return live(row, key, model)
    }

    /// An item of the cache, if it is of the model and has not expired.
    private func live(_ item: StoredItem, _ model: Model) -> StoredItem? {
        item.model === model && !isExpired(model, item.body) ? item : nil
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
        return StoredItem(model: model, key: key, body: row.body, version: row.version, position: row.position)
    }
}
