import IotoBase

/// How the value of a field is generated when an item is created without it.
public enum Generation: Sendable, Equatable {
    /// 26 characters that sort by time (github.com/ulid/spec).
    case ulid
    /// Random UUID, version 4 (RFC 9562, 5.4), in lower case.
    case uuid
    /// Random characters of Crockford's base 32.
    case uid(length: Int)

    static let uidLengthDefault = 10
    static let uidLengthMax = 64
}

/// Makes ids. ULIDs ascend within a process, also within a millisecond and when the clock is set back by a little.
public final class IDGenerator: @unchecked Sendable {
    /// The process's generator, on the system's random numbers.
    public static let shared = IDGenerator()

    /// A clock that steps back further than this, in milliseconds, is believed, so that one wrong time does not
    /// stay in ids.
    private static let backstepMax: Int64 = 2000

    private let random: @Sendable () -> UInt64
    // Time and random part of the last ULID, guarded by the lock.
    private let lock = Lock()
    private var lastTime: Int64 = -1
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    public init(random: @escaping @Sendable () -> UInt64 = { SystemRandom.uint64() }) {
        self.random = random
    }

    /// - Parameter now: Unix milliseconds, for ULIDs.
    public func make(_ generation: Generation, now: Int64) -> Text {
        switch generation {
        case .ulid: return ulid(now: now)
        case .uuid: return uuid()
        case .uid(let length): return uid(length: length)
        }
    }

    /// A ULID: 48 bits of milliseconds, 80 random bits.
    public func ulid(now: Int64) -> Text {
        let (time, high, low) = lock.withLock { advance(to: now) }
        var text = Text()
        text.bytes.reserveCapacity(26)
        IDGenerator.append(UInt64(time), characters: 10, to: &text)
        IDGenerator.append(high << 24 | low >> 40, characters: 8, to: &text)
        IDGenerator.append(low & 0xFF_FFFF_FFFF, characters: 8, to: &text)
        return text
    }

    private func advance(to now: Int64) -> (time: Int64, high: UInt64, low: UInt64) {
        let now = min(max(now, 0), (1 << 48) - 2)
        if now > lastTime || now < lastTime - IDGenerator.backstepMax {
            lastTime = now
            drawRandomPart()
        } else if low < UInt64.max {
            low += 1
        } else if high < 0xFFFF {
            low = 0
            high += 1
        } else {
            lastTime += 1
            drawRandomPart()
        }
        return (lastTime, high, low)
    }

    private func drawRandomPart() {
        high = random() & 0xFFFF
        low = random()
    }

    /// A random UUID, version 4.
    public func uuid() -> Text {
        var digits = Text()
        digits.appendHexadecimal(random() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000)
        digits.appendHexadecimal(random() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000)
        var text = Text()
        text.bytes.reserveCapacity(36)
        for (index, digit) in digits.bytes.enumerated() {
            if index == 8 || index == 12 || index == 16 || index == 20 { text.append(UInt8(ascii: "-")) }
            text.append(digit)
        }
        return text
    }

    /// `length` random characters of Crockford's base 32.
    public func uid(length: Int) -> Text {
        var text = Text()
        var left = length
        while left > 0 {
            let count = min(left, 12)
            IDGenerator.append(random(), characters: count, to: &text)
            left -= count
        }
        return text
    }

    /// Appends the lowest bits of a number, five to a character.
    private static func append(_ number: UInt64, characters: Int, to text: inout Text) {
        for index in stride(from: characters - 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: (number >> UInt64(5 * index)) & 31)
            text.append(IDGenerator.character(digit))
        }
    }

    /// Digits, then the letters without I, L, O and U (crockford.com/base32.html).
    private static func character(_ digit: UInt8) -> UInt8 {
        switch digit {
        case 0..<10: return UInt8(ascii: "0") + digit
        case 10..<18: return UInt8(ascii: "A") + digit - 10
        case 18..<20: return UInt8(ascii: "J") + digit - 18
        case 20..<22: return UInt8(ascii: "M") + digit - 20
        case 22..<27: return UInt8(ascii: "P") + digit - 22
        default: return UInt8(ascii: "V") + digit - 27
        }
    }
}
