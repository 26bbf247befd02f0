import IotoBase
import IotoJSON

/// Reads a schema file into the parts that `Schema` is made of.
struct SchemaReader {
    let name: Text
    let source: [UInt8]

    var version = Text()
    var settings = ModelSettings()
    var indexes: [Index] = []
    var primary = Index(name: "primary", hash: nil, sort: nil, isLocal: false)
    var models: [ModelParts] = []
    private(set) var warnings: [Text] = []
    private var warningCount = 0

    /// Warnings that are kept: finding the line of each costs a pass over the file.
    static let warningsMax = 100
    /// As many secondary indexes as DynamoDB allows, 20 global and 5 local, and the primary one.
    static let indexesMax = 26
    static let nameBytesMax = 255

    init(source: [UInt8], name: Text, generator: IDGenerator) {
        self.source = source
        self.name = name
        settings.generator = generator
    }

    mutating func read() throws(IotoError) {
        let root = try parse()
        for (key, value) in root { try checkTopLevel(key, value) }
        if root["format"] == nil { warn([], "no format; read as onetable:1.1.0") }
        if let value = root["version"] { version = try text(value, ["version"], "version") }
        try readParameters(root["params"])
        try readIndexes(root["indexes"])
        try readModels(root["models"])
        try readProcess(root)
        if warningCount > SchemaReader.warningsMax {
            warnings.append(name + ": " + Text("\(warningCount - SchemaReader.warningsMax) more warnings"))
        }
    }

    private func parse() throws(IotoError) -> JSONObject {
        guard source.count <= Limits.schemaBytesMax else {
            throw IotoError(.schema, "\(name): the schema has more than \(Limits.schemaBytesMax) bytes")
        }
        let value: JSON
        do throws(IotoError) {
            value = try JSON.parse(source, syntax: .json5)
        } catch {
            throw IotoError(.schema, "\(name): \(error.message)")
        }
        guard case .object(let root) = value else { throw failure([], "the schema is not an object") }
        return root
    }

    private mutating func checkTopLevel(_ key: Text, _ value: JSON) throws(IotoError) {
        switch key {
        case "version", "params", "indexes", "models", "process", "control": break
        // Documentation, and what design tools keep in the file.
        case "description", "name", "queries", "items", "extensions": break
        case "format": try checkFormat(value)
        case "blend": warn([key], "'blend' is not supported by this version: the other schema is not read")
        default: warn([key], "unknown key \(quoted(key))")
        }
    }

    private func checkFormat(_ value: JSON) throws(IotoError) {
        let format = try text(value, ["format"], "format")
        guard format.hasPrefix("onetable:1.") else {
            throw failure(["format"], "format \(quoted(format)) is not supported; 'onetable:1.1.0' is")
        }
    }

    // MARK: - Parameters

    private mutating func readParameters(_ value: JSON?) throws(IotoError) {
        guard let value else { return }
        for (key, value) in try object(value, ["params"], "params") {
            let path: [Text] = ["params", key]
            let place: Text = "params: \(key)"
            switch key {
            case "typeField": settings.typeField = try fieldName(value, path, place)
            case "createdField": settings.createdField = try fieldName(value, path, place)
            case "updatedField": settings.updatedField = try fieldName(value, path, place)
            case "separator": settings.separator = try text(value, path, place)
            case "isoDates": settings.isoDates = try boolean(value, path, place)
            case "nulls": settings.nulls = try boolean(value, path, place)
            case "timestamps": settings.timestamps = try timestamps(value, path, place)
            // Which computed attributes OneTable shows to JavaScript.
            case "hidden": _ = try boolean(value, path, place)
            default: warn(path, "params: unknown key \(quoted(key))")
            }
        }
        let names = [settings.typeField, settings.createdField, settings.updatedField]
        guard names[0] != names[1], names[0] != names[2], names[1] != names[2] else {
            throw failure(["params"], "params: typeField, createdField and updatedField have to be three names")
        }
    }

    private func timestamps(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Timestamps {
        switch value {
        case .bool(true): return .both
        case .bool(false): return .none
        case .string("create"): return .created
        case .string("update"): return .updated
        default: throw failure(path, "\(place): \(quoted(value)) is none of true, false, 'create', 'update'")
        }
    }

    // MARK: - Indexes

    private mutating func readIndexes(_ value: JSON?) throws(IotoError) {
        guard let value else { throw failure([], "the schema has no indexes") }
        let entries = try object(value, ["indexes"], "indexes")
        guard entries.count <= SchemaReader.indexesMax else {
            throw failure(["indexes"], "more than \(SchemaReader.indexesMax) indexes")
        }
        guard let value = entries["primary"] else { throw failure(["indexes"], "indexes: no index 'primary'") }
        primary = try index("primary", value)
        for (key, value) in entries { indexes.append(key == "primary" ? primary : try index(key, value)) }
    }

    private mutating func index(_ key: Text, _ value: JSON) throws(IotoError) -> Index {
        let path: [Text] = ["indexes", key]
        let place: Text = "index \(quoted(key))"
        guard !key.isEmpty, key.count <= SchemaReader.nameBytesMax else {
            throw failure(["indexes"], "\(place): a name has 1 to \(SchemaReader.nameBytesMax) bytes")
        }
        var hash: Text?
        var sort: Text?
        var isDeclaredLocal = false
        for (attribute, value) in try object(value, path, place) {
            let path = path + [attribute]
            switch attribute {
            case "hash": hash = try fieldName(value, path, "\(place): hash")
            case "sort": sort = try fieldName(value, path, "\(place): sort")
            case "type": isDeclaredLocal = try isLocal(value, path, place)
            // What is projected does not matter where the whole item is at hand; cloud tables are made by others.
            case "project", "follow", "description": break
            default: warn(path, "\(place): unknown key \(quoted(attribute))")
            }
        }
        return try index(key, hash: hash, sort: sort, isDeclaredLocal, path)
    }

    private func index(
        _ key: Text, hash: Text?, sort: Text?, _ isDeclaredLocal: Bool, _ path: [Text]
    ) throws(IotoError) -> Index {
        let place: Text = "index \(quoted(key))"
        guard hash != nil || sort != nil else { throw failure(path, "\(place): neither hash nor sort") }
        guard hash != sort else { throw failure(path, "\(place): hash and sort are the same attribute") }
        for attribute in [hash, sort] where attribute == settings.typeField {
            throw failure(path, "\(place): the type field can't be a key")
        }
        if key == "primary" {
            guard !isDeclaredLocal else { throw failure(path, "\(place): the primary index can't be local") }
            return Index(name: key, hash: hash, sort: sort, isLocal: false)
        }
        let isLocal = isDeclaredLocal || hash == nil || hash == primary.hash
        guard !isLocal || hash == nil || hash == primary.hash else {
            throw failure(path, "\(place): a local index has the hash attribute of the primary index")
        }
        guard !isLocal || sort != nil else { throw failure(path, "\(place): a local index needs a sort attribute") }
        return Index(name: key, hash: isLocal ? primary.hash : hash, sort: sort, isLocal: isLocal)
    }

    private func isLocal(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Bool {
        switch value {
        case .string("local"): return true
        case .string("global"): return false
        default: throw failure(path, "\(place): type \(quoted(value)) is neither 'local' nor 'global'")
        }
    }
}

// MARK: - Values and messages

extension SchemaReader {
    func object(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> JSONObject {
        guard case .object(let object) = value else {
            throw failure(path, "\(place): \(quoted(value)) is not an object")
        }
        return object
    }

    func text(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Text {
        guard case .string(let text) = value else {
            throw failure(path, "\(place): \(quoted(value)) is not a text")
        }
        return text
    }

    func boolean(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Bool {
        guard case .bool(let isTrue) = value else {
            throw failure(path, "\(place): \(quoted(value)) is not a boolean")
        }
        return isTrue
    }

    func fieldName(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Text {
        let name = try text(value, path, place)
        try checkFieldName(name, path, place)
        return name
    }

    /// Dots separate the segments of paths, so that a field with one could not be reached.
    func checkFieldName(_ name: Text, _ path: [Text], _ place: Text) throws(IotoError) {
        guard !name.isEmpty, name.count <= SchemaReader.nameBytesMax, !name.bytes.contains(UInt8(ascii: ".")) else {
            throw failure(
                path,
                "\(place): \(quoted(name)) is no name of a field: 1 to \(SchemaReader.nameBytesMax) bytes without a dot"
            )
        }
    }

    /// An error with file and line.
    func failure(_ path: [Text], _ message: Text) -> IotoError {
        IotoError(.schema, "\(position(path)): \(message)")
    }

    mutating func warn(_ path: [Text], _ message: Text) {
        warningCount += 1
        guard warningCount <= SchemaReader.warningsMax else { return }
        warnings.append(Text("\(position(path)): \(message)"))
    }

    private func position(_ path: [Text]) -> Text {
        "\(name):\(JSONLocator.line(of: path, in: source) ?? 1)"
    }
}
