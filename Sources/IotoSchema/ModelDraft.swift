import IotoBase
import IotoJSON

/// A field as it is read, before its template is compiled.
struct FieldDraft {
    let name: Text
    var type = FieldType.string
    var attributes = FieldAttributes()
    /// The template's source; nil for a property of its own.
    var tokens: [TemplateToken]?
    /// Source of the template that a unique value is unique within.
    var scope: [TemplateToken]?

    init(name: Text) {
        self.name = name
    }

    var plainField: Field { Field(name, type, attributes) }
}

/// What is wrong with a model, and where in it.
struct ModelFault: Error {
    let path: [Text]
    let message: Text
}

/// A model while its fields are put together: templates need the fields that they use, and fields that are used or
/// implied without being named are added.
struct ModelDraft {
    let name: Text
    let settings: ModelSettings
    let indexes: [Index]
    private(set) var fields: [Field] = []
    private(set) var warnings: [ModelFault] = []
    private var places: [Text: Int] = [:]
    /// Whether the field at a place is computed.
    private var isComputed: [Bool] = []
    private var pending: [(place: Int, draft: FieldDraft)] = []

    init(name: Text, settings: ModelSettings, indexes: [Index]) {
        self.name = name
        self.settings = settings
        self.indexes = indexes
    }

    mutating func add(_ draft: FieldDraft) {
        if draft.tokens != nil || draft.scope != nil { pending.append((fields.count, draft)) }
        add(draft.plainField, isComputed: draft.tokens != nil)
    }

    private mutating func add(_ field: Field, isComputed: Bool = false) {
        places[field.name] = fields.count
        fields.append(field)
        self.isComputed.append(isComputed)
    }

    // MARK: - Timestamps

    mutating func addTimestamps() throws(ModelFault) {
        if settings.timestamps.hasCreated { try addTimestamp(settings.createdField) }
        if settings.timestamps.hasUpdated { try addTimestamp(settings.updatedField) }
    }

    private mutating func addTimestamp(_ name: Text) throws(ModelFault) {
        guard let place = places[name] else {
            var attributes = FieldAttributes()
            attributes.isoDates = settings.isoDates
            return add(Field(name, .date, attributes))
        }
        switch fields[place].type {
        case .date, .string, .number: if !isComputed[place] { return }
        default: break
        }
        throw ModelFault(
            path: [name], message: "field \(quoted(name)): a timestamp is a date, a number or a string")
    }

    // MARK: - Templates

    /// Compiles the templates in the order of the file, so that each may use those before it and none itself.
    mutating func compileTemplates() throws(ModelFault) {
        for (place, draft) in pending {
            guard let tokens = draft.tokens else { continue }
            let template = try compile(tokens, of: draft.name)
            let isStored = !indexes.contains { $0.uses(draft.name) }
            fields[place] = Field(draft.name, draft.attributes, template: template, isStored: isStored)
        }
        // Scopes may use every template of the model.
        for (place, draft) in pending {
            guard let tokens = draft.scope else { continue }
            let scope = try compile(tokens, of: draft.name)
            fields[place] = fields[place].scoped(scope)
        }
    }

    private mutating func compile(_ tokens: [TemplateToken], of name: Text) throws(ModelFault) -> Template {
        var parts: [Template.Part] = []
        for token in tokens {
            switch token {
            case .literal(let text): parts.append(.literal(text))
            case .variable(let path, let width, let pad):
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

    /// The template that a variable refers to; nil when it is a property.
    private func reference(_ path: Text, _ width: Int, from name: Text) throws(ModelFault) -> Template? {
        guard let place = places[path.splitAtDot?.first ?? path], isComputed[place] else { return nil }
        guard let template = fields[place].template else {
            throw fault(name, "its template uses '\(path)', a template that does not stand before it")
        }
        guard path.splitAtDot == nil, width == 0 else {
            throw fault(name, "its template pads, or goes into, '\(path)', which is a template")
        }
        return template
    }

    private mutating func variable(
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
    private mutating func imply(_ root: Text, isObject: Bool, by name: Text) {
        warnings.append(
            ModelFault(
                path: [name],
                message: "field \(quoted(name)): '\(root)' of its template is no field of the model; "
                    + "it is taken as \(isObject ? "an object" : "a string")"))
        var attributes = FieldAttributes()
        attributes.isoDates = settings.isoDates
        add(Field(root, isObject ? .object : .string, attributes))
    }

    private func fault(_ name: Text, _ message: Text) -> ModelFault {
        ModelFault(path: [name], message: "field \(quoted(name)): \(message)")
    }

    // MARK: - Constraints

    /// One field says when an item expires; a scope needs something that is unique within it.
    mutating func checkConstraints() throws(ModelFault) {
        var ttl: Text?
        for field in fields {
            let attributes = field.attributes
            if attributes.isTTL {
                if let ttl { throw fault(field.name, "ttl: \(quoted(ttl)) already says when an item expires") }
                ttl = field.name
            }
            if attributes.isUnique, !field.isStored {
                throw fault(field.name, "unique: the attribute of an index is not stored, its properties can be unique")
            }
            if attributes.scope != nil, !attributes.isUnique {
                warnings.append(
                    ModelFault(path: [field.name], message: "field \(quoted(field.name)): 'scope' has an effect beside 'unique' alone"))
            }
        }
    }

    // MARK: - Keys

    mutating func makeKeys(primary: Index, indexes: [Index]) throws(ModelFault) -> ModelKeys {
        let keys = IndexKeys(hash: try keyPart(primary.hash), sort: try keyPart(primary.sort))
        guard keys.hash != nil || keys.sort != nil else {
            let names = [primary.hash, primary.sort].compactMap { $0.map { "'\($0)'" as Text } }
            throw ModelFault(
                path: [], message: "defines no key: \(names.count == 2 ? "\(names[0]) or \(names[1])" : names[0])")
        }
        if let sort = keys.sort, sort.isProperty, let place = places[sort.attribute], fields[place].type == .number
        {
            warnings.append(
                ModelFault(
                    path: [sort.attribute],
                    message: "field \(quoted(sort.attribute)): sorts as text, 10 before 9; pad it in a template"))
        }
        var secondary: [(index: Index, keys: IndexKeys)] = []
        for index in indexes where index.name != primary.name {
            secondary.append((index, IndexKeys(hash: try keyPart(index.hash), sort: try keyPart(index.sort))))
        }
        return ModelKeys(primaryIndex: primary, primary: keys, secondary: secondary)
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
