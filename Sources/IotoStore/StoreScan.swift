import CPlatform
import IotoBase
import IotoSchema

/// The keys of an index that a scan passes.
public struct KeyRange: Sendable {
    /// The hash key; nil: every one.
    public var hash: Text?
    /// Lowest sort key.
    public var lower: Text
    /// The sort key above the last; nil: there is none.
    public var upper: Text?

    public init(hash: Text?, lower: Text = Text(), upper: Text? = nil) {
        self.hash = hash
        self.lower = lower
        self.upper = upper
    }

    /// The sort keys that begin with `prefix`.
    public init(hash: Text?, prefix: Text) {
        self.init(hash: hash, lower: prefix, upper: KeyRange.successor(ofPrefix: prefix))
    }

    /// Raises the lower bound.
    @inline(never)
    public mutating func limit(from lower: Text) {
        if self.lower < lower { self.lower = lower }
    }

    /// Lowers the upper bound, which is outside.
    @inline(never)
    public mutating func limit(below upper: Text?) {
        guard let upper else { return }
        if self.upper.map({ upper < $0 }) ?? true { self.upper = upper }
    }

    /// The lowest text above `text`.
    @inline(never)
    public static func successor(of text: Text) -> Text {
        var next = text
        next.append(0)
        return next
    }

    /// The lowest text above every one that begins with `prefix`; nil when there is none.
    @inline(never)
    public static func successor(ofPrefix prefix: Text) -> Text? {
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

/// A place in a scan: behind an item, which need not exist any more.
public struct ScanPosition: Sendable, Equatable {
    public var item: ItemKey
    /// Its key in the secondary index that is scanned; nil in a scan by primary key.
    public var index: ItemKey?

    public init(item: ItemKey, index: ItemKey? = nil) {
        self.item = item
        self.index = index
    }
}

/// A row that a scan has come to, valid until `visit` returns. What is not asked for is not copied.
public struct ScannedRow {
    /// Nil: the row is `found`.
    fileprivate let statement: Statement?
    fileprivate let found: platform_row
    fileprivate let store: Store
    public let model: Model
    /// The item's text.
    public let body: UnsafeRawBufferPointer
    fileprivate let isIndexed: Bool

    @inline(never)
    public func key() throws(IotoError) -> ItemKey {
        guard let statement else { return found.key }
        return ItemKey(hash: try statement.text(5), sort: try statement.text(6))
    }

    /// The item's key in the index that is scanned.
    @inline(never)
    public func indexKey() throws(IotoError) -> ItemKey {
        guard isIndexed, let statement else { return try key() }
        return ItemKey(hash: try statement.text(7), sort: try statement.text(8))
    }

    @inline(never)
    public func position() throws(IotoError) -> ScanPosition {
        ScanPosition(item: try key(), index: isIndexed ? try indexKey() : nil)
    }

    @inline(never)
    public func item() throws(IotoError) -> StoredItem {
        let replica = store.replica
        let version = try statement.map { (row) throws(IotoError) in try StoredRow.version(row, replica: replica) }
            ?? found.version(replica: replica)
        return StoredItem(model: model, key: try key(), body: copyBytes(body), version: version)
    }
}

/// What a scan passes, and how.
public struct Scan: Sendable {
    public var model: Model
    /// A secondary index; nil: by primary key.
    public var index: Index?
    public var range: KeyRange
    /// Where it goes on, in its direction; nil: from its first item.
    public var after: ScanPosition?
    public var isReversed: Bool
    /// Bytes that an item has in its text, or else an escape, to be visited; nil: every item is.
    public var needle: [UInt8]?

    public init(
        _ model: Model, index: Index? = nil, range: KeyRange, after: ScanPosition? = nil, isReversed: Bool = false,
        needle: [UInt8]? = nil
    ) {
        self.model = model
        self.index = index
        self.range = range
        self.after = after
        self.isReversed = isReversed
        self.needle = needle
    }

    /// Every item of the model is in the range.
    fileprivate var isWhole: Bool {
        range.hash == nil && range.lower.isEmpty && range.upper == nil && after == nil && !isReversed
    }

    fileprivate var sql: SQL {
        if index == nil {
            if isWhole { return .scanModel }
            if range.hash != nil { return isReversed ? .scanHashReversed : .scanHash }
            return isReversed ? .scanAllReversed : .scanAll
        }
        if range.hash != nil { return isReversed ? .scanIndexReversed : .scanIndex }
        return isReversed ? .scanIndexAllReversed : .scanIndexAll
    }

    /// Binds all parameters of a scan by primary key.
    fileprivate func bindPrimary(_ statement: Statement, model: Int64) throws(IotoError) {
        try statement.bind(4, model)
        if isWhole { return }
        var lower = range.lower
        var upper = range.upper
        let after = after?.item
        if let hash = range.hash {
            try statement.bind(1, hash)
            if let after {
                if after.hash == hash {
                    if isReversed {
                        upper = upper.map { min($0, after.sort) } ?? after.sort
                    } else {
                        lower = max(lower, KeyRange.successor(of: after.sort))
                    }
                } else if (after.hash < hash) == isReversed {
                    // Every item of this hash lies on the side that has been passed.
                    upper = lower
                }
            }
        } else if let after {
            try statement.bind(1, after.hash)
            try statement.bind(5, isReversed ? after.sort : KeyRange.successor(of: after.sort))
        } else {
            try statement.bindEdge(1, isReversed)
            try statement.bindEdge(5, isReversed)
        }
        try statement.bind(2, lower)
        try statement.bind(3, orAboveText: upper)
    }

    /// Binds all parameters of a scan of a secondary index: the place that it begins behind, and the bound of its end.
    fileprivate func bindIndex(_ statement: Statement, id: Int64, model: Int64) throws(IotoError) {
        try statement.bind(1, id)
        try statement.bind(2, model)
        guard let hash = range.hash else {
            if let after, let index = after.index {
                try statement.bind(3, index.hash)
                try statement.bind(4, index.sort)
                try statement.bind(5, after.item.hash)
                try statement.bind(6, after.item.sort)
            } else {
                for parameter: Int32 in 3...6 { try statement.bindEdge(parameter, isReversed) }
            }
            try statement.bind(7, range.lower)
            return try statement.bind(8, orAboveText: range.upper)
        }
        try statement.bind(3, hash)
        // No entry has an empty item key, so that ("x", "", "") lies before every one of "x".
        var begin = isReversed ? range.upper : range.lower
        var item = ItemKey(hash: Text(), sort: Text())
        var isOver = false
        if let after, let index = after.index {
            if index.hash != hash {
                isOver = (index.hash < hash) == isReversed
            } else if isReversed ? begin.map({ index.sort < $0 }) ?? true : begin.map({ index.sort >= $0 }) ?? true {
                begin = index.sort
                item = after.item
            }
        }
        try statement.bind(4, orAboveText: begin)
        try statement.bind(5, item.hash)
        try statement.bind(6, item.sort)
        if isReversed {
            if isOver { try statement.bindEdge(7, true) } else { try statement.bind(7, range.lower) }
        } else {
            try statement.bind(7, orAboveText: isOver ? Text() : range.upper)
        }
    }
}

extension Statement {
    /// Binds a text, or what is above every text.
    @inline(never)
    fileprivate func bind(_ index: Int32, orAboveText text: Text?) throws(IotoError) {
        if let text { try bind(index, text) } else { try bindAboveText(index) }
    }

    /// Binds what lies before the first text in a direction.
    @inline(never)
    fileprivate func bindEdge(_ index: Int32, _ isReversed: Bool) throws(IotoError) {
        if isReversed { try bindAboveText(index) } else { try bind(index, Text()) }
    }
}

extension Store {
    /// Visits the items of a scan, of one snapshot of the database, without those that have expired.
    ///
    /// `visit` must not write to the store, nor keep other threads waiting: a snapshot keeps the log from being emptied.
    ///
    /// - Parameter visit: Called for each item; returns false to stop.
    /// - Throws: `.busy` when the file does not have the index that is asked for; what `visit` throws.
    /// - Complexity: With a hash, in the number of items in the range; without one, in the number of items.
    @inline(never)
    public func scan(_ scan: Scan, _ visit: (ScannedRow) throws(IotoError) -> Bool) throws(IotoError) {
        if scan.model.isDelayed { try flushDelayed() }
        try read(scan.model) { (connection) throws(IotoError) in try self.scan(scan, connection, visit) }
    }

    @inline(never)
    func scan(
        _ scan: Scan, _ connection: Connection, _ visit: (ScannedRow) throws(IotoError) -> Bool
    ) throws(IotoError) {
        guard let index = scan.index else {
            var scan = scan
            if try scanPages(&scan, connection, visit) { return }
            let statement = try connection.statement(scan.sql)
            defer { statement.end() }
            try scan.bindPrimary(statement, model: models.number(scan.model))
            return try run(statement, scan, connection, visit)
        }
        // No model is in the index.
        guard let id = indexes.id(index) else { return }
        // The statement that looks stays open, so that both see one snapshot.
        let check = try openCheck(connection)
        defer { check.end() }
        let statement = try connection.statement(scan.sql)
        defer { statement.end() }
        try scan.bindIndex(statement, id: id, model: models.number(scan.model))
        try run(statement, scan, connection, visit)
    }

    private func run(
        _ statement: Statement, _ scan: Scan, _ connection: Connection,
        _ visit: (ScannedRow) throws(IotoError) -> Bool
    ) throws(IotoError) {
        if let needle = scan.needle { try statement.bind(9, needle) }
        let expires = scan.model.ttlField != nil
        let now = expires ? timeOfDay() : 0
        while try statement.step() {
            let body = try statement.rawBytes(4)
            try connection.checkBody(body)
            if expires, isExpired(scan.model, body, at: now) { continue }
            let row = ScannedRow(
                statement: statement, found: platform_row(), store: self, model: scan.model, body: body,
                isIndexed: scan.index != nil)
            guard try visit(row) else { return }
        }
    }

    /// Visits all items of a model by the pages that they stand in, which takes a fraction of the time.
    ///
    /// - Returns: false when the scan, which then goes on after the last item that was visited, has to be run through SQLite.
    private func scanPages(
        _ scan: inout Scan, _ connection: Connection, _ visit: (ScannedRow) throws(IotoError) -> Bool
    ) throws(IotoError) -> Bool {
        guard scan.isWhole, let sharedHeader, connection.loans == 1 else { return false }
        // Stays open, so that the snapshot does.
        let holder = try connection.statement(.itemRoot)
        defer { holder.end() }
        guard let tree = try connection.openTree(holder, sharedHeader, models.number(scan.model), scan.needle) else {
            return false
        }
        defer { platform_tree_close(tree) }
        let expires = scan.model.ttlField != nil
        let now = expires ? timeOfDay() : 0
        var found = platform_row()
        var code: Int32 = 1
        while true {
            code = platform_tree_next(tree, &found)
            guard code > 0 else { break }
            let body = UnsafeRawBufferPointer(start: found.json, count: found.json_bytes)
            try connection.checkBody(body)
            if expires, isExpired(scan.model, body, at: now) { continue }
            let row = ScannedRow(
                statement: nil, found: found, store: self, model: scan.model, body: body, isIndexed: false)
            guard try visit(row) else { return true }
        }
        if code < 0, found.hash != nil { scan.after = ScanPosition(item: found.key) }
        return code == 0
    }

    private func openCheck(_ connection: Connection) throws(IotoError) -> Statement {
        guard hasIndexes else { throw notIndexed() }
        let statement = try connection.statement(.readMeta)
        do throws(IotoError) {
            try statement.bind(1, StoreFormat.metaIndexes)
            guard try statement.step(), try statement.bits(0) == indexes.fingerprint else { throw notIndexed() }
            return statement
        } catch {
            statement.end()
            throw error
        }
    }

    /// Whether the file has this schema's indexes, as the connection sees it.
    func isIndexed(_ connection: Connection) throws(IotoError) -> Bool {
        guard hasIndexes else { return false }
        return try StoreFormat.readMeta(connection, StoreFormat.metaIndexes) == indexes.fingerprint
    }
}

extension StoreTransaction {
    /// As `Store.scan`. Items that `visit` writes may or may not be visited again: to change many, gather them first.
    public func scan(_ scan: Scan, _ visit: (ScannedRow) throws(IotoError) -> Bool) throws(IotoError) {
        try checkUse()
        if scan.model.isDelayed { try writeGathered() }
        try use(scan.model)
        try store.scan(scan, connection, visit)
    }

    /// Visits items of a model by primary key: those whose sort key begins with `sortPrefix`.
    public func scan(
        _ model: Model, hash: Text?, sortPrefix: Text, after: ItemKey?, isReversed: Bool,
        _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError) {
        let range = KeyRange(hash: hash, prefix: sortPrefix)
        let scan = Scan(model, range: range, after: after.map { ScanPosition(item: $0) }, isReversed: isReversed)
        try self.scan(scan) { (row) throws(IotoError) in try visit(try row.item()) }
    }
}
