import IotoBase

/// A message that is larger than the broker's packets comes in parts, one behind the other: `P`, the number of the message, its
/// size and the part's place in it as sixteen hexadecimal digits, then the bytes. A message begins with another letter.
enum MessageParts {
    static let mark = UInt8(ascii: "P")
    static let headBytes = 33

    static func split(_ message: [UInt8], _ number: UInt64, bytesMax: Int) -> [[UInt8]] {
        var parts: [[UInt8]] = []
        var start = 0
        while start < message.count {
            let end = min(message.count, start + max(1, bytesMax - headBytes))
            var part = [mark]
            part.append(hexadecimal: number)
            part.append(hexadecimal: UInt64(message.count) << 32 | UInt64(start))
            part.append(contentsOf: message[start..<end])
            parts.append(part)
            start = end
        }
        return parts
    }
}

/// Puts the parts of a message together, one message at a time.
struct PartJoiner {
    /// The message that was begun last, its size, and how much of it has come.
    private var number: UInt64 = 0
    private var size = 0
    private var next = 0
    private var bytes: [UInt8] = []
    /// The last part showed that something before it is missing.
    private(set) var isMissing = false

    /// - Returns: The message when this is its last part; nil when others are to come, when it has come before, and when it can't
    ///   be joined, of which nothing is kept then.
    mutating func join(_ part: [UInt8]) -> [UInt8]? {
        let (number, place) = part.withUnsafeBytes { (part) -> (UInt64, UInt64) in
            guard part.count > MessageParts.headBytes,
                let number = parseHexadecimal(UnsafeRawBufferPointer(rebasing: part[1..<17])),
                let place = parseHexadecimal(UnsafeRawBufferPointer(rebasing: part[17..<33]))
            else { return (0, .max) }
            return (number, place)
        }
        let size = Int(clamping: place >> 32)
        let start = Int(clamping: place & 0xFFFF_FFFF)
        let isSame = number == self.number && size == self.size
        isMissing = false
        if isSame, start < next { return nil }
        if start == 0 {
            // Another may have been begun.
            isMissing = !bytes.isEmpty
            (self.number, self.size, next, bytes) = (number, size, 0, [])
        }
        guard isSame || start == 0, start == next, size <= Limits.messageBytesMax, part.count - MessageParts.headBytes <= size - next
        else {
            self = PartJoiner()
            isMissing = true
            return nil
        }
        bytes.append(contentsOf: part[MessageParts.headBytes...])
        next = bytes.count
        guard next == size else { return nil }
        defer { bytes = [] }
        return bytes
    }
}
