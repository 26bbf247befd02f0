import IotoBase
import Testing

struct TextTests {
    @Test func textsAreEqualByBytesAlone() {
        #expect(Text("é") != Text("e\u{301}"))
        #expect(Text("a") == "a")
        #expect(Text("a") != "ab")
        #expect(Text() == "")
    }

    @Test func orderIsThatOfBytes() {
        #expect(Text("a") < "b")
        #expect(Text("a") < "aa")
        #expect(Text("Z") < "a")
        #expect(!(Text("") < ""))
        #expect(Text([0x7F]) < Text([0x80]))
    }

    @Test(arguments: [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (6, "aé"), (7, "aé😀"), (8, "aé😀")] as [(Int, Text)])
    func textIsCutWhereACharacterEnds(bytesMax: Int, part: Text) {
        #expect(Text("aé😀").prefix(bytesMax: bytesMax) == part)
    }

    @Test func prefixMayBeEmptyOrWhole() {
        #expect(Text("fault#1").hasPrefix("fault#"))
        #expect(Text("a").hasPrefix(""))
        #expect(Text("").hasPrefix(""))
        #expect(!Text("a").hasPrefix("ab"))
    }

    @Test(arguments: [0, 1, -1, 9, 10, -10, .max, .min] as [Int64])
    func decimalIsReadBack(number: Int64) {
        #expect(Text(decimal: number).string == String(number))
        #expect(Text(decimal: number).decimal == number)
    }

    @Test(arguments: ["", "-", "+", "1a", " 1", "9223372036854775808", "-9223372036854775809", "0x1", "1.0"] as [Text])
    func whatIsNoWholeNumberOf64BitsIsNone(text: Text) {
        #expect(text.decimal == nil)
    }

    @Test func interpolationPutsTextsAndNumbersTogether() {
        let name: Text = "Fault"
        #expect("model \"\(name)\" has \(3) of \(Int64.min)" as Text == "model \"Fault\" has 3 of -9223372036854775808")
    }

    @Test(arguments: [
        [0x61], [0xC3, 0xA9], [0xE2, 0x82, 0xAC], [0xF0, 0x9F, 0x98, 0x80], [0xF4, 0x8F, 0xBF, 0xBF], [],
    ] as [[UInt8]])
    func wellFormedUTF8IsValid(bytes: [UInt8]) {
        #expect(Text(bytes).isValidUTF8)
    }

    @Test(arguments: [
        [0x00], [0x80], [0xC0, 0x80], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF8],
        [0xE2, 0x82],
    ] as [[UInt8]])
    func malformedUTF8IsNot(bytes: [UInt8]) {
        #expect(!Text(bytes).isValidUTF8)
    }

    @Test func hexadecimalIsSixteenDigits() {
        var text = Text()
        text.appendHexadecimal(0x0123_4567_89AB_CDEF)
        #expect(text == "0123456789abcdef")
        #expect(text.hexadecimal == 0x0123_4567_89AB_CDEF)
        #expect(Text("fedcba9876543210").hexadecimal == 0xFEDC_BA98_7654_3210)
        for wrong: Text in ["0123456789abcde", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcd/0", "`123456789abcde0", "012345678:abcdef"] {
            #expect(wrong.hexadecimal == nil)
        }
    }

    @Test func aPartIsFoundWhereverItStands() {
        func isFound(_ part: String, _ whole: String) -> Bool {
            Array(part.utf8).withUnsafeBytes { part in
                Array(whole.utf8).withUnsafeBytes { findBytes(part, in: $0) }
            }
        }
        for part in ["a", "ab", "abc", "\"ab\"", "abcdefghijklmnopqrstuvwxyz"] {
            for before in 0..<40 {
                for after in 0..<20 {
                    let (head, tail) = (String(repeating: ".", count: before), String(repeating: "b", count: after))
                    #expect(isFound(part, head + part + tail))
                    // All but its first, and all but its last byte.
                    #expect(!isFound(part, head + part.dropFirst() + String(repeating: ".", count: after)))
                    if part.count > 1 { #expect(!isFound(part, head + part.dropLast())) }
                }
            }
        }
        #expect(isFound("", ""))
        #expect(isFound("", "a"))
        #expect(!isFound("a", ""))
        #expect(!isFound("ab", "a"))
    }
}
