/// Every limit of the library, each reached with an error or a bounded behaviour, never with a trap.
public enum Limits {
    /// Largest item, as stored JSON.
    public static let itemBytesMax = 256 * 1024
    /// Largest hash or sort key.
    public static let keyBytesMax = 1024
    /// Deepest nesting of objects and arrays in JSON.
    public static let nestingMax = 64
    /// Largest schema or configuration file.
    public static let schemaBytesMax = 1024 * 1024
    /// Largest file of items that is loaded.
    public static let dataBytesMax = 16 * 1024 * 1024
    /// Largest MQTT payload that is read; a larger one is dropped with a log line.
    public static let messageBytesMax = 1024 * 1024
    /// Largest MQTT packet that is taken: a payload of that size with its topic. A connection that brings a larger one is ended.
    public static let packetBytesMax = messageBytesMax + 68 * 1024
    /// Largest MQTT payload that is sent: the packet limit of AWS IoT Core less room for the topic.
    public static let publishBytesMax = 120 * 1024
    /// Changes in one message, up or down.
    public static let batchItemsMax = 1000
    /// Triggers that wait for the dispatcher before writers have to wait for it.
    public static let triggerQueueMax = 4096
    /// Models of one schema.
    public static let modelsMax = 1000
    /// Fields of one model, nested ones counted.
    public static let fieldsMax = 1000
    /// Longest filter of a query.
    public static let filterBytesMax = 8 * 1024
    /// Deepest nesting of parentheses and `not` in a filter.
    public static let filterNestingMax = 32
    /// Conditions in a filter, and values in a list of it.
    public static let filterTermsMax = 256
    /// Memory that the items take which were read last and are kept, in bytes, as near as it can be told.
    public static let itemCacheBytesMax = 5 * 1024 * 1024
    /// Connections for reading, beside the one that writes.
    public static let readersMax = 4
    /// How long a writer waits for another process, in milliseconds.
    public static let busyTimeout: Int64 = 10_000
    /// How far a version may be ahead of the hub's clock before it is stamped anew, in milliseconds.
    public static let clockDriftMax: Int64 = 60_000
    /// How long a tombstone is kept after its removal is acknowledged, in milliseconds.
    public static let tombstoneRetention: Int64 = 30 * 24 * 3600 * 1000
}
