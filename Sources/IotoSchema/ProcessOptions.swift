import IotoBase

/// Where items of a model exist.
public enum Enable: Int, Sendable {
    case cloud, device, both
}

/// Which way changes of a model's items travel.
public enum Direction: Int, Sendable {
    case up, down, both, none
}

/// Which of two versions of an item wins that were written without knowledge of each other.
public enum Resolve: Int, Sendable {
    /// The later one.
    case latest
    /// The cloud's, or the device's, whichever is later.
    case cloud, device
    /// What the firmware's callback makes of both.
    case callback
}

/// What becomes of a change when the model's part of the outbox is full.
public enum OnFull: Int, Sendable {
    /// The call fails with `DB_ERR_FULL`.
    case refuse
    /// The oldest change of the model is given up, and reported.
    case dropOldest
}

/// What the schema's `process` says of a model.
public struct ProcessOptions: Sendable {
    public var enable = Enable.both
    public var sync = Direction.none
    /// Items are in memory alone.
    public var isMemory = false
    /// Space is kept for the model's changes, so that they succeed where those of others meet the ceiling.
    public var isReserved = false
    /// How long changes may gather in memory before they are committed together, in milliseconds; 0: not at all.
    public var delay: Int64 = 0
    public var resolve = Resolve.latest
    /// Concurrent changes of different fields of an item are joined.
    public var mergesFields = false
    /// Models of a higher number are sent first; -1000 to 1000.
    public var priority: Int32 = 0
    /// Most changes of the model that wait to be sent, and their bytes; nil: the database's limits alone.
    public var outboxLimit: Int64?
    public var outboxBytes: Int64?
    public var onFull = OnFull.refuse
    /// Bytes of the model that are sent in a day at most; nil: no limit of its own.
    public var dailyBytes: Int64?

    /// Longest `delay`: a day.
    static let delayMax: Int64 = 24 * 3_600_000

    public init() {}
}
