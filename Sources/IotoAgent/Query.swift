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
    /// The caller's own condition, asked last.
    public var condition: ((StoredItem) -> Bool)?

    public init(
        limit: Int = 0, next: Text? = nil, isReversed: Bool = false, condition: ((StoredItem) -> Bool)? = nil
    ) {
        self.limit = limit
        self.next = next
        self.isReversed = isReversed
        self.condition = condition
    }
}

/// A find: the range of keys that the properties narrow it to, and the conditions that every item in it has to meet.
struct Query {
    let model: Model
    let hash: Text?
    let sortPrefix: Text
    /// The whole key is given: the range is this one item.
    let key: ItemKey?
    let after: ItemKey?
    let filters: [Filter]
    let options: QueryOptions

    init(
        _ model: Model, _ properties: JSONObject, context: Context, options: QueryOptions
    ) throws(IotoError) {
        self.model = model
        self.options = options
        after = try options.next.map { (token) throws(IotoError) -> ItemKey in try PageToken.key(token) }
        var filters: [Filter] = []
        var equal = JSONObject()
        for (path, value) in properties.members {
            let filter = try Filter(path, value, of: model)
            filters.append(filter)
            if case .equal = filter.test { equal[path] = value }
        }
        self.filters = filters
        switch try model.key(equal, context: context) {
        case .exact(let key):
            (self.key, hash, sortPrefix) = (key, key.hash, key.sort)
        case .prefix(let hash, let sortPrefix):
            (key, self.hash, self.sortPrefix) = (nil, hash, sortPrefix)
        }
    }

    /// Visits the items that match, in key order, until `visit` returns false.
    func run<Source: ItemSource>(
        on source: Source, _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError) {
        if let key {
            guard after == nil, let item = try source.get(key, model: model), matches(item) else { return }
            _ = try visit(item)
            return
        }
        try source.scan(
            model, hash: hash, sortPrefix: sortPrefix, after: after, isReversed: options.isReversed
        ) { (item) throws(IotoError) -> Bool in
            try matches(item) ? visit(item) : true
        }
    }

    private func matches(_ item: StoredItem) -> Bool {
        for filter in filters where !filter.matches(item) { return false }
        return options.condition?(item) ?? true
    }
}

/// Where a query reads: the store as it stands, or a transaction that sees its own changes.
protocol ItemSource {
    func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem?
    func scan(
        _ model: Model, hash: Text?, sortPrefix: Text, after: ItemKey?, isReversed: Bool,
        _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError)
}

extension Store: ItemSource {}

extension StoreTransaction: ItemSource {}

/// The token of a page: the key of its last item, so that it stays good when the item is removed.
enum PageToken {
    static func make(_ key: ItemKey) -> Text {
        Text(JSON.array([.string(key.hash), .string(key.sort)]).text)
    }

    static func key(_ token: Text) throws(IotoError) -> ItemKey {
        guard let json = try? JSON.parse(token.bytes), let parts = json.arrayValue, parts.count == 2,
            let hash = parts[0].stringValue, let sort = parts[1].stringValue
        else { throw IotoError(.misuse, "next is not a token of dbNext") }
        return ItemKey(hash: hash, sort: sort)
    }
}

/// Finding items.
extension Database {
    /// The items that match the properties, in key order.
    public func find(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> ItemList {
        let query = try Query(try model(modelName), properties, context: context, options: options)
        var found: [Item] = []
        var next: Text?
        try query.run(on: store) { (item) throws(IotoError) -> Bool in
            if options.limit > 0, found.count == options.limit {
                // One more is there: the page has a successor.
                next = found.last.map { PageToken.make($0.stored.key) }
                return false
            }
            found.append(Item(item))
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
        let query = try Query(try model(modelName), properties, context: context, options: options)
        var found: Item?
        try query.run(on: store) { (item) throws(IotoError) -> Bool in
            found = Item(item)
            return false
        }
        guard let found else { throw IotoError(.notFound, "no such item of model \"\(modelName)\"") }
        return found
    }
}
