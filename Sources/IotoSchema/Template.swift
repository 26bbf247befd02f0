import IotoBase
import IotoJSON

/// A `value` of the schema, compiled: literal text and the properties that stand in it.
///
/// `${name}` is the property of that name, `${a.b}` one inside an object, `${n:6}` and `${n:6:0}` one that is
/// filled up on the left to six characters with `0`. References to other templates are replaced by their parts at
/// compilation, so that a compiled template depends on stored properties alone.
public struct Template: Sendable {
    struct Variable: Sendable {
        let path: Text
        /// The field's place in its model for the first segment of the path.
        let root: Int
        /// The rest of the path, nil when it has one segment.
        let rest: Text?
        /// What the schema says of the property that the path ends at.
        let field: Field?
        /// Characters to fill up to, 0 for none.
        let width: Int
        let pad: UInt8
    }

    enum Part: Sendable {
        case literal(Text)
        case variable(Variable)
    }

    let parts: [Part]

    /// Parts of one template, those that references bring counted: templates that refer to templates would else grow
    /// exponentially.
    static let partsMax = 64
    /// Widest padding.
    static let widthMax = Limits.keyBytesMax

    /// What stands in it.
    var variables: [Variable] {
        var result: [Variable] = []
        for case .variable(let variable) in parts { result.append(variable) }
        return result
    }
}

/// Finds a property for a template.
typealias VariableReader = (Template.Variable) throws(FieldFault) -> JSON?

/// What came of a template.
enum Resolution {
    case whole(Text)
    /// The text up to the first property that is missing.
    case partial(Text, missing: Text)
}

extension Template {
    /// Puts the properties in. An empty text counts as missing where `refusesEmpty` holds, which keys need:
    /// `fault#` would be the key of every item without an id.
    @inline(never)
    func resolve(_ read: VariableReader, refusesEmpty: Bool) throws(FieldFault) -> Resolution {
        var result = Text()
        for part in parts {
            switch part {
            case .literal(let text):
                result.append(text)
            case .variable(let variable):
                guard let value = try read(variable), !value.isNull else {
                    return .partial(result, missing: variable.path)
                }
                guard let text = value.templateText else {
                    throw FieldFault(
                        path: variable.path, message: "\(quoted(value)) can't be part of a key or a template")
                }
                if refusesEmpty && text.isEmpty {
                    throw FieldFault(path: variable.path, message: "is empty, but part of the key", code: .key)
                }
                Template.append(text, to: &result, width: variable.width, pad: variable.pad)
            }
        }
        return .whole(result)
    }

    private static func append(_ text: Text, to result: inout Text, width: Int, pad: UInt8) {
        if width > 0 {
            let count = text.utf16Count
            if count < width { result.bytes.append(contentsOf: repeatElement(pad, count: width - count)) }
        }
        result.append(text)
    }
}

extension Text {
    /// Length in JavaScript's units, which OneTable pads by.
    fileprivate var utf16Count: Int {
        var count = 0
        for byte in bytes {
            if byte & 0xC0 != 0x80 { count += 1 }
            if byte >= 0xF0 { count += 1 }
        }
        return count
    }
}

/// A template's source, split.
enum TemplateToken {
    case literal(Text)
    case variable(path: Text, width: Int, pad: UInt8)

    /// Splits a template.
    ///
    /// - Throws: `.schema` saying what is wrong with it.
    static func scan(_ source: Text) throws(IotoError) -> [TemplateToken] {
        let bytes = source.bytes
        var tokens: [TemplateToken] = []
        var literal = Text()
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "$"), index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "{")
            else {
                literal.append(bytes[index])
                index += 1
                continue
            }
            guard let end = bytes[index...].firstIndex(of: UInt8(ascii: "}")) else {
                throw IotoError(.schema, "template \(quoted(source)) has a '${' without a '}'")
            }
            if !literal.isEmpty { tokens.append(.literal(literal)) }
            literal = Text()
            tokens.append(try variable(Text(bytes[(index + 2)..<end]), of: source))
            index = end + 1
            guard tokens.count <= Template.partsMax else {
                throw IotoError(.schema, "template has more than \(Template.partsMax) parts")
            }
        }
        if !literal.isEmpty { tokens.append(.literal(literal)) }
        return tokens
    }

    private static func variable(_ inside: Text, of source: Text) throws(IotoError) -> TemplateToken {
        guard let colon = inside.bytes.firstIndex(of: UInt8(ascii: ":")) else {
            return .variable(path: try path(inside, of: source), width: 0, pad: 0)
        }
        let name = try path(Text(inside.bytes[..<colon]), of: source)
        var length = inside.bytes[(colon + 1)...]
        var pad = UInt8(ascii: "0")
        if let second = length.firstIndex(of: UInt8(ascii: ":")) {
            let given = length[(second + 1)...]
            guard given.count == 1, let byte = given.first, byte >= 0x20, byte < 0x7F else {
                throw IotoError(
                    .schema,
                    "template \(quoted(source)): what '\(name)' is padded with is no ASCII character")
            }
            pad = byte
            length = length[..<second]
        }
        guard let width = Text(length).decimal, width >= 0, width <= Int64(Template.widthMax) else {
            throw IotoError(
                .schema,
                "template \(quoted(source)): the length of '\(name)' is not a number from 0 to "
                    + "\(Template.widthMax)"
            )
        }
        return .variable(path: name, width: Int(width), pad: pad)
    }

    private static func path(_ name: Text, of source: Text) throws(IotoError) -> Text {
        var segments = PathSegments(name)
        while let segment = segments.next() {
            guard !segment.isEmpty else { throw IotoError(.schema, "template \(quoted(source)) names no property") }
        }
        return name
    }
}
