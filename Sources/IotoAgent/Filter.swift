import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// A condition on one property of an item, or on one of its key attributes.
struct Filter {
    enum Test {
        case equal(JSON)
        case notEqual(JSON)
        case less(JSON)
        case lessOrEqual(JSON)
        case greater(JSON)
        case greaterOrEqual(JSON)
        case begins(Text)
        case between(JSON, JSON)
        case absent
    }

    /// Where the value stands that is tested.
    private enum Subject {
        case property(Text)
        case hash
        case sort
    }

    private let subject: Subject
    let test: Test

    /// - Parameter value: The value that the property has to equal; null: that there is none; or an object of one
    ///   operator and its operand. Operands are converted to the type of the field.
    init(_ path: Text, _ value: JSON, of model: Model, primary: Index) throws(IotoError) {
        try model.checkFilter(path)
        let isComputed = model.field(at: path).map { !$0.isStored } ?? false
        subject = isComputed && path == primary.hash ? .hash : isComputed && path == primary.sort ? .sort : .property(path)
        test = try Filter.test(path, value, model)
    }

    private static func test(_ path: Text, _ value: JSON, _ model: Model) throws(IotoError) -> Test {
        if value.isNull { return .absent }
        guard let object = value.objectValue, object.count == 1, let member = object.members.first else {
            return .equal(try model.convert(value, field: path))
        }
        func operand() throws(IotoError) -> JSON { try model.convert(member.value, field: path) }
        switch member.key {
        case "=": return .equal(try operand())
        case "<>": return .notEqual(try operand())
        case "<": return .less(try operand())
        case "<=": return .lessOrEqual(try operand())
        case ">": return .greater(try operand())
        case ">=": return .greaterOrEqual(try operand())
        case "begins", "begins_with":
            guard let prefix = member.value.stringValue else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): begins takes a text")
            }
            return .begins(prefix)
        case "between":
            guard let bounds = member.value.arrayValue, bounds.count == 2 else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): between takes an array of two")
            }
            return .between(try model.convert(bounds[0], field: path), try model.convert(bounds[1], field: path))
        default:
            return .equal(value)
        }
    }

    private func value(_ item: StoredItem) -> JSON? {
        switch subject {
        case .hash: .string(item.key.hash)
        case .sort: .string(item.key.sort)
        case .property(let path): item.value(at: path)
        }
    }

    func matches(_ item: StoredItem) -> Bool {
        guard let value = value(item), !value.isNull else {
            switch test {
            case .absent, .notEqual: return true
            default: return false
            }
        }
        switch test {
        case .absent: return false
        case .equal(let operand): return order(value, operand) == 0
        case .notEqual(let operand): return order(value, operand) != 0
        case .less(let operand): return order(value, operand).map { $0 < 0 } ?? false
        case .lessOrEqual(let operand): return order(value, operand).map { $0 <= 0 } ?? false
        case .greater(let operand): return order(value, operand).map { $0 > 0 } ?? false
        case .greaterOrEqual(let operand): return order(value, operand).map { $0 >= 0 } ?? false
        case .begins(let prefix): return value.stringValue?.hasPrefix(prefix) ?? false
        case .between(let low, let high):
            guard let left = order(value, low), let right = order(value, high) else { return false }
            return left >= 0 && right <= 0
        }
    }
}

/// Order of two values of one type, negative, 0 or positive; nil when they can't be compared. Objects and arrays are equal
/// or not comparable.
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
    case (.null, .null):
        return 0
    default:
        return left == right ? 0 : nil
    }
}
