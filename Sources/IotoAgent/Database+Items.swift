import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// Reading and changing single items.
extension Database {
    /// Properties given as pairs of texts, converted to the types of their fields; a nil value becomes null.
    public func properties(
        _ pairs: [(name: Text, value: Text?)], of modelName: Text
    ) throws(IotoError) -> JSONObject {
        let model = try model(modelName)
        var object = JSONObject()
        for (name, value) in pairs {
            if let value {
                object[name] = try model.convert(value, field: name)
            } else {
                object[name] = .null
            }
        }
        return object
    }

    /// Creates an item.
    ///
    /// - Parameter isUpsert: Change the item when it exists, as `update` does.
    /// - Throws: `.exists`, and what the schema finds wrong.
    public func create(
        _ modelName: Text, _ properties: JSONObject, isUpsert: Bool = false
    ) throws(IotoError) -> Item {
        let model = try deviceModel(modelName)
        let context = context
        let prepared = try model.makeItem(properties, context: context, now: store.timeOfDay())
        return try change { (transaction) throws(IotoError) -> StoredItem in
            guard let existing = try transaction.get(prepared.key, model: model) else {
                return try transaction.put(model, prepared.key, body: prepared.text)
            }
            guard isUpsert else {
                throw IotoError(.exists, "an item of model \"\(modelName)\" with this key exists")
            }
            return try Database.update(existing, properties, context, transaction)
        }
    }

    /// The item that the properties name.
    ///
    /// - Throws: `.notFound`; `.key` when they do not give the whole key.
    public func get(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Item {
        let model = try model(modelName)
        guard let stored = try store.get(try exactKey(model, properties), model: model) else {
            throw IotoError(.notFound, "no such item of model \"\(modelName)\"")
        }
        return Item(stored, fields: options.fields)
    }

    /// Changes the given properties of the item that they name.
    ///
    /// - Parameter isUpsert: Create the item when there is none.
    /// - Throws: `.notFound`, and what the schema finds wrong.
    public func update(
        _ modelName: Text, _ properties: JSONObject, isUpsert: Bool = false
    ) throws(IotoError) -> Item {
        let model = try deviceModel(modelName)
        let context = context
        if isUpsert, case .prefix = try model.key(properties, context: context) {
            // The key is made by the schema, by a generated id for one: there is nothing to be found yet.
            return try create(modelName, properties)
        }
        let key = try exactKey(model, properties)
        return try change { (transaction) throws(IotoError) -> StoredItem in
            if let existing = try transaction.get(key, model: model) {
                return try Database.update(existing, properties, context, transaction)
            }
            guard isUpsert else {
                throw IotoError(.notFound, "no such item of model \"\(modelName)\"")
            }
            let prepared = try model.makeItem(properties, context: context, now: store.timeOfDay())
            return try transaction.put(model, prepared.key, body: prepared.text)
        }
    }

    /// Removes the item that the properties name, or every item that they match.
    ///
    /// - Parameters:
    ///   - isMany: Remove more than one.
    ///   - options: Its limit and condition count.
    /// - Returns: The number of items removed.
    /// - Throws: `.ambiguous` when several items match and one is meant.
    public func remove(
        _ modelName: Text, _ properties: JSONObject, isMany: Bool, options: QueryOptions
    ) throws(IotoError) -> Int {
        let model = try deviceModel(modelName)
        let query = try Query(model, properties, schema: schema, context: context, options: options)
        let removed = try store.write { (transaction) throws(IotoError) -> Int in
            try transaction.prepareToScan(model)
            let found = try query.run(on: store, limit: isMany ? options.limit : 2).items
            guard isMany || found.count <= 1 else {
                throw IotoError(.ambiguous, "more than one item of model \"\(modelName)\" matches")
            }
            for item in found { try transaction.remove(item) }
            return found.count
        }
        waitForTriggers()
        return removed
    }

    private func exactKey(_ model: Model, _ properties: JSONObject) throws(IotoError) -> ItemKey {
        guard case .exact(let key) = try model.key(properties, context: context) else {
            throw IotoError(.key, "the properties do not give the whole key of model \"\(model.name)\"")
        }
        return key
    }

    private func change(
        _ body: (StoreTransaction) throws(IotoError) -> StoredItem
    ) throws(IotoError) -> Item {
        let stored = try store.write(body)
        waitForTriggers()
        return Item(stored)
    }

    private static func update(
        _ existing: StoredItem, _ changes: JSONObject, _ context: Context, _ transaction: StoreTransaction
    ) throws(IotoError) -> StoredItem {
        let prepared = try existing.model.makeUpdate(
            of: try existing.properties(), changes, context: context, now: transaction.timeOfDay())
        return try transaction.put(existing.model, existing.key, body: prepared.text)
    }
}
