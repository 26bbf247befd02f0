import IotoBase

extension JSON {
    /// Reads one value and nothing else but white space. A byte order mark in front is skipped.
    ///
    /// Of members with the same name the last one's value counts, at the place of the first.
    ///
    /// - Throws: `.json` with line and column; `.limit` when objects and arrays are nested deeper than
    ///   `Limits.nestingMax` or a number is longer than `numberBytesMax`.
    /// - Complexity: O(bytes).
    public static func parse(_ bytes: [UInt8], syntax: JSONSyntax = .json) throws(IotoError) -> JSON {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(IotoError) -> JSON in try parse(buffer, syntax: syntax) }
        }
        return try result.get()
    }

    /// Reads one value, as `parse(_:syntax:)` of an array does. The bytes are not kept.
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, syntax: JSONSyntax = .json
    ) throws(IotoError) -> JSON {
        var parser = JSONParser(bytes, syntax)
        do throws(JSONFault) {
            return try parser.parseDocument()
        } catch {
            throw error.located(in: bytes)
        }
    }
}

/// Reads RFC 8259 and, by `JSONParser+JSON5.swift`, JSON5. Recursion ends at `Limits.nestingMax`.
struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    let isJSON5: Bool
    var index = 0
    private var depth = 0

    init(_ bytes: UnsafeRawBufferPointer, _ syntax: JSONSyntax) {
        self.bytes = bytes
        isJSON5 = syntax == .json5
    }

    func fault(_ reason: JSONFault.Reason) -> JSONFault {
        JSONFault(reason: index >= bytes.count && reason != .string ? .end : reason, index: index)
    }

    mutating func parseDocument() throws(JSONFault) -> JSON {
        skipByteOrderMark()
        let value = try parseValue()
        try skipSpace()
        guard index == bytes.count else { throw fault(.trailing) }
        return value
    }

    mutating func skipByteOrderMark() {
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { index = 3 }
    }

    @inline(__always)
    mutating func skipSpace() throws(JSONFault) {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index &+= 1
            case 0x21...0x7F where !isJSON5: return
            default: guard isJSON5, try skipSpace5() else { return }
            }
        }
    }

    /// The first byte of the next token, which stays unread; 0, which starts none, at the end.
    @inline(__always)
    mutating func next() throws(JSONFault) -> UInt8 {
        try skipSpace()
        return index < bytes.count ? bytes[index] : 0
    }

    mutating func parseValue() throws(JSONFault) -> JSON {
        let byte = try next()
        switch byte {
        case UInt8(ascii: "\""):
            return .string(try parseString())
        case UInt8(ascii: "{"):
            return .object(try parseObject())
        case UInt8(ascii: "["):
            return .array(try parseArray())
        case UInt8(ascii: "t"):
            try expect("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try expect("null")
            return .null
        case UInt8(ascii: "-") where !isJSON5, UInt8(ascii: "0")...UInt8(ascii: "9") where !isJSON5:
            return .number(try parseNumber())
        default:
            guard isJSON5 else { throw fault(.value) }
            return try parseValue5()
        }
    }

    private mutating func expect(_ word: StaticString) throws(JSONFault) {
        let count = word.utf8CodeUnitCount
        guard bytes.count - index >= count,
            compareBytes(
                UnsafeRawBufferPointer(rebasing: bytes[index..<index + count]),
                UnsafeRawBufferPointer(start: word.utf8Start, count: count)) == 0
        else { throw fault(.value) }
        index += count
    }

    mutating func enter() throws(JSONFault) {
        guard depth < Limits.nestingMax else { throw fault(.nesting) }
        depth += 1
        index += 1
    }

    mutating func leave() {
        depth -= 1
        index += 1
    }

    private mutating func parseObject() throws(JSONFault) -> JSONObject {
        try enter()
        var members = JSONObjectBuilder()
        var byte = try next()
        while byte != UInt8(ascii: "}") {
            let name = try parseName(byte)
            guard try next() == UInt8(ascii: ":") else { throw fault(.colon) }
            index += 1
            members.add(name, try parseValue())
            byte = try parseComma(before: UInt8(ascii: "}"), .afterMember)
        }
        leave()
        return members.object
    }

    private mutating func parseArray() throws(JSONFault) -> [JSON] {
        try enter()
        var elements: [JSON] = []
        var byte = try next()
        while byte != UInt8(ascii: "]") {
            elements.append(try parseValue())
            byte = try parseComma(before: UInt8(ascii: "]"), .afterElement)
        }
        leave()
        return elements
    }

    /// Reads the comma between two members or elements, or stops at the closing bracket.
    ///
    /// - Returns: The first byte of what follows.
    @inline(__always)
    mutating func parseComma(before bracket: UInt8, _ reason: JSONFault.Reason) throws(JSONFault) -> UInt8 {
        let byte = try next()
        if byte == bracket { return byte }
        guard byte == UInt8(ascii: ",") else { throw fault(reason) }
        index += 1
        let after = try next()
        if after == bracket && !isJSON5 { throw fault(.trailingComma) }
        return after
    }

    @inline(__always)
    mutating func parseName(_ first: UInt8) throws(JSONFault) -> Text {
        if first == UInt8(ascii: "\"") { return try parseString() }
        guard isJSON5 else { throw fault(.quotedName) }
        return try parseName5(first)
    }

    /// Reads a number of RFC 8259 and keeps its literal.
    private mutating func parseNumber() throws(JSONFault) -> Text {
        let start = index
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let integer = index
        guard skipDigits() > 0 else { throw fault(.number) }
        if bytes[integer] == UInt8(ascii: "0") && index - integer > 1 {
            index = integer
            throw fault(.leadingZero)
        }
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            index += 1
            guard skipDigits() > 0 else { throw fault(.number) }
        }
        try skipExponent()
        return try literal(from: start)
    }

    /// The bytes read since `start`, as a number's literal.
    func literal(from start: Int) throws(JSONFault) -> Text {
        guard index - start <= JSON.numberBytesMax else { throw JSONFault(reason: .numberLength, index: start) }
        return Text(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
    }

    @inline(__always)
    mutating func skipDigits() -> Int {
        let start = index
        while index < bytes.count, bytes[index] &- UInt8(ascii: "0") < 10 { index &+= 1 }
        return index &- start
    }

    @inline(__always)
    mutating func skipExponent() throws(JSONFault) {
        guard index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") else { return }
        index += 1
        if index < bytes.count, bytes[index] == UInt8(ascii: "-") || bytes[index] == UInt8(ascii: "+") { index += 1 }
        guard skipDigits() > 0 else { throw fault(.number) }
    }
}
