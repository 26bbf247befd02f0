#if IOTO_PCRE2
import CPCRE2
#endif
import IotoBase
import IotoJSON

/// A regular expression of `validate`, compiled. Written as OneTable has it, `/^[a-z]+$/i`, or plain.
///
/// Patterns mean what they mean to JavaScript, as far as PCRE2 does: `$` is the very end, `[]` matches nothing, `\d` and
/// `\w` are ASCII's.
final class Pattern: @unchecked Sendable {
    /// As the schema has it, for messages.
    let source: Text

    #if IOTO_PCRE2
    /// Compiled code is read alone, by any number of threads.
    private let code: OpaquePointer
    /// Whether a match begins at the text's first character.
    private let isAnchored: Bool

    /// Longest expression, and deepest nesting of its groups, which costs stack to compile.
    private static let bytesMax = 4096
    private static let groupsMax: UInt32 = 50
    /// Steps that the search from one place of the text may take.
    private static let stepsMax: UInt32 = 100_000
    /// Nesting of groups' repetitions, and kilobytes of memory for it.
    private static let depthMax: UInt32 = 10_000
    private static let heapMax: UInt32 = 1024
    /// Places of a text that are searched from between two looks at the clock.
    private static let windowBytes = 64
    /// How long the search in one text may take, in milliseconds.
    private static let timeMax: Int64 = 100

    init(_ source: Text) throws(IotoError) {
        self.source = source
        let (expression, flags) = try Pattern.split(source)
        guard let context = pcre2_compile_context_create_8(nil) else { throw IotoError(.memory, "out of memory") }
        defer { pcre2_compile_context_free_8(context) }
        pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_ANYCRLF))
        pcre2_set_compile_extra_options_8(context, UInt32(PCRE2_EXTRA_ALT_BSUX))
        pcre2_set_max_pattern_length_8(context, Pattern.bytesMax)
        pcre2_set_parens_nest_limit_8(context, Pattern.groupsMax)
        var error: Int32 = 0
        var offset = 0
        let code = (expression.bytes + [0]).withUnsafeBufferPointer {
            pcre2_compile_8($0.baseAddress, expression.count, flags, &error, &offset, context)
        }
        guard let code else {
            throw IotoError(.field, "\(quoted(source)) is no regular expression: \(Pattern.message(error)), at \(offset)")
        }
        self.code = code
        var options: UInt32 = 0
        _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_ALLOPTIONS), &options)
        isAnchored = options & UInt32(PCRE2_ANCHORED) != 0
    }

    deinit {
        pcre2_code_free_8(code)
    }

    /// Whether a text matches; nil when that takes too long to find out.
    func matches(_ text: Text) -> Bool? {
        guard let context = pcre2_match_context_create_8(nil), let data = pcre2_match_data_create_8(1, nil) else {
            return nil
        }
        defer {
            pcre2_match_data_free_8(data)
            pcre2_match_context_free_8(context)
        }
        pcre2_set_match_limit_8(context, Pattern.stepsMax)
        pcre2_set_depth_limit_8(context, Pattern.depthMax)
        pcre2_set_heap_limit_8(context, Pattern.heapMax)
        let count = text.count
        // Ended by a NUL, so that an empty text has an address as well.
        return (text.bytes + [0]).withUnsafeBufferPointer { bytes -> Bool? in
            let deadline = Instant.now.monotonic + Pattern.timeMax
            var options: UInt32 = 0
            var start = 0
            while true {
                // The limit of steps holds for each place by itself: so many places at a time, then the clock is asked.
                pcre2_set_offset_limit_8(context, min(start + Pattern.windowBytes, count))
                let result = pcre2_match_8(code, bytes.baseAddress, count, start, options, data, context)
                if result >= 0 { return true }
                guard result == PCRE2_ERROR_NOMATCH else { return nil }
                start += Pattern.windowBytes + 1
                while start < count, bytes[start] & 0xC0 == 0x80 { start += 1 }
                if start > count || isAnchored { return false }
                if Instant.now.monotonic > deadline { return nil }
                options = UInt32(PCRE2_NO_UTF_CHECK)
            }
        }
    }

    private static func message(_ error: Int32) -> Text {
        var buffer = [UInt8](repeating: 0, count: 120)
        let count = buffer.withUnsafeMutableBufferPointer {
            pcre2_get_error_message_8(error, $0.baseAddress, $0.count)
        }
        return Text(buffer[..<max(0, min(Int(count), buffer.count))])
    }

    /// The expression between the slashes, and PCRE2's options for the flags behind them.
    private static func split(_ source: Text) throws(IotoError) -> (Text, UInt32) {
        var options: UInt32 =
            UInt32(PCRE2_UTF) | UInt32(PCRE2_DOLLAR_ENDONLY) | UInt32(PCRE2_ALLOW_EMPTY_CLASS)
            | UInt32(PCRE2_MATCH_UNSET_BACKREF) | UInt32(PCRE2_NEVER_BACKSLASH_C) | UInt32(PCRE2_USE_OFFSET_LIMIT)
        guard source.bytes.first == UInt8(ascii: "/"), let end = source.bytes.lastIndex(of: UInt8(ascii: "/")), end > 0
        else { return (source, options) }
        for flag in source.bytes[(end + 1)...] {
            switch flag {
            case UInt8(ascii: "i"): options |= UInt32(PCRE2_CASELESS)
            case UInt8(ascii: "m"): options |= UInt32(PCRE2_MULTILINE)
            case UInt8(ascii: "s"): options |= UInt32(PCRE2_DOTALL)
            case UInt8(ascii: "y"): options |= UInt32(PCRE2_ANCHORED)
            // How often it matches does not matter, nor where; texts are UTF-8 anyway.
            case UInt8(ascii: "g"), UInt8(ascii: "d"), UInt8(ascii: "u"): break
            default: throw IotoError(.field, "\(quoted(source)) has the unknown flag '\(Text([flag]))'")
            }
        }
        return (Text(source.bytes[1..<end]), options)
    }
    #else
    init(_ source: Text) throws(IotoError) {
        throw IotoError(.field, "'validate' needs PCRE2, which this library was built without")
    }

    func matches(_ text: Text) -> Bool? { nil }
    #endif
}
