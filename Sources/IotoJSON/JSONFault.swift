import IotoBase

/// Where and why the parser stopped. Small, as it travels through every level of the parser; the message is made
/// at the end.
struct JSONFault: Error {
    enum Reason {
        case value, end, trailing, name, quotedName, colon, afterMember, afterElement, trailingComma
        case string, control, nul, utf8, escape, hexadecimal, surrogate
        case number, leadingZero, hexadecimalRange, notFinite, comment
        case nesting, numberLength
    }

    let reason: Reason
    /// Offset in bytes.
    let index: Int

    func located(in source: UnsafeRawBufferPointer) -> IotoError {
        let place = JSONPlace(index, in: source)
        return IotoError(code, "line \(place.line), column \(place.column): \(message)")
    }

    var code: ErrorCode {
        switch reason {
        case .nesting, .numberLength: return .limit
        default: return .json
        }
    }

    var message: Text {
        switch reason {
        case .value: return "expected a value"
        case .end: return "the text ends too early"
        case .trailing: return "unexpected text after the value"
        case .name: return "expected a member name"
        case .quotedName: return "expected a member name in double quotes"
        case .colon: return "expected ':' after the member name"
        case .afterMember: return "expected ',' or '}' after the member"
        case .afterElement: return "expected ',' or ']' after the element"
        case .trailingComma: return "a comma may not stand before the closing bracket"
        case .string: return "a string is not closed"
        case .control: return "a control character in a string must be escaped"
        case .nul: return "a string may not hold a NUL character"
        case .utf8: return "the bytes are not valid UTF-8"
        case .escape: return "unknown escape"
        case .hexadecimal: return "expected hexadecimal digits"
        case .surrogate: return "a surrogate stands without its other half"
        case .number: return "malformed number"
        case .leadingZero: return "a number may not start with a zero and another digit"
        case .hexadecimalRange: return "the hexadecimal number does not fit 64 bits"
        case .notFinite: return "Infinity and NaN are not values of JSON"
        case .comment: return "a comment is not closed"
        case .nesting: return "nested deeper than \(Limits.nestingMax) levels"
        case .numberLength: return "a number is longer than \(JSON.numberBytesMax) bytes"
        }
    }
}

/// A place in a source as an editor shows it: lines and columns count from 1, columns in characters (code points).
struct JSONPlace {
    var line = 1
    var column = 1

    /// - Complexity: O(index); made for errors alone.
    init(_ index: Int, in source: UnsafeRawBufferPointer) {
        for place in 0..<Swift.max(0, min(index, source.count)) {
            let byte = source[place]
            let followsReturn = place > 0 && source[place - 1] == 0x0D
            if byte == 0x0D || byte == 0x0A && !followsReturn {
                line += 1
                column = 1
            } else if byte != 0x0A && byte & 0xC0 != 0x80 {
                column += 1
            }
        }
    }
}
