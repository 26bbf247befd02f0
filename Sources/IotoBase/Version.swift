/// When and by whom a state of an item was written: a hybrid logical clock's time and the writer's id.
///
/// Versions are ordered by time, then by writer; the higher one wins. Two equal versions are the same write.
/// On the wire: `0192d1a05f2c0003-9f3c...`, sixteen hexadecimal digits each.
public struct Version: Hashable, Sendable {
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    public let time: UInt64
    /// Random id of the database that wrote: a replica of a device, or the cloud.
    public let writer: UInt64

    public init(time: UInt64, writer: UInt64) {
        self.time = time
        self.writer = writer
    }

    /// The version older than every other.
    public static let zero = Version(time: 0, writer: 0)

    public init?(_ text: Text) {
        guard text.count == 33, text.bytes[16] == UInt8(ascii: "-") else { return nil }
        let (first, second) = text.bytes.withUnsafeBytes { bytes in
            (parseHexadecimal(UnsafeRawBufferPointer(rebasing: bytes[..<16])), parseHexadecimal(UnsafeRawBufferPointer(rebasing: bytes[17...])))
        }
        guard let time = first, let writer = second else { return nil }
        self.init(time: time, writer: writer)
    }

    public var text: Text {
        var text = Text()
        text.bytes.reserveCapacity(33)
        text.bytes.append(version: self)
        return text
    }

    /// Unix milliseconds of the write, as the writer's clock had it.
    public var milliseconds: Int64 { Int64(time >> 16) }
}

extension [UInt8] {
    /// Appends a version's text.
    @inline(never)
    public mutating func append(version: Version) {
        append(hexadecimal: version.time)
        append(UInt8(ascii: "-"))
        append(hexadecimal: version.writer)
    }
}

extension Version: Comparable {
    public static func < (left: Version, right: Version) -> Bool {
        left.time != right.time ? left.time < right.time : left.writer < right.writer
    }
}

/// A hybrid logical clock (Kulkarni et al., 2014): never behind what it has issued or seen, as near to the wall clock as
/// that allows. A device whose clock stands in 1970 thus still orders its writes, and learns the time from what it hears.
public struct HybridClock: Sendable {
    /// Highest time issued or observed.
    public private(set) var last: UInt64

    public init(last: UInt64 = 0) {
        self.last = last
    }

    /// A time above every one issued or observed, for one write.
    ///
    /// - Parameter wall: Unix milliseconds; a clock that stands before 1970 counts as 1970.
    public mutating func next(wall: Int64) -> UInt64 {
        last = max(last &+ 1, HybridClock.time(wall))
        return last
    }

    /// Takes over a time that was heard of, if it is one to be believed.
    public mutating func observe(_ time: UInt64) {
        if time < HybridClock.timeMax { last = max(last, time) }
    }

    /// The clock's time for a wall-clock time.
    public static func time(_ wall: Int64) -> UInt64 {
        UInt64(max(0, min(wall, 0xFFE << 32))) << 16
    }

    /// The first time that is not believed of anybody, in the year 2527: no message moves a clock that far. What a wall clock
    /// says is cut 49 days before, so that a clock has room to go on below it; and one that has come to it goes on above it,
    /// with times that every peer can read (`isReadable`), and that the hub replaces by its own.
    public static let timeMax: UInt64 = 0xFFF << 48

    /// Whether a time can be stored and sent. No clock comes to the end of these.
    public static func isReadable(_ time: UInt64) -> Bool { time <= UInt64(Int64.max) }
}
