import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// The items as people and applications in the cloud see them: read and written under the schema, each write a change
/// that goes down to the devices that it concerns.
///
/// ```swift
/// let database = CloudDatabase(store: store, schema: schema, context: ["deviceId": "d1"])
/// try await database.put("Setting", ["id": .string("interval"), "value": .integer(5)])
/// ```
public struct CloudDatabase: Sendable {
    /// How often a write begins anew when others keep changing the item.
    static let attemptsMax = 20
    /// Items read from the store at a time.
    static let pageItems = 500

    public let store: any CloudStore
    public let schema: Schema
    public let context: Context

    /// - Parameter context: Values that hold for every call, `deviceId` and `accountId`.
    public init(store: any CloudStore, schema: Schema, context: Context = Context()) {
        self.store = store
        self.schema = schema
        self.context = context
    }

    /// The model of that name.
    ///
    /// - Throws: `.model` when the schema has none; `.denied` when its items never leave their device.
    public func model(_ name: Text) throws(IotoError) -> Model {
        guard let model = schema.model(name) else {
            throw IotoError(.model, "\(schema.name): there is no model \"\(name)\"")
        }
        guard model.existsInCloud else {
            throw IotoError(.denied, "model \"\(name)\" does not exist in the cloud: its enable is 'device'")
        }
        return model
    }

    /// The items of a model in order of their keys: those that have the context's values, where the model has the fields.
    ///
    /// - Parameters:
    ///   - key: The last item of the page before.
    ///   - limit: Most items to give.
    /// - Complexity: O(items of the model): there is no index by device or account.
    public func list(_ name: Text, after key: ItemKey? = nil, limit: Int) async throws(IotoError) -> [CloudItem] {
        let model = try model(name)
        let wanted = context.entries.filter { model.field(at: $0.name) != nil }
        var items: [CloudItem] = []
        var last = key
        while items.count < limit {
            let page = try await store.items(model: name, after: last, limit: min(limit, CloudDatabase.pageItems))
            guard let end = page.last else { break }
            last = end.key
            for change in page where items.count < limit {
                let item = try CloudItem(change, model: model)
                if wanted.allSatisfy({ item.body[$0.name]?.stringValue == $0.value }) { items.append(item) }
            }
        }
        return items
    }

    /// The item that the properties make up the key of.
    ///
    /// - Throws: `.notFound` when there is none; `.key` when the key's properties are not all given.
    public func get(_ name: Text, _ properties: JSONObject) async throws(IotoError) -> CloudItem {
        let model = try model(name)
        return try await live(model, properties).item
    }

    /// Creates an item, or gives the properties to the one that has their key; null takes a property away.
    ///
    /// - Returns: The item as stored.
    /// - Throws: What the schema finds wrong with the item; `.exists` when the key is another model's item's, or was
    ///   generated and is taken; `.busy` when others keep changing the item.
    @discardableResult
    public func put(_ name: Text, _ properties: JSONObject) async throws(IotoError) -> CloudItem {
        let model = try model(name)
        for _ in 0..<CloudDatabase.attemptsMax {
            let now = Instant.now.wall
            var current: Change?
            let prepared: PreparedItem
            if case .exact(let key) = try model.key(properties, context: context),
                let stored = try await store.item(key), !stored.isRemoval {
                try check(stored, is: model)
                current = stored
                prepared = try model.makeUpdate(
                    of: try CloudItem(stored, model: model).body, properties, context: context, now: now)
            } else {
                prepared = try model.makeItem(properties, context: context, now: now)
                current = try await store.item(prepared.key)
                if let current, !current.isRemoval {
                    // It has come since, or the key is not of the caller's making.
                    if case .exact = try model.key(properties, context: context) { continue }
                    throw IotoError(.exists, "an item of model \"\(name)\" has this key already")
                }
            }
            var write = LocalWrite(
                model: name, key: prepared.key, body: prepared.text,
                stream: IotoSync.Stream.of(prepared.body, model: model),
                owner: IotoSync.Stream.owner(of: prepared.body) ?? Text(),
                expected: current?.version)
            write.merges = model.mergesFields
            if let change = try await store.write(write) { return try CloudItem(change, model: model) }
        }
        throw busy(name)
    }

    /// Removes the item that the properties make up the key of.
    ///
    /// - Returns: The item as it was.
    /// - Throws: As `get`; `.busy` when others keep changing the item.
    @discardableResult
    public func remove(_ name: Text, _ properties: JSONObject) async throws(IotoError) -> CloudItem {
        let model = try model(name)
        for _ in 0..<CloudDatabase.attemptsMax {
            let (item, change) = try await live(model, properties)
            let tombstone = model.keyProperties(of: item.body)
            let removal = try await store.write(
                LocalWrite(
                    model: name, key: item.key, isRemoval: true, body: tombstone.text,
                    stream: IotoSync.Stream.of(item.body, model: model),
                    owner: IotoSync.Stream.owner(of: item.body) ?? Text(),
                    expected: change.version))
            if removal != nil { return item }
        }
        throw busy(name)
    }

    private func live(
        _ model: Model, _ properties: JSONObject
    ) async throws(IotoError) -> (item: CloudItem, change: Change) {
        guard case .exact(let key) = try model.key(properties, context: context) else {
            throw IotoError(
                .key, "the properties do not make up the whole key of an item of model \"\(model.name)\"")
        }
        guard let change = try await store.item(key), !change.isRemoval, change.model == model.name else {
            throw IotoError(.notFound, "there is no such item of model \"\(model.name)\"")
        }
        return (try CloudItem(change, model: model), change)
    }

    private func check(_ change: Change, is model: Model) throws(IotoError) {
        guard change.model == model.name else {
            throw IotoError(.exists, "an item of model \"\(change.model)\" has the key of this item")
        }
    }

    private func busy(_ model: Text) -> IotoError {
        IotoError(.busy, "others keep changing this item of model \"\(model)\"")
    }
}

/// An item as read from the store.
public struct CloudItem: Sendable {
    public let model: Model
    public let key: ItemKey
    public let version: Version
    /// The item's own properties.
    public let body: JSONObject

    init(_ change: Change, model: Model) throws(IotoError) {
        guard case .object(let body) = try JSON.parse(change.body) else {
            throw IotoError(.corrupt, "item \(change.key.sort): the stored body is no object")
        }
        self.model = model
        key = change.key
        version = change.version
        self.body = body
    }

    /// The item with its type and its key attributes, as it is in the cloud's table.
    public var wire: JSONObject { model.wireItem(body: body, key: key, includeHash: true) }
}
