import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONStringTests {
    @Test func readsEveryEscape() throws {
        #expect(try parse(#""\"\\\/\b\f\n\r\tA\u00e9\u20AC""#) == .string(Text("\"\\/\u{8}\u{C}\n\r\tAé€")))
    }

    @Test func joinsSurrogates() throws {
        #expect(try parse(#""\ud83d\ude00""#) == .string("😀"))
        #expect(try parse(#""\uD800\uDC00x\uDBFF\uDFFF""#) == .string("\u{10000}x\u{10FFFF}"))
    }

    @Test(arguments: [
        #""\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#, #""\ude00""#, #""\ud83d\ud83d""#,
        #""\ud83d\"#,
    ])
    func refusesLoneSurrogates(source: String) {
        #expect(message(source).hasSuffix("a surrogate stands without its other half"), "\(message(source))")
    }

    @Test(arguments: [#""\x41""#, #""\'""#, #""\0""#, #""\v""#, #""\a""#, "\"\\\n\""])
    func refusesUnknownEscapes(source: String) {
        #expect(message(source).hasSuffix("unknown escape"))
    }

    @Test(arguments: [#""\u12G4""#, #""\u 123""#, #""\u""#, #""\u+123""#])
    func refusesEscapesWithoutFourDigits(source: String) {
        #expect(message(source).hasSuffix("expected hexadecimal digits"))
    }

    @Test func refusesANUL() {
        #expect(message(#""a\u0000""#) == "line 1, column 5: a string may not hold a NUL character")
        #expect(message([0x22, 0x00, 0x22]).hasSuffix("a string may not hold a NUL character"))
        #expect(message(#"{"\u0000":1}"#).hasSuffix("a string may not hold a NUL character"))
    }

    @Test func refusesEveryRawControlCharacter() {
        for byte in UInt8(1)..<0x20 {
            #expect(message([0x22, byte, 0x22]).hasSuffix("a control character in a string must be escaped"))
        }
        #expect(message([0x22, 0x7F, 0x22]) == "")
    }

    /// The run of plain characters is read eight at a time: whatever ends it is found at each offset from a
    /// word's start.
    @Test(arguments: 0..<20)
    func findsTheEndAtEachOffset(count: Int) throws {
        let run = [UInt8](repeating: UInt8(ascii: "~"), count: count)
        for tail in ["", "\u{7F}", "é", "\u{80}", "€x", "😀😀", "abcdefghi"] {
            let text = run + [UInt8](tail.utf8) + run
            #expect(try JSON.parse([0x22] + text + [0x22]) == .string(Text(text)))
            #expect(
                try JSON.parse([0x22] + run + [0x5C, 0x6E] + [UInt8](tail.utf8) + [0x22])
                    == .string(Text(run + [0x0A] + [UInt8](tail.utf8))))
        }
        for stop: UInt8 in [0x00, 0x01, 0x1F, 0x80, 0xFF] {
            #expect(message([0x22] + run + [stop] + run + [0x22]) != "")
        }
        #expect(message([0x22] + run) == "line 1, column \(count + 2): a string is not closed")
        #expect(message([0x22] + run + [0x5C]) == "line 1, column \(count + 3): a string is not closed")
    }

    @Test(
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE0, 0x9F, 0xBF], [0xE2, 0x82],
            [0xE2, 0x28, 0xA1],
            [0xE2, 0x82, 0x28], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98],
            [0xF0, 0x9F, 0x98, 0x28], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFE], [0xFF],
        ] as [[UInt8]])
    func refusesInvalidUTF8(bytes: [UInt8]) {
        #expect(message([0x22] + bytes + [0x22]) == "line 1, column 2: the bytes are not valid UTF-8")
        #expect(message([0x22, 0x5C, 0x6E] + bytes + [0x22]).hasSuffix("the bytes are not valid UTF-8"))
        #expect(message([0x7B, 0x22] + bytes + [0x22, 0x3A, 0x31, 0x7D]).hasSuffix("the bytes are not valid UTF-8"))
        #expect(message([0x22] + bytes) != "")
    }

    @Test(arguments: ["\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}"])
    func takesTheBordersOfUTF8(character: String) throws {
        #expect(try parse("\"\(character)\"") == .string(Text(character)))
        #expect(JSON.string(Text(character)).text == [UInt8]("\"\(character)\"".utf8))
    }
}
