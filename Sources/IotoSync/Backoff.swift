/// Waiting times that double from try to try, each drawn from the upper half of its span, so that a fleet that lost its
/// cloud does not come back in step.
public struct Backoff: Sendable {
    let first: Int64
    let last: Int64
    public private(set) var attempt = 0

    /// - Parameters:
    ///   - first: Longest first wait in milliseconds.
    ///   - last: Longest wait of all.
    public init(first: Int64, last: Int64) {
        self.first = first
        self.last = last
    }

    public mutating func reset() {
        attempt = 0
    }

    /// The next wait in milliseconds.
    public mutating func next<Generator: RandomNumberGenerator>(using random: inout Generator) -> Int64 {
        var span = first
        for _ in 0..<min(attempt, 30) where span < last { span = min(span * 2, last) }
        attempt += 1
        return span - Int64(random.next() % UInt64(max(1, span / 2)))
    }
}

/// A small generator for jitter (SplitMix64, Steele et al., 2014): seeded once from the system, or by a simulation.
public struct JitterGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
