import IotoBase
import IotoJSON

/// The values of an item while it is put together: one for each field, and those of properties that the schema does
/// not know, which are kept as given.
struct ItemDraft {
    let model: Model
    var values: [JSON?]
    /// Whether the value at a place was set or changed, and so has to be converted and checked.
    var isTouched: [Bool]
    var unknown = JSONObject()
    /// What the caller gave for computed fields: it has to equal what is computed.
    var claims: [(place: Int, value: JSON)] = []

    init(_ model: Model) {
        self.model = model
        values = [JSON?](repeating: nil, count: model.fields.count)
        isTouched = [Bool](repeating: false, count: model.fields.count)
    }

    /// A draft of a stored body, nothing of it touched.
    init(_ model: Model, body: JSONObject) {
        self.init(model)
        for member in body {
            if let place = model.fieldSet.index(of: member.key) {
                values[place] = member.value
            } else {
                unknown.append(member.key, member.value)
            }
        }
    }

    /// Sets a property by its name or path; `.null` removes it, but is kept in the draft to be judged by the field.
    mutating func assign(_ name: Text, _ value: JSON) throws(IotoError) {
        if let place = model.fieldSet.index(of: name) {
            let field = model.fields[place]
            if field.template == nil {
                values[place] = field.merged(value, over: values[place])
                isTouched[place] = true
            } else if !value.isNull {
                claims.append((place, value))
            }
        } else if let path = name.splitAtDot {
            try assign(path.first, path.rest, value)
        } else if name == model.settings.typeField {
            try checkType(value)
        } else if model.keys.primaryIndex.uses(name) {
            throw model.failure(.field, field: name, "is a key attribute that the model does not define")
        } else {
            try checkIsNoAttribute(name)
            unknown[name] = value.isNull ? nil : value
        }
    }

    /// An attribute that the cloud has properties in is no property beside them.
    private func checkIsNoAttribute(_ name: Text) throws(IotoError) {
        guard model.isMapped else { return }
        for field in model.fields where field.attributes.map?.attribute == name {
            throw model.failure(.field, field: name, "is the attribute that property '\(field.name)' is mapped to")
        }
    }

    func checkType(_ value: JSON) throws(IotoError) {
        guard value == .string(model.name) else {
            throw model.failure(
                .field, field: model.settings.typeField, "\(quoted(value)) is not the model's name and can't be set"
            )
        }
    }

    private mutating func assign(_ first: Text, _ rest: Text, _ value: JSON) throws(IotoError) {
        let path = first + "." + rest
        guard rest.bytes.count(where: { $0 == UInt8(ascii: ".") }) + 2 <= Model.bodyNestingMax else {
            throw model.failure(.limit, "a path has more than \(Model.bodyNestingMax) segments")
        }
        let field = model.fieldSet.field(at: path)
        var change = value.isNull && field?.attributes.nulls != true ? nil : value
        let isSet: Bool
        if let place = model.fieldSet.index(of: first) {
            guard model.fields[place].template == nil else {
                throw model.failure(.field, field: path, "is computed from a template and can't be set")
            }
            // Taken out meanwhile, so that the change is made in place and not in a copy.
            var root = values[place] ?? .null
            values[place] = nil
            if root.isNull { root = .object(JSONObject()) }
            if let field, let value = change, field.attributes.isPartial {
                change = field.merged(value, over: root.value(at: rest))
            }
            isSet = root.set(change, at: rest)
            values[place] = root
            isTouched[place] = true
        } else {
            try checkIsNoAttribute(first)
            var root = unknown[first] ?? .object(JSONObject())
            isSet = root.set(change, at: rest)
            unknown[first] = root
        }
        guard isSet || change == nil else {
            throw model.failure(
                .field, field: path, "the path leads through a value that is no object, or past an array's end")
        }
    }

    /// Gives the context's values to the fields that have their names.
    mutating func override(with context: Context) {
        for entry in context.entries {
            guard let place = model.takesContext(entry.name) else { continue }
            values[place] = .string(entry.value)
            isTouched[place] = true
        }
    }

    /// Converts and checks every field, or those that were touched. Timestamps are not the caller's, and stand as they
    /// were set.
    ///
    /// - Parameter stored: The values that are changed; nil: the item is new.
    mutating func complete(_ purpose: Purpose, over stored: [JSON?]? = nil) throws(IotoError) {
        for place in values.indices where stored == nil || isTouched[place] {
            let field = model.fields[place]
            if field.template != nil { continue }
            if place == model.createdPlace || place == model.updatedPlace, !purpose.isReading { continue }
            do throws(FieldFault) {
                values[place] = try field.complete(values[place], purpose, stored?[place])
            } catch {
                throw model.failure(error)
            }
        }
    }

    /// Computes the templates and compares them with what the caller claims they are.
    ///
    /// - Parameter current: The stored values, which a caller may give back unchanged.
    mutating func computeTemplates(current: JSONObject? = nil) throws(IotoError) {
        for nested in model.nestedTemplates { try compute(nested, current) }
        for place in values.indices {
            let field = model.fields[place]
            guard let template = field.template, field.isStored || field.attributes.pattern != nil else { continue }
            let text = try resolve(template)
            if field.isStored { values[place] = text.map { JSON.string($0) } }
            if text == nil, field.isStored, field.attributes.isRequired { throw missing(field.name) }
            try check(text, field.attributes.pattern, field.name, current?[field.name])
        }
        for claim in claims {
            let field = model.fields[claim.place]
            guard let template = field.template else { continue }
            let computed = field.isStored ? values[claim.place]?.stringValue : try resolve(template)
            let isKept = current != nil && claim.value == current?[field.name]
            guard isKept || (computed != nil && claim.value.stringValue == computed) else {
                throw model.failure(.field, field: field.name, "is computed from a template and can't be set")
            }
        }
    }

    /// Computes a field inside an object, where there is the object.
    private mutating func compute(_ nested: NestedTemplate, _ current: JSONObject?) throws(IotoError) {
        guard var root = values[nested.root], root.has(objectOf: nested.rest) else { return }
        let given = root.value(at: nested.rest)
        let stored = current?.value(at: nested.path)
        let text = try resolve(nested.template)
        if let given, !given.isNull, given != stored, given.stringValue != text {
            throw model.failure(.field, field: nested.path, "is computed from a template and can't be set")
        }
        if text == nil, nested.isRequired { throw missing(nested.path) }
        try check(text, nested.pattern, nested.path, stored)
        _ = root.set(text.map { JSON.string($0) }, at: nested.rest)
        values[nested.root] = root
    }

    private func missing(_ field: Text) -> IotoError {
        model.failure(.field, field: field, "is required, but a property of its template is missing")
    }

    /// Looks whether a computed text is what `validate` wants, unless it is the stored one.
    private func check(_ text: Text?, _ pattern: Pattern?, _ name: Text, _ stored: JSON?) throws(IotoError) {
        guard let text, let pattern, stored?.stringValue != text else { return }
        do throws(FieldFault) {
            try Field(name, FieldAttributes()).check(.string(text), pattern)
        } catch {
            throw model.failure(error)
        }
    }

    private func resolve(_ template: Template) throws(IotoError) -> Text? {
        do throws(FieldFault) {
            guard case .whole(let text) = try template.resolve(value, refusesEmpty: false) else { return nil }
            return text
        } catch {
            throw model.failure(error)
        }
    }

    /// The finished item.
    ///
    /// - Parameter isOwn: It was written here, and not taken from elsewhere.
    func finish(isOwn: Bool = true) throws(IotoError) -> PreparedItem {
        let key = try model.primaryKey(value)
        let secondaryKeys = try model.secondaryKeys(value)
        var body = JSONObject()
        body.reserveCapacity(values.count + unknown.count)
        for place in values.indices {
            if let value = values[place] { body.append(model.fields[place].name, value) }
        }
        for member in unknown { body.append(member.key, member.value) }
        if isOwn { try model.checkScopes(of: body) }
        return PreparedItem(
            key: key, secondaryKeys: secondaryKeys, body: body, text: try model.checkedText(of: body))
    }
}

extension Field {
    /// What a change makes of a value: an object with `partial` is laid over the stored one, member by member; any
    /// other value takes its place. Members that are taken away are null, for their fields to judge.
    fileprivate func merged(_ given: JSON, over current: JSON?) -> JSON {
        guard attributes.isPartial, case .object(var base)? = current, let nested = attributes.nested,
            case .object(let changes) = parsedText(given)
        else { return given }
        for (key, value) in changes {
            if let field = nested[key] {
                base[key] = field.merged(value, over: base[key])
            } else {
                base[key] = value.isNull ? nil : value
            }
        }
        return .object(base)
    }
}

extension JSON {
    /// Whether the object is there that a path's last segment is, or would be, a member of.
    fileprivate func has(objectOf path: Text) -> Bool {
        guard let dot = path.bytes.lastIndex(of: UInt8(ascii: ".")) else { return objectValue != nil }
        return value(at: Text(path.bytes[..<dot]))?.objectValue != nil
    }
}

extension ItemDraft {
    func value(of variable: Template.Variable) -> JSON? {
        guard let root = values[variable.root] else { return nil }
        guard let rest = variable.rest else { return root }
        return root.value(at: rest)
    }
}

extension Model {
    /// Deepest nesting of an item's body: room is left for the messages and lists that items are sent and returned
    /// in.
    public static let bodyNestingMax = Limits.nestingMax - 8

    /// A body as text, after a look at what holds for it as a whole: size, nesting, encoding.
    func checkedText(of body: JSONObject) throws(IotoError) -> [UInt8] {
        let whole = JSON.object(body)
        guard whole.depth <= Model.bodyNestingMax else {
            throw failure(.limit, "the item is nested deeper than \(Model.bodyNestingMax)")
        }
        let text = body.text
        guard text.count <= Limits.itemBytesMax else {
            throw failure(.limit, "the item has \(text.count) bytes, more than \(Limits.itemBytesMax)")
        }
        guard text.withUnsafeBytes({ isValidUTF8Text($0) }) else {
            throw failure(.field, "the item holds a text that is not valid UTF-8")
        }
        return text
    }
}
