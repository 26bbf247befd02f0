import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// A condition on an item. It is asked of the item's text as it is stored: what is rejected is not parsed.
indirect enum Predicate {
    case all([Predicate])
    case any([Predicate])
    case not(Predicate)
    case compare(Operand, Comparison, Operand)
    case between(Operand, Operand, Operand)
    case isOneOf(Operand, [Operand])
    case begins(Operand, Operand)
    case contains(Operand, Operand)
    case exists(Operand)
    /// DynamoDB's name of a type: S, N, B, BOOL, NULL, L, M, SS, NS.
    case hasType(Operand, Text)
}

enum Comparison {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    func holds(_ order: Int) -> Bool {
        switch self {
        case .equal: order == 0
        case .notEqual: order != 0
        case .less: order < 0
        case .lessOrEqual: order <= 0
        case .greater: order > 0
        case .greaterOrEqual: order >= 0
        }
    }
}

/// Where a value of a predicate comes from.
indirect enum Operand {
    /// A property of the item, by its path.
    case property(Text)
    /// The keys of the item, and those in the index that is scanned.
    case hash, sort, indexHash, indexSort
    case literal(Literal)
    /// Length of a text, number of elements of an array or of members of an object.
    case size(Operand)
}

/// A value of a query.
struct Literal {
    let value: JSON
    /// The bytes of a text.
    let text: [UInt8]?

    init(_ value: JSON) {
        self.value = value
        text = value.stringValue?.bytes
    }
}

/// What a predicate is asked of.
struct PredicateSubject {
    let body: UnsafeRawBufferPointer
    let key: ItemKey?
    let indexKey: ItemKey?
}

/// A value on its way through a comparison: as it stands in the item's text where that will do.
private enum Value {
    case missing
    /// The characters between the quotes of a text without escapes.
    case text(UnsafeRawBufferPointer)
    case json(JSON)

    var isNull: Bool {
        switch self {
        case .missing: true
        case .text: false
        case .json(let json): json.isNull
        }
    }

    var decoded: JSON {
        switch self {
        case .missing: .null
        case .text(let bytes): .string(Text(bytes))
        case .json(let json): json
        }
    }
}

extension Predicate {
    /// Whether keys are asked for, which have to be copied for it.
    var needsKeys: Bool {
        switch self {
        case .all(let terms), .any(let terms): return terms.contains { $0.needsKeys }
        case .not(let term): return term.needsKeys
        case .compare(let left, _, let right), .begins(let left, let right), .contains(let left, let right):
            return left.isKey || right.isKey
        case .between(let operand, let low, let high): return operand.isKey || low.isKey || high.isKey
        case .isOneOf(let operand, let list): return operand.isKey || list.contains { $0.isKey }
        case .exists(let operand), .hasType(let operand, _): return operand.isKey
        }
    }

    /// A text that an item must have in it to match, quotes included: what looks for it is faster than what looks for the
    /// property. Nil when there is none.
    var needle: [UInt8]? {
        switch self {
        case .all(let terms):
            var longest: [UInt8]?
            for term in terms {
                if let needle = term.needle, needle.count > longest?.count ?? 0 { longest = needle }
            }
            return longest
        case .compare(.property, .equal, .literal(let literal)):
            guard let text = literal.text else { return nil }
            let written = JSON.string(Text(text)).text
            return written.contains(UInt8(ascii: "\\")) ? nil : written
        default: return nil
        }
    }

    func matches(_ subject: PredicateSubject) -> Bool {
        switch self {
        case .all(let terms):
            for term in terms where !term.matches(subject) { return false }
            return true
        case .any(let terms):
            for term in terms where term.matches(subject) { return true }
            return false
        case .not(let term):
            return !term.matches(subject)
        case .compare(let left, let comparison, let right):
            return isTrue(left.value(subject), comparison, right.value(subject))
        case .between(let operand, let low, let high):
            let value = operand.value(subject)
            return isTrue(value, .greaterOrEqual, low.value(subject))
                && isTrue(value, .lessOrEqual, high.value(subject))
        case .isOneOf(let operand, let list):
            let value = operand.value(subject)
            for candidate in list where isTrue(value, .equal, candidate.value(subject)) { return true }
            return false
        case .begins(let operand, let prefix):
            guard let text = operand.value(subject).decoded.stringValue,
                let prefix = prefix.value(subject).decoded.plainText
            else { return false }
            return text.hasPrefix(prefix)
        case .contains(let operand, let part):
            return isPart(part.value(subject).decoded, of: operand.value(subject).decoded)
        case .exists(let operand):
            if case .missing = operand.value(subject) { return false }
            return true
        case .hasType(let operand, let type):
            return isOfType(operand.value(subject), type)
        }
    }
}

extension Operand {
    fileprivate var isKey: Bool {
        switch self {
        case .hash, .sort, .indexHash, .indexSort: true
        case .property, .literal: false
        case .size(let operand): operand.isKey
        }
    }

    @inline(never)
    fileprivate func value(_ subject: PredicateSubject) -> Value {
        switch self {
        case .property(let path): return propertyValue(path, subject.body)
        case .hash: return text(subject.key?.hash)
        case .sort: return text(subject.key?.sort)
        case .indexHash: return text(subject.indexKey?.hash)
        case .indexSort: return text(subject.indexKey?.sort)
        case .literal(let literal): return .json(literal.value)
        case .size(let operand):
            let value = operand.value(subject)
            if case .missing = value { return .missing }
            return value.decoded.elementCount.map { .json(.integer(Int64($0))) } ?? .missing
        }
    }

    private func text(_ text: Text?) -> Value {
        text.map { .json(.string($0)) } ?? .missing
    }

    @inline(never)
    private func propertyValue(_ path: Text, _ body: UnsafeRawBufferPointer) -> Value {
        guard let range = JSONScanner.member(path, in: body) else { return .missing }
        let token = UnsafeRawBufferPointer(rebasing: body[range])
        if token.count >= 2, token.first == UInt8(ascii: "\""), token.last == UInt8(ascii: "\""),
            !token.contains(UInt8(ascii: "\\"))
        {
            return .text(UnsafeRawBufferPointer(rebasing: token[1..<(token.count - 1)]))
        }
        return JSONScanner.decode(token).map { .json($0) } ?? .missing
    }
}

/// Compares as queries do. What is missing is as null: it equals null, differs from everything else, and is in no order.
@inline(never)
private func isTrue(_ left: Value, _ comparison: Comparison, _ right: Value) -> Bool {
    if left.isNull || right.isNull {
        switch comparison {
        case .equal: return left.isNull && right.isNull
        case .notEqual: return left.isNull != right.isNull
        default: return false
        }
    }
    if case .text(let left) = left, case .json(.string(let right)) = right {
        return comparison.holds(right.bytes.withUnsafeBytes { compareBytes(left, $0) })
    }
    guard let order = order(left.decoded, right.decoded) else { return comparison == .notEqual }
    return comparison.holds(order)
}

/// Order of two values of one type, negative, 0 or positive; nil when they can't be compared. Objects and arrays are
/// equal or not comparable.
@inline(never)
private func order(_ left: JSON, _ right: JSON) -> Int? {
    switch (left, right) {
    case (.string(let a), .string(let b)):
        return a == b ? 0 : a < b ? -1 : 1
    case (.number(let a), .number(let b)):
        if a == b { return 0 }
        if let a = left.integerValue, let b = right.integerValue { return a < b ? -1 : a > b ? 1 : 0 }
        guard let a = left.doubleValue, let b = right.doubleValue else { return nil }
        return a < b ? -1 : a > b ? 1 : 0
    case (.bool(let a), .bool(let b)):
        return a == b ? 0 : b ? -1 : 1
    default:
        return left == right ? 0 : nil
    }
}

@inline(never)
private func isPart(_ part: JSON, of whole: JSON) -> Bool {
    switch whole {
    case .string(let text):
        guard let part = part.plainText else { return false }
        return text.contains(part)
    case .array(let elements):
        for element in elements where order(element, part) == 0 { return true }
        return false
    default:
        return false
    }
}

@inline(never)
private func isOfType(_ value: Value, _ type: Text) -> Bool {
    if case .missing = value { return false }
    switch value.decoded {
    case .null: return type == "NULL"
    case .bool: return type == "BOOL"
    case .number: return type == "N"
    // Binaries are base64 text here.
    case .string: return type == "S" || type == "B"
    case .array(let elements):
        if type == "L" { return true }
        if type == "SS" { return !elements.isEmpty && elements.allSatisfy { $0.stringValue != nil } }
        if type == "NS" { return !elements.isEmpty && elements.allSatisfy { $0.isNumber } }
        return false
    case .object: return type == "M"
    }
}

extension JSON {
    fileprivate var isNumber: Bool {
        if case .number = self { return true }
        return false
    }

    /// A text, or a number or boolean as it is written.
    @inline(never)
    var plainText: Text? {
        switch self {
        case .string(let text), .number(let text): return text
        case .bool(let isTrue): return isTrue ? "true" : "false"
        default: return nil
        }
    }

    /// Characters of a text (code points), elements, members.
    @inline(never)
    fileprivate var elementCount: Int? {
        switch self {
        case .string(let text): return text.bytes.count { $0 & 0xC0 != 0x80 }
        case .array(let elements): return elements.count
        case .object(let object): return object.count
        default: return nil
        }
    }
}

extension Text {
    fileprivate func contains(_ part: Text) -> Bool {
        bytes.withUnsafeBytes { bytes in part.bytes.withUnsafeBytes { findBytes($0, in: bytes) } }
    }
}
