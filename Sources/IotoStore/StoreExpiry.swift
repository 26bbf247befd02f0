import IotoBase
import IotoJSON
import IotoSchema

/// Items whose time is over. No read shows them any more; they are removed later, a bounded number at a time.
///
/// Expiry is no write of anybody's: every replica comes to it by itself, from the item that it has. The removal therefore
/// sends nothing, and the tombstone that it leaves, of a model whose changes come down, has the version of the item: a
/// newer state of the item, from either side, is stored; an older one is not, and the same one once more is if it has not
/// expired, since the clock was ahead. An item that waits in the outbox stays until its answer: the cloud has to hear of the state that expires.
extension Store {
    /// Whether an item is one that no read shows.
    ///
    /// The time is the cloud's where the machine's clock is wrong. One that has not been set yet, and stands before 2020, lets nothing
    /// expire.
    @inline(never)
    func isExpired(_ model: Model, _ body: [UInt8]) -> Bool {
        guard model.ttlField != nil else { return false }
        return body.withUnsafeBytes { isExpired(model, $0, at: timeOfDay()) }
    }

    @inline(never)
    func isExpired(_ model: Model, _ body: UnsafeRawBufferPointer, at now: Int64) -> Bool {
        guard model.ttlField != nil, now >= Instant.earliestPlausible, let time = model.expiry(ofBody: body) else {
            return false
        }
        return time <= now
    }

    /// The item, unless it has expired.
    @inline(never)
    func live(_ row: StoredRow, _ key: ItemKey, _ model: Model) -> StoredItem? {
        guard let item = item(row, key, model), !isExpired(model, item.body) else { return nil }
        return item
    }

    /// Whether items of any model expire.
    public var hasExpiry: Bool { indexes.expiry != nil }

    /// When the next item is to be removed, in Unix milliseconds; nil when none is.
    public func nextExpiry() throws(IotoError) -> Int64? {
        guard let id = indexes.expiry else { return nil }
        let first = try read { (connection) throws(IotoError) in try nextExpiry(id, connection) }
        guard let memory else { return first }
        let other = try memory.read { (connection) throws(IotoError) in try nextExpiry(id, connection) }
        guard let first, let other else { return first ?? other }
        return min(first, other)
    }

    private func nextExpiry(_ id: Int64, _ connection: Connection) throws(IotoError) -> Int64? {
        guard try isIndexed(connection) else { return nil }
        let statement = try connection.statement(.firstExpiry)
        defer { statement.end() }
        try statement.bind(1, id)
        // What is no time that the library writes is due, and goes with the others.
        return try statement.step() ? max(0, try statement.text(0).decimal ?? 0) : nil
    }

    /// Removes items that have expired, in one transaction of bounded size.
    ///
    /// - Parameter isSilent: Without events.
    /// - Returns: The number removed, and whether there may be more.
    public func removeExpired(isSilent: Bool = false) throws(IotoError) -> (removed: Int, hasMore: Bool) {
        let now = timeOfDay()
        guard now >= Instant.earliestPlausible, let first = try nextExpiry(), first <= now else { return (0, false) }
        return try write { (transaction) throws(IotoError) in
            var result = try transaction.removeExpired(at: now, isSilent: isSilent)
            if let model = schema.models.first(where: { $0.process.isMemory && $0.ttlField != nil }) {
                try transaction.use(model)
                let more = try transaction.removeExpired(at: now, isSilent: isSilent)
                result = (result.removed + more.removed, result.hasMore || more.hasMore)
            }
            return result
        }
    }
}

extension StoreTransaction {
    func removeExpired(at now: Int64, isSilent: Bool) throws(IotoError) -> (removed: Int, hasMore: Bool) {
        guard let id = store.indexes.expiry, isIndexed else { return (0, false) }
        let found = try expired(id, at: now)
        var removed = 0
        for place in found.keys.indices {
            let entry = StoreIndexes.Entry(id: id, key: ItemKey(hash: Text(), sort: found.times[place]))
            try modify { () throws(IotoError) in
                if try removeExpired(found.keys[place], entry, isSilent: isSilent) { removed += 1 }
            }
        }
        return (removed, found.keys.count == Int(StoreLimits.expiryStep))
    }

    private func removeExpired(
        _ key: ItemKey, _ entry: StoreIndexes.Entry, isSilent: Bool
    ) throws(IotoError) -> Bool {
        if let row = try store.row(.readItem, key, connection), let model = store.models.model(row.model),
            let item = store.item(row, key, model), store.isExpired(model, item.body), try !isAwaited(item, row)
        {
            try expire(item, row, isSilent: isSilent)
            return true
        }
        // An item that is awaited is in the way of others until it is answered, and comes back then. Else the entry leads
        // nowhere, left by a library that kept no indexes.
        try connection.write(.removeEntry, entry, key)
        return false
    }

    private func expired(_ id: Int64, at now: Int64) throws(IotoError) -> (times: [Text], keys: [ItemKey]) {
        let statement = try connection.statement(.readExpired)
        defer { statement.end() }
        try statement.bind(1, id)
        try statement.bind(2, StoreIndexes.expiryKey(now).sort)
        try statement.bind(3, StoreLimits.expiryStep)
        var times: [Text] = []
        var keys: [ItemKey] = []
        while try statement.step() {
            times.append(try statement.text(0))
            keys.append(ItemKey(hash: try statement.text(1), sort: try statement.text(2)))
        }
        return (times, keys)
    }

    /// Whether the cloud has still to hear of the item.
    private func isAwaited(_ item: StoredItem, _ row: StoredRow) throws(IotoError) -> Bool {
        guard item.model.syncsUp, let position = row.position else { return false }
        return try isPending(position)
    }

    /// Removes an item that has expired, within `modify`.
    private func expire(_ item: StoredItem, _ row: StoredRow, isSilent: Bool) throws(IotoError) {
        noteRemoval()
        try bury(item, [])
        try run(.deleteItem, item.key)
        try reindex(item.key, from: row, to: nil)
        if !isSilent { note(.expired, before: item, after: nil) }
    }

    /// Leaves a tombstone with the version of an item that has expired, where a change of the cloud may have to be
    /// compared with it.
    ///
    /// - Parameter trace: As `write` has it.
    func bury(_ item: StoredItem, _ trace: [UInt8]?) throws(IotoError) {
        guard item.model.syncsDown, item.version != .zero else { return }
        // What can't be read is not kept for its properties' sake.
        let properties = (try? item.properties()) ?? JSONObject()
        let remains = JSON.object(item.model.keyProperties(of: properties)).text
        let tombstone = StoredItem(model: item.model, key: item.key, body: remains, version: item.version)
        try write(.writeTombstone, tombstone, position: StoredRow.expiryPosition, trace)
    }

    /// After the cloud's answer to a change: an item that expired while it waited is removed, and one that has not is
    /// entered where it may have been taken out.
    func settleExpiry(_ key: ItemKey) throws(IotoError) {
        guard let id = store.indexes.expiry, isIndexed, let row = try store.row(.readItem, key, connection),
            let model = store.models.model(row.model), model.ttlField != nil, let item = store.item(row, key, model)
        else { return }
        if store.isExpired(model, item.body), store.removalHold() <= 0 { return try expire(item, row, isSilent: false) }
        for entry in store.indexes.entries(model, item.body) where entry.id == id {
            try connection.write(.addEntry, entry, key)
        }
    }
}
