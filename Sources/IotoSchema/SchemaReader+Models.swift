import IotoBase
import IotoJSON

extension SchemaReader {
    mutating func readModels(_ value: JSON?) throws(IotoError) {
        guard let value else { throw failure([], "the schema has no models") }
        let entries = try object(value, ["models"], "models")
        guard entries.count <= Limits.modelsMax else {
            throw failure(["models"], "more than \(Limits.modelsMax) models")
        }
        for (name, fields) in entries {
            let path: [Text] = ["models", name]
            guard name.isModelName, name.count <= SchemaReader.nameBytesMax else {
                throw failure(
                    path, "\(quoted(name)) is no name of a model: letters, digits and '_', no digit first")
            }
            models.append(try model(name, try object(fields, path, "model \(quoted(name))")))
        }
    }

    private mutating func model(_ name: Text, _ entries: JSONObject) throws(IotoError) -> ModelParts {
        var drafts = ModelDraft(name: name, settings: settings, indexes: indexes)
        var count = 0
        for (key, value) in entries where key != settings.typeField {
            let place = FieldPlace(model: name, path: ["models", name, key], field: key)
            try checkFieldName(key, place.path, "model \(quoted(name))")
            drafts.add(try field(key, value, place, &count))
        }
        do throws(ModelFault) {
            try drafts.addTimestamps()
            try drafts.compileTemplates()
            let keys = try drafts.makeKeys(primary: primary, indexes: indexes)
            try drafts.checkConstraints()
            for warning in drafts.warnings {
                warn(["models", name] + warning.path, "model \(quoted(name)): \(warning.message)")
            }
            return ModelParts(name: name, fields: FieldSet(drafts.fields), keys: keys)
        } catch {
            throw failure(["models", name] + error.path, "model \(quoted(name)): \(error.message)")
        }
    }

    // MARK: - Fields

    private mutating func field(
        _ name: Text, _ value: JSON, _ place: FieldPlace, _ count: inout Int
    ) throws(IotoError) -> FieldDraft {
        count += 1
        guard count <= Limits.fieldsMax else {
            throw failure(place.path, "\(place.text): more than \(Limits.fieldsMax) fields in a model")
        }
        let entries = try object(value, place.path, place.text)
        var draft = FieldDraft(name: name)
        draft.attributes.isoDates = settings.isoDates
        draft.attributes.nulls = settings.nulls
        if let value = entries["type"] { draft.type = try type(value, place) }
        for (key, value) in entries where key != "type" {
            try readAttribute(key, value, &draft, place.attribute(key), &count)
        }
        // By now the type and the fields inside are known, which these values have to fit.
        try readValues(entries, &draft, place)
        return draft
    }

    private func type(_ value: JSON, _ place: FieldPlace) throws(IotoError) -> FieldType {
        let path = place.attribute("type").path
        let name = try text(value, path, "\(place.text): type")
        guard let type = FieldType(schemaName: name) else {
            throw failure(path, "\(place.text): unknown type \(quoted(name))")
        }
        return type
    }

    private mutating func readAttribute(
        _ key: Text, _ value: JSON, _ draft: inout FieldDraft, _ place: FieldPlace, _ count: inout Int
    ) throws(IotoError) {
        let label: Text = "\(place.text): \(key)"
        switch key {
        case "required": draft.attributes.isRequired = try boolean(value, place.path, label)
        case "hidden": draft.attributes.isHidden = try boolean(value, place.path, label)
        case "isoDates": draft.attributes.isoDates = try boolean(value, place.path, label)
        case "nulls": draft.attributes.nulls = try boolean(value, place.path, label)
        case "value": try readTemplate(value, &draft, place)
        case "generate", "uuid": draft.attributes.generation = try generation(key, value, draft, place)
        case "schema": try readNested(value, &draft, place, &count)
        case "items": try readItems(value, &draft, place, &count)
        case "default", "enum": break
        case "description", "reference", "comment": break
        case "unique", "scope", "ttl": try readConstraint(key, value, &draft, place)
        case "validate", "encode", "map", "crypt", "filter", "fixed", "partial", "pack":
            // Switched off, an attribute has nothing to enforce; `filter` is switched off by true.
            let isOff = value.isNull || value == .bool(key == "filter")
            if !isOff {
                warn(place.path, "\(place.text): attribute '\(key)' is not enforced by this version")
            }
        default: warn(place.path, "\(place.text): unknown attribute \(quoted(key))")
        }
    }

    private mutating func readTemplate(
        _ value: JSON, _ draft: inout FieldDraft, _ place: FieldPlace
    ) throws(IotoError) {
        guard place.isTopLevel else {
            warn(place.path, "\(place.text): attribute 'value' is not enforced by this version in a nested field")
            return
        }
        let source = try text(value, place.path, "\(place.text): value")
        guard draft.type == .string else { throw failure(place.path, "\(place.text): a template makes a string") }
        guard !source.isEmpty else { throw failure(place.path, "\(place.text): the template is empty") }
        do throws(IotoError) {
            draft.tokens = try TemplateToken.scan(source)
        } catch {
            throw failure(place.path, "\(place.text): \(error.message)")
        }
    }

    /// Reads `unique`, `scope` and `ttl`, which say something of a whole item. Switched off, they say nothing.
    private func readConstraint(
        _ key: Text, _ value: JSON, _ draft: inout FieldDraft, _ place: FieldPlace
    ) throws(IotoError) {
        let label: Text = "\(place.text): \(key)"
        if value.isNull || value == .bool(false) { return }
        guard place.isTopLevel else { throw failure(place.path, "\(label) is for fields of a model, not nested ones") }
        switch key {
        case "unique":
            draft.attributes.isUnique = try boolean(value, place.path, label)
            guard draft.type.isScalar else { throw failure(place.path, "\(label) is for scalar fields") }
        case "ttl":
            draft.attributes.isTTL = try boolean(value, place.path, label)
            guard draft.type == .date else { throw failure(place.path, "\(label) is for a field of type date") }
        default:
            do throws(IotoError) {
                draft.scope = try TemplateToken.scan(try text(value, place.path, label))
            } catch {
                throw error.message.hasPrefix(name) ? error : failure(place.path, "\(label): \(error.message)")
            }
        }
    }

    private func generation(
        _ key: Text, _ value: JSON, _ draft: FieldDraft, _ place: FieldPlace
    ) throws(IotoError) -> Generation? {
        if value == .bool(false) { return nil }
        guard draft.type == .string else {
            throw failure(place.path, "\(place.text): a generated value is a string")
        }
        switch value {
        case .bool(true): return key == "uuid" ? .uuid : .ulid
        case .string("ulid"): return .ulid
        case .string("uuid"): return .uuid
        case .string("uid"): return .uid(length: Generation.uidLengthDefault)
        case .string(let name):
            if let length = name.uidLength { return .uid(length: length) }
        default: break
        }
        throw failure(
            place.path,
            "\(place.text): \(key) \(quoted(value)) is none of true, 'ulid', 'uuid', 'uid', "
                + "'uid(n)' with n from 1 to \(Generation.uidLengthMax)")
    }

    private mutating func readNested(
        _ value: JSON, _ draft: inout FieldDraft, _ place: FieldPlace, _ count: inout Int
    ) throws(IotoError) {
        guard draft.type == .object else {
            warn(place.path, "\(place.text): 'schema' has an effect on fields of type object alone")
            return
        }
        var fields: [Field] = []
        for (key, value) in try object(value, place.path, "\(place.text): schema") {
            let inner = place.inner(key)
            try checkFieldName(key, inner.path, place.text)
            fields.append(try field(key, value, inner, &count).plainField)
        }
        draft.attributes.nested = FieldSet(fields)
    }

    private mutating func readItems(
        _ value: JSON, _ draft: inout FieldDraft, _ place: FieldPlace, _ count: inout Int
    ) throws(IotoError) {
        guard draft.type == .array || draft.type == .set else {
            warn(place.path, "\(place.text): 'items' has an effect on fields of type array and set alone")
            return
        }
        draft.attributes.items = try field(Text(), value, place.items, &count).plainField
    }

    /// Reads `default` and `enum`, whose values have the field's type.
    private mutating func readValues(
        _ entries: JSONObject, _ draft: inout FieldDraft, _ place: FieldPlace
    ) throws(IotoError) {
        if let value = entries["enum"] {
            let place = place.attribute("enum")
            guard case .array(let values) = value, !values.isEmpty else {
                throw failure(place.path, "\(place.text): enum \(quoted(value)) is not a list of values")
            }
            if draft.type.isScalar {
                var allowed: [JSON] = []
                for value in values { allowed.append(try constant(value, draft, "enum", place)) }
                draft.attributes.allowed = allowed
            } else {
                warn(place.path, "\(place.text): 'enum' has an effect on scalar fields alone")
            }
        }
        if let value = entries["default"], !value.isNull {
            let place = place.attribute("default")
            if draft.tokens != nil {
                warn(place.path, "\(place.text): 'default' has no effect beside a template")
            } else {
                draft.attributes.defaultValue = try constant(value, draft, "default", place)
            }
        }
    }

    private func constant(
        _ value: JSON, _ draft: FieldDraft, _ key: Text, _ place: FieldPlace
    ) throws(IotoError) -> JSON {
        do throws(FieldFault) {
            return try draft.plainField.convert(value, .change)
        } catch {
            throw failure(place.path, "\(place.text): \(key): \(error.message)")
        }
    }
}

/// Where a field stands: as a path in the source, and for messages.
struct FieldPlace {
    let model: Text
    var path: [Text]
    /// Path in the item, as `network.dns`.
    var field: Text
    var isTopLevel = true

    var text: Text { "model \(quoted(model)): field \(quoted(field))" }

    /// An attribute of the field.
    func attribute(_ key: Text) -> FieldPlace {
        var place = self
        place.path.append(key)
        return place
    }

    /// A field of the nested schema that this place is the attribute of.
    func inner(_ key: Text) -> FieldPlace {
        FieldPlace(model: model, path: path + [key], field: field + "." + key, isTopLevel: false)
    }

    var items: FieldPlace {
        FieldPlace(model: model, path: path, field: field + ".items", isTopLevel: false)
    }
}

extension Text {
    /// OneTable 1.1.0, Models: `/^[a-zA-Z_]+[\w]*$/`.
    fileprivate var isModelName: Bool {
        for (place, byte) in bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"):
                break
            case UInt8(ascii: "0")...UInt8(ascii: "9"): if place == 0 { return false }
            default: return false
            }
        }
        return !isEmpty
    }

    /// The n of `uid(n)`, when it is within its limits.
    fileprivate var uidLength: Int? {
        guard hasPrefix("uid("), bytes.last == UInt8(ascii: ")"),
            let length = Text(bytes[4..<(count - 1)]).decimal, (1...Int64(Generation.uidLengthMax)).contains(length)
        else { return nil }
        return Int(length)
    }
}
