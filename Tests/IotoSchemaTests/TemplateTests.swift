import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct TemplateTests {
    /// What a template gives for properties; nil when one is missing.
    private func value(_ template: String, _ properties: String, fields: String = "", params: String = "") throws
        -> Text?
    {
        let model = try model("\(fields) t: {value: '\(template)'}", params: params)
        return try model.makeItem(try object("{id: '1', \(properties)}"), context: [:], now: now).body["t"]?
            .stringValue
    }

    @Test(arguments: [
        ("plain", "plain"), ("${a}", "x"), ("a#${a}#b", "a#x#b"), ("${a}${n}", "x7"), ("${o.p}", "deep"),
        ("${o.q.1}", "2"),
        ("$a", "$a"), ("$", "$"), ("{a}", "{a}"), ("}", "}"), ("${a}}", "x}"), ("$${a}", "$x"),
        ("${n:3}", "007"), ("${n:3:_}", "__7"), ("${n:1}", "7"), ("${n:0}", "7"), ("${n:3::}", "::7"),
        ("${n:3: }", "  7"),
        ("${a:4}", "000x"), ("${e:3}", "00é"), ("${f:3}", "0😀"), ("${yes}", "true"), ("${empty}!", "!"),
        ("${neg:4}", "00-5"), ("${_type}#${a}", "Fault#x"),
    ])
    func propertiesAreFilledIn(template: String, expected: String) throws {
        let properties = "a: 'x', n: 7, o: {p: 'deep', q: [1, 2]}, e: 'é', f: '😀', yes: true, empty: '', neg: -5"
        let fields =
            """
            a: {}, n: {type: 'number'}, o: {type: 'object'}, e: {}, f: {}, yes: {type: 'boolean'}, empty: {},
            neg: {type: 'number'},
            """
        #expect(try value(template, properties, fields: fields) == Text(expected))
    }

    @Test(arguments: [
        ("5", "5"), ("5.0", "5"), ("5e2", "500"), ("-0", "0"), ("0.50", "0.5"), ("1.25e1", "12.5"),
        ("12345678901234567890123", "12345678901234567890123"), ("9223372036854775807", "9223372036854775807"),
    ])
    func numbersAreWrittenAsTheCloudWouldReturnThem(number: String, expected: String) throws {
        #expect(try value("${n}", "n: \(number)", fields: "n: {type: 'number'},") == Text(expected))
    }

    @Test func datesAreWrittenAsStored() throws {
        #expect(try value("${at}", "at: '1970-01-01'", fields: "at: {type: 'date'},") == "0")
        #expect(
            try value("${at}", "at: 0", fields: "at: {type: 'date'},", params: "isoDates: true")
                == "1970-01-01T00:00:00.000Z")
    }

    @Test func missingPropertyLeavesTheAttributeOut() throws {
        #expect(try value("${a}", "", fields: "a: {},") == nil)
        #expect(try value("x${a}", "a: null", fields: "a: {},") == nil)
        #expect(try value("${o.p}", "o: {}", fields: "o: {type: 'object'},") == nil)
        #expect(try value("${o.p.q}", "o: {p: 5}", fields: "o: {type: 'object'},") == nil)
    }

    @Test func containerInATemplateIsRefused() throws {
        expectError(.field, "model \"Fault\": field \"o.p\": {} can't be part of a key or a template") {
            try value("${o.p}", "o: {p: {}}", fields: "o: {type: 'object'},")
        }
    }

    @Test func templateMayUseTemplatesBeforeIt() throws {
        let model = try model("a: {}, t: {value: '<${a}>'}, u: {value: '${t}${t}!'}")
        #expect(try model.created("{id: '1', a: 'x'}") == #"{"id":"1","a":"x","t":"<x>","u":"<x><x>!"}"#)
        #expect(try model.created("{id: '1'}") == #"{"id":"1"}"#)
    }

    @Test(arguments: [
        ("t: {value: '${t}'}", "t", "its template uses 't', a template that does not stand before it"),
        (
            "t: {value: '${u}'}, u: {value: 'x'}", "t",
            "its template uses 'u', a template that does not stand before it"
        ),
        ("t: {value: 'x'}, u: {value: '${t:5}'}", "u", "its template pads, or goes into, 't', which is a template"),
        (
            "t: {value: 'x'}, u: {value: '${t.a}'}", "u",
            "its template pads, or goes into, 't.a', which is a template"
        ),
        (
            "t: {value: '${o}'}, o: {type: 'object'}", "t",
            "its template uses 'o', which is neither a text, a number, a boolean nor a date"
        ),
        (
            "t: {value: '${o.s}'}, o: {type: 'object', schema: {s: {type: 'set'}}}", "t",
            "its template uses 'o.s', which is neither a text, a number, a boolean nor a date"
        ),
        ("t: {value: 'a${id'}", "t", "template \"a${id\" has a '${' without a '}'"),
        ("t: {value: '${}'}", "t", "template \"${}\" names no property"),
        ("t: {value: '${:5}'}", "t", "template \"${:5}\" names no property"),
        ("t: {value: '${a..b}'}", "t", "template \"${a..b}\" names no property"),
        ("t: {value: '${id:x}'}", "t", "template \"${id:x}\": the length of 'id' is not a number from 0 to 1024"),
        ("t: {value: '${id:-1}'}", "t", "template \"${id:-1}\": the length of 'id' is not a number from 0 to 1024"),
        (
            "t: {value: '${id:1025}'}", "t",
            "template \"${id:1025}\": the length of 'id' is not a number from 0 to 1024"
        ),
        (
            "t: {value: '${id:99999999999999999999}'}", "t",
            "template \"${id:99999999999999999999}\": the length of 'id' is not a number from 0 to 1024"
        ),
        ("t: {value: '${id:}'}", "t", "template \"${id:}\": the length of 'id' is not a number from 0 to 1024"),
        (
            "t: {value: '${id:5:ab}'}", "t",
            "template \"${id:5:ab}\": what 'id' is padded with is no ASCII character"
        ),
        ("t: {value: '${id:5:é}'}", "t", "template \"${id:5:é}\": what 'id' is padded with is no ASCII character"),
        ("t: {value: '${id:5:}'}", "t", "template \"${id:5:}\": what 'id' is padded with is no ASCII character"),
    ])
    func wrongTemplatesAreRefused(fields: String, field: String, message: String) {
        let found = error { try schema("sk: {value: 'f#${id}'}, id: {},\n \(fields)") }
        #expect(found.code == .schema)
        #expect(found.message == "schema.json5:8: model \"Fault\": field \"\(field)\": \(message)")
    }

    @Test func templatesThatMultiplyAreRefused() {
        let fields = (1..<30).map { "t\($0): {value: '${t\($0 - 1)}${t\($0 - 1)}'}" }.joined(separator: ",")
        let message = error { try schema("sk: {value: 'f#${id}'}, id: {}, t0: {value: 'a${id}'}, \(fields)") }
            .message
        #expect(
            message.hasSuffix("field \"t6\": its template has more than 64 parts, with those of templates it uses"))
    }

    @Test func partsBeyondTheirLimitAreRefused() throws {
        func fields(_ count: Int) -> String {
            "sk: {value: 'f#${id}'}, id: {}, t: {value: '" + String(repeating: "${id}", count: count) + "'}"
        }
        #expect(try schema(fields(64)).models.count == 1)
        #expect(error { try schema(fields(65)) }.message.hasSuffix("template has more than 64 parts"))
    }

    @Test func propertyThatNoFieldNamesIsImpliedWithAWarning() throws {
        let schema = try schema("sk: {value: '${deviceId}#${id}'}, id: {}")
        #expect(
            schema.warnings == [
                Text(
                    "schema.json5:7: model \"Fault\": field \"sk\": 'deviceId' of its template is no field of the model"
                        + "; it is taken as a string")
            ])
        let model = try #require(schema.model("Fault"))
        let item = try model.makeItem(try object("{id: 7}"), context: ["deviceId": "d1"], now: now)
        #expect(item.key.sort == "d1#7")
        #expect(text(item.body) == #"{"id":"7","deviceId":"d1"}"#)
        #expect(try model.itemKey(of: item.body) == item.key)
    }

    @Test func impliedFieldsCountToo() throws {
        func fields(_ count: Int) -> String {
            let templates = (0..<(count / 50)).map { template in
                "t\(template): {value: '" + (0..<49).map { "${p\(template)_\($0)}" }.joined() + "'}"
            }
            return templates.joined(separator: ",")
        }
        #expect(try schema("sk: {},\(fields(950))").model("Fault")?.fields.count == 951)
        let message = error { try schema("sk: {},\(fields(1000))") }.message
        #expect(message.hasSuffix("field \"t19\": its template implies more than 1000 fields in the model"))
    }

    @Test func computedFieldIsStoredUnlessAnIndexHoldsIt() throws {
        let model = try model(
            "a: {}, gs1pk: {value: 'all'}, gs1sk: {value: 'a#${a}'}, label: {value: 'L-${a}'}",
            indexes: "primary: {sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}")
        #expect(try model.created("{id: '1', a: 'x'}") == #"{"id":"1","a":"x","label":"L-x"}"#)
        #expect(
            try model.updated(#"{"id":"1","a":"x","label":"L-x"}"#, "{a: 'y'}")
                == #"{"id":"1","a":"y","label":"L-y"}"#)
        #expect(try model.updated(#"{"id":"1","a":"x","label":"L-x"}"#, "{a: null}") == #"{"id":"1"}"#)
    }

    @Test func requiredComputedFieldNeedsItsProperties() throws {
        let model = try model("a: {}, label: {value: 'L-${a}', required: true}")
        expectError(
            .field, "model \"Fault\": field \"label\": is required, but a property of its template is missing"
        ) {
            try model.created("{id: '1'}")
        }
    }
}
