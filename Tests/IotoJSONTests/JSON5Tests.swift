import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSON5Tests {
    @Test func readsTheWholeLanguage() throws {
        let source = """
            \u{FEFF}// a comment
            {
              /* another */ unquoted: 'single "quoted"', $_1: "double 'quoted'", 'a b': 1, // end of line
              lines: 'one \\
            two', hex: 0xdecaf, lead: .8675309, trail: 8675309., plus: +1, list: [1, 2,], nested: {a: null,},
              "quoted": true /**/ /***/,
            }
            """
        let expected =
            #"{"unquoted":"single \"quoted\"","$_1":"double 'quoted'","a b":1,"lines":"one two","hex":912559,"#
            + #""lead":0.8675309,"trail":8675309.0,"plus":1,"list":[1,2],"nested":{"a":null},"quoted":true}"#
        #expect(try compact(source, .json5) == expected)
    }

    @Test(arguments: [
        ("0x1F", "31"), ("0X0", "0"), ("-0x10", "-16"), ("+0xff", "255"),
        ("0xFFFFFFFFFFFFFFFF", "18446744073709551615"),
        (".5", "0.5"), ("-.5", "-0.5"), ("+.5e1", "0.5e1"), ("5.", "5.0"), ("5.e3", "5.0e3"), ("-5.", "-5.0"),
        ("0.", "0.0"),
        ("+1", "1"), ("+0", "0"), ("-0", "-0"), ("0", "0"), ("1E+5", "1E+5"), ("10", "10"),
        ("12345678901234567890", "12345678901234567890"),
    ])
    func writesNumbersAsJSONHasThem(source: String, literal: String) throws {
        let value = try parse(source, .json5)
        #expect(value == .number(Text(literal)))
        #expect(try parse(literal) == value)
    }

    @Test(arguments: [
        ("0x", "the text ends too early"), ("0xg", "expected hexadecimal digits"),
        ("0x10000000000000000", "the hexadecimal number does not fit 64 bits"),
        ("Infinity", "Infinity and NaN are not values of JSON"),
        ("-Infinity", "Infinity and NaN are not values of JSON"),
        ("+NaN", "Infinity and NaN are not values of JSON"), ("NaN", "Infinity and NaN are not values of JSON"),
        ("010", "a number may not start with a zero and another digit"), (".", "the text ends too early"),
        ("[.]", "malformed number"),
        ("+", "the text ends too early"), ("+-1", "malformed number"), ("- 1", "malformed number"),
        (".e1", "malformed number"),
        ("1e", "the text ends too early"), ("0x1.5", "unexpected text after the value"),
        ("0x-1", "expected hexadecimal digits"),
    ])
    func refusesMalformedNumbers(source: String, reason: String) {
        #expect(message(source, .json5).hasSuffix(": " + reason), "\(message(source, .json5))")
    }

    @Test func readsEscapes() throws {
        let source = #"'\x41\xe9\v\'\"\a\😀\/\u0041\b\f\n\r\t\\'"#
        #expect(try parse(source, .json5) == .string(Text("Aé\u{B}'\"a😀/A\u{8}\u{C}\n\r\t\\")))
    }

    @Test(arguments: ["\n", "\r", "\r\n", "\u{2028}", "\u{2029}"])
    func joinsContinuedLines(lineBreak: String) throws {
        #expect(try parse("'a\\\(lineBreak)b'", .json5) == .string("ab"))
    }

    @Test(arguments: [
        (#"'\0'"#, "a string may not hold a NUL character"), (#"'\x00'"#, "a string may not hold a NUL character"),
        (#"'\u0000'"#, "a string may not hold a NUL character"), (#"'\1'"#, "unknown escape"),
        (#"'\9'"#, "unknown escape"), (#"'\x4'"#, "expected hexadecimal digits"),
        (#"'\ud800'"#, "a surrogate stands without its other half"),
        ("'a\nb'", "a control character in a string must be escaped"),
        ("'a\rb'", "a control character in a string must be escaped"),
        ("'a", "a string is not closed"), ("'a\"", "a string is not closed"), ("'a\\", "a string is not closed"),
        ("'\\\u{0}'", "a string may not hold a NUL character"),
    ])
    func refusesMalformedStrings(source: String, reason: String) {
        #expect(message(source, .json5).hasSuffix(": " + reason), "\(message(source, .json5))")
    }

    @Test func refusesInvalidUTF8AfterABackslash() {
        #expect(message([0x27, 0x5C, 0xFF, 0x27], .json5).hasSuffix("the bytes are not valid UTF-8"))
        #expect(message([0x27, 0x5C, 0xE2, 0x27], .json5).hasSuffix("the bytes are not valid UTF-8"))
    }

    @Test func stringsMayHoldTabsAndSeparators() throws {
        #expect(try parse("'a\tb\u{2028}c'", .json5) == .string("a\tb\u{2028}c"))
    }

    @Test(arguments: [
        "\t", "\u{B}", "\u{C}", " ", "\u{A0}", "\u{FEFF}", "\n", "\r", "\u{2028}", "\u{2029}", "\u{1680}", "\u{2000}",
        "\u{200A}",
        "\u{202F}", "\u{205F}", "\u{3000}", "//\n", "// x\r", "// x\u{2028}", "/**/", "/* * / ** \n */",
    ])
    func skipsWhiteSpaceAndComments(space: String) throws {
        #expect(
            try compact(
                "\(space)[\(space)1\(space),\(space){\(space)a\(space):\(space)2\(space)}\(space)]\(space)", .json5)
                == #"[1,{"a":2}]"#)
    }

    @Test(arguments: [
        ("/* x", "a comment is not closed"), ("/*/", "a comment is not closed"), ("/* *", "a comment is not closed"),
        ("/", "expected a value"), ("/x", "expected a value"), ("1 /", "expected a value"),
        ("// x", "the text ends too early"),
    ])
    func refusesOpenComments(source: String, reason: String) {
        #expect(message(source, .json5).hasSuffix(": " + reason), "\(message(source, .json5))")
    }

    @Test func commentsMayEndTheText() throws {
        #expect(try parse("1 // x", .json5) == .number("1"))
        #expect(try parse("1//", .json5) == .number("1"))
    }

    @Test func readsNamesBeyondASCII() throws {
        #expect(
            try compact(#"{ä: 1, $: 2, _a1: 3, \u0061b\u00e9: 4, null: 5, 日本: 6}"#, .json5)
                == #"{"ä":1,"$":2,"_a1":3,"abé":4,"null":5,"日本":6}"#)
    }

    @Test(arguments: [
        ("{1a: 1}", "expected a member name"), ("{a-b: 1}", "expected ':' after the member name"),
        ("{: 1}", "expected a member name"),
        ("{,}", "expected a member name"), ("{a:1,,}", "expected a member name"),
        (#"{\u0031a: 1}"#, "expected a member name"),
        (#"{a\u002db: 1}"#, "expected a member name"), (#"{a\n: 1}"#, "unknown escape"), ("[,]", "expected a value"),
        ("[1,,]", "expected a value"), ("{a", "the text ends too early"), (#"{a\"#, "unknown escape"),
        ("{a:", "the text ends too early"),
    ])
    func refusesMalformedMembers(source: String, reason: String) {
        #expect(message(source, .json5).hasSuffix(": " + reason), "\(message(source, .json5))")
    }

    @Test func jsonIsJSON5() throws {
        let source = #"{"a":[1,-2.5e-3,"x\u00e9",true,false,null,{}]}"#
        #expect(try parse(source, .json5) == parse(source))
    }
}
