import CCJSON
import CIoto
import IotoAgent
import IotoBase
import IotoJSON

// Items and lists go out retained once, and come back by their freeing call.

func give<Object: AnyObject>(_ object: Object) -> OpaquePointer {
    OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

func borrow<Object: AnyObject>(_ object: Object) -> OpaquePointer {
    OpaquePointer(Unmanaged.passUnretained(object).toOpaque())
}

func object<Object: AnyObject>(_ pointer: OpaquePointer, _ type: Object.Type) -> Object {
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue()
}

func release<Object: AnyObject>(_ pointer: OpaquePointer, _ type: Object.Type) {
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer)).release()
}

func item(_ pointer: OpaquePointer?) -> Item? {
    pointer.map { object($0, Item.self) }
}

/// A required text.
func text(_ pointer: UnsafePointer<CChar>?, _ name: StaticString) throws(IotoError) -> Text {
    guard let pointer else { throw misuse("\(name) is NULL") }
    return try optionalText(pointer, name) ?? ""
}

/// A text that may be NULL.
func optionalText(_ pointer: UnsafePointer<CChar>?, _ name: StaticString) throws(IotoError) -> Text? {
    guard let pointer else { return nil }
    let text = Text(cString: pointer)
    guard text.isValidUTF8 else { throw misuse("\(name) is not valid UTF-8") }
    return text
}

/// The properties of a call, as an object. NULL stands for none.
///
/// - Parameter isForItem: They are to be put into an item, which converts them to the types of the model's fields;
///   otherwise that is done here.
func properties(
    _ props: UnsafePointer<DbProps>?, _ database: Database, _ model: Text, isForItem: Bool
) throws(IotoError) -> JSONObject {
    guard let props else { return JSONObject() }
    let value = try sized(props, "props", props.pointee.size)
    if let object = try jsonProperties(value) { return object }
    guard let texts = try pairs(value) else { return JSONObject() }
    return try database.properties(texts, count: Int(clamping: value.count), of: model, isForItem: isForItem)
}

/// Properties of no model: texts stay texts.
func plainProperties(_ props: UnsafePointer<DbProps>?) throws(IotoError) -> JSONObject {
    guard let props else { return JSONObject() }
    let value = try sized(props, "props", props.pointee.size)
    if let object = try jsonProperties(value) { return object }
    var object = JSONObject()
    guard let texts = try pairs(value) else { return object }
    for place in stride(from: 0, to: Int(clamping: value.count), by: 2) {
        let name = try text(texts[place], "a property's name")
        object[name] = try optionalText(texts[place + 1], "a property").map { .string($0) } ?? .null
    }
    return object
}

/// The properties given as JSON or as a cJSON object; nil when they are given as pairs.
private func jsonProperties(_ value: DbProps) throws(IotoError) -> JSONObject? {
    let json: JSON
    if let text = value.json {
        json = try JSON.parse(Text(cString: text).bytes, syntax: .json5)
    } else if let object = value.object {
        json = try JSON(cJSON: UnsafePointer<cJSON>(OpaquePointer(object)))
    } else {
        return nil
    }
    guard let object = json.objectValue else { throw IotoError(.json, "properties must be an object") }
    return object
}

private func pairs(_ props: DbProps) throws(IotoError) -> UnsafePointer<UnsafePointer<CChar>?>? {
    guard props.count > 0 else { return nil }
    guard let texts = props.pairs, props.count % 2 == 0 else {
        throw misuse("properties must be pairs of name and value")
    }
    return texts
}

/// The parameters of a call; NULL stands for the defaults.
func parameters(_ params: UnsafePointer<DbParams>?) throws(IotoError) -> DbParams {
    guard let params else { return DbParams() }
    return try sized(params, "params", params.pointee.size)
}

/// A struct of the caller, whose header may be older or newer than the library: what it does not have reads as zero.
func sized<Struct: ZeroInitializable>(
    _ pointer: UnsafePointer<Struct>, _ name: StaticString, _ size: UInt32
) throws(IotoError) -> Struct {
    guard size >= MemoryLayout<UInt32>.size else {
        throw misuse("\(name) has no size: fill it with the macro")
    }
    var value = Struct()
    let bytes = Int(min(size, UInt32(MemoryLayout<Struct>.size)))
    withUnsafeMutableBytes(of: &value) { $0.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: bytes)) }
    return value
}

// MARK: Structs that the caller wants filled

/// Such a struct, which begins with its size as the caller's header has it.
func target(_ out: UnsafeMutableRawPointer?) throws(IotoError) -> UnsafeMutableRawPointer {
    guard let out, out.load(as: UInt32.self) >= MemoryLayout<UInt32>.size else { throw misuse("out is NULL or has no size") }
    return out
}

/// Fills it, but for its size, as far as the caller's header and the library's both have it.
func deliver<Struct>(_ value: inout Struct, to out: UnsafeMutableRawPointer) {
    withUnsafeBytes(of: &value) { source in
        let size = out.load(as: UInt32.self)
        out.copyMemory(from: UnsafeRawPointer(source.baseAddress!), byteCount: Int(min(size, UInt32(source.count))))
        out.storeBytes(of: size, as: UInt32.self)
    }
}

/// Fills a text of such a struct, cut where a character ends; the NUL behind it stays from the empty struct.
func fill(_ buffer: UnsafeMutableRawBufferPointer, _ text: Text) {
    let part = text.prefix(bytesMax: buffer.count - 1)
    for place in 0..<part.count { buffer[place] = part.bytes[place] }
}

/// A C struct whose empty initializer sets every byte to zero.
protocol ZeroInitializable {
    init()
}

extension DbProps: ZeroInitializable {}
extension DbParams: ZeroInitializable {}
extension DbLimits: ZeroInitializable {}
extension IoTransport: ZeroInitializable {}
