import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// Reading and changing single items.
extension Database {
    /// Properties given as pairs of C texts: name, value, name, value, ... A NULL value becomes null.
    ///
    /// - Parameters:
    ///   - count: Number of texts.
    ///   - isForItem: They are to be put into an item, which converts them to the types of their fields; otherwise that is
    ///     done here.
    /// - Throws: `.misuse` when a name is NULL or a text is not valid UTF-8; `.field` when a value does not fit.
    public func properties(
        _ texts: UnsafePointer<UnsafePointer<CChar>?>, count: Int, of modelName: Text, isForItem: Bool
    ) throws(IotoError) -> JSONObject {
        let model = try model(modelName)
        var object = JSONObject()
        object.reserveCapacity(count / 2)
        for place in stride(from: 0, to: count - 1, by: 2) {
            guard let given = texts[place] else { throw IotoError(.misuse, "a property's name is NULL") }
            let field = model.field(given)
            let name = field?.name ?? Text(cString: given)
            guard field != nil || name.isValidUTF8 else {
                throw IotoError(.misuse, "a property's name is not valid UTF-8")
            }
            guard let text = texts[place + 1] else {
                object[name] = .null
                continue
            }
            let value = Text(cString: text)
            guard value.isValidUTF8 else { throw IotoError(.misuse, "a property is not valid UTF-8") }
            if let field, isForItem, field.type.isScalar {
                object[name] = .string(value)
            } else {
                object[name] = try model.convert(value, field: name)
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
            guard isUpsert, let existing = try transaction.get(prepared.key, model: model) else {
                return try Database.create(model, prepared.key, prepared.text, transaction)
            }
            return try Database.update(existing, properties, context, transaction)
        }
    }

    /// Creates the item that pairs of C texts make, as `create` does, where nothing of them has to be judged.
    ///
    /// - Returns: nil when it takes more than this to tell, and nothing is done.
    /// - Throws: As `create`, of what comes after the schema.
    public func quickCreate(
        _ modelName: UnsafePointer<CChar>, _ pairs: UnsafePointer<UnsafePointer<CChar>?>, count: Int
    ) throws(IotoError) -> Item? {
        guard let model = schema.model(modelName), model.existsOnDevice,
            let (key, body) = model.writeItem(
                isNew: true, pairs, count: count, context: context, now: model.isTimed ? store.timeOfDay() : 0)
        else { return nil }
        return try change { (transaction) throws(IotoError) -> StoredItem in
            try Database.create(model, key, body, transaction)
        }
    }

    private static func create(
        _ model: Model, _ key: ItemKey, _ body: [UInt8], _ transaction: StoreTransaction
    ) throws(IotoError) -> StoredItem {
        guard let item = try transaction.create(model, key, body: body) else {
            throw IotoError(.exists, "an item of model \"\(model.name)\" with this key exists")
        }
        return item
    }

    /// The item that the properties name.
    ///
    /// - Throws: `.notFound`; `.key` when they do not give the whole key.
    public func get(
        _ modelName: Text, _ properties: JSONObject, options: QueryOptions = QueryOptions()
    ) throws(IotoError) -> Item {
        let model = try model(modelName)
        guard let stored = try store.get(try model.exactKey(properties, context: context), model: model) else {
            throw IotoError(.notFound, "no such item of model \"\(modelName)\"")
        }
        return Item(stored, fields: options.fields)
    }

    /// Tells the last versions of the item that the properties name, see `Store.explain`.
    ///
    /// - Throws: `.notFound` when nothing is known of it; `.key` when they do not give the whole key.
    public func explain(
        _ modelName: Text, _ properties: JSONObject, _ visit: (ToldVersion) -> Void
    ) throws(IotoError) {
        let model = try model(modelName)
        guard try store.explain(try model.exactKey(properties, context: context), model: model, visit) else {
            throw IotoError(.notFound, "nothing is known of such an item of model \"\(modelName)\"")
        }
    }

    /// The item that pairs of C texts name, as `get` finds it, where they give its key and nothing else; nil says nothing.
    public func quickItem(
        _ modelName: UnsafePointer<CChar>, _ pairs: UnsafePointer<UnsafePointer<CChar>?>, count: Int
    ) -> Item? {
        guard count > 0, count % 2 == 0, let model = schema.model(modelName) else { return nil }
        let context = context
        return withUnsafeTemporaryAllocation(byteCount: Database.quickKeyBytesMax, alignment: 1) { buffer in
            guard let key = model.writeKey(pairs, count: count, context: context, to: buffer) else { return nil }
            let bytes = UnsafeRawBufferPointer(buffer)
            // An error is met again by the long way, and told.
            let found = try? store.get(
                UnsafeRawBufferPointer(rebasing: bytes[..<key.hashEnd]),
                UnsafeRawBufferPointer(rebasing: bytes[key.hashEnd..<key.sortEnd]), model: model)
            return found.map { Item($0) }
        }
    }

    /// Longest key that is looked for without being made a text.
    private static let quickKeyBytesMax = 256

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
        let key = try model.exactKey(properties, context: context)
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

    /// Changes the item that pairs of C texts name, as `update` does, where nothing of them has to be judged.
    ///
    /// - Returns: nil when it takes more than this to tell, and nothing is done.
    /// - Throws: As `update`.
    public func quickUpdate(
        _ modelName: UnsafePointer<CChar>, _ pairs: UnsafePointer<UnsafePointer<CChar>?>, count: Int
    ) throws(IotoError) -> Item? {
        let context = context
        guard let model = schema.model(modelName), model.existsOnDevice,
            let (key, _) = model.writeItem(isNew: false, pairs, count: count, context: context, now: 0)
        else { return nil }
        return try change { (transaction) throws(IotoError) -> StoredItem in
            guard let existing = try transaction.get(key, model: model) else {
                throw IotoError(.notFound, "no such item of model \"\(model.name)\"")
            }
            let change = model.writeItem(
                over: existing.body, isNew: false, pairs, count: count, context: context, now: transaction.timeOfDay())
            if let change { return try transaction.put(model, key, body: change.body) }
            // The item is not as it would be written now.
            let properties = try properties(pairs, count: count, of: model.name, isForItem: true)
            return try Database.update(existing, properties, context, transaction)
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
