import CPlatform

/// The two clocks of the machine. Deadlines use the monotonic one; what people read uses the wall clock, which may step.
public struct Instant: Sendable, Equatable {
    /// Milliseconds since boot.
    public var monotonic: Int64
    /// Unix milliseconds.
    public var wall: Int64

    /// 2020-01-01 in Unix milliseconds: a clock that stands before it has not been set.
    public static var earliestPlausible: Int64 { 1_577_836_800_000 }

    /// A day in milliseconds.
    public static var dayLength: Int64 { 86_400_000 }

    public init(monotonic: Int64, wall: Int64) {
        self.monotonic = monotonic
        self.wall = wall
    }

    public static var now: Instant {
        Instant(monotonic: platform_monotonic_ms(), wall: platform_wall_ms())
    }
}

/// Random bytes of the operating system.
public enum SystemRandom {
    public static func uint64() -> UInt64 {
        var value: UInt64 = 0
        platform_random(&value, MemoryLayout<UInt64>.size)
        return value
    }
}
