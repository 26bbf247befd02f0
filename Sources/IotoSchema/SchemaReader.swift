import IotoBase
import IotoJSON

/// Reads a schema file, and those that it includes, into the parts that `Schema` is made of.
///
/// The reader knows at every moment where in the schema it is: messages take file, line, model and field from there.
final class SchemaReader {
    /// A file's text. The schema's own comes first, then those that it includes, each before those whose members it
    /// takes the place of.
    var sources: [(name: Text, bytes: [UInt8])] = []
    /// Files that are being read, each included by the one before it.
    var including: [Text] = []
    /// Whether other files were included.
    var isBlended: Bool { sources.count > 1 }
    /// Where the reader is: the members' names from the root on.
    var path: [Text] = []

    private(set) var root = JSONObject()
    private(set) var version = Text()
    var settings = ModelSettings()
    private(set) var indexes: [Index] = []
    private(set) var primary = Index(name: "primary", hash: nil, sort: nil, isLocal: false)
    var models: [ModelParts] = []
    private(set) var warnings: [Text] = []
    private var warningCount = 0

    /// Warnings that are kept: finding the line of each costs a pass over the file.
    static let warningsMax = 100
    /// As many secondary indexes as DynamoDB allows, 20 global and 5 local, and the primary one.
    static let indexesMax = 26
    static let nameBytesMax = 255

    init(generator: IDGenerator) {
        settings.generator = generator
    }

    func read(_ source: [UInt8], name: Text) throws(IotoError) {
        root = try load(source, name: name)
        try readParameters()
        for (key, value) in root { try checkTopLevel(key, value) }
        if root["format"] == nil { warn("no format; read as onetable:1.1.0") }
        try readIndexes()
        try readModels()
        try readProcess(root)
        if settings.warns, warningCount > SchemaReader.warningsMax {
            warnings.append("\(name): \(warningCount - SchemaReader.warningsMax) more warnings")
        }
    }

    private func checkTopLevel(_ key: Text, _ value: JSON) throws(IotoError) {
        path = [key]
        // Behind `process` stand documentation, and what design tools keep in the file.
        switch place(
            of: key,
            in: "version format params indexes models process control blend description name queries items extensions")
        {
        case 0: version = try text(value)
        case 1:
            let format = try text(value)
            guard format.hasPrefix("onetable:1.") else {
                throw ownerFailure("format \(quoted(format)) is not supported; 'onetable:1.1.0' is")
            }
        case nil: warnOfOwner("unknown key \(quoted(key))")
        default: break
        }
        path = []
    }

    // MARK: - Parameters

    private func readParameters() throws(IotoError) {
        guard let value = root["params"] else { return }
        path = ["params"]
        // Known before the first warning.
        if value["warn"] == .bool(false) { settings.warns = false }
        for (key, value) in try object(value) {
            path.append(key)
            switch place(
                of: key,
                in: "typeField createdField updatedField separator timestamps isoDates nulls hidden partial warn")
            {
            case 0: settings.typeField = try fieldName(value)
            case 1: settings.createdField = try fieldName(value)
            case 2: settings.updatedField = try fieldName(value)
            case 3: settings.separator = try text(value)
            case 4: settings.timestamps = try timestamps(value)
            case 5: settings.isoDates = try boolean(value)
            case 6: settings.nulls = try boolean(value)
            case 7: settings.hidesTemplates = try boolean(value)
            case 8: settings.isPartial = try boolean(value)
            case 9: settings.warns = try boolean(value)
            default: warnOfOwner("unknown key \(quoted(key))")
            }
            path.removeLast()
        }
        guard settings.typeField != settings.createdField, settings.typeField != settings.updatedField,
            settings.createdField != settings.updatedField
        else { throw failure("typeField, createdField and updatedField have to be three names") }
        path = []
    }

    private func timestamps(_ value: JSON) throws(IotoError) -> Timestamps {
        switch value {
        case .bool(let isOn): return isOn ? .both : .none
        case .string("create"): return .created
        case .string("update"): return .updated
        default: throw failure("\(quoted(value)) is none of true, false, 'create', 'update'")
        }
    }

    // MARK: - Indexes

    private func readIndexes() throws(IotoError) {
        guard let value = root["indexes"] else { throw failure("the schema has no indexes") }
        path = ["indexes"]
        let entries = try object(value)
        guard entries.count <= SchemaReader.indexesMax else {
            throw ownerFailure("more than \(SchemaReader.indexesMax) indexes")
        }
        guard let value = entries["primary"] else { throw failure("no index 'primary'") }
        primary = try index("primary", value)
        for (key, value) in entries { indexes.append(key == "primary" ? primary : try index(key, value)) }
        path = []
    }

    private func index(_ key: Text, _ value: JSON) throws(IotoError) -> Index {
        path.append(key)
        guard !key.isEmpty, key.count <= SchemaReader.nameBytesMax else {
            throw failure("a name has 1 to \(SchemaReader.nameBytesMax) bytes")
        }
        var hash: Text?
        var sort: Text?
        var isDeclaredLocal = false
        for (attribute, value) in try object(value) {
            path.append(attribute)
            // What is projected does not matter where the whole item is at hand; cloud tables are made by others.
            switch place(of: attribute, in: "hash sort type project follow description") {
            case 0: hash = try fieldName(value)
            case 1: sort = try fieldName(value)
            case 2: isDeclaredLocal = try isLocal(value)
            case nil: warnOfOwner("unknown key \(quoted(attribute))")
            default: break
            }
            path.removeLast()
        }
        let index = try index(key, hash: hash, sort: sort, isDeclaredLocal)
        path.removeLast()
        return index
    }

    private func index(_ key: Text, hash: Text?, sort: Text?, _ isDeclaredLocal: Bool) throws(IotoError) -> Index {
        guard hash != nil || sort != nil else { throw failure("neither hash nor sort") }
        guard hash != sort else { throw failure("hash and sort are the same attribute") }
        guard hash != settings.typeField, sort != settings.typeField else {
            throw failure("the type field can't be a key")
        }
        if key == "primary" {
            guard !isDeclaredLocal else { throw failure("the primary index can't be local") }
            return Index(name: key, hash: hash, sort: sort, isLocal: false)
        }
        let isLocal = isDeclaredLocal || hash == nil || hash == primary.hash
        guard !isLocal || hash == nil || hash == primary.hash else {
            throw failure("a local index has the hash attribute of the primary index")
        }
        guard !isLocal || sort != nil else { throw failure("a local index needs a sort attribute") }
        return Index(name: key, hash: isLocal ? primary.hash : hash, sort: sort, isLocal: isLocal)
    }

    private func isLocal(_ value: JSON) throws(IotoError) -> Bool {
        switch value {
        case .string("local"): return true
        case .string("global"): return false
        default: throw ownerFailure("type \(quoted(value)) is neither 'local' nor 'global'")
        }
    }
}

// MARK: - Values and messages

/// Each reads the value of the member at `path`.
extension SchemaReader {
    func object(_ value: JSON) throws(IotoError) -> JSONObject {
        guard case .object(let object) = value else { throw failure("\(quoted(value)) is not an object") }
        return object
    }

    func text(_ value: JSON) throws(IotoError) -> Text {
        guard case .string(let text) = value else { throw failure("\(quoted(value)) is not a text") }
        return text
    }

    func boolean(_ value: JSON) throws(IotoError) -> Bool {
        guard case .bool(let isTrue) = value else { throw failure("\(quoted(value)) is not a boolean") }
        return isTrue
    }

    func integer(_ value: JSON, _ range: ClosedRange<Int64>) throws(IotoError) -> Int64 {
        guard let number = value.integerValue, range.contains(number) else {
            throw failure("\(quoted(value)) is not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Place of a text in a list of words.
    func choice(_ value: JSON, _ words: StaticString) throws(IotoError) -> Int {
        if case .string(let text) = value, let place = place(of: text, in: words) { return place }
        throw ownerFailure("\(path.last ?? Text()) \(quoted(value)) is none of \(quotedWords(words))")
    }

    func fieldName(_ value: JSON) throws(IotoError) -> Text {
        let name = try text(value)
        guard name.isFieldName else { throw failure(SchemaReader.noFieldName(name)) }
        return name
    }

    static func noFieldName(_ name: Text) -> Text {
        "\(quoted(name)) is no name of a field: 1 to \(SchemaReader.nameBytesMax) bytes without a dot"
    }

    /// An error with file, line and place.
    ///
    /// - Parameter count: How many members of `path` the message names.
    func failure(_ message: Text, naming count: Int? = nil) -> IotoError {
        IotoError(.schema, "\(position(path)): \(label(count ?? path.count))\(message)")
    }

    /// An error of the member that `path` ends at which names what has it.
    func ownerFailure(_ message: Text) -> IotoError {
        failure(message, naming: path.count - 1)
    }

    func warn(_ message: Text, naming count: Int? = nil) {
        warningCount += 1
        guard settings.warns, warningCount <= SchemaReader.warningsMax else { return }
        warnings.append("\(position(path)): \(label(count ?? path.count))\(message)")
    }

    func warnOfOwner(_ message: Text) {
        warn(message, naming: path.count - 1)
    }

    /// File and line of the deepest part of a path that a file has.
    private func position(_ path: [Text]) -> Text {
        var found: (name: Text, line: Int, depth: Int)?
        for source in sources {
            var place = JSONLocator.deepest(of: path, in: source.bytes)
            if place == nil, path.first == "process" {
                place = JSONLocator.deepest(of: ["control"] + path.dropFirst(), in: source.bytes)
            }
            guard let place, place.depth > found?.depth ?? -1 else { continue }
            found = (source.name, place.line, place.depth)
        }
        return "\(found?.name ?? sources.first?.name ?? Text()):\(found?.line ?? 1)"
    }

    /// What the first members of the path are, as `model "Fault": field "net.dns": default: `.
    private func label(_ count: Int) -> Text {
        guard count > 0 else { return Text() }
        var text: Text
        var next = 1
        if count == 1 {
            text = path[0]
        } else {
            next = 2
            switch place(of: path[0], in: "indexes models process control") {
            case 0: text = "index \(quoted(path[1]))"
            case 1: (text, next) = modelLabel(count)
            case nil: text = "\(path[0]): \(path[1])"
            default: text = "\(path[0]): model \(quoted(path[1]))"
            }
        }
        for part in path[next..<count] { text.append(": \(part)") }
        text.append(": ")
        return text
    }

    private func modelLabel(_ count: Int) -> (text: Text, next: Int) {
        var text: Text = "model \(quoted(path[1]))"
        guard count > 2 else { return (text, 2) }
        var field = path[2]
        var next = 3
        while next < count - 1 {
            if path[next] == "schema" {
                field.append("." + path[next + 1])
                next += 2
            } else if path[next] == "items" {
                field.append(".items")
                next += 1
            } else {
                break
            }
        }
        text.append(": field \(quoted(field))")
        return (text, next)
    }
}

extension Text {
    /// Dots separate the segments of paths, so that a field with one could not be reached.
    var isFieldName: Bool {
        !isEmpty && count <= SchemaReader.nameBytesMax && !bytes.contains(UInt8(ascii: "."))
    }
}
