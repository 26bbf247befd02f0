import IotoBase
import IotoSchema

extension Store {
    /// The item of that key; nil when there is none, or one of another model.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        if isInTransaction {
            // It sees what it has changed.
            return try read { (connection) throws(IotoError) in try item(key, model, connection) }
        }
        var ticket: UInt64 = 0
        let cached = key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in cache.find(hash, sort, &ticket) }
        }
        if let cached { return cached.model === model ? cached : nil }
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
        guard let item = cache.find(hash, sort, &ticket), item.model === model else { return nil }
        return item
    }

    private func item(
        _ key: ItemKey, _ model: Model, _ connection: Connection
    ) throws(IotoError) -> StoredItem? {
        guard let row = try row(.readItem, key, connection) else { return nil }
        return item(row, key, model)
    }

    /// Visits items of a model in the order of their keys, of one snapshot of the database.
    ///
    /// `visit` must not write to the store, nor keep other threads waiting: a snapshot keeps the log from being
    /// emptied.
    ///
    /// - Parameters:
    ///   - hash: The items' hash key; nil for any.
    ///   - sortPrefix: What the items' sort keys begin with.
    ///   - after: The key behind which the scan goes on, in its direction; an item of that key need not exist.
    ///   - isReversed: From the last key to the first.
    ///   - visit: Called for each item; returns false to stop.
    /// - Complexity: With a hash, in the number of items of that prefix; without one, in the number of items.
    public func scan(
        _ model: Model, hash: Text?, sortPrefix: Text, after: ItemKey?, isReversed: Bool,
        _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError) {
        let range = ScanRange(hash: hash, sortPrefix: sortPrefix, after: after, isReversed: isReversed)
        try read { (connection) throws(IotoError) in
            try scan(model, range, connection, visit)
        }
    }

    func scan(
        _ model: Model, _ range: ScanRange, _ connection: Connection,
        _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError) {
        let statement = try connection.statement(range.sql)
        defer { statement.end() }
        try range.bind(statement)
        try statement.bind(4, models.number(model))
        while try statement.step() {
            let row = try StoredRow(statement, connection, replica: replica)
            let key = ItemKey(hash: try statement.text(5), sort: try statement.text(6))
            guard let item = item(row, key, model) else { continue }
            guard try visit(item) else { return }
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
        return StoredItem(model: model, key: key, body: row.body, version: row.version, position: row.position)
    }
}

/// The keys that a scan passes.
struct ScanRange {
    let hash: Text?
    let sortPrefix: Text
    let after: ItemKey?
    let isReversed: Bool

    var sql: SQL {
        if hash != nil { return isReversed ? .scanHashReversed : .scanHash }
        return isReversed ? .scanAllReversed : .scanAll
    }

    /// Binds parameters 1, 2, 3 and 5. The empty blob serves as the key above all keys.
    func bind(_ statement: Statement) throws(IotoError) {
        var lower = sortPrefix
        var upper = ScanRange.successor(ofPrefix: sortPrefix)
        if let hash {
            try statement.bind(1, hash)
            if let after {
                if after.hash == hash {
                    if isReversed {
                        upper = upper.map { min($0, after.sort) } ?? after.sort
                    } else {
                        lower = max(lower, ScanRange.successor(of: after.sort))
                    }
                } else if (after.hash < hash) == isReversed {
                    // Every item of this hash lies on the side that has been passed.
                    upper = lower
                }
            }
        } else if let after {
            try statement.bind(1, after.hash)
            try statement.bind(5, isReversed ? after.sort : ScanRange.successor(of: after.sort))
        } else if isReversed {
            try statement.bindAboveText(1)
            try statement.bindAboveText(5)
        } else {
            try statement.bind(1, Text())
            try statement.bind(5, Text())
        }
        try statement.bind(2, lower)
        if let upper {
            try statement.bind(3, upper)
        } else {
            try statement.bindAboveText(3)
        }
    }

    /// The lowest text above `text`.
    static func successor(of text: Text) -> Text {
        var next = text
        next.append(0)
        return next
    }

    /// The lowest text above every one that begins with `prefix`; nil when there is none.
    static func successor(ofPrefix prefix: Text) -> Text? {
        var bytes = prefix.bytes
        while let last = bytes.popLast() {
            if last < 0xFF {
                bytes.append(last + 1)
                return Text(bytes)
            }
        }
        return nil
    }
}
