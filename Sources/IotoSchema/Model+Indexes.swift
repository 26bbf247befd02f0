import IotoBase
import IotoJSON

/// What a store keeps beside an item to find it by: read off the stored text, so that a store can tell what it entered
/// for an item from the item alone.
extension Model {
    /// The indexes beside the primary one, in the schema's order.
    public var secondaryIndexes: [Index] { keys.secondary.map { $0.index } }

    /// Whether items of the model can be in the secondary index at that place: the model has its attributes.
    @inline(never)
    public func isInIndex(_ place: Int) -> Bool {
        let (index, keys) = self.keys.secondary[place]
        return Model.fits(index, keys)
    }

    private static func fits(_ index: Index, _ keys: IndexKeys) -> Bool {
        (index.hash == nil || keys.hash != nil) && (index.sort == nil || keys.sort != nil)
    }

    /// The key of a stored body in the secondary index at that place; nil when the item is not in it.
    @inline(never)
    public func secondaryKey(_ place: Int, ofBody body: [UInt8]) -> ItemKey? {
        let (index, keys) = self.keys.secondary[place]
        return body.withUnsafeBytes { body in
            do throws(IotoError) {
                return try secondaryKey(keys, of: index, StoredProperties(body: body).value)
            } catch {
                // What was written here was checked; an item from elsewhere is found by its primary key.
                return nil
            }
        }
    }

    /// What a unique field holds, and the scope that it is unique in, as a key: `hash` is the scope. Nil when there is
    /// no value, or no scope.
    @inline(never)
    public func uniqueKey(of field: Field, inBody body: [UInt8]) -> ItemKey? {
        body.withUnsafeBytes { body in
            guard let range = JSONScanner.member(field.name, in: body),
                let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[range]))?.templateText
            else { return nil }
            guard let template = field.attributes.scope else { return ItemKey(hash: Text(), sort: value) }
            do throws(FieldFault) {
                let scope = try template.resolve(StoredProperties(body: body).value, refusesEmpty: false)
                if case .whole(let scope) = scope { return ItemKey(hash: scope, sort: value) }
            } catch {
                // A scope that can't be computed is none.
            }
            return nil
        }
    }

    /// When a stored item expires, in Unix milliseconds; nil when it does not.
    @inline(never)
    public func expiry(ofBody body: UnsafeRawBufferPointer) -> Int64? {
        guard let field = ttlField, let range = JSONScanner.member(field.name, in: body),
            let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[range]))
        else { return nil }
        return field.time(of: value)
    }

    // MARK: Fingerprints

    /// Adds how the keys of the secondary index at that place are made.
    @inline(never)
    public func describeIndex(_ place: Int, to fingerprint: inout Fingerprint) {
        let (index, keys) = self.keys.secondary[place]
        fingerprint.add(name)
        fingerprint.add(index.hash == nil ? 0 : 1)
        fingerprint.add(index.sort == nil ? 0 : 1)
        keys.hash?.template.describe(to: &fingerprint)
        keys.sort?.template.describe(to: &fingerprint)
    }

    /// Adds how a unique value and its scope are made.
    @inline(never)
    public func describeUnique(_ field: Field, to fingerprint: inout Fingerprint) {
        fingerprint.add(name)
        fingerprint.add(field.name)
        field.attributes.scope?.describe(to: &fingerprint)
    }
}

/// A hash of what an index is made of: FNV-1a, 64 bits. It stands in files, and must not change.
public struct Fingerprint: Sendable {
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    public init() {}

    private mutating func add(byte: UInt8) {
        value = (value ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    @inline(never)
    public mutating func add(_ number: Int) {
        let number = UInt32(truncatingIfNeeded: number)
        for shift: UInt32 in [0, 8, 16, 24] { add(byte: UInt8(truncatingIfNeeded: number >> shift)) }
    }

    @inline(never)
    public mutating func add(_ text: Text) {
        add(text.count)
        for byte in text.bytes { add(byte: byte) }
    }
}

extension Template {
    @inline(never)
    fileprivate func describe(to fingerprint: inout Fingerprint) {
        fingerprint.add(parts.count)
        for part in parts {
            switch part {
            case .literal(let text):
                fingerprint.add(0)
                fingerprint.add(text)
            case .variable(let variable):
                fingerprint.add(1)
                fingerprint.add(variable.path)
                fingerprint.add(variable.width)
                fingerprint.add(Int(variable.pad))
                guard let field = variable.field else { continue }
                fingerprint.add(field.type.number)
                fingerprint.add(field.attributes.isoDates ? 1 : 0)
                fingerprint.add(field.attributes.isTTL ? 1 : 0)
            }
        }
    }
}

extension FieldType {
    /// Stands in files by way of fingerprints.
    fileprivate var number: Int {
        switch self {
        case .string: 2
        case .number: 3
        case .boolean: 4
        case .date: 5
        case .object: 6
        case .array: 7
        case .set: 8
        case .binary: 9
        }
    }
}

/// Where a template finds its properties in stored text.
struct StoredProperties {
    let body: UnsafeRawBufferPointer

    func value(of variable: Template.Variable) throws(FieldFault) -> JSON? {
        guard let range = JSONScanner.member(variable.path, in: body),
            let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[range])), !value.isNull
        else { return nil }
        guard let field = variable.field else { return value.templateText == nil ? nil : value }
        return try field.convertedForKey(value)
    }
}

// MARK: - Finding

/// What the properties of a find say of the keys in an index.
public struct IndexMatch: Sendable, Equatable {
    /// The hash key; nil: not known.
    public var hash: Text?
    /// What the sort key begins with, as far as it is known; all of it when `isWhole`.
    public var sort: Text
    public var isWhole: Bool
    /// The property whose text makes up the rest of the sort key, and orders as text: conditions on it narrow the range.
    public var open: Text?
    /// The attribute of the sort key, when it is computed: conditions on it narrow the range, too.
    public var attribute: Text?
}

extension Model {
    /// What properties say of the keys in an index, as `key` does of those in the primary one.
    ///
    /// - Throws: `.key` when the model is not in the index; as `key`.
    public func match(_ index: Index, _ properties: JSONObject, context: Context) throws(IotoError) -> IndexMatch {
        let keys = try indexKeys(index)
        let source = GivenProperties(properties: properties, context: context, model: self)
        let hash = try match(keys.hash, source)
        let sort = try match(keys.sort, source)
        var result = IndexMatch(sort: Text(), isWhole: false)
        if case .whole(let text) = hash { result.hash = text }
        if let part = keys.sort, !part.isProperty { result.attribute = part.attribute }
        switch sort {
        case .whole(let text):
            result.sort = text
            result.isWhole = true
        case .partial(let text, let missing):
            result.sort = text
            if keys.sort?.template.endsOpen(with: missing) == true { result.open = missing }
        }
        return result
    }

    /// The property of type string that a hash key tells, as it is all that varies in it; nil when none is.
    @inline(never)
    public func property(ofHash index: Index) -> Text? {
        guard let keys = try? indexKeys(index), let variables = keys.hash?.template.variables, variables.count == 1,
            let variable = variables.first, variable.rest == nil, variable.width == 0, variable.field?.type == .string
        else { return nil }
        return variable.path
    }

    @inline(never)
    private func indexKeys(_ index: Index) throws(IotoError) -> IndexKeys {
        if index.name == keys.primaryIndex.name { return keys.primary }
        for entry in keys.secondary where entry.index.name == index.name && Model.fits(index, entry.keys) {
            return entry.keys
        }
        throw failure(.key, "it has no attributes of index '\(index.name)'")
    }
}

extension Template {
    /// Whether the property is the last part and stands there as it is, a text: what is known of it then says where the
    /// key is found.
    @inline(never)
    fileprivate func endsOpen(with path: Text) -> Bool {
        guard case .variable(let last)? = parts.last, last.path == path, last.width == 0, let field = last.field
        else { return false }
        for part in parts.dropLast() {
            if case .variable(let variable) = part, variable.path == path { return false }
        }
        return field.type == .string || (field.type == .date && field.attributes.isoDates && !field.attributes.isTTL)
    }
}
