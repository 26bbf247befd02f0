import IotoBase

extension JSON {
    /// The value as compact JSON (RFC 8259), members in their order.
    public var text: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(128)
        write(to: &output)
        return output
    }

    /// Appends the value as compact JSON.
    ///
    /// - Complexity: O(size of the text).
    public func write(to output: inout [UInt8]) {
        switch self {
        case .null:
            output.append("null")
        case .bool(let value):
            output.append(value ? "true" : "false")
        case .number(let literal):
            output.append(contentsOf: literal.bytes)
        case .string(let text):
            JSON.write(string: text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            var isFirst = true
            for element in elements {
                if !isFirst { output.append(UInt8(ascii: ",")) }
                isFirst = false
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let object):
            object.write(to: &output)
        }
    }

    /// Appends a string in quotes, escaped where JSON demands it.
    @inline(never)
    public static func write(string: Text, to output: inout [UInt8]) {
        string.bytes.withUnsafeBytes { write(string: $0, to: &output) }
    }

    /// Appends UTF-8 as a string in quotes, escaped where JSON demands it.
    @inline(never)
    public static func write(string: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        var index = 0
        while index < string.count {
            let end = string.endOfVerbatimText(from: index)
            output.append(contentsOf: UnsafeRawBufferPointer(rebasing: string[index..<end]))
            if end < string.count { output.appendEscaped(string[end]) }
            index = end + 1
        }
        output.append(UInt8(ascii: "\""))
    }
}

extension JSONObject {
    /// The object as compact JSON, members in their order.
    public var text: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(likelyBytes)
        write(to: &output)
        return output
    }

    /// Bytes of the text where nothing is escaped and nothing nested: room that is neither short nor wasted, as items are
    /// mostly like that, and are kept.
    private var likelyBytes: Int {
        var bytes = 2
        for member in members {
            bytes += member.key.count + 4
            switch member.value {
            case .string(let text): bytes += text.count + 2
            case .number(let literal): bytes += literal.count
            default: bytes += 5
            }
        }
        return bytes
    }

    /// Appends the object as compact JSON.
    public func write(to output: inout [UInt8]) {
        output.append(UInt8(ascii: "{"))
        var isFirst = true
        for member in members {
            if !isFirst { output.append(UInt8(ascii: ",")) }
            isFirst = false
            JSON.write(string: member.key, to: &output)
            output.append(UInt8(ascii: ":"))
            member.value.write(to: &output)
        }
        output.append(UInt8(ascii: "}"))
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func append(_ word: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }

    /// Appends the escape of a quote, a backslash or a control character.
    fileprivate mutating func appendEscaped(_ byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case 0x08: append(UInt8(ascii: "b"))
        case 0x09: append(UInt8(ascii: "t"))
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0C: append(UInt8(ascii: "f"))
        case 0x0D: append(UInt8(ascii: "r"))
        case 0x00..<0x20:
            append("u00")
            append(byte < 0x10 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
            let digit = byte & 15
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        default: append(byte)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Where the run ends that is written as it is: at a quote, a backslash, a control character, or the buffer's
    /// end.
    fileprivate func endOfVerbatimText(from start: Int) -> Int {
        var index = start
        while true {
            index = endOfPlainText(from: index, quote: UInt8(ascii: "\""))
            guard index < count, self[index] >= 0x80 else { return index }
            repeat { index += 1 } while index < count && self[index] >= 0x80
        }
    }
}
