import IotoBase
import IotoSchema

/// What a database may take; 0: as much as there is.
public struct Ceilings: Sendable, Equatable {
    /// Bytes of the database file.
    public var fileBytes: Int64 = 0
    /// Changes that wait to be sent, and the bytes of their items.
    public var outboxItems: Int64 = 0
    public var outboxBytes: Int64 = 0
    /// Memory for items that were read last, and for pages of the file, of all connections together.
    public var cacheBytes: Int64 = 0

    /// Memory for items of models in memory.
    public var memoryBytes: Int64 = 0

    public init() {}

    /// For items.
    var itemCacheBytes: Int {
        guard cacheBytes > 0 else { return Limits.itemCacheBytesMax }
        return Int(min(Int64(Limits.itemCacheBytesMax), cacheBytes / 4))
    }

    /// For pages of one connection, in KiB.
    var pageCacheKiB: Int64 {
        guard cacheBytes > 0 else { return StoreLimits.pageCacheKiB }
        return max(StoreLimits.pageCacheKiBMin, (cacheBytes - Int64(itemCacheBytes)) / 1024 / Int64(Limits.readersMax + 1))
    }
}

/// A change that met a ceiling, as it would have been.
struct Refusal {
    let item: StoredItem
    let reason: Text
}

extension StoreTransaction {
    /// Sees to it that a change of a model finds room, by giving up older ones of the same model where the schema says so.
    ///
    /// - Parameters:
    ///   - known: The item's row, or its tombstone's; nil when there is neither.
    ///   - size: Bytes that it shall have.
    /// - Throws: `.full` when there is none; nothing is changed then.
    func makeRoom(
        for model: Model, over known: StoredRow?, size: Int, isRemoval: Bool
    ) throws(IotoError) {
        // What is kept for some is no one else's.
        let isPrivileged = isRemoval || model.process.isReserved || !store.hasReservedModels
        let file = store.ceilings.fileBytes
        if file > 0, !isPrivileged, size > known?.body.count ?? 0 {
            let used = try connection.count(.pageCount) - connection.count(.freePages)
            guard used * StoreLimits.pageBytes + Int64(size) <= file - file / StoreLimits.reservedPart else {
                throw full("the rest of the database's size is reserved", model)
            }
        }
        guard model.syncsUp, store.ceilings.outboxItems > 0 || store.ceilings.outboxBytes > 0
            || model.process.outboxLimit != nil || model.process.outboxBytes != nil
        else { return }

        let number = store.models.number(model)
        var gauge = try store.outboxGauge(connection)
        var change = try growth(known, size)
        let reserve: (Int64) -> Int64 = { isPrivileged ? 0 : $0 / StoreLimits.reservedPart }
        func excess() -> Text? {
            let ceilings = store.ceilings
            let total = gauge.total
            let own = gauge.weight(of: number)
            if ceilings.outboxItems > 0, change.items > 0,
                total.items + change.items > ceilings.outboxItems - reserve(ceilings.outboxItems)
            {
                return "the outbox has as many changes as it may"
            }
            if ceilings.outboxBytes > 0, change.bytes > 0,
                total.bytes + change.bytes > ceilings.outboxBytes - reserve(ceilings.outboxBytes)
            {
                return "the outbox has as many bytes as it may"
            }
            if let limit = model.process.outboxLimit, change.items > 0, own.items + change.items > limit {
                return "the outbox has as many changes of the model as it may"
            }
            if let limit = model.process.outboxBytes, change.bytes > 0, own.bytes + change.bytes > limit {
                return "the outbox has as many bytes of the model as it may"
            }
            return nil
        }
        guard let reason = excess() else { return }
        guard model.process.onFull == .dropOldest else { throw full(reason, model) }
        // Would it fit if all of the model's gave way? If not, none has to.
        let own = gauge.weight(of: number)
        let before = (gauge, change)
        gauge.add(number, items: -own.items, bytes: -own.bytes)
        change = (1, Int64(size))
        if let reason = excess() { throw full(reason, model) }
        (gauge, change) = before
        while excess() != nil, try dropOldest(of: model, reason) {
            gauge = try store.outboxGauge(connection)
            change = try growth(known, size)
        }
    }

    /// What a change adds to the outbox.
    private func growth(_ known: StoredRow?, _ size: Int) throws(IotoError) -> (items: Int64, bytes: Int64) {
        if let known, let position = known.position, try isPending(position) {
            return (0, Int64(size - known.body.count))
        }
        return (1, Int64(size))
    }

    /// Gives up the model's oldest change that waits.
    ///
    /// - Returns: Whether there was one.
    private func dropOldest(of model: Model, _ reason: Text) throws(IotoError) -> Bool {
        guard let (position, key) = try oldestPending(model) else { return false }
        return try modify { () throws(IotoError) in
            let item = try current(key)
            guard let row = item == nil ? try tombstone(key) : item else { return false }
            try dequeue(position, row)
            dropped += 1
            try close(key, upTo: row.version.time, .rejected, code: ErrorCode.full.rawValue, reason: "dropped: " + reason)
            if let state = store.item(row, key, model) {
                note(.full, before: state, after: item == nil ? nil : state, reason: "dropped: " + reason)
            }
            try settleExpiry(key)
            return true
        }
    }

    private func oldestPending(_ model: Model) throws(IotoError) -> (Int64, ItemKey)? {
        let statement = try connection.statement(.oldestPending)
        defer { statement.end() }
        try statement.bind(1, store.models.number(model))
        guard try statement.step() else { return nil }
        return (
            try statement.integer(0), ItemKey(hash: try statement.text(1), sort: try statement.text(2))
        )
    }

    private func full(_ reason: Text, _ model: Model) -> IotoError {
        IotoError(.full, "model \"\(model.name)\": \(reason)")
    }
}

extension Connection {
    /// The number that a kept statement without parameters gives.
    func count(_ sql: SQL) throws(IotoError) -> Int64 {
        let statement = try statement(sql)
        defer { statement.end() }
        return try statement.step() ? try statement.integer(0) : 0
    }
}

extension Store {
    /// Whether a change of the model has to ask for room.
    func mayBeFull(_ model: Model) -> Bool {
        if model.process.isMemory { return false }
        if ceilings.fileBytes > 0 { return true }
        guard model.syncsUp else { return false }
        return ceilings.outboxItems > 0 || ceilings.outboxBytes > 0 || model.process.outboxLimit != nil
            || model.process.outboxBytes != nil
    }
}

extension Model {
    /// Whether changes travel, one way or the other.
    var isReplicated: Bool { syncsUp || syncsDown }
}
