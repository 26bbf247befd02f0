import CPlatform
import IotoBase
import IotoJSON

/// The types of OneTable's fields, and how their values are stored.
public enum FieldType: Int, Sendable {
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
        let lower = Text(name.bytes.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 })
        guard let place = place(of: lower, in: "string number boolean date object array set binary buffer") else {
            return nil
        }
        self = FieldType(rawValue: place) ?? .binary
    }

    public var isScalar: Bool { self != .object && !isList }
    var isList: Bool { self == .array || self == .set }
}

/// What is on or off for a field.
struct FieldFlags: OptionSet, Sendable {
    var rawValue: UInt16

    /// The attributes, each at the place of its bit.
    static let names: StaticString = "required hidden isoDates nulls unique ttl filter partial"
    static let required = FieldFlags(rawValue: 1)
    static let hidden = FieldFlags(rawValue: 2)
    static let isoDates = FieldFlags(rawValue: 4)
    static let nulls = FieldFlags(rawValue: 8)
    static let unique = FieldFlags(rawValue: 16)
    static let ttl = FieldFlags(rawValue: 32)
    static let filter = FieldFlags(rawValue: 64)
    static let partial = FieldFlags(rawValue: 128)
    /// The schema says of the field itself whether it is hidden.
    static let hiddenGiven = FieldFlags(rawValue: 256)

    mutating func set(_ flag: FieldFlags, _ isOn: Bool) {
        if isOn { rawValue |= flag.rawValue } else { rawValue &= ~flag.rawValue }
    }
}

/// The cloud's name for a property: an attribute of the item, or a part of one that is an object.
public struct AttributeName: Sendable, Equatable {
    public let attribute: Text
    public let part: Text?
}

/// Where the cloud's form of an item has a property that is not stored by itself: as one of the portions of a computed
/// attribute.
public struct Encoding: Sendable {
    public let attribute: Text
    public let separator: Text
    public let index: Int
}

/// What the schema says of a field, beside its name.
public struct FieldAttributes: Sendable {
    public var type = FieldType.string
    var flags: FieldFlags = [.filter, .partial]
    /// Value of an item that is created without the field, of the field's type.
    public var defaultValue: JSON?
    /// The values allowed, of the field's type; empty: every value.
    public var allowed: [JSON] = []
    public var generation: Generation?
    /// What the value has to match.
    var pattern: Pattern?
    /// Fields of an object, by `schema`.
    public var nested: FieldSet?
    /// What each element of an array or a set is.
    public var items: Field?
    /// What a unique value has to be unique within; nil: among all items of the model.
    public var scope: Template?
    /// The cloud's name for the property, where it is another one.
    public var map: AttributeName?
    public var encoding: Encoding?

    public var isRequired: Bool { flags.contains(.required) }
    /// Whether the property is left out of what a caller gets of the item as a whole.
    public var isHidden: Bool { flags.contains(.hidden) }
    /// Whether dates are stored as ISO 8601 text.
    public var isoDates: Bool { flags.contains(.isoDates) }
    /// Whether null is stored; without it null takes the property away.
    public var nulls: Bool { flags.contains(.nulls) }
    /// Whether no two items of the model may have the same value, within `scope`.
    public var isUnique: Bool { flags.contains(.unique) }
    /// Whether the date is when the item expires: stored as whole seconds, as DynamoDB wants it.
    public var isTTL: Bool { flags.contains(.ttl) }
    /// Whether finds may ask for the property.
    public var isFilterable: Bool { flags.contains(.filter) }
    /// Whether an object that is given in a change is laid over the stored one; else it takes its place.
    public var isPartial: Bool { flags.contains(.partial) && type == .object && nested != nil }
}

/// One field of a model, or of an object in it.
public final class Field: Sendable {
    public let name: Text
    public let attributes: FieldAttributes
    /// How the value is computed from other properties; nil for a property of its own.
    public let template: Template?
    /// Whether the value is found in stored bodies; a computed attribute of an index is in the index alone.
    public let isStored: Bool

    public var type: FieldType { attributes.type }

    init(_ name: Text, _ attributes: FieldAttributes, template: Template? = nil, isStored: Bool = true) {
        self.name = name
        self.attributes = attributes
        self.template = template
        self.isStored = isStored
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
        return name.bytes.withUnsafeBytes { place(of: $0) }
    }

    func index(of name: UnsafePointer<CChar>) -> Int? {
        let bytes = UnsafeRawBufferPointer(start: name, count: platform_length(name))
        return fields.count > FieldSet.searchedMax ? places[Text(bytes)] : place(of: bytes)
    }

    private func place(of name: UnsafeRawBufferPointer) -> Int? {
        for place in 0..<names.count where names[place].count == name.count {
            if names[place].bytes.withUnsafeBytes({ $0.baseAddress == name.baseAddress || compareBytes($0, name) == 0 }) {
                return place
            }
        }
        return nil
    }

    public subscript(name: Text) -> Field? {
        index(of: name).map { fields[$0] }
    }

    /// Whether one of them is hidden, or has hidden ones inside.
    var hidesFields: Bool {
        fields.contains { ($0.isStored && $0.attributes.isHidden) || $0.hidesInside }
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
    fileprivate var hidesInside: Bool {
        attributes.nested?.hidesFields ?? attributes.items?.hidesInside ?? false
    }

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
