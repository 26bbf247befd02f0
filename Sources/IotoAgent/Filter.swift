import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// A condition on one property of an item.
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

    let path: Text
    let test: Test

    /// - Parameter value: The value that the property has to equal; null: that there is none; or an object of one
    ///   operator and its operand.
    init(_ path: Text, _ value: JSON, of model: Model) throws(IotoError) {
        self.path = path
        if case .null = value {
            test = .absent
            return
        }
        guard let object = value.objectValue, object.count == 1, let member = object.members.first else {
            test = .equal(value)
            return
        }
        let operand = member.value
        switch member.key {
        case "=": test = .equal(operand)
        case "<>": test = .notEqual(operand)
        case "<": test = .less(operand)
        case "<=": test = .lessOrEqual(operand)
        case ">": test = .greater(operand)
        case ">=": test = .greaterOrEqual(operand)
        case "begins", "begins_with":
            guard let prefix = operand.stringValue else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): begins takes a text")
            }
            test = .begins(prefix)
        case "between":
            guard let bounds = operand.arrayValue, bounds.count == 2 else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): between takes an array of two")
            }
            test = .between(bounds[0], bounds[1])
        default: test = .equal(value)
        }
    }

    func matches(_ item: StoredItem) -> Bool {
        let value = item.body.withUnsafeBytes { body -> JSON? in
            JSONScanner.member(path, in: body).flatMap {
                JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[$0]))
            }
        }
        guard let value, !value.isNull else {
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
