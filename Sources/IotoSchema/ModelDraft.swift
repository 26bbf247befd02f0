import IotoBase
import IotoJSON

/// A field as it is read, before its templates are compiled.
struct FieldDraft {
    let name: Text
    var attributes = FieldAttributes()
    var flags: FieldFlags = []
    /// The template's source; nil for a property of its own.
    var tokens: [TemplateToken]?
    /// Source of the template that a unique value is unique within.
    var scope: [TemplateToken]?
    /// Fields of an object, by `schema`.
    var nested: [FieldDraft] = []

    init(name: Text) {
        self.name = name
    }

    /// The field without its template: where it has one, the value is looked at when it is computed.
    var plainField: Field {
        guard tokens != nil else { return Field(name, attributes) }
        var attributes = attributes
        attributes.flags.set(.required, false)
        attributes.generation = nil
        attributes.pattern = nil
        attributes.allowed = []
        return Field(name, attributes)
    }

    var hasTemplates: Bool { tokens != nil || nested.contains { $0.hasTemplates } }
}

/// What is wrong with a model, and where in it.
struct ModelFault: Error {
    let path: [Text]
    let message: Text
}

/// A field inside an object that is computed.
struct NestedTemplate: Sendable {
    /// The whole path, the place of the model's field that it begins with, and what follows.
    let path: Text
    let root: Int
    let rest: Text
    let template: Template
    let isRequired: Bool
    let pattern: Pattern?
}

/// A model while its fields are put together: templates need the fields that they use, and fields that are used or
/// implied without being named are added.
final class ModelDraft {
    let name: Text
    let settings: ModelSettings
    let indexes: [Index]
    private var fields: [Field] = []
    private(set) var warnings: [ModelFault] = []
    private var places: [Text: Int] = [:]
    private var drafts: [FieldDraft] = []
    /// The fields that are computed, by path, with their templates as soon as these are compiled.
    private var computed: [(path: Text, template: Template?)] = []
    private var nestedTemplates: [NestedTemplate] = []

    init(name: Text, settings: ModelSettings, indexes: [Index]) {
        self.name = name
        self.settings = settings
        self.indexes = indexes
    }

    func add(_ draft: FieldDraft) {
        drafts.append(draft)
        if draft.tokens != nil { computed.append((draft.name, nil)) }
        add(draft.plainField)
        forEachNestedTemplate(of: draft, at: draft.name) { path, _, _, _ in computed.append((path, nil)) }
    }

    private func add(_ field: Field) {
        places[field.name] = fields.count
        fields.append(field)
    }

    /// The model with everything that its fields need.
    func finish(primary: Index) throws(ModelFault) -> ModelParts {
        if settings.timestamps.hasCreated { try addTimestamp(settings.createdField) }
        if settings.timestamps.hasUpdated { try addTimestamp(settings.updatedField) }
        try compileTemplates()
        let keys = try makeKeys(primary: primary)
        try checkConstraints()
        try checkNames()
        return ModelParts(name: name, fields: FieldSet(fields), keys: keys, nestedTemplates: nestedTemplates)
    }

    // MARK: - Timestamps

    private func addTimestamp(_ name: Text) throws(ModelFault) {
        guard let place = places[name] else {
            var attributes = FieldAttributes()
            attributes.type = .date
            attributes.flags = settings.fieldFlags
            return add(Field(name, attributes))
        }
        switch fields[place].type {
        case .date, .string, .number: if !isComputed(name) { return }
        default: break
        }
        throw fault(name, "a timestamp is a date, a number or a string")
    }

    // MARK: - Templates

    private func isComputed(_ path: Text) -> Bool {
        computed.contains { $0.path == path }
    }

    /// Compiles the templates in the order of the file, so that each may use those before it and none itself.
    private func compileTemplates() throws(ModelFault) {
        for draft in drafts {
            guard let place = places[draft.name] else { continue }
            if let tokens = draft.tokens {
                let template = try compile(tokens, of: draft.name)
                let isStored = !indexes.contains { $0.uses(draft.name) }
                fields[place] = Field(draft.name, draft.attributes, template: template, isStored: isStored)
                set(template, draft.name)
            }
            var nested: [(path: Text, parent: Text, tokens: [TemplateToken], attributes: FieldAttributes)] = []
            forEachNestedTemplate(of: draft, at: draft.name) { path, parent, tokens, attributes in
                nested.append((path, parent, tokens, attributes))
            }
            for entry in nested {
                let template = try compile(entry.tokens, of: entry.path, in: entry.parent)
                set(template, entry.path)
                nestedTemplates.append(
                    NestedTemplate(
                        path: entry.path, root: place, rest: entry.path.splitAtDot?.rest ?? Text(), template: template,
                        isRequired: entry.attributes.isRequired, pattern: entry.attributes.pattern))
            }
        }
        // Scopes may use every template of the model.
        for draft in drafts {
            guard let tokens = draft.scope, let place = places[draft.name] else { continue }
            let field = fields[place]
            var attributes = field.attributes
            attributes.scope = try compile(tokens, of: draft.name)
            fields[place] = Field(field.name, attributes, template: field.template, isStored: field.isStored)
        }
    }

    private func set(_ template: Template, _ path: Text) {
        for place in computed.indices where computed[place].path == path { computed[place].template = template }
    }

    private func forEachNestedTemplate(
        of draft: FieldDraft, at path: Text, _ body: (Text, Text, [TemplateToken], FieldAttributes) -> Void
    ) {
        for inner in draft.nested {
            let innerPath = path + "." + inner.name
            if let tokens = inner.tokens { body(innerPath, path, tokens, inner.attributes) }
            forEachNestedTemplate(of: inner, at: innerPath, body)
        }
    }

    /// - Parameter parent: Path of the object that the field stands in, whose fields are found before the model's.
    private func compile(
        _ tokens: [TemplateToken], of name: Text, in parent: Text? = nil
    ) throws(ModelFault) -> Template {
        var parts: [Template.Part] = []
        for token in tokens {
            switch token {
            case .literal(let text): parts.append(.literal(text))
            case .variable(let given, let width, let pad):
                var path = given
                if let parent, field(at: parent + "." + given) != nil { path = parent + "." + given }
                if path == settings.typeField {
                    parts.append(.literal(self.name))
                } else if let referred = try reference(path, width, from: name) {
                    parts.append(contentsOf: referred.parts)
                } else {
                    parts.append(.variable(try variable(path, width, pad, of: name)))
                }
            }
            guard parts.count <= Template.partsMax else {
                throw fault(
                    name, "its template has more than \(Template.partsMax) parts, with those of templates it uses")
            }
        }
        return Template(parts: parts)
    }

    private func field(at path: Text) -> Field? {
        guard let split = path.splitAtDot, let place = places[split.first] else { return nil }
        return fields[place].field(at: split.rest)
    }

    /// The template that a variable refers to; nil when it is a property.
    private func reference(_ path: Text, _ width: Int, from name: Text) throws(ModelFault) -> Template? {
        let root = path.splitAtDot?.first ?? path
        guard let entry = computed.first(where: { $0.path == path || $0.path == root }) else { return nil }
        guard let template = entry.template else {
            throw fault(name, "its template uses '\(path)', a template that does not stand before it")
        }
        guard entry.path == path, width == 0 else {
            throw fault(name, "its template pads, or goes into, '\(path)', which is a template")
        }
        return template
    }

    private func variable(
        _ path: Text, _ width: Int, _ pad: UInt8, of name: Text
    ) throws(ModelFault) -> Template.Variable {
        let split = path.splitAtDot
        let root = split?.first ?? path
        if places[root] == nil {
            guard fields.count < Limits.fieldsMax else {
                throw fault(name, "its template implies more than \(Limits.fieldsMax) fields in the model")
            }
            imply(root, isObject: split != nil, by: name)
        }
        guard let place = places[root] else {
            throw fault(name, "its template uses '\(path)', which is no field")
        }
        var field: Field? = fields[place]
        if let split { field = fields[place].field(at: split.rest) }
        if let field, !field.type.isScalar {
            throw fault(
                name, "its template uses '\(path)', which is neither a text, a number, a boolean nor a date")
        }
        return Template.Variable(path: path, root: place, rest: split?.rest, field: field, width: width, pad: pad)
    }

    /// Adds a property that a template uses and the model does not name. It is stored with each item, also when its
    /// value comes from the context: a key can then always be computed from the body.
    private func imply(_ root: Text, isObject: Bool, by name: Text) {
        warn(
            name,
            "'\(root)' of its template is no field of the model; it is taken as \(isObject ? "an object" : "a string")"
        )
        var attributes = FieldAttributes()
        attributes.type = isObject ? .object : .string
        attributes.flags = settings.fieldFlags
        add(Field(root, attributes))
    }

    private func fault(_ name: Text, _ message: Text) -> ModelFault {
        ModelFault(path: sourcePath(name), message: "field \(quoted(name)): \(message)")
    }

    private func warn(_ name: Text, _ message: Text) {
        warnings.append(fault(name, message))
    }

    /// Where a field stands in the model: `net.label` at `net`, `schema`, `label`.
    private func sourcePath(_ name: Text) -> [Text] {
        var path: [Text] = []
        var segments = PathSegments(name)
        while let segment = segments.next() {
            if !path.isEmpty { path.append("schema") }
            path.append(segment)
        }
        return path
    }

    // MARK: - Constraints

    /// One field says when an item expires; a scope needs something that is unique within it.
    private func checkConstraints() throws(ModelFault) {
        var ttl: Text?
        for field in fields {
            let attributes = field.attributes
            if attributes.isTTL {
                if let ttl { throw fault(field.name, "ttl: \(quoted(ttl)) already says when an item expires") }
                ttl = field.name
            }
            if attributes.isUnique, !field.isStored {
                throw fault(
                    field.name, "unique: the attribute of an index is not stored, its properties can be unique")
            }
            if attributes.scope != nil, !attributes.isUnique {
                warn(field.name, "'scope' has an effect beside 'unique' alone")
            }
            if let encoding = attributes.encoding, !isComputed(encoding.attribute) || !attributes.type.isScalar {
                throw fault(field.name, "encode: '\(encoding.attribute)' is not computed, or can't have this property")
            }
        }
    }

    /// The attributes that `map` names belong to one property each, or, packed, to parts that do.
    private func checkNames() throws(ModelFault) {
        for (place, field) in fields.enumerated() {
            guard let map = field.attributes.map else { continue }
            guard !indexes.contains(where: { $0.uses(field.name) || $0.uses(map.attribute) }) else {
                throw fault(field.name, "map: the attributes of indexes have the names that the indexes give them")
            }
            var isTaken = map.attribute == settings.typeField || (map.part != nil && field.name == map.attribute)
            for (other, field) in fields.enumerated() where other != place {
                let taken = field.attributes.map ?? AttributeName(attribute: field.name, part: nil)
                // What else is in an attribute with parts is kept under its name, which then is no property's.
                if map.part != nil, field.name == map.attribute { isTaken = true }
                if taken.attribute == map.attribute, taken.part == nil || map.part == nil || taken.part == map.part {
                    isTaken = true
                }
            }
            guard !isTaken else { throw fault(field.name, "map: '\(map.attribute)' is another property's as well") }
        }
    }

    // MARK: - Keys

    private func makeKeys(primary: Index) throws(ModelFault) -> ModelKeys {
        let keys = IndexKeys(hash: try keyPart(primary.hash), sort: try keyPart(primary.sort))
        guard keys.hash != nil || keys.sort != nil else {
            let names = [primary.hash, primary.sort].compactMap { $0.map { "'\($0)'" as Text } }
            throw ModelFault(
                path: [], message: "defines no key: \(names.count == 2 ? "\(names[0]) or \(names[1])" : names[0])")
        }
        if let sort = keys.sort, sort.isProperty, let place = places[sort.attribute], fields[place].type == .number {
            warn(sort.attribute, "sorts as text, 10 before 9; pad it in a template")
        }
        var secondary: [(index: Index, keys: IndexKeys)] = []
        for index in indexes where index.name != primary.name {
            secondary.append((index, IndexKeys(hash: try keyPart(index.hash), sort: try keyPart(index.sort))))
        }
        let variables = (keys.hash?.template.variables ?? []) + (keys.sort?.template.variables ?? [])
        return ModelKeys(primaryIndex: primary, primary: keys, secondary: secondary, variables: variables)
    }

    private func keyPart(_ attribute: Text?) throws(ModelFault) -> KeyPart? {
        guard let attribute, let place = places[attribute] else { return nil }
        let field = fields[place]
        if let template = field.template {
            return KeyPart(attribute: attribute, template: template, isProperty: false)
        }
        guard field.type.isScalar else { throw fault(attribute, "a key is a text, a number, a boolean or a date") }
        let variable = Template.Variable(path: attribute, root: place, rest: nil, field: field, width: 0, pad: 0)
        return KeyPart(attribute: attribute, template: Template(parts: [.variable(variable)]), isProperty: true)
    }
}
