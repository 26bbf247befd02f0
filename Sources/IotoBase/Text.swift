import CPlatform

/// A text kept as its UTF-8 bytes, compared and hashed byte by byte.
///
/// `String` compares by canonical equivalence: two keys that SQLite, the wire and the cloud hold to be different would be
/// one. It also needs the Unicode tables, which the shipped library does without.
public struct Text: Hashable, Sendable {
    public var bytes: [UInt8]

    @inlinable
    public init(_ bytes: [UInt8] = []) {
        self.bytes = bytes
    }

    @inlinable
    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = [UInt8](bytes)
    }

    @inlinable
    public init(_ buffer: UnsafeRawBufferPointer) {
        self.bytes = copyBytes(buffer)
    }

    public init(_ string: String) {
        self.bytes = [UInt8](string.utf8)
    }

    /// Copies a NUL-terminated C text.
    public init(cString: UnsafePointer<CChar>) {
        self.bytes = copyBytes(UnsafeRawBufferPointer(start: cString, count: platform_length(cString)))
    }

    public init<Number: FixedWidthInteger>(decimal number: Number) {
        self.bytes = []
        appendDecimal(number)
    }

    @inlinable public var count: Int { bytes.count }
    @inlinable public var isEmpty: Bool { bytes.isEmpty }

    @inline(never)
    public static func == (left: Text, right: Text) -> Bool {
        left.bytes.count == right.bytes.count
            && left.bytes.withUnsafeBytes { a in
                right.bytes.withUnsafeBytes { b in compareBytes(a, b) == 0 }
            }
    }

    @inline(never)
    public func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    /// The text, or its beginning up to a whole character.
    @inline(never)
    public func prefix(bytesMax: Int) -> Text {
        guard count > bytesMax else { return self }
        var end = bytesMax
        while end > 0, bytes[end] & 0xC0 == 0x80 { end -= 1 }
        return Text(bytes[..<end])
    }

    @inline(never)
    public func hasPrefix(_ prefix: Text) -> Bool {
        bytes.count >= prefix.bytes.count
            && bytes.withUnsafeBytes { a in
                prefix.bytes.withUnsafeBytes { b in
                    compareBytes(UnsafeRawBufferPointer(rebasing: a[..<b.count]), b) == 0
                }
            }
    }

    @inline(never)
    public mutating func append(_ other: Text) {
        bytes.append(contentsOf: other.bytes)
    }

    @inlinable
    public mutating func append(_ byte: UInt8) {
        bytes.append(byte)
    }

    public mutating func appendDecimal<Number: FixedWidthInteger>(_ number: Number) {
        if number == 0 {
            bytes.append(UInt8(ascii: "0"))
            return
        }
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        var rest = number.magnitude
        while rest > 0 {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit))
            rest = quotient
        }
        bytes[start...].reverse()
    }

    /// Appends sixteen lower-case hexadecimal digits.
    public mutating func appendHexadecimal(_ number: UInt64) {
        bytes.append(hexadecimal: number)
    }

    /// The number that the text writes in decimal, or nil when it is none or doesn't fit.
    public var decimal: Int64? {
        bytes.withUnsafeBytes { parseDecimal($0) }
    }

    /// Calls `body` with the text as a NUL-terminated C string.
    public func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        var copy = bytes
        copy.append(0)
        return copy.withUnsafeBytes { raw in
            body(raw.baseAddress!.assumingMemoryBound(to: CChar.self))
        }
    }

    /// Whether the bytes are valid UTF-8 without a NUL.
    public var isValidUTF8: Bool {
        bytes.withUnsafeBytes { isValidUTF8Text($0) }
    }

    public var string: String {
        String(decoding: bytes, as: UTF8.self)
    }

    @inline(never)
    public static func + (left: Text, right: Text) -> Text {
        var joined = left
        joined.append(right)
        return joined
    }
}

extension [UInt8] {
    /// Appends sixteen lower-case hexadecimal digits.
    @inline(never)
    public mutating func append(hexadecimal number: UInt64) {
        var digits: (UInt64, UInt64) = (
            hexadecimalDigits(UInt32(truncatingIfNeeded: number >> 32)).bigEndian,
            hexadecimalDigits(UInt32(truncatingIfNeeded: number)).bigEndian
        )
        Swift.withUnsafeBytes(of: &digits) { append(contentsOf: $0.assumingMemoryBound(to: UInt8.self)) }
    }
}

/// The eight digits of a number, the first one in the highest byte.
private func hexadecimalDigits(_ number: UInt32) -> UInt64 {
    var digits = UInt64(number)
    digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
    digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
    digits = (digits | digits << 4) & 0x0F0F_0F0F_0F0F_0F0F
    // One in each byte that is above 9, whose letter stands 39 places behind where a digit would.
    let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
}

extension Text: Comparable {
    @inline(never)
    public static func < (left: Text, right: Text) -> Bool {
        left.bytes.withUnsafeBytes { a in
            right.bytes.withUnsafeBytes { b in compareBytes(a, b) < 0 }
        }
    }
}

extension Text: ExpressibleByStringLiteral {
    @inline(never)
    public init(stringLiteral value: StaticString) {
        self.bytes = value.withUTF8Buffer { [UInt8]($0) }
    }
}

extension Text: CustomStringConvertible {
    public var description: String { string }
}

/// Orders two byte strings as SQLite's BINARY collation does: by bytes, then by length.
@inlinable
public func compareBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
    let common = min(a.count, b.count)
    if common > 0, let left = a.baseAddress, let right = b.baseAddress {
        let order = platform_compare(left, right, common)
        if order != 0 { return Int(order) }
    }
    return a.count < b.count ? -1 : a.count > b.count ? 1 : 0
}

/// A copy of bytes, made at once: the array's own initializer takes them one by one where it is compiled for size.
@inline(never)
public func copyBytes(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    // All empty arrays share one storage, whose count would be written.
    if bytes.isEmpty { return [] }
    #if hasFeature(Embedded)
        return [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
            UnsafeMutableRawBufferPointer(buffer).copyMemory(from: bytes)
            count = bytes.count
        }
    #else
        // The other one looks its own type up each time, which takes longer than the rest.
        return [UInt8](bytes)
    #endif
}

/// Whether `part` stands somewhere in `whole`.
public func findBytes(_ part: UnsafeRawBufferPointer, in whole: UnsafeRawBufferPointer) -> Bool {
    guard let start = part.baseAddress, !part.isEmpty else { return true }
    guard let base = whole.baseAddress, part.count <= whole.count else { return false }
    return platform_contains(base, whole.count, start, part.count)
}

/// The whole number that `text` writes in decimal, or nil when it is none or doesn't fit 64 bits.
public func parseDecimal(_ text: UnsafeRawBufferPointer) -> Int64? {
    var index = 0
    var isNegative = false
    if let first = text.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
        isNegative = first == UInt8(ascii: "-")
        index = 1
    }
    guard index < text.count else { return nil }
    var value: Int64 = 0
    while index < text.count {
        let digit = text[index] &- UInt8(ascii: "0")
        guard digit < 10 else { return nil }
        let (scaled, overflowed) = value.multipliedReportingOverflow(by: 10)
        // Summed towards the sign, so that the smallest number, which has no positive twin, is read too.
        let (sum, carried) =
            isNegative
            ? scaled.subtractingReportingOverflow(Int64(digit))
            : scaled.addingReportingOverflow(Int64(digit))
        guard !overflowed, !carried else { return nil }
        value = sum
        index += 1
    }
    return value
}

/// The number that sixteen hexadecimal digits write, or nil.
@inline(never)
public func parseHexadecimal(_ digits: UnsafeRawBufferPointer) -> UInt64? {
    var value: UInt64 = 0
    guard digits.count == 16, platform_hexadecimal(digits.baseAddress, &value) else { return nil }
    return value
}

extension Text {
    /// The number that sixteen lower-case hexadecimal digits write; nil when it is not that.
    public var hexadecimal: UInt64? { bytes.withUnsafeBytes { parseHexadecimal($0) } }
}

/// Whether bytes are well-formed UTF-8 (Unicode 15, table 3-7) and hold no NUL, which a C text can't carry.
public func isValidUTF8Text(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var index = 0
    let count = bytes.count
    func isContinuation(_ offset: Int, _ range: ClosedRange<UInt8> = 0x80...0xBF) -> Bool {
        index + offset < count && range.contains(bytes[index + offset])
    }
    while index < count {
        // Most texts are ASCII: eight bytes at a time, none of which is 0 or has its highest bit set. Subtracting 1 sets
        // that bit in a byte that is 0 (and, by its borrow, perhaps in one above it, which is then looked at by itself).
        while index &+ 8 <= count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            guard (word | (word &- 0x0101_0101_0101_0101)) & 0x8080_8080_8080_8080 == 0 else { break }
            index &+= 8
        }
        guard index < count else { break }
        let byte = bytes[index]
        switch byte {
        case 0x01...0x7F:
            index += 1
        case 0xC2...0xDF:
            guard isContinuation(1) else { return false }
            index += 2
        case 0xE0...0xEF:
            let second: ClosedRange<UInt8> = byte == 0xE0 ? 0xA0...0xBF : byte == 0xED ? 0x80...0x9F : 0x80...0xBF
            guard isContinuation(1, second), isContinuation(2) else { return false }
            index += 3
        case 0xF0...0xF4:
            let second: ClosedRange<UInt8> = byte == 0xF0 ? 0x90...0xBF : byte == 0xF4 ? 0x80...0x8F : 0x80...0xBF
            guard isContinuation(1, second), isContinuation(2), isContinuation(3) else { return false }
            index += 4
        default:
            return false
        }
    }
    return true
}
