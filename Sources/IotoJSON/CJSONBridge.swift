import CCJSON
import IotoBase

// cJSON is what firmware hands in and takes out. It holds numbers as doubles, so that integers beyond 2^53 are
// rounded on this way; JSON text keeps them.

extension JSON {
    /// Copies a cJSON value, which stays the caller's. Whole numbers up to 2^53 become integers, other numbers
    /// a short literal that reads back the same. Of members with the same name the last one's value counts.
    ///
    /// - Throws: `.json` for NaN and infinities, text that is not UTF-8, a member without a name, a node of no type;
    ///   `.limit` when it is nested deeper than `Limits.nestingMax` (as a cycle is) or has more nodes than an item
    ///   has bytes.
    /// - Complexity: O(nodes).
    public init(cJSON: UnsafePointer<cJSON>) throws(IotoError) {
        var reader = CJSONReader()
        self = try reader.read(cJSON)
    }

    /// A copy as cJSON, owned by the caller (`cJSON_Delete`), or nil when memory is short. A number beyond a
    /// double's range becomes the largest double of its sign.
    public func makeCJSON() -> UnsafeMutablePointer<cJSON>? {
        switch self {
        case .null: return cJSON_CreateNull()
        case .bool(let value): return cJSON_CreateBool(value ? 1 : 0)
        case .number:
            let largest = Double.greatestFiniteMagnitude
            return cJSON_CreateNumber(max(-largest, min(doubleValue ?? 0, largest)))
        case .string(let text): return text.withCString { cJSON_CreateString($0) }
        case .array(let elements):
            guard let array = cJSON_CreateArray() else { return nil }
            for element in elements {
                guard let item = element.makeCJSON() else { return discard(array) }
                guard cJSON_AddItemToArray(array, item) != 0 else { return discard(array, item) }
            }
            return array
        case .object(let object):
            guard let copy = cJSON_CreateObject() else { return nil }
            for member in object.members {
                guard let item = member.value.makeCJSON() else { return discard(copy) }
                let isAdded = member.key.withCString { cJSON_AddItemToObject(copy, $0, item) }
                guard isAdded != 0 else { return discard(copy, item) }
            }
            return copy
        }
    }

    private func discard(
        _ tree: UnsafeMutablePointer<cJSON>, _ item: UnsafeMutablePointer<cJSON>? = nil
    ) -> UnsafeMutablePointer<cJSON>? {
        cJSON_Delete(item)
        cJSON_Delete(tree)
        return nil
    }
}

private struct CJSONReader {
    private var depth = 0
    /// A node takes at least a byte of an item's text; the count also ends a chain of siblings that has become a
    /// ring.
    private var nodesLeft = Limits.itemBytesMax

    mutating func read(_ node: UnsafePointer<cJSON>) throws(IotoError) -> JSON {
        guard nodesLeft > 0 else {
            throw IotoError(.limit, "the cJSON value has more than \(Limits.itemBytesMax) nodes")
        }
        nodesLeft -= 1
        // The upper bits hold flags of ownership.
        switch node.pointee.type & 0xFF {
        case cJSON_NULL: return .null
        case cJSON_False: return .bool(false)
        case cJSON_True: return .bool(true)
        case cJSON_Number:
            guard let number = JSON.double(node.pointee.valuedouble) else {
                throw IotoError(.json, "NaN and infinity in a cJSON value are not values of JSON")
            }
            return number
        case cJSON_String: return .string(try text(node.pointee.valuestring))
        case cJSON_Raw: return try readRaw(node)
        case cJSON_Array: return try readArray(node)
        case cJSON_Object: return try readObject(node)
        default: throw IotoError(.json, "a cJSON node has no type")
        }
    }

    private func text(_ pointer: UnsafeMutablePointer<CChar>?) throws(IotoError) -> Text {
        guard let pointer else { throw IotoError(.json, "a cJSON text or name is NULL") }
        let text = Text(cString: pointer)
        guard text.isValidUTF8 else { throw IotoError(.json, "a cJSON text is not valid UTF-8") }
        return text
    }

    /// Reads a node that holds JSON as text.
    private func readRaw(_ node: UnsafePointer<cJSON>) throws(IotoError) -> JSON {
        let value = try JSON.parse(try text(node.pointee.valuestring).bytes)
        guard depth + value.depth <= Limits.nestingMax else { throw CJSONReader.tooDeep }
        return value
    }

    private mutating func readArray(_ node: UnsafePointer<cJSON>) throws(IotoError) -> JSON {
        try enter()
        var elements: [JSON] = []
        var next = node.pointee.child
        while let child = next {
            elements.append(try read(child))
            next = child.pointee.next
        }
        depth -= 1
        return .array(elements)
    }

    private mutating func readObject(_ node: UnsafePointer<cJSON>) throws(IotoError) -> JSON {
        try enter()
        var members = JSONObjectBuilder()
        var next = node.pointee.child
        while let child = next {
            let name = try text(child.pointee.string)
            members.add(name, try read(child))
            next = child.pointee.next
        }
        depth -= 1
        return .object(members.object)
    }

    private mutating func enter() throws(IotoError) {
        guard depth < Limits.nestingMax else { throw CJSONReader.tooDeep }
        depth += 1
    }

    private static var tooDeep: IotoError {
        IotoError(.limit, "the cJSON value is nested deeper than \(Limits.nestingMax) levels")
    }
}
