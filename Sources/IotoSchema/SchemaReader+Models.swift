import IotoBase
import IotoJSON

extension SchemaReader {
    func readModels() throws(IotoError) {
        guard let value = root["models"] else { throw failure("the schema has no models") }
        path = ["models"]
        let entries = try object(value)
        guard entries.count <= Limits.modelsMax else { throw ownerFailure("more than \(Limits.modelsMax) models") }
        for (name, fields) in entries {
            path = ["models", name]
            guard name.isModelName, name.count <= SchemaReader.nameBytesMax else {
                throw failure("\(quoted(name)) is no name of a model: letters, digits and '_', no digit first", naming: 0)
            }
            models.append(try model(name, try object(fields)))
        }
        path = []
    }

    private func model(_ name: Text, _ entries: JSONObject) throws(IotoError) -> ModelParts {
        let draft = ModelDraft(name: name, settings: settings, indexes: indexes)
        var count = 0
        for (key, value) in entries where key != settings.typeField {
            path.append(key)
            guard key.isFieldName else { throw ownerFailure(SchemaReader.noFieldName(key)) }
            draft.add(try field(key, value, isTopLevel: true, &count))
            path.removeLast()
        }
        do throws(ModelFault) {
            let parts = try draft.finish(primary: primary)
            for warning in draft.warnings {
                path = ["models", name] + warning.path
                warn(warning.message, naming: 2)
            }
            return parts
        } catch {
            path = ["models", name] + error.path
            throw failure(error.message, naming: 2)
        }
    }

    // MARK: - Fields

    /// Reads the field that `path` leads to.
    private func field(
        _ name: Text, _ value: JSON, isTopLevel: Bool, _ count: inout Int
    ) throws(IotoError) -> FieldDraft {
        count += 1
        guard count <= Limits.fieldsMax else { throw failure("more than \(Limits.fieldsMax) fields in a model") }
        let entries = try object(value)
        var draft = FieldDraft(name: name)
        draft.flags = settings.fieldFlags
        if let value = entries["type"] {
            path.append("type")
            let name = try text(value)
            guard let type = FieldType(schemaName: name) else { throw ownerFailure("unknown type \(quoted(name))") }
            draft.attributes.type = type
            path.removeLast()
        }
        for (key, value) in entries {
            path.append(key)
            if let place = place(of: key, in: FieldFlags.names) {
                // Null stands for what holds without the attribute.
                if !value.isNull { draft.flags.set(FieldFlags(rawValue: 1 << UInt16(place)), try boolean(value)) }
                if !value.isNull, place == 1 { draft.flags.insert(.hiddenGiven) }
            } else {
                try readAttribute(key, value, &draft, isTopLevel, &count)
            }
            path.removeLast()
        }
        // By now the type and the fields inside are known, which the others have to fit.
        try checkFlags(&draft, isTopLevel)
        try readValues(entries, &draft)
        return draft
    }

    private func readAttribute(
        _ key: Text, _ value: JSON, _ draft: inout FieldDraft, _ isTopLevel: Bool, _ count: inout Int
    ) throws(IotoError) {
        switch place(
            of: key,
            in: "value generate uuid schema items validate scope map encode crypt fixed pack type default enum description reference comment timestamp"
        ) {
        case 0:
            if value.isNull || value == .bool(false) { return }
            guard draft.attributes.type == .string else { throw ownerFailure("a template makes a string") }
            draft.tokens = try template(value)
        case 1: draft.attributes.generation = try generation(value, draft, isUUID: false)
        case 2: draft.attributes.generation = try generation(value, draft, isUUID: true)
        case 3: try readNested(value, &draft, &count)
        case 4: try readItems(value, &draft, &count)
        case 5: try readPattern(value, &draft)
        case 6:
            if value.isNull { return }
            guard isTopLevel else { throw notNested() }
            draft.scope = try template(value)
        case 7: try readMap(value, &draft, isTopLevel)
        case 8: try readEncoding(value, &draft, isTopLevel)
        case 9:
            guard value.isNull || value == .bool(false) else {
                warnOfOwner("'crypt' is not supported: the value is stored as it is")
                return
            }
        case 10, 11: warnOfOwner("attribute \(quoted(key)) is read over")
        case nil: warnOfOwner("unknown attribute \(quoted(key))")
        default: break
        }
    }

    private func notNested() -> IotoError {
        ownerFailure("'\(path.last ?? Text())' is for fields of a model, not nested ones")
    }

    /// Looks whether the attributes that are switched on suit the field.
    private func checkFlags(_ draft: inout FieldDraft, _ isTopLevel: Bool) throws(IotoError) {
        let type = draft.attributes.type
        if draft.flags.contains(.unique) || draft.flags.contains(.ttl) {
            let isTTL = draft.flags.contains(.ttl)
            path.append(isTTL ? "ttl" : "unique")
            guard isTopLevel else { throw notNested() }
            guard isTTL ? type == .date : type.isScalar else {
                throw ownerFailure(isTTL ? "'ttl' is for a field of type date" : "'unique' is for scalar fields")
            }
            path.removeLast()
        }
        if draft.tokens != nil, !draft.flags.contains(.hiddenGiven) {
            draft.flags.set(.hidden, settings.hidesTemplates)
        }
        draft.attributes.flags = draft.flags
    }

    private func template(_ value: JSON) throws(IotoError) -> [TemplateToken] {
        let source = try text(value)
        guard !source.isEmpty else { throw ownerFailure("the template is empty") }
        do throws(IotoError) {
            return try TemplateToken.scan(source)
        } catch {
            throw ownerFailure(error.message)
        }
    }

    private func generation(
        _ value: JSON, _ draft: FieldDraft, isUUID: Bool
    ) throws(IotoError) -> Generation? {
        if value == .bool(false) || value.isNull { return nil }
        guard draft.attributes.type == .string else { throw ownerFailure("a generated value is a string") }
        switch value {
        case .bool(true): return isUUID ? .uuid : .ulid
        case .string(let name):
            switch place(of: name, in: "ulid uuid uid") {
            case 0: return .ulid
            case 1: return .uuid
            case 2: return .uid(length: Generation.uidLengthDefault)
            default: if let length = name.uidLength { return .uid(length: length) }
            }
        default: break
        }
        throw ownerFailure(
            "\(path.last ?? Text()) \(quoted(value)) is none of true, 'ulid', 'uuid', 'uid', 'uid(n)' with n from 1 to \(Generation.uidLengthMax)"
        )
    }

    private func readNested(_ value: JSON, _ draft: inout FieldDraft, _ count: inout Int) throws(IotoError) {
        guard draft.attributes.type == .object else {
            return warnOfOwner("'schema' has an effect on fields of type object alone")
        }
        for (key, value) in try object(value) {
            path.append(key)
            guard key.isFieldName else { throw failure(SchemaReader.noFieldName(key), naming: path.count - 2) }
            draft.nested.append(try field(key, value, isTopLevel: false, &count))
            path.removeLast()
        }
        draft.attributes.nested = FieldSet(draft.nested.map { $0.plainField })
    }

    private func readItems(_ value: JSON, _ draft: inout FieldDraft, _ count: inout Int) throws(IotoError) {
        guard draft.attributes.type.isList else {
            return warnOfOwner("'items' has an effect on fields of type array and set alone")
        }
        let items = try field(Text(), value, isTopLevel: false, &count)
        if items.hasTemplates { warn("a template has no effect in the elements of an array") }
        draft.attributes.items = items.plainField
    }

    /// Reads `default` and `enum`, whose values have the field's type.
    private func readValues(_ entries: JSONObject, _ draft: inout FieldDraft) throws(IotoError) {
        if let value = entries["enum"], !value.isNull {
            path.append("enum")
            try readEnum(value, &draft)
            path.removeLast()
        }
        if let value = entries["default"], !value.isNull {
            path.append("default")
            if draft.tokens != nil {
                warnOfOwner("'default' has no effect beside a template")
            } else {
                draft.attributes.defaultValue = try constant(value, draft.plainField)
            }
            path.removeLast()
        }
    }

    /// The values of an array's `enum` are those that its elements may have.
    private func readEnum(_ value: JSON, _ draft: inout FieldDraft) throws(IotoError) {
        guard case .array(let values) = value, !values.isEmpty else {
            throw ownerFailure("enum \(quoted(value)) is not a list of values")
        }
        let type = draft.attributes.type
        let element = type.isList ? draft.attributes.items ?? Field(Text(), FieldAttributes()) : draft.plainField
        guard element.type.isScalar else { return warnOfOwner("'enum' has an effect on scalar values alone") }
        var attributes = element.attributes
        for value in values { attributes.allowed.append(try constant(value, element)) }
        if type.isList {
            draft.attributes.items = Field(Text(), attributes)
        } else {
            draft.attributes.allowed = attributes.allowed
        }
    }

    private func constant(_ value: JSON, _ field: Field) throws(IotoError) -> JSON {
        do throws(FieldFault) {
            return try field.convert(value, .change, nil)
        } catch {
            throw failure(error.message)
        }
    }

    // MARK: - How values are stored elsewhere

    private func readPattern(_ value: JSON, _ draft: inout FieldDraft) throws(IotoError) {
        if value.isNull || value == .bool(false) { return }
        guard draft.attributes.type.isScalar else {
            return warnOfOwner("'validate' has an effect on scalar fields alone; 'items' can have it")
        }
        do throws(IotoError) {
            draft.attributes.pattern = try Pattern(try text(value))
        } catch {
            // What the reader says itself has its place already.
            throw error.code == .schema ? error : failure(error.message)
        }
    }

    private func readMap(_ value: JSON, _ draft: inout FieldDraft, _ isTopLevel: Bool) throws(IotoError) {
        if value.isNull { return }
        let name = try text(value)
        guard isTopLevel else { throw notNested() }
        let split = name.splitAtDot
        guard (split?.first ?? name).isFieldName, split?.rest.isFieldName ?? true else {
            throw failure("\(quoted(name)) is neither 'attribute' nor 'attribute.part'")
        }
        draft.attributes.map = AttributeName(attribute: split?.first ?? name, part: split?.rest)
    }

    private func readEncoding(_ value: JSON, _ draft: inout FieldDraft, _ isTopLevel: Bool) throws(IotoError) {
        if value.isNull || value == .bool(false) { return }
        guard isTopLevel else { throw notNested() }
        if case .array(let parts) = value, parts.count == 2 || parts.count == 3,
            let attribute = parts.first?.stringValue, let index = parts.last?.integerValue,
            (0...Int64(Template.partsMax)).contains(index),
            let separator = parts.count == 3 ? parts[1].stringValue : settings.separator, !separator.isEmpty
        {
            draft.attributes.encoding = Encoding(attribute: attribute, separator: separator, index: Int(index))
        } else {
            // Kept as a property of its own, the value is never missed.
            warn("\(quoted(value)) is not [attribute, separator, index]; the property is stored by itself")
        }
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
