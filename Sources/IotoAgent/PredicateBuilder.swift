import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// Makes predicates under a schema: finds out what a name stands for, and converts values to the type of their field.
struct PredicateBuilder {
    let schema: Schema
    let model: Model
    /// The index that is scanned.
    let index: Index

    /// What a name stands for.
    ///
    /// - Throws: `.misuse` for an attribute of an index that is not scanned, since it is not stored, and for a field that
    ///   the schema says may not be asked for.
    @inline(never)
    func operand(_ path: Text) throws(IotoError) -> Operand {
        try model.checkFilter(path)
        if path == schema.typeField, model.field(at: path) == nil {
            return .literal(Literal(.string(model.name)))
        }
        guard let field = model.field(at: path), !field.isStored else { return .property(path) }
        if path == schema.primary.hash { return .hash }
        if path == schema.primary.sort { return .sort }
        if path == index.hash { return .indexHash }
        if path == index.sort { return .indexSort }
        throw IotoError(
            .misuse, "model \"\(model.name)\": \(path) is a key of another index than '\(index.name)', in which is searched")
    }

    /// A value to be compared with the property at a path.
    @inline(never)
    func literal(_ value: JSON, for path: Text) throws(IotoError) -> Operand {
        .literal(Literal(try model.convert(value, field: path)))
    }

    /// The condition that a property given to a find makes.
    ///
    /// - Parameter value: The value that the property has to equal; null: that there is none; or an object of one operator
    ///   and its operand.
    func predicate(_ path: Text, _ value: JSON) throws(IotoError) -> Predicate {
        let subject = try operand(path)
        guard let object = value.objectValue, object.count == 1, let member = object.members.first else {
            return .compare(subject, .equal, try literal(value, for: path))
        }
        if let comparison = Comparison(operator: member.key.bytes) {
            return .compare(subject, comparison, try literal(member.value, for: path))
        }
        switch member.key {
        case "begins", "begins_with":
            guard member.value.stringValue != nil else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): begins takes a text")
            }
            return .begins(subject, .literal(Literal(member.value)))
        case "between":
            guard let bounds = member.value.arrayValue, bounds.count == 2 else {
                throw IotoError(.misuse, "model \"\(model.name)\": \(path): between takes an array of two")
            }
            return .between(subject, try literal(bounds[0], for: path), try literal(bounds[1], for: path))
        default:
            return .compare(subject, .equal, try literal(value, for: path))
        }
    }
}

extension Comparison {
    @inline(never)
    init?(operator text: [UInt8]) {
        switch Text(text) {
        case "=": self = .equal
        case "<>": self = .notEqual
        case "<": self = .less
        case "<=": self = .lessOrEqual
        case ">": self = .greater
        case ">=": self = .greaterOrEqual
        default: return nil
        }
    }
}
