import IotoBase
import Testing

@testable import IotoJSON

/// The raw text of a member, nil when the scanner finds none.
func scan(_ path: Text, _ source: String) -> String? {
    let bytes = [UInt8](source.utf8)
    return bytes.withUnsafeBytes { buffer in
        JSONScanner.member(path, in: buffer).map { String(decoding: buffer[$0], as: UTF8.self) }
    }
}

@Suite struct JSONScannerTests {
    let source =
        #" { "n" : -1.5e3 , "s" : "a\"}]b\\" , "o" : { "x" : "#
        + #"[ 1 , { "y" : true } , "é" ] , "e" : { } } , "z" : null } "#

    @Test(
        arguments: [
            ("n", "-1.5e3"), ("s", #""a\"}]b\\""#), ("o.x.0", "1"), ("o.x.1.y", "true"),
            ("o.x.1", #"{ "y" : true }"#), ("o.x.2", "\"é\""),
            ("o.e", "{ }"), ("z", "null"), ("o.x", #"[ 1 , { "y" : true } , "é" ]"#),
        ] as [(Text, String)])
    func findsTheRawValue(path: Text, raw: String) throws {
        #expect(scan(path, source) == raw)
        #expect(try compact(source) != "" && parse(raw) == parse(source).value(at: path))
    }

    @Test(
        arguments: ["", "x", "o.y", "o.x.3", "o.x.00", "o.x.y", "n.0", "s.0", "z.z", "o.e.a", "o.x.1.y.0", "."]
            as [Text])
    func findsNothingElsewhere(path: Text) {
        #expect(scan(path, source) == nil)
    }

    @Test func findsNamesWithEscapes() {
        #expect(scan("a\"b", #"{"a\"b":1}"#) == "1")
        #expect(scan("é", #"{"x":0,"\u00E9":[2]}"#) == "[2]")
        #expect(scan("\u{1}", #"{"\u0001":3}"#) == "3")
        #expect(scan(#"\u0001"#, #"{"\u0001":3}"#) == nil)
        #expect(scan("", #"{"":4}"#) == "4")
    }

    @Test func doesNotMistakeNestedNames() {
        #expect(scan("a", #"{"b":{"a":1},"c":"\"a\":2","a":3}"#) == "3")
        #expect(scan("ab", #"{"a":1,"abc":2,"ab":3}"#) == "3")
    }

    @Test func deepNestingTakesNoStack() {
        let deep = String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000)
        #expect(scan("b", "{\"a\":\(deep),\"b\":1}") == "1")
    }

    @Test(arguments: [
        "", " ", "1", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\": ", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":[",
        "{\"a\":{\"b\":1", "[", "[1", "{\"b\":1 \"a\":2}",
        "{\"b\"", "{\"\\", "{\"\\u00", "{,", "{\"a\":}", "{\"a\":,", "{1:2}", "{\"b\":}", "]", "}",
    ])
    func brokenTextGivesNothing(source: String) {
        #expect(scan("a", source) == nil)
    }

    @Test func decodesOneValue() {
        func decode(_ source: String) -> JSON? { [UInt8](source.utf8).withUnsafeBytes { JSONScanner.decode($0) } }
        #expect(decode("\"x\"") == .string("x"))
        #expect(decode("[1]") == .array([.number("1")]))
        #expect(decode("[1") == nil)
        #expect(decode("") == nil)
        #expect(JSONScanner.decode(UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
        #expect(JSONScanner.member("a", in: UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
    }
}
