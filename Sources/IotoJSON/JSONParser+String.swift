import IotoBase

extension JSONParser {
    /// Reads a string from its opening quote past its closing one.
    mutating func parseString() throws(JSONFault) -> Text {
        let quote = bytes[index]
        index += 1
        let start = index
        while true {
            index = bytes.endOfPlainText(from: index, quote: quote)
            guard index < bytes.count else { throw fault(.string) }
            let byte = bytes[index]
            if byte == quote {
                let text = Text(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
                index += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try parseEscapedString(from: start, quote) }
            try skipSpecial(byte)
        }
    }

    /// Goes on with a string that has an escape at `index`.
    private mutating func parseEscapedString(from start: Int, _ quote: UInt8) throws(JSONFault) -> Text {
        var text = [UInt8](UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
        while true {
            let runStart = index
            index = bytes.endOfPlainText(from: index, quote: quote)
            guard index < bytes.count else { throw fault(.string) }
            let byte = bytes[index]
            if byte >= 0x20 && byte < 0x80 {
                text.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[runStart..<index]))
                index += 1
                if byte == quote { return Text(text) }
                try parseEscape(into: &text)
            } else {
                try skipSpecial(byte)
                text.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[runStart..<index]))
            }
        }
    }

    /// Passes a character that ends plain text but belongs to the string: a sequence beyond ASCII or, in JSON5, a
    /// control.
    private mutating func skipSpecial(_ byte: UInt8) throws(JSONFault) {
        if byte >= 0x80 {
            let length = bytes.lengthOfUTF8(at: index)
            guard length > 0 else { throw fault(.utf8) }
            index += length
            return
        }
        if byte == 0 { throw fault(.nul) }
        // JSON5, 5: a string may hold every character but a line terminator as it is.
        guard isJSON5, byte != 0x0A, byte != 0x0D else { throw fault(.control) }
        index += 1
    }

    /// Reads an escape after its backslash.
    private mutating func parseEscape(into text: inout [UInt8]) throws(JSONFault) {
        guard index < bytes.count else { throw fault(.string) }
        let byte = bytes[index]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            index += 1
            return try parseUnicodeEscape(into: &text)
        default:
            guard isJSON5 else { throw fault(.escape) }
            return try parseEscape5(into: &text)
        }
        index += 1
    }

    /// Reads the four digits after `\u` and, for a high surrogate, the low one that must follow.
    mutating func parseUnicodeEscape(into text: inout [UInt8]) throws(JSONFault) {
        let start = index
        func fault(_ reason: JSONFault.Reason) -> JSONFault { JSONFault(reason: reason, index: start) }
        var scalar = try parseHexadecimal(digits: 4)
        if scalar == 0 { throw fault(.nul) }
        if scalar & 0xFC00 == 0xDC00 { throw fault(.surrogate) }
        if scalar & 0xFC00 == 0xD800 {
            guard bytes.count - index >= 6, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u")
            else { throw fault(.surrogate) }
            index += 2
            let low = try parseHexadecimal(digits: 4)
            guard low & 0xFC00 == 0xDC00 else { throw fault(.surrogate) }
            scalar = 0x10000 + ((scalar & 0x3FF) << 10 | low & 0x3FF)
        }
        text.appendUTF8(scalar)
    }

    mutating func parseHexadecimal(digits: Int) throws(JSONFault) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard index < bytes.count, let digit = hexadecimalDigit(bytes[index]) else { throw fault(.hexadecimal) }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }
}

func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): return byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): return byte - UInt8(ascii: "A") + 10
    default: return nil
    }
}

extension Array where Element == UInt8 {
    /// Appends a code point, which is none of the surrogates.
    mutating func appendUTF8(_ scalar: UInt32) {
        func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(truncatingIfNeeded: scalar >> shift & 0x3F) }
        switch scalar {
        case 0..<0x80:
            append(UInt8(truncatingIfNeeded: scalar))
        case 0x80..<0x800:
            append(0xC0 | UInt8(truncatingIfNeeded: scalar >> 6))
            append(tail(0))
        case 0x800..<0x10000:
            append(0xE0 | UInt8(truncatingIfNeeded: scalar >> 12))
            append(tail(6))
            append(tail(0))
        default:
            append(0xF0 | UInt8(truncatingIfNeeded: scalar >> 18))
            append(tail(12))
            append(tail(6))
            append(tail(0))
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Where the run of characters ends that a string holds as they are: at the quote, a backslash, a control
    /// character, a byte beyond ASCII, or the end of the buffer.
    @inline(__always)
    func endOfPlainText(from start: Int, quote: UInt8) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let quotes = ones &* UInt64(quote)
        let backslashes = ones &* UInt64(UInt8(ascii: "\\"))
        var index = start
        // Eight bytes at a time. In each sum the lowest bit set marks a byte that ends the run; those above it may be
        // marked by a borrow, so only the lowest one is used.
        while count &- index >= 8 {
            let word = UInt64(littleEndian: loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let quoted = word ^ quotes
            let slashed = word ^ backslashes
            let stops =
                (word | (word &- ones &* 0x20) & ~word | (quoted &- ones) & ~quoted | (slashed &- ones) & ~slashed)
                & highs
            if stops != 0 { return index &+ stops.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        while index < count {
            let byte = self[index]
            if byte == quote || byte == UInt8(ascii: "\\") || byte < 0x20 || byte >= 0x80 { break }
            index &+= 1
        }
        return index
    }

    /// Length of the well-formed UTF-8 sequence at an index (Unicode 15, table 3-7), or 0 when there is none.
    func lengthOfUTF8(at index: Int) -> Int {
        func follows(_ offset: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xBF) -> Bool {
            guard index + offset < count else { return false }
            let byte = self[index + offset]
            return byte >= low && byte <= high
        }
        guard index < count else { return 0 }
        let byte = self[index]
        switch byte {
        case 0x00...0x7F: return 1
        case 0xC2...0xDF: return follows(1) ? 2 : 0
        case 0xE0: return follows(1, 0xA0) && follows(2) ? 3 : 0
        case 0xED: return follows(1, 0x80, 0x9F) && follows(2) ? 3 : 0
        case 0xE1...0xEF: return follows(1) && follows(2) ? 3 : 0
        case 0xF0: return follows(1, 0x90) && follows(2) && follows(3) ? 4 : 0
        case 0xF4: return follows(1, 0x80, 0x8F) && follows(2) && follows(3) ? 4 : 0
        case 0xF1...0xF3: return follows(1) && follows(2) && follows(3) ? 4 : 0
        default: return 0
        }
    }
}
