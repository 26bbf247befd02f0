import CCJSON
import CIoto
import CPlatform
import IotoAgent
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

// MARK: Fields of an item

@_cdecl("dbField") @implementation
public func dbField(_ item: OpaquePointer?, _ field: UnsafePointer<CChar>?) -> UnsafePointer<CChar>? {
    guard let item = Ioto.item(item), let field else { return nil }
    return item.text(UnsafeRawBufferPointer(start: field, count: platform_length(field)))
}

@_cdecl("dbFieldBool") @implementation
public func dbFieldBool(_ item: OpaquePointer?, _ field: UnsafePointer<CChar>?, _ defaultValue: Bool) -> Bool {
    value(item, field)?.boolReading ?? defaultValue
}

@_cdecl("dbFieldNumber") @implementation
public func dbFieldNumber(_ item: OpaquePointer?, _ field: UnsafePointer<CChar>?, _ defaultValue: Int64) -> Int64 {
    value(item, field)?.integerReading ?? defaultValue
}

@_cdecl("dbFieldDouble") @implementation
public func dbFieldDouble(
    _ item: OpaquePointer?, _ field: UnsafePointer<CChar>?, _ defaultValue: Double
) -> Double {
    value(item, field)?.doubleReading ?? defaultValue
}

@_cdecl("dbFieldDate") @implementation
public func dbFieldDate(_ item: OpaquePointer?, _ field: UnsafePointer<CChar>?, _ defaultValue: Int64) -> Int64 {
    guard let item = Ioto.item(item), let field else { return defaultValue }
    return item.date(Text(cString: field)) ?? defaultValue
}

private func value(_ item: OpaquePointer?, _ field: UnsafePointer<CChar>?) -> JSON? {
    guard let item = Ioto.item(item), let field else { return nil }
    return item.value(Text(cString: field))
}

extension JSON {
    fileprivate var boolReading: Bool? {
        switch self {
        case .bool(let value): value
        case .string("true"), .string("1"): true
        case .string("false"), .string("0"): false
        case .number: doubleValue.map { $0 != 0 }
        default: nil
        }
    }

    fileprivate var integerReading: Int64? {
        switch self {
        case .number: integerValue ?? truncatedInteger
        case .string(let text): text.decimal
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    fileprivate var doubleReading: Double? {
        switch self {
        case .number: doubleValue
        case .string(let text): (try? JSON.parse(text.bytes))?.doubleValue
        default: nil
        }
    }
}

@_cdecl("dbItemJson") @implementation
public func dbItemJson(_ item: OpaquePointer?) -> UnsafePointer<CChar>? {
    Ioto.item(item)?.jsonText ?? staticCString("{}")
}

@_cdecl("dbItemToCJSON") @implementation
public func dbItemToCJSON(_ item: OpaquePointer?) -> UnsafeMutablePointer<cJSON>? {
    guard let item = Ioto.item(item) else { return nil }
    return entry(nil) { () throws(IotoError) in
        guard let object = try JSON.parse(item.visibleBody).makeCJSON() else {
            throw IotoError(.memory, "out of memory")
        }
        return object
    }
}

@_cdecl("dbItemModel") @implementation
public func dbItemModel(_ item: OpaquePointer?) -> UnsafePointer<CChar>? {
    (Ioto.item(item)?.stored.model.cName.pointer) ?? staticCString("")
}

@_cdecl("dbFreeItem") @implementation
public func dbFreeItem(_ item: OpaquePointer?) {
    if let item { release(item, Item.self) }
}

// MARK: Setting one field

@_cdecl("dbSetField") @implementation
public func dbSetField(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ value: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    setField(db, model, field, props, params) { (call, field) throws(IotoError) -> JSON in
        guard let value = try optionalText(value, "value") else { return .null }
        return try call.database.model(call.model).convert(value, field: field)
    }
}

@_cdecl("dbSetString") @implementation
public func dbSetString(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ value: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    dbSetField(db, model, field, value, props, params)
}

@_cdecl("dbSetBool") @implementation
public func dbSetBool(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?, _ value: Bool,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    setField(db, model, field, props, params) { (_, _) throws(IotoError) -> JSON in .bool(value) }
}

@_cdecl("dbSetNum") @implementation
public func dbSetNum(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?, _ value: Int64,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    setField(db, model, field, props, params) { (_, _) throws(IotoError) -> JSON in .integer(value) }
}

@_cdecl("dbSetDouble") @implementation
public func dbSetDouble(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?, _ value: Double,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    setField(db, model, field, props, params) { (_, field) throws(IotoError) -> JSON in
        guard let number = JSON.double(value) else {
            throw IotoError(.field, "field \"\(field)\": JSON has no NaN and no infinity")
        }
        return number
    }
}

@_cdecl("dbSetDate") @implementation
public func dbSetDate(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?, _ time_ms: Int64,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    setField(db, model, field, props, params) { (_, _) throws(IotoError) -> JSON in .integer(time_ms) }
}

/// Updates the item that `props` names with one more property.
private func setField(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?,
    _ value: (borrowing Call, Text) throws(IotoError) -> JSON
) -> Int32 {
    entryCode { () throws(IotoError) in
        var call = try Call(db, model, props, params)
        let field = try text(field, "field")
        call.properties[field] = try value(call, field)
        _ = try call.put(creates: false, isUpsert: call.parameters.upsert)
        return 0
    }
}

// MARK: Getting one field

@_cdecl("dbGetField") @implementation
public func dbGetField(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> UnsafeMutablePointer<CChar>? {
    entry(nil) { () throws(IotoError) in
        let name = try text(field, "field")
        guard let value = try getField(db, model, field, props), !value.isNull else {
            throw IotoError(.notFound, "the item has no field \"\(name)\"")
        }
        return CText.copy(value.stringValue ?? Text(value.text))
    }
}

@_cdecl("dbGetString") @implementation
public func dbGetString(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ defaultValue: UnsafePointer<CChar>?
) -> UnsafeMutablePointer<CChar>? {
    dbGetField(db, model, field, props, nil) ?? defaultValue.map { CText.copy(Text(cString: $0)) }
}

@_cdecl("dbGetBool") @implementation
public func dbGetBool(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ defaultValue: Bool
) -> Bool {
    entry(nil) { () throws(IotoError) in try getField(db, model, field, props)?.boolReading } ?? defaultValue
}

@_cdecl("dbGetNum") @implementation
public func dbGetNum(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ defaultValue: Int64
) -> Int64 {
    entry(nil) { () throws(IotoError) in try getField(db, model, field, props)?.integerReading } ?? defaultValue
}

@_cdecl("dbGetDouble") @implementation
public func dbGetDouble(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ defaultValue: Double
) -> Double {
    entry(nil) { () throws(IotoError) in try getField(db, model, field, props)?.doubleReading } ?? defaultValue
}

@_cdecl("dbGetDate") @implementation
public func dbGetDate(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?, _ defaultValue: Int64
) -> Int64 {
    entry(nil) { () throws(IotoError) in
        let call = try Call(db, model, props, nil)
        return try call.database.get(call.model, call.properties).date(try text(field, "field"))
    } ?? defaultValue
}

private func getField(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ field: UnsafePointer<CChar>?,
    _ props: UnsafePointer<DbProps>?
) throws(IotoError) -> JSON? {
    let call = try Call(db, model, props, nil)
    return try call.database.get(call.model, call.properties).value(try text(field, "field"))
}
