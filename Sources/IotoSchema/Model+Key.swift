import IotoBase
import IotoJSON

extension Model {
    /// What the properties of a get, update, remove or find say of the key. A key attribute that is given by its
    /// own name stands for its template, which it has to agree with as far as the other properties and the context
    /// tell.
    ///
    /// - Throws: `.field` when a property does not fit its field; `.key` when one is empty or an attribute disagrees
    ///   with its template; `.limit` when the key is too long.
    public func key(_ properties: JSONObject, context: Context) throws(IotoError) -> KeyMatch {
        let given = GivenProperties(properties: properties, context: context, model: self)
        let hash = try match(keys.primary.hash, given)
        let sort = try match(keys.primary.sort, given)
        if case .whole(let hash) = hash, case .whole(let sort) = sort {
            return .exact(ItemKey(hash: hash, sort: sort))
        }
        var knownHash: Text?
        if case .whole(let hash) = hash { knownHash = hash }
        switch sort {
        case .whole(let text), .partial(let text, _): return .prefix(hash: knownHash, sortPrefix: text)
        }
    }

    func match(_ part: KeyPart?, _ source: GivenProperties) throws(IotoError) -> Resolution {
        guard let part else { return .whole(Text()) }
        let resolution = try resolve(part, source.value)
        guard !part.isProperty, case .string(let given)? = source.properties[part.attribute] else {
            return resolution
        }
        let agrees: Bool
        switch resolution {
        case .whole(let text): agrees = text == given
        case .partial(let prefix, _): agrees = given.hasPrefix(prefix)
        }
        guard agrees, !given.isEmpty, given.count <= Limits.keyBytesMax else {
            throw failure(.key, "attribute '\(part.attribute)' can't be \(quoted(given)) by its template")
        }
        return .whole(given)
    }

    /// The key of a whole item body that came from elsewhere.
    ///
    /// - Throws: `.key` when a property that the key needs is missing; `.field` when one does not fit; `.limit`.
    public func itemKey(of body: JSONObject) throws(IotoError) -> ItemKey {
        try primaryKey(GivenProperties(properties: body, context: nil, model: self).value)
    }

    func primaryKey(_ source: VariableReader) throws(IotoError) -> ItemKey {
        ItemKey(hash: try attribute(keys.primary.hash, source), sort: try attribute(keys.primary.sort, source))
    }

    /// The whole key that the properties of a get, update or upsert give, as `key` takes them.
    ///
    /// - Throws: As `key`; `.key` when a property is missing.
    public func exactKey(_ properties: JSONObject, context: Context) throws(IotoError) -> ItemKey {
        let given = GivenProperties(properties: properties, context: context, model: self)
        return ItemKey(
            hash: try whole(keys.primary.hash, try match(keys.primary.hash, given)),
            sort: try whole(keys.primary.sort, try match(keys.primary.sort, given)))
    }

    private func attribute(_ part: KeyPart?, _ source: VariableReader) throws(IotoError) -> Text {
        guard let part else { return Text() }
        return try whole(part, try resolve(part, source))
    }

    private func whole(_ part: KeyPart?, _ resolution: Resolution) throws(IotoError) -> Text {
        switch resolution {
        case .whole(let text):
            return text
        case .partial(_, let missing):
            guard let part, !part.isProperty else {
                throw failure(.key, "property '\(missing)' is missing, which is the key")
            }
            throw failure(.key, "attribute '\(part.attribute)' needs property '\(missing)'")
        }
    }

    private func resolve(
        _ part: KeyPart, _ source: VariableReader
    ) throws(IotoError) -> Resolution {
        let resolution: Resolution
        do throws(FieldFault) {
            resolution = try part.template.resolve(source, refusesEmpty: true)
        } catch {
            throw failure(error)
        }
        if case .whole(let text) = resolution, text.count > Limits.keyBytesMax {
            throw failure(
                .limit,
                "attribute '\(part.attribute)' has \(text.count) bytes, more than \(Limits.keyBytesMax)")
        }
        return resolution
    }

    /// Names of the properties that say whose an item is.
    public static let ownerProperties: [Text] = ["deviceId", "accountId"]

    /// The properties that the key templates use, and those that say whose the item is: all that a tombstone keeps
    /// of it.
    public func keyProperties(of body: JSONObject) -> JSONObject {
        let whole = JSON.object(body)
        var result = JSON.object(JSONObject())
        for variable in keys.variables {
            if let value = whole.value(at: variable.path) { _ = result.set(value, at: variable.path) }
        }
        for name in Model.ownerProperties {
            if let value = body[name] { _ = result.set(value, at: name) }
        }
        return result.objectValue ?? JSONObject()
    }

    /// The key of an item in a secondary index; nil when the item is not in it, since an attribute can't be computed.
    ///
    /// - Throws: `.limit` when the key is too long, `.field` when a property does not fit.
    public func indexKey(of body: JSONObject, in index: Index) throws(IotoError) -> ItemKey? {
        if index.name == keys.primaryIndex.name { return try itemKey(of: body) }
        guard let entry = keys.secondary.first(where: { $0.index.name == index.name }) else { return nil }
        return try secondaryKey(
            entry.keys, of: entry.index, GivenProperties(properties: body, context: nil, model: self).value)
    }

    /// The keys in every secondary index.
    func secondaryKeys(_ source: VariableReader) throws(IotoError) -> [ItemKey?] {
        if keys.secondary.isEmpty { return [] }
        var result: [ItemKey?] = []
        result.reserveCapacity(keys.secondary.count)
        for (index, keys) in keys.secondary { result.append(try secondaryKey(keys, of: index, source)) }
        return result
    }

    func secondaryKey(
        _ keys: IndexKeys, of index: Index, _ source: VariableReader
    ) throws(IotoError) -> ItemKey? {
        var result = ItemKey(hash: Text(), sort: Text())
        if index.hash != nil {
            guard let text = try optionalAttribute(keys.hash, source) else { return nil }
            result.hash = text
        }
        if index.sort != nil {
            guard let text = try optionalAttribute(keys.sort, source) else { return nil }
            result.sort = text
        }
        return result
    }

    private func optionalAttribute(
        _ part: KeyPart?, _ source: VariableReader
    ) throws(IotoError) -> Text? {
        guard let part else { return nil }
        do throws(IotoError) {
            guard case .whole(let text) = try resolve(part, source) else { return nil }
            return text
        } catch {
            // An index is sparse: an item with an empty key attribute is not in it.
            if error.code == .key { return nil }
            throw error
        }
    }
}

/// Properties as a caller gives them, or a body: found by name, converted to the types of their fields.
struct GivenProperties {
    let properties: JSONObject
    let context: Context?
    let model: Model

    func value(of variable: Template.Variable) throws(FieldFault) -> JSON? {
        var given = variable.rest == nil ? context?[variable.path].map { JSON.string($0) } : nil
        if given == nil { given = properties[variable.path] }
        if given == nil { given = try nested(variable) }
        guard let given, !given.isNull else { return nil }
        guard let field = variable.field else { return given.templateText == nil ? nil : given }
        return try field.convertedForKey(given)
    }

    /// The value inside an object, itself perhaps given as text.
    private func nested(_ variable: Template.Variable) throws(FieldFault) -> JSON? {
        guard let rest = variable.rest else { return nil }
        let field = model.fields[variable.root]
        guard let root = properties[field.name], !root.isNull else { return nil }
        if case .string = root { return try field.convert(root, .reading, nil).value(at: rest) }
        return root.value(at: rest)
    }
}

extension Field {
    /// A value as keys use it; nil for an operator object of a query, which says no value.
    func convertedForKey(_ value: JSON) throws(FieldFault) -> JSON? {
        switch value {
        case .object, .array: return nil
        default: return try convert(value, .reading, nil)
        }
    }
}
