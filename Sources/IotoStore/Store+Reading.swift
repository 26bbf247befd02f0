import CPlatform
import IotoBase
import IotoSchema

extension Store {
    /// The item of that key; nil when there is none, or one of another model, or one that has expired.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        if model.isDelayed || model.process.isMemory { return try getGathered(key, model) }
        return try key.hash.bytes.withUnsafeBufferPointer { (hash) throws(IotoError) in
            try key.sort.bytes.withUnsafeBufferPointer { (sort) throws(IotoError) in
                try get(UnsafeRawBufferPointer(hash), UnsafeRawBufferPointer(sort), model: model)
            }
        }
    }

    /// The same for a key whose texts stand elsewhere.
    public func get(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, model: Model
    ) throws(IotoError) -> StoredItem? {
        if model.isDelayed || model.process.isMemory {
            return try getGathered(ItemKey(hash: Text(hash), sort: Text(sort)), model)
        }
        if let writer, isInTransaction {
            // It sees what it has changed.
            return try item(hash, sort, model, writer)
        }
        var ticket: UInt64 = 0
        if let cached = cache.find(hash, sort, &ticket) {
            return cached.model === model && !isExpired(model, cached.body) ? cached : nil
        }
        return try readers.read { (connection) throws(IotoError) in
            // A read within a scan sees the scan's snapshot.
            guard connection.loans == 1 else { return try item(hash, sort, model, connection) }
            guard let item = try lookUp(hash, sort, model, connection) else { return nil }
            cache.insert(item, ticket)
            return item
        }
    }

    /// Of models in memory, and of those whose changes gather there, no items are kept.
    private func getGathered(_ key: ItemKey, _ model: Model) throws(IotoError) -> StoredItem? {
        if model.isDelayed, !isInSession, let change = gathering.change(of: key) { return live(change, model) }
        return try read(model) { (connection) throws(IotoError) in
            guard let row = try row(.readItem, key, connection) else { return nil }
            return live(row, key, model)
        }
    }

    private func lookUp(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, _ model: Model, _ connection: Connection
    ) throws(IotoError) -> StoredItem? {
        var row = platform_row()
        guard let sharedHeader, case let code = try connection.lookUp(hash, sort, sharedHeader, &row), code >= 0 else {
            return try item(hash, sort, model, connection)
        }
        guard code > 0 else { return nil }
        try connection.checkBody(row.body)
        guard row.model == models.number(model) else { return nil }
        if model.ttlField != nil, isExpired(model, row.body, at: timeOfDay()) { return nil }
        return StoredItem(
            model: model, key: ItemKey(hash: Text(hash), sort: Text(sort)), body: copyBytes(row.body),
            version: row.version(replica: replica), position: row.has_position ? row.position : nil)
    }

    private func item(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, _ model: Model, _ connection: Connection
    ) throws(IotoError) -> StoredItem? {
        let statement = try connection.statement(.readItem)
        defer { statement.end() }
        guard try statement.step(hash, sort) else { return nil }
        let row = try StoredRow(statement, connection, replica: replica)
        return live(row, ItemKey(hash: Text(hash), sort: Text(sort)), model)
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
        return StoredItem(model: model, key: key, body: row.body, version: row.version, position: row.position)
    }
}
