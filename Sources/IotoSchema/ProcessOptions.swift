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

/// A part of the day, in UTC, from a minute up to another one, perhaps over midnight.
public struct SendWindow: Sendable, Equatable {
    /// Minutes since midnight.
    public var from: Int32
    public var to: Int32

    /// Reads `01:00-05:30`; nil when it is none.
    public init?(_ text: Text) {
        let bytes = text.bytes
        guard bytes.count == 11, bytes[2] == UInt8(ascii: ":"), bytes[5] == UInt8(ascii: "-"), bytes[8] == UInt8(ascii: ":")
        else { return nil }
        var numbers: [Int32] = []
        for place in [0, 3, 6, 9] {
            let (tens, units) = (Int32(bytes[place]) - 48, Int32(bytes[place + 1]) - 48)
            guard tens >= 0, tens <= 9, units >= 0, units <= 9 else { return nil }
            numbers.append(tens * 10 + units)
        }
        guard numbers[0] < 24, numbers[1] < 60, numbers[2] <= 24, numbers[3] < 60 else { return nil }
        from = numbers[0] * 60 + numbers[1]
        to = numbers[2] * 60 + numbers[3]
        guard to <= 1440, from != to else { return nil }
    }

    /// - Parameter time: Milliseconds since midnight.
    public func contains(_ time: Int64) -> Bool {
        let minute = Int32(truncatingIfNeeded: time / 60_000)
        return from < to ? minute >= from && minute < to : minute >= from || minute < to
    }
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

    /// When changes of the model are sent; nil: at any time.
    public var window: SendWindow?

    /// Longest `delay`: a day.
    static let delayMax: Int64 = 24 * 3_600_000

    public init() {}
}
