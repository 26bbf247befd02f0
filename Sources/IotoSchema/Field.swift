import IotoBase
import IotoJSON

/// The types of OneTable's fields, and how their values are stored.
public enum FieldType: Sendable {
    case string
    /// The literal as written.
    case number
    case boolean
    /// Unix milliseconds, or ISO 8601 text where `isoDates` holds.
    case date
    case object
    case array
    /// An array without duplicates, of texts or of numbers.
    case set
    /// Base64 text; `buffer` is the other name.
    case binary

    init?(schemaName name: Text) {
        switch Text(name.bytes.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }) {
        case "string": self = .string
        case "number": self = .number
        case "boolean": self = .boolean
        case "date": self = .date
        case "object": self = .object
        case "array": self = .array
        case "set": self = .set
        case "binary", "buffer": self = .binary
        default: return nil
        }
    }

    var isScalar: Bool {
        switch self {
        case .object, .array, .set: return false
        default: return true
        }
    }
}

/// What the schema says of a field, beside its name and type.
public struct FieldAttributes: Sendable {
    public var isRequired = false
    public var isHidden = false
    /// Value of an item that is created without the field, of the field's type.
    public var defaultValue: JSON?
    /// The values allowed, of the field's type; empty: every value.
    public var allowed: [JSON] = []
    public var generation: Generation?
    /// Whether dates are stored as ISO 8601 text.
    public var isoDates = false
    /// Whether null is stored; without it null takes the property away.
    public var nulls = false
    /// Fields of an object, by `schema`.
    public var nested: FieldSet?
    /// What each element of an array or a set is.
    public var items: Field?
    /// Whether no two items of the model may have the same value, within `scope`.
    public var isUnique = false
    /// What the value has to be unique within; nil: among all items of the model.
    public var scope: Template?
    /// Whether the date is when the item expires: stored as whole seconds, as DynamoDB wants it.
    public var isTTL = false
}

/// One field of a model, or of an object in it.
public final class Field: Sendable {
    public let name: Text
    public let type: FieldType
    public let attributes: FieldAttributes
    /// How the value is computed from other properties; nil for a property of its own.
    public let template: Template?
    /// Whether the value is found in stored bodies; a computed attribute of an index is in the index alone.
    public let isStored: Bool

    init(_ name: Text, _ type: FieldType, _ attributes: FieldAttributes = FieldAttributes()) {
        self.name = name
        self.type = type
        self.attributes = attributes
        self.template = nil
        self.isStored = true
    }

    init(_ name: Text, _ attributes: FieldAttributes, template: Template, isStored: Bool) {
        self.name = name
        self.type = .string
        self.attributes = attributes
        self.template = template
        self.isStored = isStored
    }

    private init(_ field: Field, scope: Template) {
        name = field.name
        type = field.type
        var attributes = field.attributes
        attributes.scope = scope
        self.attributes = attributes
        template = field.template
        isStored = field.isStored
    }

    /// The field with the scope that its values are unique within.
    func scoped(_ scope: Template) -> Field {
        Field(self, scope: scope)
    }
}

/// Fields in the schema's order, found by name.
public struct FieldSet: Sendable {
    public let fields: [Field]
    /// Their names once more, side by side: a search then follows no reference to each field.
    private let names: [Text]
    /// Places by name, made where searching from the first to the last would take longer.
    private let places: [Text: Int]

    private static let searchedMax = 16

    init(_ fields: [Field]) {
        self.fields = fields
        names = fields.map { $0.name }
        var places: [Text: Int] = [:]
        if fields.count > FieldSet.searchedMax {
            for (place, field) in fields.enumerated() { places[field.name] = place }
        }
        self.places = places
    }

    public func index(of name: Text) -> Int? {
        if fields.count > FieldSet.searchedMax { return places[name] }
        return names.firstIndex(of: name)
    }

    public subscript(name: Text) -> Field? {
        index(of: name).map { fields[$0] }
    }

    /// The field that a path ends at, through nested schemas and items of arrays; nil when the schema says nothing
    /// of it.
    func field(at path: Text) -> Field? {
        if let field = self[path] { return field }
        guard let split = path.splitAtDot else { return nil }
        return self[split.first]?.field(at: split.rest)
    }
}

extension Field {
    /// The field that a path inside this one ends at.
    func field(at path: Text) -> Field? {
        var segments = PathSegments(path)
        var field = self
        while let segment = segments.next() {
            guard let inner = field.attributes.items ?? field.attributes.nested?[segment] else { return nil }
            field = inner
        }
        return field
    }
}

/// The segments of a path `a.b.0`, one after the other.
struct PathSegments {
    private var rest: ArraySlice<UInt8>?

    init(_ path: Text) {
        rest = path.bytes[...]
    }

    mutating func next() -> Text? {
        guard let bytes = rest else { return nil }
        guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")) else {
            rest = nil
            return Text(bytes)
        }
        rest = bytes[(dot + 1)...]
        return Text(bytes[..<dot])
    }
}

extension Text {
    /// A path's first segment and what follows it; nil when it has one segment alone.
    var splitAtDot: (first: Text, rest: Text)? {
        guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")) else { return nil }
        return (Text(bytes[..<dot]), Text(bytes[(dot + 1)...]))
    }
}
