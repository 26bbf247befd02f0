import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// Conversion of values to the types of their fields, and the attributes of fields.
@Suite struct FieldTests {
    // MARK: - Types

    @Test(arguments: [
        ("string", "'x'", #""x""#), ("string", "''", #""""#), ("string", "5.00", #""5.00""#),
        ("string", "true", #""true""#),
        ("String", "'x'", #""x""#),
        ("number", "5", "5"), ("number", "5.00", "5.00"), ("number", "'5'", "5"),
        ("number", "'-1.50e3'", "-1.50e3"),
        ("number", "12345678901234567890123", "12345678901234567890123"), ("number", "'0x1F'", "31"),
        ("number", "'+7'", "7"), ("number", "' 8 '", "8"),
        ("number", "'9223372036854775808'", "9223372036854775808"),
        ("boolean", "true", "true"), ("boolean", "false", "false"), ("boolean", "'true'", "true"),
        ("boolean", "'false'", "false"), ("boolean", "1", "true"), ("boolean", "0", "false"),
        ("boolean", "'1'", "true"),
        ("boolean", "'0'", "false"), ("boolean", "1.0", "true"),
        ("date", "1795218048312", "1795218048312"), ("date", "'2026-11-20T23:40:48.312Z'", "1795218048312"),
        ("date", "'1795218048312'", "1795218048312"), ("date", "'2026-11-21T01:40:48.312+02:00'", "1795218048312"),
        ("date", "1795218048312.9", "1795218048312"), ("date", "0", "0"),
        ("date", "-62167219200000", "-62167219200000"),
        ("date", "'1970-01-01'", "0"),
        ("object", "{a: 1, b: {c: null}}", #"{"a":1,"b":{"c":null}}"#), ("object", "'{a: 1}'", #"{"a":1}"#),
        ("object", "{}", "{}"),
        ("array", "[1, 'a', null]", #"[1,"a",null]"#), ("array", "'[1, 2,]'", "[1,2]"), ("array", "[]", "[]"),
        ("set", "['a', 'b', 'a']", #"["a","b"]"#), ("set", "[1, 1.0, 2]", "[1,2]"), ("set", "[]", "[]"),
        ("set", "'[1, 1]'", "[1]"),
        ("binary", "'aGVsbG8='", #""aGVsbG8=""#), ("buffer", "''", #""""#), ("Buffer", "'aa=='", #""aa==""#),
        ("binary", "'+/+/'", #""+/+/""#),
    ])
    func valueIsConvertedToItsType(type: String, given: String, stored: String) throws {
        let model = try model("f: {type: '\(type)'}")
        #expect(try model.created("{id: 'a', f: \(given)}") == #"{"id":"a","f":\#(stored)}"#)
    }

    @Test(arguments: [
        ("string", "{}", "{} is not a text"), ("string", "[1]", "[1] is not a text"),
        ("number", "'abc'", "\"abc\" is not a number"), ("number", "''", "\"\" is not a number"),
        ("number", "true", "true is not a number"), ("number", "'5x'", "\"5x\" is not a number"),
        ("number", "'NaN'", "\"NaN\" is not a number"), ("number", "'Infinity'", "\"Infinity\" is not a number"),
        ("number", "'[5]'", "\"[5]\" is not a number"), ("number", "{}", "{} is not a number"),
        ("boolean", "2", "2 is not a boolean"), ("boolean", "'yes'", "\"yes\" is not a boolean"),
        ("boolean", "0.5", "0.5 is not a boolean"), ("boolean", "[]", "[] is not a boolean"),
        ("date", "'soon'", "\"soon\" is not a date"), ("date", "true", "true is not a date"),
        ("date", "'2026-02-30'", "\"2026-02-30\" is not a date"), ("date", "{}", "{} is not a date"),
        ("date", "253402300800000", "253402300800000 is not a date of the years 0 to 9999"),
        ("date", "1e300", "1e300 is not a date of the years 0 to 9999"),
        ("object", "[]", "[] is not an object"), ("object", "'{a'", "\"{a\" is not an object"),
        ("object", "'[]'", "\"[]\" is not an object"), ("object", "5", "5 is not an object"),
        ("array", "{}", "{} is not an array"), ("array", "'a,b'", "\"a,b\" is not an array"),
        ("set", "{}", "{} is not a set"), ("set", "[true]", "an element is neither a text nor a number"),
        ("set", "[null]", "an element is neither a text nor a number"),
        ("set", "[1, '1']", "texts and numbers are mixed in a set"),
        ("binary", "'abc'", "\"abc\" is not base64 text"), ("binary", "'ab=c'", "\"ab=c\" is not base64 text"),
        ("binary", "'===='", "\"====\" is not base64 text"), ("binary", "'a-_b'", "\"a-_b\" is not base64 text"),
        ("binary", "5", "5 is not base64 text"),
    ])
    func valueThatDoesNotFitIsRefused(type: String, given: String, message: String) throws {
        let model = try model("count: {type: '\(type)'}")
        expectError(.field, "model \"Fault\": field \"count\": \(message)") {
            try model.created("{id: 'a', count: \(given)}")
        }
    }

    @Test func longValueIsCutOffInMessages() throws {
        let model = try model("n: {type: 'number'}")
        let message = error { try model.created("{id: 'a', n: '\(String(repeating: "x", count: 1000))'}") }.message
        #expect(
            message == "model \"Fault\": field \"n\": \"\(String(repeating: "x", count: 56))... is not a number")
    }

    @Test func fieldWithoutTypeIsAString() throws {
        #expect(try model("f: {}").created("{id: 'a', f: 5}") == #"{"id":"a","f":"5"}"#)
    }

    // MARK: - Dates

    @Test func isoDatesStoreText() throws {
        let model = try model("at: {type: 'date'}", params: "isoDates: true")
        let stored = #"{"id":"a","at":"2026-11-20T23:40:48.312Z"}"#
        #expect(try model.created("{id: 'a', at: 1795218048312}") == stored)
        #expect(try model.created("{id: 'a', at: '2026-11-20T23:40:48.3129Z'}") == stored)
    }

    @Test func fieldOverridesIsoDates() throws {
        let model = try model(
            "at: {type: 'date', isoDates: false}, on: {type: 'date'}", params: "isoDates: true")
        #expect(
            try model.created("{id: 'a', at: '1970-01-01', on: 0}")
                == #"{"id":"a","at":0,"on":"1970-01-01T00:00:00.000Z"}"#)
    }

    // MARK: - Nested fields

    @Test func nestedFieldsAreConvertedAndCompleted() throws {
        let model = try model(
            """
            net: {type: 'object', schema: {
                port: {type: 'number', required: true}, proto: {type: 'string', default: 'tcp', enum: ['tcp', 'udp']},
                dns: {type: 'array', items: {type: 'string'}},
                link: {type: 'object', schema: {up: {type: 'boolean'}}}}}
            """)
        #expect(
            try model.created("{id: 'a', net: {x: 1, dns: [1, 'b'], port: '80', link: '{up: 1}'}}")
                == #"{"id":"a","net":{"port":80,"proto":"tcp","dns":["1","b"],"link":{"up":true},"x":1}}"#)
        #expect(try model.created("{id: 'a'}") == #"{"id":"a"}"#)
    }

    @Test(arguments: [
        ("{port: 'x'}", "net.port", "\"x\" is not a number"),
        ("{}", "net.port", "is required"),
        ("{port: 1, dns: ['a', {}]}", "net.dns.1", "{} is not a text"),
        ("{port: 1, hops: [{ttl: 1}, {ttl: []}]}", "net.hops.1.ttl", "[] is not a number"),
        ("{port: 1, proto: 'x'}", "net.proto", "\"x\" is none of the values of its enum"),
    ])
    func faultInANestedFieldNamesItsPath(net: String, path: String, message: String) throws {
        let model = try model(
            """
            net: {type: 'object', schema: {port: {type: 'number', required: true}, proto: {enum: ['tcp']},
                dns: {type: 'array', items: {type: 'string'}},
                hops: {type: 'array', items: {type: 'object', schema: {ttl: {type: 'number'}}}}}}
            """)
        expectError(.field, "model \"Fault\": field \"\(path)\": \(message)") {
            try model.created("{id: 'a', net: \(net)}")
        }
    }

    @Test func itemsGiveSetsTheirType() throws {
        let model = try model("tags: {type: 'set', items: {type: 'number'}}")
        #expect(try model.created("{id: 'a', tags: ['1', 1, 2]}") == #"{"id":"a","tags":[1,2]}"#)
    }

    // MARK: - Attributes

    @Test func requiredFieldIsMissed() throws {
        let model = try model("name: {type: 'string', required: true}")
        let message = "model \"Fault\": field \"name\": is required"
        expectError(.field, message) { try model.created("{id: 'a'}") }
        expectError(.field, message) { try model.created("{id: 'a', name: null}") }
        #expect(try model.created("{id: 'a', name: ''}") == #"{"id":"a","name":""}"#)
    }

    @Test func requiredIsMetByDefaultGeneratedValueAndContext() throws {
        let model = try model(
            "a: {required: true, default: 'x'}, b: {required: true, generate: 'uid(3)'}, deviceId: {required: true}"
        )
        #expect(
            try model.created("{id: '1'}", ["deviceId": "d1"]) == #"{"id":"1","a":"x","b":"001","deviceId":"d1"}"#)
    }

    @Test(arguments: [
        ("string", "'x'", #""x""#), ("number", "'5'", "5"), ("boolean", "false", "false"),
        ("date", "'1970-01-01'", "0"),
        ("object", "{a: [1]}", #"{"a":[1]}"#), ("array", "[]", "[]"), ("set", "[1, 1]", "[1]"),
        ("string", "'${id}'", #""${id}""#),
    ])
    func defaultIsAConstantOfTheFieldsType(type: String, value: String, stored: String) throws {
        let model = try model("f: {type: '\(type)', default: \(value)}")
        #expect(try model.created("{id: 'a'}") == #"{"id":"a","f":\#(stored)}"#)
        #expect(try model.created("{id: 'a', f: null}") == #"{"id":"a"}"#)
    }

    @Test func givenValueTakesPrecedenceOverDefault() throws {
        #expect(try model("f: {default: 'x'}").created("{id: 'a', f: ''}") == #"{"id":"a","f":""}"#)
    }

    @Test(arguments: [
        ("default: {}", "default: {} is not a text"),
        ("type: 'number', default: 'x'", "default: \"x\" is not a number"),
        ("enum: ['a'], default: 'b'", "default: \"b\" is none of the values of its enum"),
        ("enum: []", "enum [] is not a list of values"), ("enum: 'a'", "enum \"a\" is not a list of values"),
        ("type: 'number', enum: ['x']", "enum: \"x\" is not a number"),
        ("enum: [null]", "enum: null is not a text"),
        ("required: 'yes'", "required: \"yes\" is not a boolean"), ("hidden: 1", "hidden: 1 is not a boolean"),
        ("isoDates: 1", "isoDates: 1 is not a boolean"), ("nulls: 'no'", "nulls: \"no\" is not a boolean"),
        ("type: 5", "type: 5 is not a text"), ("type: 'float'", "unknown type \"float\""),
        ("type: 'object', schema: []", "schema: [] is not an object"),
        ("type: 'object', schema: {'a.b': {}}", "\"a.b\" is no name of a field: 1 to 255 bytes without a dot"),
        (
            "generate: 'guid'",
            "generate \"guid\" is none of true, 'ulid', 'uuid', 'uid', 'uid(n)' with n from 1 to 64"
        ),
        (
            "generate: 'uid(0)'",
            "generate \"uid(0)\" is none of true, 'ulid', 'uuid', 'uid', 'uid(n)' with n from 1 to 64"
        ),
        (
            "generate: 'uid(65)'",
            "generate \"uid(65)\" is none of true, 'ulid', 'uuid', 'uid', 'uid(n)' with n from 1 to 64"
        ),
        ("type: 'number', generate: true", "a generated value is a string"),
        ("value: 5", "value: 5 is not a text"), ("value: ''", "the template is empty"),
        ("type: 'number', value: '${id}'", "a template makes a string"),
        ("partial: 1", "partial: 1 is not a boolean"), ("filter: 'x'", "filter: \"x\" is not a boolean"),
        ("ttl: 'soon'", "ttl: \"soon\" is not a boolean"), ("type: 'array', items: 5", "items: 5 is not an object"),
        ("uuid: 'guid'", "uuid \"guid\" is none of true, 'ulid', 'uuid', 'uid', 'uid(n)' with n from 1 to 64"),
        ("type: 'array', items: {type: 'odd'}", "items: unknown type \"odd\""),
    ])
    func wrongAttributesAreRefused(attributes: String, message: String) {
        let found = error { try schema("sk: {value: 'f#${id}'}, id: {},\n f: {\(attributes)}") }
        #expect(found.code == .schema)
        #expect(found.message == "schema.json5:8: model \"Fault\": field \"f\": \(message)")
    }

    @Test func fieldThatIsNoObjectIsRefused() {
        expectError(.schema, "schema.json5:7: model \"Fault\": field \"sk\": \"string\" is not an object") {
            try schema("sk: 'string'")
        }
    }

    @Test func enumAllowsItsValuesAlone() throws {
        let model = try model("s: {enum: ['low', 'high']}, n: {type: 'number', enum: [1, '2.50']}")
        #expect(try model.created("{id: 'a', s: 'high', n: '1.0'}") == #"{"id":"a","s":"high","n":1.0}"#)
        #expect(try model.created("{id: 'a', n: 2.5}") == #"{"id":"a","n":2.5}"#)
        expectError(.field, "model \"Fault\": field \"s\": \"High\" is none of the values of its enum") {
            try model.created("{id: 'a', s: 'High'}")
        }
        expectError(.field, "model \"Fault\": field \"n\": 3 is none of the values of its enum") {
            try model.created("{id: 'a', n: 3}")
        }
    }

    @Test func enumHoldsForUpdates() throws {
        let model = try model("s: {enum: ['low', 'high']}")
        #expect(error { try model.updated("{id: 'a', s: 'low'}", "{s: 'x'}") }.code == .field)
    }

    @Test(arguments: [
        ("generate: true", 26), ("generate: 'ulid'", 26), ("generate: 'uuid'", 36), ("generate: 'uid'", 10),
        ("generate: 'uid(1)'", 1), ("generate: 'uid(64)'", 64), ("uuid: 'ulid'", 26), ("uuid: true", 36),
        ("uuid: 'uuid'", 36),
    ])
    func valueIsGeneratedWhenNoneIsGiven(attribute: String, length: Int) throws {
        let model = try model("f: {\(attribute)}")
        let item = try model.makeItem(try object("{id: 'a'}"), context: [:], now: now)
        #expect(item.body["f"]?.stringValue?.count == length)
        #expect(try model.created("{id: 'a', f: 'own'}") == #"{"id":"a","f":"own"}"#)
        #expect(try model.updated("{id: 'a'}", "{}") == #"{"id":"a"}"#)
    }

    @Test func generateOfFalseGeneratesNothing() throws {
        #expect(try model("f: {generate: false}").created("{id: 'a'}") == #"{"id":"a"}"#)
    }

    @Test func hiddenIsParsed() throws {
        #expect(try model("f: {hidden: true}").field(at: "f")?.attributes.isHidden == true)
    }

    @Test func nullsAreStoredWhereTheSchemaSaysSo() throws {
        let some = try model("a: {nulls: true}, b: {}, c: {nulls: true, default: 'x'}")
        #expect(try some.created("{id: 'a', a: null, b: null, c: null}") == #"{"id":"a","a":null,"c":null}"#)
        #expect(try some.updated(#"{"id":"a","a":"1","b":"2"}"#, "{a: null, b: null}") == #"{"id":"a","a":null}"#)
        let all = try model("a: {}, b: {nulls: false}, r: {required: true, default: 'x'}", params: "nulls: true")
        #expect(try all.created("{id: 'a', a: null, b: null}") == #"{"id":"a","a":null,"r":"x"}"#)
        #expect(error { try all.created("{id: 'a', r: null}") }.code == .field)
    }

    @Test(arguments: [
        ("crypt: true", "'crypt' is not supported: the value is stored as it is"),
        ("fixed: true", "attribute \"fixed\" is read over"), ("pack: 1", "attribute \"pack\" is read over"),
        ("sparkle: 1", "unknown attribute \"sparkle\""),
    ])
    func attributeWithoutEffectHereWarns(attribute: String, message: String) throws {
        let schema = try schema("sk: {value: 'f#${id}'}, id: {},\n f: {\(attribute)}")
        #expect(schema.warnings == [Text("schema.json5:8: model \"Fault\": field \"f\": \(Text(message))")])
    }

    @Test(arguments: [
        "description: 'x'", "reference: 'a:b'", "unique: false", "unique: true", "type: 'date', ttl: true", "filter: true", "ttl: false", "crypt: null",
        "required: null", "hidden: null", "nulls: null", "validate: null", "map: null", "encode: null", "enum: null",
        "value: null", "value: false", "generate: null", "timestamp: true", "partial: true", "crypt: false",
    ])
    func attributeThatSaysNothingIsSilent(attribute: String) throws {
        #expect(try schema("sk: {value: 'f#${id}'}, id: {}, f: {\(attribute)}").warnings.isEmpty)
    }

    @Test(arguments: [
        ("schema: {}", "'schema' has an effect on fields of type object alone"),
        ("items: {}", "'items' has an effect on fields of type array and set alone"),
        ("type: 'object', enum: [1]", "'enum' has an effect on scalar values alone"),
        ("type: 'array', items: {type: 'object'}, enum: [1]", "'enum' has an effect on scalar values alone"),
        ("value: 'x', default: 'y'", "'default' has no effect beside a template"),
        (
            "type: 'array', items: {type: 'object', schema: {g: {value: 'x'}}}",
            "a template has no effect in the elements of an array"
        ),
        ("type: 'object', validate: 'x'", "'validate' has an effect on scalar fields alone; 'items' can have it"),
    ])
    func attributeOnTheWrongTypeWarns(attributes: String, message: String) throws {
        let warnings = try schema("sk: {value: 'f#${id}'}, id: {}, f: {\(attributes)}").warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.string.hasSuffix(message) == true)
    }

    // MARK: - Texts

    @Test func textsAreConvertedByPath() throws {
        let model = try model(
            """
            n: {type: 'number'},
            net: {type: 'object', schema: {up: {type: 'boolean'}, dns: {type: 'array', items: {type: 'number'}}}}
            """
        )
        #expect(try model.convert("5", field: "n") == .number("5"))
        #expect(try model.convert("true", field: "net.up") == .bool(true))
        #expect(try model.convert("7", field: "net.dns.3") == .number("7"))
        #expect(try model.convert("7", field: "net.other") == .string("7"))
        #expect(try model.convert("7", field: "other") == .string("7"))
        expectError(.field, "model \"Fault\": field \"net.up\": \"x\" is not a boolean") {
            try model.convert("x", field: "net.up")
        }
    }

    @Test func manyFieldsAreFoundByName() throws {
        let fields = (0..<40).map { "f\($0): {type: 'number'}" }.joined(separator: ",")
        let model = try model(fields)
        #expect(model.field(at: "f39")?.type == .number)
        #expect(model.field(at: "f40") == nil)
        #expect(try model.created("{id: 'a', f39: '1', f0: '2'}") == #"{"id":"a","f0":2,"f39":1}"#)
    }
}
