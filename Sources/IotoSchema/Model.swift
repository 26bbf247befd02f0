import IotoBase
import IotoJSON

/// Which timestamps items carry.
public enum Timestamps: Sendable {
    case none, created, updated, both

    var hasCreated: Bool { self == .created || self == .both }
    var hasUpdated: Bool { self == .updated || self == .both }
}

/// A model of the schema: its fields, its keys and its rules.
///
/// ## Topics
/// - Items: `makeItem`, `makeUpdate`, `makeReplica`, `wireItem`
/// - Keys: `key`, `itemKey`, `indexKey`, `keyProperties`
public final class Model: Sendable {
    public let name: Text
    /// The name for C.
    public let cName: CText
    /// Place among the schema's models.
    public let ordinal: Int
    /// What the schema's `process` says of it.
    public let process: ProcessOptions
    public let timestamps: Timestamps
    let fieldSet: FieldSet
    let keys: ModelKeys
    /// How the primary key is written from texts; nil when it takes more than that.
    let keyPlan: KeyPlan?
    /// How an item is written from texts; nil when it takes more than that.
    nonisolated(unsafe) private(set) var itemPlan: ItemPlan?
    let settings: ModelSettings
    /// Places of the fields that carry the timestamps.
    let createdPlace: Int?
    let updatedPlace: Int?
    /// The field that says when an item expires.
    public let ttlField: Field?
    /// The fields whose values are unique, in the schema's order.
    public let uniqueFields: [Field]
    /// Fields inside objects that are computed, in the order to do so.
    let nestedTemplates: [NestedTemplate]
    /// Whether the cloud has other names for some properties: a body then does not stand on the wire as it is.
    public let isMapped: Bool
    /// Whether a body has properties that a caller gets only by asking for them.
    public let hidesProperties: Bool

    init(_ parts: ModelParts, ordinal: Int, settings: ModelSettings) {
        name = parts.name
        cName = CText(parts.name)
        self.ordinal = ordinal
        process = parts.process
        nestedTemplates = parts.nestedTemplates
        isMapped = parts.fields.fields.contains { $0.attributes.map != nil }
        hidesProperties = parts.fields.hidesFields
        timestamps = settings.timestamps
        fieldSet = parts.fields
        keys = parts.keys
        keyPlan = KeyPlan(parts.keys.primary)
        self.settings = settings
        ttlField = parts.fields.fields.first { $0.attributes.isTTL }
        uniqueFields = parts.fields.fields.filter { $0.attributes.isUnique }
        createdPlace = settings.timestamps.hasCreated ? parts.fields.index(of: settings.createdField) : nil
        updatedPlace = settings.timestamps.hasUpdated ? parts.fields.index(of: settings.updatedField) : nil
        itemPlan = ItemPlan(self)
    }

    /// The fields in the schema's order, followed by those that it implies: timestamps, and properties that a
    /// template uses and the model does not name.
    public var fields: [Field] { fieldSet.fields }

    public var enable: Enable { process.enable }
    public var sync: Direction { process.sync }
    public var existsOnDevice: Bool { enable != .cloud }
    public var existsInCloud: Bool { enable != .device }
    /// Whether the device's changes go to the cloud.
    public var syncsUp: Bool { enable == .both && (sync == .up || sync == .both) }
    /// Whether the cloud's changes go to the device.
    public var syncsDown: Bool { enable == .both && (sync == .down || sync == .both) }
    /// Whether concurrent changes of different fields of an item are joined.
    public var mergesFields: Bool { process.mergesFields && syncsUp && syncsDown }

    /// The field at a path `a.b.0`, or nil when the schema says nothing of it.
    public func field(at path: Text) -> Field? {
        fieldSet.field(at: path)
    }

    /// The field of a C text's name, with its name as a text: one text serves every item.
    public func field(_ name: UnsafePointer<CChar>) -> Field? {
        fieldSet.index(of: name).map { fields[$0] }
    }

    /// A text (DB_PROPS) as a value of its field's type; a text stays one where the schema has no such field.
    ///
    /// - Throws: `.field` when it does not fit.
    public func convert(_ text: Text, field path: Text) throws(IotoError) -> JSON {
        guard let field = field(at: path), !field.type.isScalar else { return try convert(.string(text), field: path) }
        // Its members are converted where it is known what the value is for: in a change, null takes one away.
        _ = try convert(.string(text), field: path)
        return field.parsedText(.string(text))
    }

    /// A value as one of its field's type, for comparison with stored ones: null and operators' operands come as
    /// they are where the schema has no such field. Neither `required` nor `enum` is checked.
    ///
    /// - Throws: `.field` when it does not fit.
    public func convert(_ value: JSON, field path: Text) throws(IotoError) -> JSON {
        guard let field = field(at: path), !value.isNull else { return value }
        do throws(FieldFault) {
            return try field.convert(value, .reading, nil)
        } catch {
            throw failure(error.code, field: path, error.message)
        }
    }

    func failure(_ fault: FieldFault) -> IotoError {
        failure(fault.code, field: fault.path, fault.message)
    }

    func failure(_ code: ErrorCode, field: Text, _ message: Text) -> IotoError {
        IotoError(code, "model \(quoted(name)): field \(quoted(field)): \(message)")
    }

    func failure(_ code: ErrorCode, _ message: Text) -> IotoError {
        IotoError(code, "model \(quoted(name)): \(message)")
    }
}

/// What the schema reader knows of a model.
struct ModelParts {
    var name: Text
    var fields: FieldSet
    var keys: ModelKeys
    var nestedTemplates: [NestedTemplate]
    var process = ProcessOptions()
}

/// The schema's settings that items depend on.
struct ModelSettings {
    var typeField: Text = "_type"
    var createdField: Text = "created"
    var updatedField: Text = "updated"
    var separator: Text = "#"
    var timestamps = Timestamps.none
    var isoDates = false
    var nulls = false
    /// Whether computed properties are hidden, where the field does not say it.
    var hidesTemplates = true
    /// Whether objects that are given in a change are laid over the stored ones, where the field does not say it.
    var isPartial = true
    var warns = true
    var generator = IDGenerator.shared

    /// What holds for fields that don't say otherwise.
    var fieldFlags: FieldFlags {
        var flags = FieldFlags.filter
        flags.set(.isoDates, isoDates)
        flags.set(.nulls, nulls)
        flags.set(.partial, isPartial)
        return flags
    }
}

/// How a model makes the attributes of one index. A plain field that is a key is a template of itself alone.
struct KeyPart {
    let attribute: Text
    let template: Template
    /// Whether the attribute is a property of its own, and stored in the body.
    let isProperty: Bool
}

struct IndexKeys {
    let hash: KeyPart?
    let sort: KeyPart?
}

struct ModelKeys {
    let primaryIndex: Index
    let primary: IndexKeys
    /// Of the indexes beside the primary one, in the schema's order.
    let secondary: [(index: Index, keys: IndexKeys)]
    /// What the templates of the primary index use.
    let variables: [Template.Variable]
}
