import IotoBase
import IotoJSON

/// The other forms of an item: the one that the wire and the cloud have, and what a caller gets to see.
extension Model {
    /// The item as the wire and the cloud see it: the body, the type field, the sort key, on request the partition
    /// key and the computed attributes of secondary indexes. Properties have the names that `map` gives them.
    ///
    /// - Parameter omitsEncoded: Leave out the properties that `encode` says are found in one of these attributes.
    public func wireItem(
        body: JSONObject, key: ItemKey, includeHash: Bool, includeIndexes: Bool = false, omitsEncoded: Bool = false
    ) -> JSONObject {
        var item = isMapped ? mapped(body) : body
        addAttributes(body, key, to: &item, includeHash, includeIndexes)
        if omitsEncoded {
            for field in fields where field.attributes.map == nil {
                if let value = body[field.name], decoded(field, from: item) == value { item[field.name] = nil }
            }
        }
        return item
    }

    /// Adds what is not in the body.
    private func addAttributes(
        _ body: JSONObject, _ key: ItemKey, to item: inout JSONObject, _ includeHash: Bool, _ includeIndexes: Bool
    ) {
        item[settings.typeField] = .string(name)
        if let sort = keys.primary.sort, !sort.isProperty { item[sort.attribute] = .string(key.sort) }
        if includeHash, let hash = keys.primary.hash, !hash.isProperty { item[hash.attribute] = .string(key.hash) }
        guard includeIndexes else { return }
        let source = GivenProperties(properties: body, context: nil, model: self)
        for field in fields where !field.isStored && !keys.primaryIndex.uses(field.name) {
            // An attribute that can't be computed is left out, and the item is not in that index.
            guard let template = field.template,
                let resolution = try? template.resolve(source.value, refusesEmpty: false),
                case .whole(let text) = resolution, !text.isEmpty
            else { continue }
            item[field.name] = .string(text)
        }
    }

    // MARK: - encode

    /// The value of a property that is not stored by itself, from the computed attribute that it is a portion of.
    private func decoded(_ field: Field, from item: JSONObject) -> JSON? {
        guard let encoding = field.attributes.encoding, let text = item[encoding.attribute]?.stringValue,
            let portion = text.portion(encoding.index, separator: encoding.separator)
        else { return nil }
        return try? field.convert(.string(portion), .reading, nil)
    }

    /// Gives a draft the properties that an item has in its computed attributes alone.
    func decode(_ item: JSONObject, into draft: inout ItemDraft) {
        for place in fields.indices where draft.values[place] == nil {
            if fields[place].attributes.encoding != nil { draft.values[place] = decoded(fields[place], from: item) }
        }
    }

    // MARK: - map

    /// A body under the cloud's names.
    private func mapped(_ body: JSONObject) -> JSONObject {
        var result = JSONObject()
        for member in body {
            if let field = fieldSet[member.key], let map = field.attributes.map {
                if let part = map.part {
                    var packed = result[map.attribute]?.objectValue ?? JSONObject()
                    packed[part] = member.value
                    result[map.attribute] = .object(packed)
                } else {
                    result[map.attribute] = member.value
                }
            } else if isPacked(member.key), case .object(let rest) = member.value {
                // Parts that this schema has no property for stay beside those that it has.
                var packed = result[member.key]?.objectValue ?? JSONObject()
                for (key, value) in rest where packed[key] == nil { packed[key] = value }
                result[member.key] = .object(packed)
            } else {
                result.append(member.key, member.value)
            }
        }
        return result
    }

    /// Bytes that the cloud's names add to a body at most.
    public var mappedNamesBytes: Int {
        var count = 0
        for field in fields {
            if let map = field.attributes.map { count += map.attribute.count + (map.part?.count ?? 0) + 8 }
        }
        return count
    }

    private func isPacked(_ attribute: Text) -> Bool {
        fields.contains { $0.attributes.map?.attribute == attribute }
    }

    /// An item under the names of the properties. One that is there by its property's name, written before the schema
    /// mapped it, is found as well.
    func unmapped(_ item: JSONObject) throws(IotoError) -> JSONObject {
        var result = JSONObject()
        for member in item {
            var rest: JSONObject?
            var isAttribute = false
            for field in fields {
                guard let map = field.attributes.map, map.attribute == member.key else { continue }
                isAttribute = true
                guard let part = map.part else {
                    result[field.name] = member.value
                    continue
                }
                if member.value.isNull { continue }
                guard case .object(let packed) = member.value else {
                    throw failure(.field, field: member.key, "\(quoted(member.value)) is not an object of properties")
                }
                if let value = packed[part] { result[field.name] = value }
                if rest == nil { rest = packed }
                rest?[part] = nil
            }
            if let rest, !rest.isEmpty { result.append(member.key, .object(rest)) }
            if isAttribute { continue }
            if fieldSet[member.key]?.attributes.map == nil {
                result.append(member.key, member.value)
            } else if result[member.key] == nil {
                result[member.key] = member.value
            }
        }
        return result
    }

    // MARK: - hidden

    /// A body as a caller gets it: without the properties that are hidden.
    public func visible(_ body: JSONObject) -> JSONObject {
        hidesProperties ? fieldSet.visible(body) : body
    }

    /// Everything of an item: also what is hidden, the type field and the computed attributes of indexes.
    public func wholeItem(body: JSONObject, key: ItemKey) -> JSONObject {
        var item = body
        addAttributes(body, key, to: &item, true, true)
        return item
    }

    /// Looks whether finds may ask for a property.
    ///
    /// - Throws: `.misuse` where the schema says `filter: false`.
    public func checkFilter(_ path: Text) throws(IotoError) {
        guard let field = field(at: path), !field.attributes.isFilterable else { return }
        throw failure(.misuse, field: path, "the schema says filter: false")
    }
}

extension FieldSet {
    fileprivate func visible(_ object: JSONObject) -> JSONObject {
        var result = JSONObject()
        result.reserveCapacity(object.count)
        for member in object {
            let field = self[member.key]
            if field?.attributes.isHidden == true { continue }
            result.append(member.key, field?.visible(member.value) ?? member.value)
        }
        return result
    }
}

extension Field {
    fileprivate func visible(_ value: JSON) -> JSON {
        switch value {
        case .object(let object): return attributes.nested.map { .object($0.visible(object)) } ?? value
        case .array(let elements): return attributes.items.map { items in .array(elements.map { items.visible($0) }) } ?? value
        default: return value
        }
    }
}

extension Text {
    /// A portion between separators, counted from 0; nil when there are not so many, or it is empty.
    fileprivate func portion(_ index: Int, separator: Text) -> Text? {
        var place = 0
        var start = 0
        var end = 0
        while end < count {
            if bytes[end] == separator.bytes[0], Text(bytes[end...].prefix(separator.count)) == separator {
                if place == index { return end > start ? Text(bytes[start..<end]) : nil }
                place += 1
                end += separator.count
                start = end
            } else {
                end += 1
            }
        }
        return place == index && start < count ? Text(bytes[start...]) : nil
    }
}
