import CIoto
import IotoAgent
import IotoBase
import IotoJSON
import IotoStore

@_cdecl("dbCreate") @implementation
public func dbCreate(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> OpaquePointer? {
    put(db, model, props, params, creates: true)
}

@_cdecl("dbGet") @implementation
public func dbGet(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> OpaquePointer? {
    if params == nil, let item = quickItem(db, model, props) { return give(item) }
    return entry(nil) { () throws(IotoError) in
        let call = try Call(db, model, props, params)
        return call.give(try call.database.get(call.model, call.properties, options: try call.options()))
    }
}

@_cdecl("dbFind") @implementation
public func dbFind(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let call = try Call(db, model, props, params)
        let list = try call.database.find(call.model, call.properties, options: try call.options())
        if call.parameters.hidden { for item in list.items { item.showsHidden = true } }
        return give(list)
    }
}

@_cdecl("dbFindOne") @implementation
public func dbFindOne(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let call = try Call(db, model, props, params)
        return call.give(try call.database.findOne(call.model, call.properties, options: try call.options()))
    }
}

@_cdecl("dbCount") @implementation
public func dbCount(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> Int64 {
    var count: Int64 = 0
    let code = entryCode { () throws(IotoError) in
        let call = try Call(db, model, props, params)
        count = Int64(try call.database.count(call.model, call.properties, options: try call.options()))
        return 0
    }
    return code < 0 ? Int64(code) : count
}

@_cdecl("dbUpdate") @implementation
public func dbUpdate(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> OpaquePointer? {
    put(db, model, props, params, creates: false)
}

@_cdecl("dbSet") @implementation
public func dbSet(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try Call(db, model, props, params, isForItem: true)
        _ = try call.put(creates: false, isUpsert: true)
        return 0
    }
}

@_cdecl("dbRemove") @implementation
public func dbRemove(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try Call(db, model, props, params)
        let (database, model, properties) = (call.database, call.model, call.properties)
        let (isMany, options) = (call.parameters.many, try call.options())
        var count = 0
        try receipted(database, call.parameters) { () throws(IotoError) in
            count = try database.remove(model, properties, isMany: isMany, options: options)
        }
        return Int32(clamping: count)
    }
}

/// Creates or updates an item, the short way where that leads to it.
@inline(never)
private func put(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
    _ params: UnsafePointer<DbParams>?, creates: Bool
) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        if params == nil, let model, let pairs = plainPairs(props) {
            // A variable lasts until here; what is not given a name ends before it is used, and with it the call.
            let call = try DatabaseCall(db)
            let item = creates
                ? try call.database.quickCreate(model, pairs.texts, count: pairs.count)
                : try call.database.quickUpdate(model, pairs.texts, count: pairs.count)
            if let item { return give(item) }
        }
        let call = try Call(db, model, props, params, isForItem: true)
        return call.give(try call.put(creates: creates, isUpsert: call.parameters.upsert))
    }
}

/// The item that pairs of texts name, when nothing else has to be found out about the call; nil says nothing.
func quickItem(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?
) -> Item? {
    guard let model, let pairs = plainPairs(props) else { return nil }
    do throws(IotoError) {
        let call = try DatabaseCall(db)
        return call.database.quickItem(model, pairs.texts, count: pairs.count)
    } catch {
        // Found out, and told, by the long way.
        return nil
    }
}

/// The pairs of texts that properties are, when they are nothing else.
private func plainPairs(
    _ props: UnsafePointer<DbProps>?
) -> (texts: UnsafePointer<UnsafePointer<CChar>?>, count: Int)? {
    guard let props, props.pointee.size >= UInt32(MemoryLayout<DbProps>.size), props.pointee.json == nil,
        props.pointee.object == nil, let pairs = props.pointee.pairs, props.pointee.count > 0, props.pointee.count % 2 == 0
    else { return nil }
    return (pairs, Int(clamping: props.pointee.count))
}

/// The arguments that the calls on items have in common.
struct Call: ~Copyable {
    private let call: DatabaseCall
    let model: Text
    var properties: JSONObject
    let parameters: DbParams

    init(
        _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?,
        _ params: UnsafePointer<DbParams>?, isForItem: Bool = false
    ) throws(IotoError) {
        let call = try DatabaseCall(db)
        let name = try text(model, "model")
        let properties = try Ioto.properties(props, call.database, name, isForItem: isForItem)
        let parameters = try Ioto.parameters(params)
        self.call = call
        self.model = name
        self.properties = properties
        self.parameters = parameters
    }

    var database: Database { call.database }

    /// Creates or updates the item, under a receipt where one is wanted.
    func put(creates: Bool, isUpsert: Bool) throws(IotoError) -> Item {
        let (database, model, properties) = (self.database, self.model, self.properties)
        var item: Item?
        try receipted(database, parameters) { () throws(IotoError) in
            item = creates
                ? try database.create(model, properties, isUpsert: isUpsert)
                : try database.update(model, properties, isUpsert: isUpsert)
        }
        guard let item else { throw IotoError(.misuse, "nothing was done") }
        return item
    }

    /// An item that goes to the caller, who may want what the schema hides as well.
    func give(_ item: Item) -> OpaquePointer {
        item.showsHidden = parameters.hidden
        return Ioto.give(item)
    }

    func options() throws(IotoError) -> QueryOptions {
        var options = QueryOptions(
            limit: Int(clamping: parameters.limit), next: try optionalText(parameters.next, "next"),
            isReversed: parameters.reverse, index: try optionalText(parameters.index, "index"),
            filter: try optionalText(parameters.filter, "filter"),
            substitutions: try plainProperties(parameters.substitutions), fields: try fields(),
            isCount: parameters.count)
        if let condition = parameters.where {
            let context = parameters.whereContext
            options.condition = { stored in
                let item = Item(stored)
                return condition(context, borrow(item))
            }
        }
        return options
    }
}

extension Call {
    /// The names of a list that commas separate; nil when there is no list.
    fileprivate func fields() throws(IotoError) -> [Text]? {
        guard let list = try optionalText(parameters.fields, "fields") else { return nil }
        var names: [Text] = []
        for part in list.bytes.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            var name = part
            while let first = name.first, first <= 0x20 { name.removeFirst() }
            while let last = name.last, last <= 0x20 { name.removeLast() }
            guard !name.isEmpty else { throw misuse("fields must be names with commas between them") }
            names.append(Text(name))
        }
        return names
    }
}

// MARK: Lists

@_cdecl("dbListCount") @implementation
public func dbListCount(_ list: OpaquePointer?) -> Int {
    list.map { object($0, ItemList.self).count } ?? 0
}

@_cdecl("dbListItem") @implementation
public func dbListItem(_ list: OpaquePointer?, _ index: Int) -> OpaquePointer? {
    guard let list else { return nil }
    let items = object(list, ItemList.self).items
    return items.indices.contains(index) ? borrow(items[index]) : nil
}

@_cdecl("dbNext") @implementation
public func dbNext(_ db: OpaquePointer?, _ list: OpaquePointer?) -> UnsafePointer<CChar>? {
    list.flatMap { object($0, ItemList.self).next }
}

@_cdecl("dbFreeList") @implementation
public func dbFreeList(_ list: OpaquePointer?) {
    if let list { release(list, ItemList.self) }
}

@_cdecl("dbFree") @implementation
public func dbFree(_ text: UnsafeMutableRawPointer?) {
    text?.deallocate()
}
