import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONPathTests {
    let value = try! parse(#"{"a":{"b":[10,{"c":"x"},[true]],"":1},"n":null,"s":"t","0":"zero"}"#)

    @Test(
        arguments: [
            ("a.b.0", "10"), ("a.b.1.c", "\"x\""), ("a.b.2.0", "true"), ("n", "null"), ("0", "\"zero\""), ("a.", "1"),
        ] as [(Text, Text)])
    func findsValues(path: Text, expected: Text) {
        #expect(value.value(at: path)?.text == expected.bytes)
        #expect(value.objectValue?.value(at: path)?.text == expected.bytes)
    }

    @Test(
        arguments: [
            "", "x", "a.x", "a.b.3", "a.b.00", "a.b.-1", "a.b.+1", "a.b.x", "a.b.", "a.b.1.c.d", "n.x", "s.0", ".",
            "a..b", "a.b.99999999999999999999",
            "a.b.1 ", "a.b.999999999",
        ] as [Text])
    func findsNothingElsewhere(path: Text) {
        #expect(value.value(at: path) == nil)
    }

    @Test(
        arguments: [
            ("{}", "a", "{\"a\":9}"), ("{}", "a.b.c", "{\"a\":{\"b\":{\"c\":9}}}"),
            ("{\"a\":1,\"b\":2}", "a", "{\"a\":9,\"b\":2}"),
            ("{\"a\":null}", "a.b", "{\"a\":{\"b\":9}}"), ("null", "a", "{\"a\":9}"),
            ("{\"a\":[1]}", "a.0", "{\"a\":[9]}"),
            ("{\"a\":[1]}", "a.1", "{\"a\":[1,9]}"), ("{\"a\":[1]}", "a.1.b", "{\"a\":[1,{\"b\":9}]}"),
            ("{\"a\":[{}]}", "a.0.b", "{\"a\":[{\"b\":9}]}"),
            ("[]", "0", "[9]"), ("{}", "a.0", "{\"a\":{\"0\":9}}"), ("{}", "", "{\"\":9}"),
            ("{}", "a.", "{\"a\":{\"\":9}}"),
            ("{\"a\":{\"b\":1,\"c\":2}}", "a.b", "{\"a\":{\"b\":9,\"c\":2}}"), ("[[[1]]]", "0.0.0", "[[[9]]]"),
        ] as [(String, Text, String)])
    func setsValues(source: String, path: Text, expected: String) throws {
        var value = try parse(source)
        let isSet = value.set(.integer(9), at: path)
        #expect(isSet)
        #expect(Text(value.text).string == expected)
        if var object = try parse(source).objectValue {
            let isSet = object.set(.integer(9), at: path)
            #expect(isSet)
            #expect(Text(object.text).string == expected)
        }
    }

    @Test(
        arguments: [
            ("{\"a\":1}", "a.b"), ("{\"a\":\"x\"}", "a.0"), ("{\"a\":[1]}", "a.2"), ("{\"a\":[1]}", "a.x"),
            ("{\"a\":[1]}", "a.01"), ("{\"a\":[1]}", "a.x.y"),
            ("{\"a\":[1]}", "a.0.b"), ("{\"a\":[]}", "a."), ("true", "a"), ("{\"a\":{\"b\":[true]}}", "a.b.0.c.d"),
            ("[1]", "99999999999"),
        ] as [(String, Text)])
    func refusesPathsThatLeadNowhere(source: String, path: Text) throws {
        for newValue in [JSON.integer(9), nil] {
            var value = try parse(source)
            let isSet = value.set(newValue, at: path)
            #expect(!isSet)
            #expect(Text(value.text).string == source)
        }
    }

    @Test(
        arguments: [
            ("{\"a\":1,\"b\":2}", "a", "{\"b\":2}"), ("{\"a\":{\"b\":1}}", "a.b", "{\"a\":{}}"),
            ("{\"a\":[1,2,3]}", "a.1", "{\"a\":[1,3]}"),
            ("{}", "a", "{}"), ("{}", "a.b.c", "{}"), ("{\"a\":null}", "a.b", "{\"a\":null}"), ("[1]", "1", "[1]"),
            ("[1]", "1.x", "[1]"), ("[1]", "0", "[]"),
            ("null", "a", "null"), ("{\"a\":null}", "a", "{}"),
        ] as [(String, Text, String)])
    func removesValues(source: String, path: Text, expected: String) throws {
        var value = try parse(source)
        let isRemoved = value.set(nil, at: path)
        #expect(isRemoved)
        #expect(Text(value.text).string == expected)
    }

    @Test func setsToTheNestingLimitAndNoDeeper() throws {
        func path(_ count: Int) -> Text { Text(Array(repeating: "a", count: count).joined(separator: ".")) }
        let empty = JSON.object([:])
        for (member, count) in [
            (JSON.null, Limits.nestingMax + 1), (.array([]), Limits.nestingMax),
            (.array([.array([])]), Limits.nestingMax - 1),
            (nil, 100_000),
        ] {
            var value = empty
            let isSet = value.set(member, at: path(count))
            #expect(!isSet)
            #expect(value == empty)
        }
        var value = empty
        let isSet = value.set(.array([]), at: path(Limits.nestingMax - 1))
        #expect(isSet)
        #expect(value.depth == Limits.nestingMax)
        #expect(try JSON.parse(value.text) == value)
    }
}
