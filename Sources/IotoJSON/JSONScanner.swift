import IotoBase

/// Reads single values out of JSON text without building a tree: what queries do with every stored item that they
/// pass.
///
/// The text is taken to be valid and without repeated names, as the writer makes it. Text that is not gives nil or a
/// range within its bounds, never a trap.
public enum JSONScanner {
    /// The bytes of the value that a path such as `a.b.0` leads to, or nil. Allocates nothing, but for names with
    /// escapes.
    ///
    /// - Complexity: O(bytes up to the value).
    public static func member(_ path: Text, in json: UnsafeRawBufferPointer) -> Range<Int>? {
        path.bytes.withUnsafeBytes { member($0, in: json) }
    }

    /// As above, for a path that is no `Text`.
    public static func member(_ path: UnsafeRawBufferPointer, in json: UnsafeRawBufferPointer) -> Range<Int>? {
        var path = JSONPath(path)
        var start = json.endOfSpace(from: 0)
        repeat {
            let component = path.next()
            guard start < json.count, let value = child(component, of: start, in: json) else { return nil }
            start = value
        } while !path.isAtEnd
        guard let end = json.endOfValue(from: start) else { return nil }
        return start..<end
    }

    /// Where the value ends that stands at an index; nil when it does not.
    public static func end(ofValueAt index: Int, in json: UnsafeRawBufferPointer) -> Int? { json.endOfValue(from: index) }

    /// The value of a range that `member(_:in:)` gave.
    public static func decode(_ raw: UnsafeRawBufferPointer) -> JSON? {
        var parser = JSONParser(raw, .json)
        do throws(JSONFault) {
            return try parser.parseDocument()
        } catch {
            return nil
        }
    }

    private static func child(
        _ component: UnsafeRawBufferPointer, of start: Int, in json: UnsafeRawBufferPointer
    ) -> Int? {
        switch json[start] {
        case UInt8(ascii: "{"): return member(component, of: start, in: json)
        case UInt8(ascii: "["):
            guard let place = JSONPath.place(component) else { return nil }
            return element(place, of: start, in: json)
        default: return nil
        }
    }

    private static func member(
        _ name: UnsafeRawBufferPointer, of start: Int, in json: UnsafeRawBufferPointer
    ) -> Int? {
        var index = json.endOfSpace(from: start + 1)
        while index < json.count, json[index] == UInt8(ascii: "\"") {
            guard let (nameEnd, hasEscape) = json.endOfString(from: index) else { return nil }
            let isMatch = hasEscape ? equalsEscaped(name, json, index) : equals(name, json, index + 1, nameEnd - 1)
            index = json.endOfSpace(from: nameEnd)
            guard index < json.count, json[index] == UInt8(ascii: ":") else { return nil }
            index = json.endOfSpace(from: index + 1)
            if isMatch { return index < json.count ? index : nil }
            guard let valueEnd = json.endOfValue(from: index) else { return nil }
            index = json.endOfSpace(from: valueEnd)
            guard index < json.count, json[index] == UInt8(ascii: ",") else { return nil }
            index = json.endOfSpace(from: index + 1)
        }
        return nil
    }

    private static func element(_ place: Int, of start: Int, in json: UnsafeRawBufferPointer) -> Int? {
        var index = json.endOfSpace(from: start + 1)
        var rest = place
        while index < json.count, json[index] != UInt8(ascii: "]") {
            if rest == 0 { return index }
            rest -= 1
            guard let end = json.endOfValue(from: index) else { return nil }
            index = json.endOfSpace(from: end)
            guard index < json.count, json[index] == UInt8(ascii: ",") else { return nil }
            index = json.endOfSpace(from: index + 1)
        }
        return nil
    }

    @inline(__always)
    private static func equals(
        _ name: UnsafeRawBufferPointer, _ json: UnsafeRawBufferPointer, _ start: Int, _ end: Int
    ) -> Bool {
        name.count == end - start && compareBytes(name, UnsafeRawBufferPointer(rebasing: json[start..<end])) == 0
    }

    /// Whether the string that opens at `start` and has escapes is the name.
    private static func equalsEscaped(
        _ name: UnsafeRawBufferPointer, _ json: UnsafeRawBufferPointer, _ start: Int
    ) -> Bool {
        var parser = JSONParser(json, .json)
        parser.index = start
        do throws(JSONFault) {
            return try parser.parseString().equals(name)
        } catch {
            return false
        }
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    fileprivate func endOfSpace(from start: Int) -> Int {
        var index = start
        while index < count {
            switch self[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index &+= 1
            default: return index
            }
        }
        return index
    }

    /// Where the string that opens at an index ends, past its quote, and whether it has escapes.
    @inline(__always)
    fileprivate func endOfString(from start: Int) -> (end: Int, hasEscape: Bool)? {
        var index = start + 1
        var hasEscape = false
        while true {
            index = endOfPlainText(from: index, quote: UInt8(ascii: "\""))
            guard index < count else { return nil }
            switch self[index] {
            case UInt8(ascii: "\""):
                return (index + 1, hasEscape)
            case UInt8(ascii: "\\"):
                hasEscape = true
                index += 2
            default:
                index += 1
            }
        }
    }

    /// Where the value that starts at an index ends. Brackets are counted, so nesting takes no stack.
    fileprivate func endOfValue(from start: Int) -> Int? {
        var index = start
        var depth = 0
        while index < count {
            switch self[index] {
            case UInt8(ascii: "\""):
                guard let string = endOfString(from: index) else { return nil }
                index = string.end
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                index += 1
                continue
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return index > start ? index : nil }
                depth -= 1
                index += 1
            case UInt8(ascii: ","), 0x20, 0x0A, 0x0D, 0x09:
                if depth == 0 { return index > start ? index : nil }
                index += 1
                continue
            default:
                index += 1
                continue
            }
            if depth == 0 { return index }
        }
        // A number or a word may end with the text.
        return depth == 0 && index > start ? index : nil
    }
}
