import IotoBase

/// What JSON5 (spec.json5.org, 1.0.0) has beyond JSON.
extension JSONParser {
    /// Passes one character of white space that JSON has not, or a comment.
    ///
    /// - Returns: False at anything else.
    @inline(never)
    mutating func skipSpace5() throws(JSONFault) -> Bool {
        switch bytes[index] {
        case 0x0B, 0x0C:
            index += 1
            return true
        case UInt8(ascii: "/"):
            try skipComment()
            return true
        default:
            let length = lengthOfSpace(at: index)
            index += length
            return length > 0
        }
    }

    /// Length of the white space beyond ASCII at an index, or 0: the byte order mark, the line and paragraph
    /// separators, and the category Zs, which is short enough to be written out.
    private func lengthOfSpace(at index: Int) -> Int {
        func byte(_ offset: Int) -> UInt8 { index + offset < bytes.count ? bytes[index + offset] : 0 }
        switch (byte(0), byte(1), byte(2)) {
        case (0xC2, 0xA0, _): return 2  // U+00A0
        case (0xEF, 0xBB, 0xBF): return 3  // U+FEFF
        case (0xE1, 0x9A, 0x80): return 3  // U+1680
        case (0xE2, 0x80, 0x80...0x8A), (0xE2, 0x80, 0xAF): return 3  // U+2000-200A, U+202F
        case (0xE2, 0x80, 0xA8...0xA9): return 3  // U+2028, U+2029
        case (0xE2, 0x81, 0x9F), (0xE3, 0x80, 0x80): return 3  // U+205F, U+3000
        default: return 0
        }
    }

    /// Length of the line or paragraph separator at an index, or 0.
    private func lengthOfSeparator(at index: Int) -> Int {
        guard bytes.count - index >= 3, bytes[index] == 0xE2, bytes[index + 1] == 0x80 else { return 0 }
        return bytes[index + 2] == 0xA8 || bytes[index + 2] == 0xA9 ? 3 : 0
    }

    private mutating func skipComment() throws(JSONFault) {
        let start = index
        index += 1
        let second = index < bytes.count ? bytes[index] : 0
        index += 1
        if second == UInt8(ascii: "/") {
            while index < bytes.count, bytes[index] != 0x0A, bytes[index] != 0x0D, lengthOfSeparator(at: index) == 0 {
                index += 1
            }
            return
        }
        guard second == UInt8(ascii: "*") else { throw JSONFault(reason: .value, index: start) }
        while bytes.count - index >= 2 {
            if bytes[index] == UInt8(ascii: "*"), bytes[index + 1] == UInt8(ascii: "/") {
                index += 2
                return
            }
            index += 1
        }
        throw JSONFault(reason: .comment, index: start)
    }

    mutating func parseValue5() throws(JSONFault) -> JSON {
        switch index < bytes.count ? bytes[index] : 0 {
        case UInt8(ascii: "'"):
            return .string(try parseString())
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
            return .number(try parseNumber5())
        case UInt8(ascii: "I"), UInt8(ascii: "N"):
            throw fault(.notFinite)
        default:
            throw fault(.value)
        }
    }

    mutating func parseName5(_ first: UInt8) throws(JSONFault) -> Text {
        first == UInt8(ascii: "'") ? try parseString() : try parseIdentifier()
    }

    /// Reads an unquoted name. Beyond ASCII every character counts as a letter, white space excepted: telling
    /// letters from other characters takes tables that the library does without.
    private mutating func parseIdentifier() throws(JSONFault) -> Text {
        var name: [UInt8] = []
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\\") {
                try parseIdentifierEscape(into: &name)
            } else if byte < 0x80 {
                guard isIdentifier(byte, isFirst: name.isEmpty) else { break }
                name.append(byte)
                index += 1
            } else {
                if lengthOfSpace(at: index) > 0 { break }
                let length = bytes.lengthOfUTF8(at: index)
                guard length > 0 else { throw fault(.utf8) }
                name.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[index..<index + length]))
                index += length
            }
        }
        guard !name.isEmpty else { throw fault(.name) }
        return Text(name)
    }

    private mutating func parseIdentifierEscape(into name: inout [UInt8]) throws(JSONFault) {
        let start = index
        guard bytes.count - index >= 2, bytes[index + 1] == UInt8(ascii: "u") else { throw fault(.escape) }
        index += 2
        let end = name.count
        try parseUnicodeEscape(into: &name)
        guard name[end] >= 0x80 || isIdentifier(name[end], isFirst: end == 0) else {
            throw JSONFault(reason: .name, index: start)
        }
    }

    private func isIdentifier(_ byte: UInt8, isFirst: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): return true
        case UInt8(ascii: "_"), UInt8(ascii: "$"): return true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return !isFirst
        default: return false
        }
    }

    /// Reads an escape that JSON has not, after its backslash.
    mutating func parseEscape5(into text: inout [UInt8]) throws(JSONFault) {
        let byte = bytes[index]
        switch byte {
        case UInt8(ascii: "v"):
            text.append(0x0B)
            index += 1
        case UInt8(ascii: "0"):
            throw fault(.nul)
        case UInt8(ascii: "1")...UInt8(ascii: "9"):
            throw fault(.escape)
        case UInt8(ascii: "x"):
            let start = index
            index += 1
            let scalar = try parseHexadecimal(digits: 2)
            if scalar == 0 { throw JSONFault(reason: .nul, index: start) }
            text.appendUTF8(scalar)
        case 0x0D:
            // A line break that a backslash continues belongs to no string; CR LF is one break.
            index += 1
            if index < bytes.count, bytes[index] == 0x0A { index += 1 }
        case 0x0A:
            index += 1
        case 0:
            throw fault(.nul)
        default:
            let length = bytes.lengthOfUTF8(at: index)
            guard length > 0 else { throw fault(.utf8) }
            if lengthOfSeparator(at: index) == 0 {
                text.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[index..<index + length]))
            }
            index += length
        }
    }

    /// Reads a number of JSON5 and writes it as JSON has it: `.5` is `0.5`, `5.` is `5.0`, `+1` is `1`, `0x1F` is
    /// `31`.
    private mutating func parseNumber5() throws(JSONFault) -> Text {
        var literal = Text()
        let sign = bytes[index]
        if sign == UInt8(ascii: "-") { literal.append(sign) }
        if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { index += 1 }
        let start = index
        guard index < bytes.count else { throw fault(.number) }
        if bytes[index] == UInt8(ascii: "I") || bytes[index] == UInt8(ascii: "N") { throw fault(.notFinite) }
        if bytes.count - index >= 2, bytes[index] == UInt8(ascii: "0"), bytes[index + 1] | 0x20 == UInt8(ascii: "x") {
            literal.appendDecimal(try parseHexadecimalNumber())
            return literal
        }
        let digits = skipDigits()
        if digits > 1, bytes[start] == UInt8(ascii: "0") { throw JSONFault(reason: .leadingZero, index: start) }
        if digits == 0 { literal.append(UInt8(ascii: "0")) }
        literal.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            let point = index
            index += 1
            let fraction = skipDigits()
            guard digits + fraction > 0 else { throw fault(.number) }
            literal.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[point..<index]))
            if fraction == 0 { literal.append(UInt8(ascii: "0")) }
        } else if digits == 0 {
            throw fault(.number)
        }
        let exponent = index
        try skipExponent()
        literal.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[exponent..<index]))
        guard literal.count <= JSON.numberBytesMax else { throw JSONFault(reason: .numberLength, index: start) }
        return literal
    }

    private mutating func parseHexadecimalNumber() throws(JSONFault) -> UInt64 {
        let start = index
        index += 2
        var value: UInt64 = 0
        guard index < bytes.count, hexadecimalDigit(bytes[index]) != nil else { throw fault(.hexadecimal) }
        while index < bytes.count, let digit = hexadecimalDigit(bytes[index]) {
            guard value >> 60 == 0 else { throw JSONFault(reason: .hexadecimalRange, index: start) }
            value = value << 4 | UInt64(digit)
            index += 1
        }
        return value
    }
}
