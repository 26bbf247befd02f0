import IotoBase
import IotoJSON

/// Why a value does not fit its field; the way up from a nested field puts the path together.
struct FieldFault: Error {
    private(set) var path: Text
    let message: Text
    var code = ErrorCode.field

    func inside(_ name: Text) -> FieldFault {
        var outer = self
        outer.path = name + "." + path
        return outer
    }
}

/// What a value is converted for.
enum Purpose {
    /// A new item: defaults and generated values are filled in, required fields and `enum` checked.
    case creation(now: Int64, IDGenerator)
    /// A change by the application: required fields and `enum` are checked.
    case change
    /// A value that was checked where it was written, or one to look for: the type alone counts.
    case reading

    var isReading: Bool {
        if case .reading = self { return true }
        return false
    }
}

extension Field {
    /// The value to store for what was given: converted, or filled in when nothing was; nil for none.
    ///
    /// - Parameter previous: What a change takes the place of. What stays as it is need not fit: it may be older than
    ///   the schema, or from a side with another one.
    func complete(_ given: JSON?, _ purpose: Purpose, _ previous: JSON? = nil) throws(FieldFault) -> JSON? {
        if let given, !given.isNull { return given == previous ? given : try convert(given, purpose, previous) }
        if case .creation(let now, let generator) = purpose, given == nil {
            if let value = attributes.defaultValue { return value }
            if let generation = attributes.generation { return .string(generator.make(generation, now: now)) }
        }
        if attributes.isRequired, !purpose.isReading { throw fault("is required") }
        return given != nil && attributes.nulls ? JSON.null : nil
    }

    /// A value other than null as one of the field's type.
    func convert(_ value: JSON, _ purpose: Purpose, _ previous: JSON?) throws(FieldFault) -> JSON {
        let converted = try convertType(value, purpose, previous)
        if purpose.isReading { return converted }
        guard attributes.allowed.isEmpty || isAllowed(converted) else {
            throw fault("\(quoted(value)) is none of the values of its enum")
        }
        if let pattern = attributes.pattern { try check(converted, pattern) }
        return converted
    }

    /// Looks whether a value is what `validate` wants.
    func check(_ value: JSON, _ pattern: Pattern) throws(FieldFault) {
        guard let text = value.templateText else { return }
        switch pattern.matches(text) {
        case .some(true): return
        case .some(false): throw fault("\(quoted(value)) does not match \(pattern.source)")
        case nil: throw fault("\(quoted(value)) takes too long to match with \(pattern.source)")
        }
    }

    private func isAllowed(_ value: JSON) -> Bool {
        for allowed in attributes.allowed where allowed == value || allowed.hasSameNumber(as: value) { return true }
        return false
    }

    private func convertType(
        _ value: JSON, _ purpose: Purpose, _ previous: JSON?
    ) throws(FieldFault) -> JSON {
        switch type {
        case .string: return try convertString(value)
        case .number: return try convertNumber(value)
        case .boolean: return try convertBoolean(value)
        case .date: return try convertDate(value)
        case .object: return try convertObject(value, purpose, previous)
        case .array: return try convertArray(value, purpose, previous)
        case .set: return try convertSet(value, purpose, previous)
        case .binary: return try convertBinary(value)
        }
    }

    func fault(_ message: Text) -> FieldFault {
        FieldFault(path: name, message: message)
    }

    private func convertString(_ value: JSON) throws(FieldFault) -> JSON {
        switch value {
        case .string: return value
        case .number(let literal): return .string(literal)
        case .bool(let isTrue): return .string(isTrue ? "true" : "false")
        default: throw fault("\(quoted(value)) is not a text")
        }
    }

    private func convertNumber(_ value: JSON) throws(FieldFault) -> JSON {
        switch value {
        case .number: return value
        case .string(let text):
            if let number = JSON.number(inText: text) { return number }
        default: break
        }
        throw fault("\(quoted(value)) is not a number")
    }

    private func convertBoolean(_ value: JSON) throws(FieldFault) -> JSON {
        switch value {
        case .bool: return value
        case .string(let text):
            if text == "true" || text == "1" { return .bool(true) }
            if text == "false" || text == "0" { return .bool(false) }
        case .number:
            if value.integerValue == 1 { return .bool(true) }
            if value.integerValue == 0 { return .bool(false) }
        default: break
        }
        throw fault("\(quoted(value)) is not a boolean")
    }

    private func convertDate(_ value: JSON) throws(FieldFault) -> JSON {
        var time: Int64?
        switch value {
        case .number: time = value.truncatedInteger
        case .string(let text): time = ISODate.parse(text) ?? text.decimal
        default: break
        }
        guard var time else { throw fault("\(quoted(value)) is not a date") }
        if attributes.isTTL, !value.isISODate { time = Field.milliseconds(ofTTL: time) }
        guard ISODate.range.contains(time) else {
            throw fault("\(quoted(value)) is not a date of the years 0 to 9999")
        }
        // What is stored already comes in again with every replica; it need not be written anew.
        if attributes.isoDates, !attributes.isTTL, case .string(let text) = value, text.isStoredDate { return value }
        return date(time)
    }

    /// A time as the field stores it.
    ///
    /// - Parameter time: Unix milliseconds.
    func date(_ time: Int64) -> JSON {
        // Rounded up: an item does not expire before its time.
        if attributes.isTTL { return .integer(time >= 0 ? (time + 999) / 1000 : time / 1000) }
        if type == .string || (type == .date && attributes.isoDates) { return .string(ISODate.text(time)) }
        return .integer(time)
    }

    private func convertObject(
        _ value: JSON, _ purpose: Purpose, _ previous: JSON?
    ) throws(FieldFault) -> JSON {
        guard case .object(let object) = parsedText(value) else { throw fault("\(quoted(value)) is not an object") }
        guard let nested = attributes.nested else { return .object(object) }
        var given = [JSON?](repeating: nil, count: nested.fields.count)
        var unknown: [JSONObject.Element] = []
        for member in object {
            if let place = nested.index(of: member.key) {
                given[place] = member.value
            } else {
                unknown.append(member)
            }
        }
        let isKept = previous?.objectValue != nil
        var result = JSONObject()
        result.reserveCapacity(object.count)
        for (place, field) in nested.fields.enumerated() {
            let previous = previous?[field.name]
            // Missing before as well: it need not be there now, either.
            if given[place] == nil, previous == nil, isKept { continue }
            do throws(FieldFault) {
                if let value = try field.complete(given[place], purpose, previous) {
                    result.append(field.name, value)
                }
            } catch {
                throw error.inside(name)
            }
        }
        for member in unknown { result.append(member.key, member.value) }
        return .object(result)
    }

    private func convertArray(_ value: JSON, _ purpose: Purpose, _ previous: JSON?) throws(FieldFault) -> JSON {
        guard case .array(let elements) = parsedText(value) else { throw fault("\(quoted(value)) is not an array") }
        return .array(try convertElements(elements, purpose, previous))
    }

    private func convertElements(
        _ elements: [JSON], _ purpose: Purpose, _ previous: JSON?
    ) throws(FieldFault) -> [JSON] {
        guard let items = attributes.items else { return elements }
        let kept = previous?.arrayValue ?? []
        var result: [JSON] = []
        result.reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() {
            let previous = index < kept.count ? kept[index] : nil
            do throws(FieldFault) {
                result.append(
                    element.isNull || element == previous ? element : try items.convert(element, purpose, previous))
            } catch {
                // The field of the elements has no name: its place in the path is the element's index.
                throw error.at(index).inside(name)
            }
        }
        return result
    }

    private func convertSet(_ value: JSON, _ purpose: Purpose, _ previous: JSON?) throws(FieldFault) -> JSON {
        guard case .array(let given) = parsedText(value) else { throw fault("\(quoted(value)) is not a set") }
        var seen: Set<Text> = []
        var result: [JSON] = []
        var hasTexts = false
        var hasNumbers = false
        for element in try convertElements(given, purpose, previous) {
            switch element {
            case .string: hasTexts = true
            case .number: hasNumbers = true
            default: throw fault("an element is neither a text nor a number")
            }
            if seen.insert(element.templateText ?? Text()).inserted { result.append(element) }
        }
        guard !hasTexts || !hasNumbers else { throw fault("texts and numbers are mixed in a set") }
        return .array(result)
    }

    private func convertBinary(_ value: JSON) throws(FieldFault) -> JSON {
        guard case .string(let text) = value, text.isBase64 else {
            throw fault("\(quoted(value)) is not base64 text")
        }
        return value
    }

    /// A container that came as text (DB_PROPS) is read as JSON5; everything else stays what it is.
    func parsedText(_ value: JSON) -> JSON {
        guard case .string(let text) = value else { return value }
        do throws(IotoError) {
            return try JSON.parse(text.bytes, syntax: .json5)
        } catch {
            // Reported by the caller as a value that is no such container.
            return value
        }
    }
}

extension FieldFault {
    /// The same fault of an array's element: the first segment of the path becomes its index.
    fileprivate func at(_ index: Int) -> FieldFault {
        var fault = self
        fault.path = Text(decimal: index) + (path.splitAtDot.map { "." + $0.rest } ?? Text())
        return fault
    }
}

extension JSON {
    /// The number that a text writes, in JSON or JSON5.
    static func number(inText text: Text) -> JSON? {
        if text.isPlainNumber { return .number(text) }
        if let whole = text.decimal { return .integer(whole) }
        guard text.count <= JSON.numberBytesMax else { return nil }
        do throws(IotoError) {
            let value = try JSON.parse(text.bytes, syntax: .json5)
            if case .number = value { return value }
        } catch {
            // Not a number; the caller says so with the field's name.
        }
        return nil
    }

    /// The value as templates and keys write it; nil for what has no such text. Whole numbers are written without a
    /// fraction, since DynamoDB turns `5.0` into `5` and the key must be the same on both sides.
    var templateText: Text? {
        switch self {
        case .string(let text): return text
        case .bool(let isTrue): return isTrue ? "true" : "false"
        case .number(let literal):
            if let whole = integerValue { return Text(decimal: whole) }
            if literal.bytes.allSatisfy({ $0 != UInt8(ascii: ".") && $0 | 0x20 != UInt8(ascii: "e") }) {
                return literal
            }
            guard let double = doubleValue, case .number(let shortest)? = JSON.double(double) else {
                return literal
            }
            return shortest
        default: return nil
        }
    }

    /// Whether this is a text that writes a date in ISO 8601, and not as a number.
    fileprivate var isISODate: Bool {
        if case .string(let text) = self { return ISODate.parse(text) != nil }
        return false
    }

    /// Whether both are numbers, and the same one, however written.
    func hasSameNumber(as other: JSON) -> Bool {
        guard case .number = self, case .number = other else { return false }
        return templateText == other.templateText
    }
}

extension Text {
    /// Whether this is a number as JSON writes it, of at most 18 digits and without an exponent; -0 is not.
    fileprivate var isPlainNumber: Bool {
        var digits = 0
        var point = -1
        let start = bytes.first == UInt8(ascii: "-") ? 1 : 0
        guard bytes.count > start, bytes.count <= 20 else { return false }
        for place in start..<bytes.count {
            let byte = bytes[place]
            if byte == UInt8(ascii: "."), point < 0, digits > 0 {
                point = place
            } else if byte &- UInt8(ascii: "0") <= 9 {
                digits += 1
            } else {
                return false
            }
        }
        guard digits <= 18, point != bytes.count - 1 else { return false }
        // A 0 in front stands alone, and without a sign.
        return bytes[start] != UInt8(ascii: "0") || (start == 0 && (bytes.count == 1 || point == 1))
    }
}

extension Text {
    /// Whether this is base64 with padding (RFC 4648, 4).
    var isBase64: Bool {
        guard count % 4 == 0 else { return false }
        var digits = bytes[...]
        if digits.last == UInt8(ascii: "=") { digits = digits.dropLast() }
        if digits.last == UInt8(ascii: "=") { digits = digits.dropLast() }
        return digits.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                return true
            default:
                return false
            }
        }
    }
}

extension Text {
    /// Whether this, known to be a date, has the form that dates are stored in: `2026-11-20T23:40:48.312Z`.
    fileprivate var isStoredDate: Bool {
        count == 24 && bytes[10] == UInt8(ascii: "T") && bytes[19] == UInt8(ascii: ".")
            && bytes[23] == UInt8(ascii: "Z")
    }
}

/// A value for a message: as JSON, cut off when long.
func quoted(_ value: JSON) -> Text {
    let text = value.text
    return text.count <= 60 ? Text(text) : Text(text[..<57]) + "..."
}

func quoted(_ text: Text) -> Text {
    quoted(.string(text))
}
