import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// What shapes the result of a find, beside the properties.
public struct QueryOptions {
    /// Most items; 0: no limit.
    public var limit: Int
    /// Token of the page to go on after.
    public var next: Text?
    public var isReversed: Bool
    /// Name of the index to search in; nil: the primary one.
    public var index: Text?
    /// A condition, as OneTable writes `where`.
    public var filter: Text?
    /// Values of `@{name}` in the filter.
    public var substitutions: JSONObject
    /// Paths of the properties that the items of the result have; nil: all.
    public var fields: [Text]?
    /// Count the items, and return none.
    public var isCount: Bool
    /// The caller's own condition, asked last.
    public var condition: ((StoredItem) -> Bool)?

    public init(
        limit: Int = 0, next: Text? = nil, isReversed: Bool = false, index: Text? = nil, filter: Text? = nil,
        substitutions: JSONObject = JSONObject(), fields: [Text]? = nil, isCount: Bool = false,
        condition: ((StoredItem) -> Bool)? = nil
    ) {
        self.limit = limit
        self.next = next
        self.isReversed = isReversed
        self.index = index
        self.filter = filter
        self.substitutions = substitutions
        self.fields = fields
        self.isCount = isCount
        self.condition = condition
    }
}

/// A find: the range of keys that the properties narrow it to, and the conditions that every item in it has to meet.
struct Query {
    let scan: Scan
    /// The whole key is given: the range is this one item.
    let key: ItemKey?
    private let predicate: Predicate?
    private let needsKeys: Bool
    private let needle: [UInt8]?
    private let condition: ((StoredItem) -> Bool)?

    init(
        _ model: Model, _ properties: JSONObject, schema: Schema, context: Context, options: QueryOptions
    ) throws(IotoError) {
        let index = try Query.index(options.index, schema)
        let isPrimary = index.name == schema.primary.name
        let builder = PredicateBuilder(schema: schema, model: model, index: index)
        var terms: [(path: Text, predicate: Predicate)] = []
        var equal = JSONObject()
        for (path, value) in properties.members {
            let predicate = try builder.predicate(path, value)
            terms.append((path, predicate))
            if case .compare(_, .equal, .literal(let literal)) = predicate, !literal.value.isNull { equal[path] = value.operand }
        }
        let match = try model.match(index, equal, context: context)
        key = isPrimary && match.isWhole ? match.hash.map { ItemKey(hash: $0, sort: match.sort) } : nil
        scan = Scan(
            model, index: isPrimary ? nil : index, range: Query.range(match, terms, context),
            after: try options.next.map { (token) throws(IotoError) in
                try PageToken.position(token, index: isPrimary ? nil : index)
            }, isReversed: options.isReversed)
        var predicates = terms.map { $0.predicate }
        if let filter = options.filter {
            predicates.append(try FilterParser.parse(filter, builder, substitutions: options.substitutions))
        }
        predicate = predicates.isEmpty ? nil : predicates.count == 1 ? predicates[0] : .all(predicates)
        needsKeys = predicate?.needsKeys ?? false
        needle = predicate?.needle
        condition = options.condition
    }

    private static func index(_ name: Text?, _ schema: Schema) throws(IotoError) -> Index {
        guard let name else { return schema.primary }
        for index in schema.indexes where index.name == name { return index }
        throw IotoError(.misuse, "schema \"\(schema.name)\" has no index '\(name)'")
    }

    /// The range of keys in which every match lies.
    private static func range(
        _ match: IndexMatch, _ terms: [(path: Text, predicate: Predicate)], _ context: Context
    ) -> KeyRange {
        if match.isWhole {
            return KeyRange(hash: match.hash, lower: match.sort, upper: KeyRange.successor(of: match.sort))
        }
        var range = KeyRange(hash: match.hash, prefix: match.sort)
        for (path, predicate) in terms {
            // A value of the context takes the place of what is asked for.
            guard context[path] == nil else { continue }
            if path == match.open {
                narrow(&range, predicate, prefix: match.sort)
            } else if path == match.attribute {
                narrow(&range, predicate, prefix: Text())
            }
        }
        return range
    }

    /// Narrows a range by a condition on what follows `prefix` in the sort key.
    private static func narrow(_ range: inout KeyRange, _ predicate: Predicate, prefix: Text) {
        switch predicate {
        case .compare(_, let comparison, .literal(let literal)):
            guard let text = literal.value.stringValue else { return }
            let edge = prefix + text
            switch comparison {
            case .less: range.limit(below: edge)
            case .lessOrEqual: range.limit(below: KeyRange.successor(of: edge))
            case .greater: range.limit(from: KeyRange.successor(of: edge))
            case .greaterOrEqual: range.limit(from: edge)
            case .equal, .notEqual: break
            }
        case .begins(_, .literal(let literal)):
            guard let text = literal.value.stringValue else { return }
            range.limit(from: prefix + text)
            range.limit(below: KeyRange.successor(ofPrefix: prefix + text))
        case .between(_, .literal(let low), .literal(let high)):
            if let text = low.value.stringValue { range.limit(from: prefix + text) }
            if let text = high.value.stringValue { range.limit(below: KeyRange.successor(of: prefix + text)) }
        default: break
        }
    }

    /// Visits the items that match, in key order, until `visit` returns false.
    func run<Source: ItemSource>(
        on source: Source, _ visit: (Match) throws(IotoError) -> Bool
    ) throws(IotoError) {
        if let key {
            guard scan.after == nil, let item = try source.get(key, model: scan.model) else { return }
            if let predicate {
                let isMatch = item.body.withUnsafeBytes { body in
                    predicate.matches(PredicateSubject(body: body, key: key, indexKey: key))
                }
                guard isMatch else { return }
            }
            guard condition?(item) ?? true else { return }
            _ = try visit(Match(row: nil, known: item))
            return
        }
        try source.scan(scan) { (row) throws(IotoError) -> Bool in
            guard try matches(row) else { return true }
            guard let condition else { return try visit(Match(row: row, known: nil)) }
            let item = try row.item()
            return condition(item) ? try visit(Match(row: row, known: item)) : true
        }
    }

    private func matches(_ row: ScannedRow) throws(IotoError) -> Bool {
        guard let predicate else { return true }
        if let needle {
            // An escape may write the same text another way.
            let isThere = needle.withUnsafeBytes { findBytes($0, in: row.body) }
            guard isThere || row.body.contains(UInt8(ascii: "\\")) else { return false }
        }
        let subject = PredicateSubject(
            body: row.body, key: needsKeys ? try row.key() : nil, indexKey: needsKeys ? try row.indexKey() : nil)
        return predicate.matches(subject)
    }

    /// An item that matches, copied when it is asked for.
    struct Match {
        fileprivate let row: ScannedRow?
        fileprivate let known: StoredItem?

        func item() throws(IotoError) -> StoredItem {
            if let known { return known }
            guard let row else { throw IotoError(.misuse, "no item") }
            return try row.item()
        }

        func position() throws(IotoError) -> ScanPosition {
            if let row { return try row.position() }
            return ScanPosition(item: try item().key)
        }
    }
}

extension JSON {
    /// What a property given to a find has to equal: itself, or the operand of `{'=': operand}`.
    fileprivate var operand: JSON {
        guard let object = objectValue, object.count == 1, let value = object["="] else { return self }
        return value
    }
}

/// Where a query reads: the store as it stands, or a transaction that sees its own changes.
protocol ItemSource {
    func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem?
    func scan(_ scan: Scan, _ visit: (ScannedRow) throws(IotoError) -> Bool) throws(IotoError)
}

extension Store: ItemSource {}

extension StoreTransaction: ItemSource {}

/// The token of a page: where its last item stands, so that it stays good when the item is removed.
///
/// `[hash, sort]` of the primary key; of a secondary index, its name, the item's key, and the item's key in the index.
enum PageToken {
    static func make(_ position: ScanPosition, index: Index?) -> Text {
        let item = position.item
        guard let index, let key = position.index else {
            return Text(JSON.array([.string(item.hash), .string(item.sort)]).text)
        }
        return Text(
            JSON.array([
                .string(index.name), .string(item.hash), .string(item.sort), .string(key.hash), .string(key.sort),
            ]).text)
    }

    static func position(_ token: Text, index: Index?) throws(IotoError) -> ScanPosition {
        var texts: [Text] = []
        if let json = try? JSON.parse(token.bytes), let parts = json.arrayValue {
            for part in parts {
                if let text = part.stringValue { texts.append(text) }
            }
        }
        if let index {
            if texts.count == 5, texts[0] == index.name {
                return ScanPosition(
                    item: ItemKey(hash: texts[1], sort: texts[2]), index: ItemKey(hash: texts[3], sort: texts[4]))
            }
        } else if texts.count == 2 {
            return ScanPosition(item: ItemKey(hash: texts[0], sort: texts[1]))
        }
        throw IotoError(.misuse, "next is not a token of dbNext for this index")
    }
}

/// Finding items.
extension Database {
    func query(
        _ modelName: Text, _ properties: JSONObject, _ options: QueryOptions
    ) throws(IotoError) -> Query {
        try Query(try model(modelName), properties, schema: schema, context: context, options: options)
    }

    /// The items that match the properties, in key order.
    public func find(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> ItemList {
        if options.isCount { return ItemList(count: try count(modelName, properties, options: options)) }
        let query = try query(modelName, properties, options)
        var found: [Item] = []
        var last: ScanPosition?
        var next: Text?
        try query.run(on: store) { (match) throws(IotoError) -> Bool in
            if options.limit > 0, found.count == options.limit {
                // One more is there: the page has a successor.
                next = last.map { PageToken.make($0, index: query.scan.index) }
                return false
            }
            found.append(Item(try match.item(), fields: options.fields))
            if options.limit > 0, found.count == options.limit { last = try match.position() }
            return true
        }
        return ItemList(items: found, next: next)
    }

    /// The first item that matches.
    ///
    /// - Throws: `.notFound` when none does.
    public func findOne(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Item {
        let query = try query(modelName, properties, options)
        var found: Item?
        try query.run(on: store) { (match) throws(IotoError) -> Bool in
            found = Item(try match.item(), fields: options.fields)
            return false
        }
        guard let found else { throw IotoError(.notFound, "no such item of model \"\(modelName)\"") }
        return found
    }

    /// The number of items that match: at most the limit of the options, if they have one.
    public func count(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Int {
        let query = try query(modelName, properties, options)
        var count = 0
        try query.run(on: store) { (_) throws(IotoError) -> Bool in
            count += 1
            return options.limit == 0 || count < options.limit
        }
        return count
    }
}
