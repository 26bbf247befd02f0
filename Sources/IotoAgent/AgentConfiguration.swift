import IotoBase
import IotoJSON
import IotoMQTT
import IotoSchema
import IotoStore
import IotoSync

/// An agent's configuration, as `ioOpen` takes it.
public struct AgentConfiguration: Sendable {
    public var deviceID: Text
    public var accountID: Text
    public var databasePath: Text
    public var schemaPath: Text
    public var durability: Durability
    public var ceilings = Ceilings()
    /// Milliseconds.
    public var syncDelay: Int64
    /// Bytes.
    public var syncLimit: Int
    /// Bytes of changes sent in a day, and the part of the day in which they are; nil: any.
    public var dailyBytes: Int64?
    public var window: SendWindow?
    /// Compress messages, with a cloud that does.
    public var compresses = false
    public var mqtt: MQTTOptions
    public var topicPrefix: Text
    /// Settings that nobody reads, as lines for the log.
    public var warnings: [Text]

    private static let known: [[Text]] = [
        ["deviceId"], ["accountId"],
        ["database", "path"], ["database", "schema"], ["database", "syncDelay"], ["database", "syncLimit"],
        ["database", "compress"],
        ["database", "durability"], ["database", "sizeMax"], ["database", "outboxItemsMax"],
        ["database", "outboxSizeMax"], ["database", "cacheSize"], ["database", "memorySize"], ["database", "dailyBytes"],
        ["database", "window"],
        ["mqtt", "endpoint"], ["mqtt", "port"], ["mqtt", "authority"], ["mqtt", "certificate"], ["mqtt", "key"],
        ["mqtt", "username"], ["mqtt", "password"], ["mqtt", "keepalive"], ["mqtt", "prefix"], ["mqtt", "alpn"],
        ["mqtt", "engine"], ["mqtt", "psk"], ["mqtt", "identity"], ["mqtt", "version"], ["mqtt", "packetSize"],
    ]

    /// Reads a configuration.
    ///
    /// - Parameter source: The path of a JSON5 file, or the JSON5 text itself when it begins with `{`.
    /// - Throws: `.configuration` with file, line and setting; `.io` when the file can't be read.
    public init(_ source: Text) throws(IotoError) {
        let first = source.bytes.first { $0 != 32 && $0 != 9 && $0 != 10 && $0 != 13 }
        let isText = first == UInt8(ascii: "{")
        let bytes = isText ? source.bytes : try Files.read(source, bytesMax: Limits.schemaBytesMax)
        let reader = try ConfigurationReader(source: bytes, name: isText ? "configuration" : source)
        try self.init(reader, base: isText ? Text() : source)
    }

    private init(_ reader: ConfigurationReader, base: Text) throws(IotoError) {
        func path(_ text: Text?) -> Text? { text.map { Files.resolve($0, besideFile: base) } }

        deviceID = try reader.requiredText("deviceId")
        guard Topics.isValidID(deviceID) else {
            throw reader.error(["deviceId"], "'/', '+' and '#' can't stand in an id")
        }
        accountID = try reader.text("accountId") ?? ""
        guard accountID.isEmpty || Topics.isValidID(accountID) else {
            throw reader.error(["accountId"], "'/', '+' and '#' can't stand in an id")
        }

        databasePath = path(try reader.text("database", "path") ?? "state.db") ?? ""
        schemaPath = path(try reader.text("database", "schema") ?? "schema.json5") ?? ""
        let day = Instant.dayLength
        syncDelay = try reader.duration("database", "syncDelay", in: 0...day) ?? 5_000
        let limit = try reader.size("database", "syncLimit", in: 1...Int64(Limits.messageBytesMax))
        syncLimit = Int(limit ?? 10 * 1024)
        dailyBytes = try reader.size("database", "dailyBytes", in: 1...(1 << 40))
        if let text = try reader.text("database", "window") {
            window = SendWindow(text)
            if window == nil { throw reader.error(["database", "window"], "a part of the day is expected, as '01:00-05:30'") }
        }
        switch try reader.text("database", "compress") ?? "none" {
        case "none": break
        case "zlib": compresses = true
        default: throw reader.error(["database", "compress"], "'zlib' or 'none' is expected")
        }
        switch try reader.text("database", "durability") ?? "full" {
        case "full": durability = .full
        case "normal": durability = .normal
        default: throw reader.error(["database", "durability"], "'full' or 'normal' is expected")
        }

        let most: Int64 = 1 << 50
        ceilings.fileBytes = try reader.size("database", "sizeMax", in: 0...most) ?? 0
        ceilings.outboxItems = try reader.integer("database", "outboxItemsMax", in: 0...most) ?? 0
        ceilings.outboxBytes = try reader.size("database", "outboxSizeMax", in: 0...most) ?? 0
        ceilings.memoryBytes = try reader.size("database", "memorySize", in: 0...most) ?? 0
        ceilings.cacheBytes = try reader.size("database", "cacheSize", in: 0...most) ?? 0

        topicPrefix = try reader.text("mqtt", "prefix") ?? Topics.defaultPrefix
        let authority = path(try reader.text("mqtt", "authority"))
        let certificate = path(try reader.text("mqtt", "certificate"))
        let engine = try reader.text("mqtt", "engine")
        let keyName = try reader.text("mqtt", "key")
        // An engine's keys have names of their own.
        let key = engine == nil ? path(keyName) : keyName
        guard (certificate == nil) == (key == nil) else {
            throw reader.error(["mqtt", certificate == nil ? "key" : "certificate"], "certificate and key go together")
        }
        let psk = try reader.text("mqtt", "psk")
        let isTLS = authority != nil || certificate != nil || psk != nil
        mqtt = MQTTOptions(host: try reader.text("mqtt", "endpoint") ?? "127.0.0.1", clientID: deviceID)
        mqtt.port = Int32(try reader.integer("mqtt", "port", in: 1...65535) ?? (isTLS ? 8883 : 1883))
        mqtt.authority = authority
        mqtt.certificate = certificate
        mqtt.key = key
        mqtt.engine = engine
        mqtt.psk = psk
        mqtt.identity = try reader.text("mqtt", "identity") ?? (psk == nil ? nil : deviceID)
        switch try reader.text("mqtt", "version") ?? "auto" {
        case "auto": mqtt.version = .automatic
        case "5": mqtt.version = .v5
        case "3.1.1": mqtt.version = .v311
        default: throw reader.error(["mqtt", "version"], "'auto', '5' or '3.1.1' is expected")
        }
        mqtt.alpn = try reader.text("mqtt", "alpn")
        mqtt.username = try reader.text("mqtt", "username")
        mqtt.password = try reader.text("mqtt", "password")
        mqtt.keepalive = Int32((try reader.duration("mqtt", "keepalive", in: 5_000...65_535_000) ?? 60_000) / 1000)
        mqtt.cleanSession = false
        warnings = reader.unknownSettings(AgentConfiguration.known)

        let farewell = DeviceReplicator<Store>.farewell(topics)
        mqtt.will = MQTTMessage(topic: farewell.topic, payload: farewell.payload)
        if let bytes = try reader.size("mqtt", "packetSize", in: 0...Int64(Limits.messageBytesMax)) {
            guard let payloadBytesMax = topics.payloadBytesMax(inPacketsOf: Int(bytes)) else {
                throw reader.error(["mqtt", "packetSize"], "too small for messages of the agent")
            }
            mqtt.payloadBytesMax = payloadBytesMax
        }
    }

    public var topics: Topics { Topics(device: deviceID, account: accountID, prefix: topicPrefix) }
}
