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
final class Query {
    private(set) var scan: Scan
    /// The whole key is given: the range is this one item.
    let key: ItemKey?
    private let predicate: Predicate?
    private let needsKeys: Bool
    private let condition: ((StoredItem) -> Bool)?

    init(
        _ model: Model, _ properties: JSONObject, schema: Schema, context: Context, options: QueryOptions
    ) throws(IotoError) {
        let index = try Query.index(options.index, schema)
        let isPrimary = index.name == schema.primary.name
        let builder = PredicateBuilder(schema: schema, model: model, index: index)
        var predicates: [Predicate] = []
        var equal = JSONObject()
        for (path, value) in properties.members {
            let predicate = try builder.predicate(path, value)
            predicates.append(predicate)
            if case .compare(_, .equal, .literal(let literal)) = predicate, !literal.value.isNull { equal[path] = value.operand }
        }
        let match = try model.match(index, equal, context: context)
        key = isPrimary && match.isWhole ? match.hash.map { ItemKey(hash: $0, sort: match.sort) } : nil
        scan = Scan(
            model, index: isPrimary ? nil : index, range: Query.range(match, properties, predicates, context),
            after: try options.next.map { (token) throws(IotoError) in
                try PageToken.position(token, index: isPrimary ? nil : index)
            }, isReversed: options.isReversed)
        // Whatever has this hash key has this value.
        if match.hash != nil, let path = model.property(ofHash: index), equal[path] != nil, context[path] == nil,
            let place = properties.index(of: path)
        {
            predicates.remove(at: place)
        }
        if let filter = options.filter {
            predicates.append(try FilterParser.parse(filter, builder, substitutions: options.substitutions))
        }
        predicate = predicates.isEmpty ? nil : predicates.count == 1 ? predicates[0] : .all(predicates)
        needsKeys = predicate?.needsKeys ?? false
        scan.needle = predicate?.needle
        condition = options.condition
    }

    @inline(never)
    private static func index(_ name: Text?, _ schema: Schema) throws(IotoError) -> Index {
        guard let name else { return schema.primary }
        for index in schema.indexes where index.name == name { return index }
        throw IotoError(.misuse, "schema \"\(schema.name)\" has no index '\(name)'")
    }

    /// The range of keys in which every match lies.
    @inline(never)
    private static func range(
        _ match: IndexMatch, _ properties: JSONObject, _ predicates: [Predicate], _ context: Context
    ) -> KeyRange {
        // Keys without a sort attribute are whole with an empty one, which then bounds nothing.
        if match.isWhole, match.hash != nil || !match.sort.isEmpty {
            return KeyRange(hash: match.hash, lower: match.sort, upper: KeyRange.successor(of: match.sort))
        }
        var range = KeyRange(hash: match.hash, prefix: match.sort)
        for (place, member) in properties.members.enumerated() {
            // A value of the context takes the place of what is asked for.
            guard context[member.key] == nil else { continue }
            if member.key == match.open {
                narrow(&range, predicates[place], prefix: match.sort)
            } else if member.key == match.attribute {
                narrow(&range, predicates[place], prefix: Text())
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

    /// What a query found.
    struct Result {
        /// In the order of the index; none where they are only counted.
        var items: [StoredItem] = []
        var count = 0
        /// Where the last one stands, if there are more.
        var next: ScanPosition?
    }

    /// Finds the items that match. Within a transaction of the calling thread the store shows what it has written.
    ///
    /// - Parameters:
    ///   - limit: Most items; 0: no limit.
    ///   - isPage: Look whether there are more.
    func run(on store: Store, limit: Int, isPage: Bool = false, isCount: Bool = false) throws(IotoError) -> Result {
        var result = Result()
        if let key {
            if scan.after == nil, let item = try store.get(key, model: scan.model), matches(item) {
                if !isCount { result.items.append(item) }
                result.count = 1
            }
            return result
        }
        var last: ScanPosition?
        try store.scan(scan) { (row) throws(IotoError) -> Bool in
            guard try matches(row) else { return true }
            if condition != nil || !isCount {
                let item = try row.item()
                guard condition?(item) ?? true else { return true }
                if limit > 0, result.count == limit {
                    // One more is there: the page has a successor.
                    result.next = last
                    return false
                }
                if !isCount { result.items.append(item) }
            }
            result.count += 1
            guard limit > 0, result.count == limit else { return true }
            if isPage { last = try row.position() }
            return isPage
        }
        return result
    }

    private func matches(_ item: StoredItem) -> Bool {
        if let predicate {
            let isMatch = item.body.withUnsafeBytes { body in
                predicate.matches(PredicateSubject(body: body, key: item.key, indexKey: item.key))
            }
            guard isMatch else { return false }
        }
        return condition?(item) ?? true
    }

    private func matches(_ row: ScannedRow) throws(IotoError) -> Bool {
        guard let predicate else { return true }
        let subject = PredicateSubject(
            body: row.body, key: needsKeys ? try row.key() : nil, indexKey: needsKeys ? try row.indexKey() : nil)
        return predicate.matches(subject)
    }
}

extension JSON {
    /// What a property given to a find has to equal: itself, or the operand of `{'=': operand}`.
    fileprivate var operand: JSON {
        guard let object = objectValue, object.count == 1, let value = object["="] else { return self }
        return value
    }
}

/// The token of a page: where its last item stands, so that it stays good when the item is removed.
///
/// `[hash, sort]` of the primary key; of a secondary index, its name, the item's key, and the item's key in the index.
enum PageToken {
    @inline(never)
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

    @inline(never)
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
        let result = try query.run(on: store, limit: options.limit, isPage: true)
        return ItemList(
            items: result.items.map { Item($0, fields: options.fields) },
            next: result.next.map { PageToken.make($0, index: query.scan.index) })
    }

    /// The first item that matches.
    ///
    /// - Throws: `.notFound` when none does.
    public func findOne(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Item {
        let result = try query(modelName, properties, options).run(on: store, limit: 1)
        guard let found = result.items.first else {
            throw IotoError(.notFound, "no such item of model \"\(modelName)\"")
        }
        return Item(found, fields: options.fields)
    }

    /// The number of items that match: at most the limit of the options, if they have one.
    public func count(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Int {
        try query(modelName, properties, options).run(on: store, limit: options.limit, isCount: true).count
    }
}
