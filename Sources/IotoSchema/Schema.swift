import IotoBase
import IotoJSON

/// A OneTable schema: the models of a database, their keys and how they are replicated.
///
/// ```swift
/// let schema = try Schema.load("schema.json5")
/// let item = try schema.model("Fault")?.makeItem(["severity": .string("high")], context: context, now: now)
/// ```
public final class Schema: Sendable {
    /// Name of the file, as messages have it.
    public let name: Text
    /// `version` of the schema, "" when it has none.
    public let version: Text
    public let typeField: Text
    public let createdField: Text
    public let updatedField: Text
    public let separator: Text
    public let timestamps: Timestamps
    public let isoDates: Bool
    public let nulls: Bool
    /// In the order of the file.
    public let indexes: [Index]
    public let primary: Index
    public let models: [Model]
    /// What was read over, each with file and line: unknown keys, what has no effect.
    public let warnings: [Text]
    private let places: [Text: Int]
    /// Whether a model has other names for properties in the cloud.
    public let hasMappedModels: Bool

    /// Reads a schema file, JSON5.
    ///
    /// - Throws: `.io` when it can't be read; `.schema` with file and line when it is not valid.
    public static func load(_ path: Text) throws(IotoError) -> Schema {
        try Schema(source: try Files.read(path, bytesMax: Limits.schemaBytesMax), name: path)
    }

    /// - Parameters:
    ///   - source: JSON5 text.
    ///   - name: Name of the file in messages.
    ///   - generator: Where generated ids come from.
    /// - Throws: `.schema` with file and line when it is not valid.
    public init(source: [UInt8], name: Text, generator: IDGenerator = .shared) throws(IotoError) {
        let reader = SchemaReader(generator: generator)
        try reader.read(source, name: name)
        self.name = name
        version = reader.version
        typeField = reader.settings.typeField
        createdField = reader.settings.createdField
        updatedField = reader.settings.updatedField
        separator = reader.settings.separator
        timestamps = reader.settings.timestamps
        isoDates = reader.settings.isoDates
        nulls = reader.settings.nulls
        indexes = reader.indexes
        primary = reader.primary
        let settings = reader.settings
        var models: [Model] = []
        var places: [Text: Int] = [:]
        for parts in reader.models {
            places[parts.name] = models.count
            models.append(Model(parts, ordinal: models.count, settings: settings))
        }
        self.models = models
        hasMappedModels = models.contains { $0.isMapped }
        self.places = places
        warnings = reader.warnings
    }

    /// A schema's text as one, with the files that it includes put in: what is kept of it where those will not be.
    ///
    /// - Parameters: As for `init(source:name:generator:)`.
    public static func joined(source: [UInt8], name: Text) throws(IotoError) -> [UInt8] {
        let reader = SchemaReader(generator: .shared)
        try reader.read(source, name: name)
        guard reader.isBlended else { return source }
        var root = reader.root
        root["blend"] = nil
        return JSON.object(root).text
    }

    /// The model of that name.
    public func model(_ name: Text) -> Model? {
        places[name].map { models[$0] }
    }
}
