import IotoBase

/// A JSON value. Numbers keep the literal that was written, so that a 64-bit integer or a decimal fraction passes
/// through the library unrounded.
///
/// Equality is that of the written value: members of objects in any order, numbers by their literals (`5` and
/// `5.0` differ).
///
/// ## Topics
/// - Text: `parse(_:syntax:)`, `text`, `write(to:)`
/// - Making: `integer(_:)`, `double(_:)`
/// - Reading: `integerValue`, `doubleValue`, `stringValue`, `value(at:)`
public enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    /// The literal as written: always a number of RFC 8259, 6.
    case number(Text)
    /// Valid UTF-8 without a NUL.
    case string(Text)
    case array([JSON])
    case object(JSONObject)

    /// Longest literal of a number, in bytes: room for every digit of the smallest double.
    public static let numberBytesMax = 1100
}

/// Which texts the parser takes.
public enum JSONSyntax: Sendable {
    /// RFC 8259.
    case json
    /// json5.org, 1.0.0.
    case json5
}

extension JSON {
    /// The text of a string, nil for other types.
    public var stringValue: Text? {
        if case .string(let text) = self { return text }
        return nil
    }

    public var boolValue: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    public var objectValue: JSONObject? {
        if case .object(let object) = self { return object }
        return nil
    }

    public var arrayValue: [JSON]? {
        if case .array(let elements) = self { return elements }
        return nil
    }

    public var isNull: Bool {
        if case .null = self { return true }
        return false
    }

    /// The member of that name; nil when there is none or the value is no object.
    @inline(never)
    public subscript(key: Text) -> JSON? {
        if case .object(let object) = self { return object[key] }
        return nil
    }

    /// How deep objects and arrays are nested: 0 for a scalar, 1 for `[]`.
    public var depth: Int {
        var deepest = 0
        switch self {
        case .array(let elements):
            for element in elements { deepest = max(deepest, element.depth) }
        case .object(let object):
            for member in object.members { deepest = max(deepest, member.value.depth) }
        default:
            return 0
        }
        return deepest + 1
    }
}
