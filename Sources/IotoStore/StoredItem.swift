import IotoBase
import IotoJSON
import IotoSchema

/// One state of an item, as it is stored. Immutable.
public final class StoredItem: Sendable {
    public let model: Model
    public let key: ItemKey
    /// The item's properties as JSON text; of a removal just those that the key is made of.
    public let body: [UInt8]
    /// When and by whom it was written; zero for items of models that are not replicated.
    public let version: Version
    /// Place in the outbox that the last local change got.
    let position: Int64?

    init(model: Model, key: ItemKey, body: [UInt8], version: Version, position: Int64? = nil) {
        self.model = model
        self.key = key
        self.body = body
        self.version = version
        self.position = position
    }

    /// The value at a path, read without parsing the rest; nil when there is none.
    public func value(at path: Text) -> JSON? {
        body.withUnsafeBytes { body in
            guard let range = JSONScanner.member(path, in: body) else { return nil }
            return JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[range]))
        }
    }

    /// The same item with these properties alone, as paths name them.
    public func projected(_ paths: [Text]) -> StoredItem {
        var properties = JSON.object(JSONObject())
        for path in paths {
            if let value = value(at: path) { _ = properties.set(value, at: path) }
        }
        return StoredItem(model: model, key: key, body: properties.text, version: version)
    }

    /// The properties, parsed.
    ///
    /// - Throws: `.corrupt` when the file held something else.
    public func properties() throws(IotoError) -> JSONObject {
        do throws(IotoError) {
            if case .object(let properties) = try JSON.parse(body) { return properties }
        } catch {
            throw IotoError(.corrupt, "item '\(key.hash)' '\(key.sort)': \(error.message)")
        }
        throw IotoError(.corrupt, "item '\(key.hash)' '\(key.sort)': not an object")
    }
}

/// A row of `item` or `tombstone`, of whatever model.
struct StoredRow {
    var model: Int64
    var version: Version
    /// Place in the outbox that the last local change got.
    var position: Int64?
    var body: [UInt8]

    /// Position of a tombstone that expiry has left: no place in the outbox.
    static let expiryPosition: Int64 = -1

    var isOfExpiry: Bool { position == StoredRow.expiryPosition }

    init(_ item: StoredItem, model: Int64) {
        self.model = model
        version = item.version
        position = item.position
        body = item.body
    }

    /// Columns: model, time, writer, position, json.
    init(_ statement: Statement, _ connection: Connection, replica: UInt64) throws(IotoError) {
        model = try statement.integer(0)
        version = try StoredRow.version(statement, replica: replica)
        position = try statement.optionalInteger(3)
        body = try statement.bytes(4)
        // Whether it is JSON to its end is seen when it is parsed; this tells damage from an item without parsing each.
        guard body.first == UInt8(ascii: "{"), body.last == UInt8(ascii: "}") else {
            throw connection.corrupt("an item's text is not an object")
        }
    }

    static func version(_ statement: Statement, replica: UInt64) throws(IotoError) -> Version {
        let time = try statement.bits(1)
        // Version.zero has no writer.
        return Version(time: time, writer: statement.isNull(2) ? (time == 0 ? 0 : replica) : try statement.bits(2))
    }
}
