import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `validate`: regular expressions.
@Suite struct PatternTests {
    @Test(arguments: [
        ("/^[a-z]+$/", "abc", true), ("/^[a-z]+$/", "aBc", false), ("/^[a-z]+$/i", "aBc", true),
        ("^[a-z]+$", "abc", true), ("b", "abc", true), ("/b/", "", false), ("/^$/", "", true), ("/x*/", "", true),
        // JavaScript's meaning where PCRE2's own is another.
        ("/^a$/", "a\n", false), ("/^b$/m", "a\nb", true), ("/a.b/", "a\nb", false), ("/a.b/s", "a\nb", true),
        (#"/^\u00e9$/"#, "é", true), ("/^.$/", "é", true), ("/^.$/u", "😀", true), (#"/^\d$/"#, "٣", false),
        ("/[]/", "a", false), ("/b/y", "ab", false), ("/a/gd", "ba", true),
        // Behind the last slash stand the flags: others are part of the expression.
        ("/a/b/", "xa/by", true), ("/a", "x/a", true),
    ])
    func expressionMatchesAsInJavaScript(pattern: String, text: String, isMatch: Bool) throws {
        #expect(try Pattern(Text(pattern)).matches(Text(text)) == isMatch)
    }

    /// Whatever the place of a match, also around the borders of the windows that a long text is searched in.
    @Test(arguments: [0, 1, 63, 64, 65, 66, 129, 130, 131, 5000])
    func matchIsFoundAtEveryPlace(offset: Int) throws {
        for filler in ["a", "é", "😀"] {
            let text = Text(String(repeating: filler, count: offset) + "x1")
            #expect(try Pattern("/x\\d$/").matches(text) == true)
            #expect(try Pattern("/x\\d\\d/").matches(text) == false)
            #expect(try Pattern("/(?<=[aé😀])x/").matches(text) == (offset > 0))
            #expect(try Pattern("/^x/").matches(text) == (offset == 0))
        }
    }

    @Test(arguments: [
        ("/(/", "no regular expression"), ("/[a/", "no regular expression"), ("/a/q", "unknown flag 'q'"),
        ("/\\\\C/", "no regular expression"),
    ])
    func expressionThatIsNoneIsRefusedWithItsPlace(pattern: String, message: String) {
        let found = error { try model("f: {validate: '\(pattern)'}") }
        #expect(found.code == .schema)
        #expect(found.message.hasPrefix("schema.json5:7: model \"Fault\": field \"f\": validate: "), "\(found.message)")
        #expect(found.message.contains(message), "\(found.message)")
    }

    @Test func longestExpressionIsTakenAndALongerOneRefused() throws {
        let text = String(repeating: "a", count: 4096)
        #expect(try Pattern(Text(text)).matches(Text(text)) == true)
        #expect(error { try Pattern(Text(text + "a")) }.code == .field)
        let groups = String(repeating: "(", count: 51) + String(repeating: ")", count: 51)
        #expect(error { try Pattern(Text(groups)) }.code == .field)
    }

    /// Patterns whose search grows exponentially, or just below the limit at every place of a long text.
    @Test(arguments: ["/^(a+)+$/", "/(a|aa)+$/", "/(x+x+)+y/", "/(?:a|b)*c/", "/(?:a*)*b/", "/(a?){30}a{30}c/"])
    func hostileSearchEndsInTime(pattern: String) throws {
        let pattern = try Pattern(Text(pattern))
        for count in [40, 1000, 200_000] {
            let start = Instant.now.monotonic
            _ = pattern.matches(Text(String(repeating: "a", count: count) + "!"))
            _ = pattern.matches(Text(String(repeating: "x", count: count)))
            // A limit of 100 ms each, and room for a machine that is busy with other tests.
            #expect(Instant.now.monotonic - start < 5000)
        }
    }

    @Test func valueThatTakesTooLongIsRefused() throws {
        let model = try model("f: {validate: '/^(a+)+$/'}")
        let message = error { try model.created("{id: 'a', f: '\(String(repeating: "a", count: 40))!'}") }.message
        #expect(message.hasSuffix("takes too long to match with /^(a+)+$/"))
    }

    // MARK: - In a schema

    @Test func valueHasToMatchWhenItIsCreatedOrChanged() throws {
        let model = try model("mac: {validate: '/^[0-9a-f]{4}$/i'}")
        #expect(try model.created("{id: 'a', mac: 'BEef'}") == #"{"id":"a","mac":"BEef"}"#)
        #expect(try model.created("{id: 'a'}") == #"{"id":"a"}"#)
        let message = "model \"Fault\": field \"mac\": \"beefs\" does not match /^[0-9a-f]{4}$/i"
        expectError(.field, message) { try model.created("{id: 'a', mac: 'beefs'}") }
        expectError(.field, message) { try model.updated("{id: 'a', mac: 'beef'}", "{mac: 'beefs'}") }
        // The side that wrote an item may have another schema.
        #expect(try model.replicated("{id: 'a', mac: 'beefs'}") == #"{"id":"a","mac":"beefs"}"#)
        #expect(try model.updated("{id: 'a', mac: 'beefs'}", "{mac: 'beefs', x: 1}").utf8.count > 0)
        #expect(try model.updated("{id: 'a', mac: 'beefs'}", "{mac: null}") == #"{"id":"a"}"#)
    }

    @Test func numbersAndElementsAndNestedFieldsAreMatched() throws {
        let model = try model(
            """
            n: {type: 'number', validate: '/^[1-5]$/'}, tags: {type: 'array', items: {validate: '/^#/'}},
            net: {type: 'object', schema: {ip: {validate: '/^10[.]/'}}}
            """)
        #expect(try model.created("{id: 'a', n: 5.0, tags: ['#x'], net: {ip: '10.1'}}").utf8.count > 0)
        #expect(error { try model.created("{id: 'a', n: 6}") }.message.contains("\"n\": 6 does not match"))
        #expect(error { try model.created("{id: 'a', tags: ['#x', 'y']}") }.message.contains("field \"tags.1\""))
        #expect(error { try model.updated("{id: 'a'}", "{'net.ip': '11.1'}") }.message.contains("field \"net.ip\""))
        #expect(error { try model.updated("{id: 'a', tags: ['#x']}", "{'tags.0': 'y'}") }.message.contains("tags.0"))
    }

    @Test func defaultHasToMatch() {
        #expect(error { try model("f: {validate: '/^a/', default: 'b'}") }.message.hasSuffix("default: \"b\" does not match /^a/"))
    }

    @Test func computedValueHasToMatch() throws {
        let stored = try model("n: {}, label: {value: 'L-${n}', validate: '/^L-[0-9]$/'}")
        #expect(try stored.created("{id: 'a', n: '1'}").hasSuffix(#""label":"L-1"}"#))
        #expect(error { try stored.created("{id: 'a', n: 'x'}") }.message.contains("field \"label\": \"L-x\" does not match"))
        let key = try #require(try schema("sk: {value: 'f#${id}', validate: '/^f#[a-z]$/'}, id: {}").model("Fault"))
        #expect(try key.created("{id: 'a'}") == #"{"id":"a"}"#)
        #expect(error { try key.created("{id: 'ab'}") }.message.contains("field \"sk\": \"f#ab\" does not match"))
    }
}
