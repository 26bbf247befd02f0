import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct ItemPreparationTests {
    // MARK: - New items

    @Test func newItemHasItsKeyAndBody() throws {
        let model = try model("severity: {type: 'string'}, count: {type: 'number', default: 0}")
        let item = try model.makeItem(try object("{severity: 'high', id: '17'}"), context: [:], now: now)
        #expect(item.key == ItemKey(hash: "", sort: "fault#17"))
        #expect(text(item.body) == #"{"id":"17","severity":"high","count":0}"#)
        #expect(item.text == item.body.text)
    }

    @Test func unknownPropertiesAreKeptBehindTheFields() throws {
        #expect(
            try model("b: {}").created("{x: {y: null}, b: 1, id: 'a', w: [1], n: null}")
                == #"{"id":"a","b":"1","x":{"y":null},"w":[1]}"#)
    }

    @Test func nameWithDotsIsAPath() throws {
        let model = try model("net: {type: 'object', schema: {port: {type: 'number'}}}")
        #expect(
            try model.created(
                "{id: 'a', 'net.port': '80', 'net.dns.0': 'x', 'other.deep.er': 1, 'none.at.all': null}")
                == #"{"id":"a","net":{"port":80,"dns":{"0":"x"}},"other":{"deep":{"er":1}},"none":{}}"#)
    }

    @Test func contextOverridesProperties() throws {
        let model = try model("deviceId: {}, slot: {type: 'number'}")
        #expect(
            try model.created(
                "{id: 'a', deviceId: 'x', slot: 1}", ["deviceId": "d1", "slot": "2", "accountId": "acme"])
                == #"{"id":"a","deviceId":"d1","slot":2}"#)
    }

    @Test func contextThatDoesNotFitItsFieldIsRefused() throws {
        let model = try model("slot: {type: 'number'}")
        #expect(error { try model.created("{id: 'a'}", ["slot": "x"]) }.code == .field)
    }

    @Test func typeFieldMayBeGivenButNotChanged() throws {
        let model = try model()
        #expect(try model.created("{id: 'a', _type: 'Fault'}") == #"{"id":"a"}"#)
        let message = "model \"Fault\": field \"_type\": \"Other\" is not the model's name and can't be set"
        expectError(.field, message) { try model.created("{id: 'a', _type: 'Other'}") }
        expectError(.field, message) { try model.updated("{id: 'a'}", "{_type: 'Other'}") }
    }

    @Test func typeFieldInAModelIsImplied() throws {
        let model = try model("_type: {type: 'string', required: true}")
        #expect(try model.created("{id: 'a'}") == #"{"id":"a"}"#)
    }

    @Test func computedFieldMayBeGivenButNotChanged() throws {
        let model = try model("label: {value: 'L-${id}'}")
        #expect(try model.created("{id: 'a', sk: 'fault#a', label: 'L-a'}") == #"{"id":"a","label":"L-a"}"#)
        #expect(try model.created("{id: 'a', sk: null, label: null}") == #"{"id":"a","label":"L-a"}"#)
        let message = "is computed from a template and can't be set"
        expectError(.field, "model \"Fault\": field \"sk\": \(message)") { try model.created("{id: 'a', sk: 'x'}") }
        expectError(.field, "model \"Fault\": field \"label\": \(message)") {
            try model.created("{id: 'a', label: 5}")
        }
        expectError(.field, "model \"Fault\": field \"label.x\": \(message)") {
            try model.created("{id: 'a', 'label.x': 5}")
        }
    }

    // MARK: - Timestamps

    @Test(arguments: [
        ("false", ""), ("true", #","created":1795218048312,"updated":1795218048312"#),
        ("'create'", #","created":1795218048312"#), ("'update'", #","updated":1795218048312"#),
    ])
    func timestampsAreSet(mode: String, stored: String) throws {
        #expect(try model(params: "timestamps: \(mode)").created("{id: 'a'}") == #"{"id":"a"\#(stored)}"#)
    }

    @Test func givenTimestampsAreReplaced() throws {
        #expect(
            try model(params: "timestamps: true, createdField: 'made'").created("{id: 'a', made: 5, updated: 'x'}")
                == #"{"id":"a","made":1795218048312,"updated":1795218048312}"#)
    }

    @Test(arguments: [
        ("{type: 'date', isoDates: true}", #""2026-11-20T23:40:48.312Z""#),
        ("{type: 'string'}", #""2026-11-20T23:40:48.312Z""#),
        ("{type: 'number'}", "1795218048312"),
    ])
    func timestampHasTheTypeOfItsField(field: String, stored: String) throws {
        #expect(
            try model("updated: \(field)", params: "timestamps: 'update'").created("{id: 'a'}")
                == #"{"id":"a","updated":\#(stored)}"#)
    }

    @Test(arguments: ["{type: 'object'}", "{value: '${id}'}", "{type: 'boolean'}"])
    func timestampOfAnotherTypeIsRefused(field: String) {
        let message = error { try model("updated: \(field)", params: "timestamps: true") }.message
        #expect(message.hasSuffix("field \"updated\": a timestamp is a date, a number or a string"))
    }

    @Test func updateKeepsCreatedAndSetsUpdated() throws {
        let model = try model("x: {}", params: "timestamps: true")
        #expect(
            try model.updated(#"{"id":"a","created":5,"updated":6}"#, "{x: 1, created: 9, updated: 9}")
                == #"{"id":"a","x":"1","created":5,"updated":1795218048312}"#)
        #expect(try model.updated("{id: 'a'}", "{created: 9}") == #"{"id":"a","updated":1795218048312}"#)
    }

    // MARK: - Updates

    @Test func updateChangesWhatIsNamedAlone() throws {
        let model = try model("a: {type: 'number'}, b: {default: 'x'}, c: {}")
        #expect(
            try model.updated(#"{"id":"1","a":5.0,"c":"y","z":1}"#, "{a: '6', y: 2}")
                == #"{"id":"1","a":6,"c":"y","z":1,"y":2}"#)
    }

    @Test func nullTakesAPropertyAway() throws {
        #expect(
            try model("a: {}, b: {}").updated("{id: '1', a: 'x', z: 1}", "{a: null, b: null, z: null}")
                == #"{"id":"1"}"#)
    }

    @Test func requiredPropertyCanNotBeTakenAway() throws {
        let model = try model("a: {required: true}, o: {type: 'object', schema: {p: {required: true}}}")
        expectError(.field, "model \"Fault\": field \"a\": is required") {
            try model.updated("{id: '1', a: 'x'}", "{a: null}")
        }
        expectError(.field, "model \"Fault\": field \"o.p\": is required") {
            try model.updated("{id: '1', a: 'x', o: {p: 'y'}}", "{'o.p': null}")
        }
        // An item older than the requirement may still be changed elsewhere.
        #expect(try model.updated("{id: '1'}", "{z: 1}") == #"{"id":"1","z":1}"#)
    }

    @Test(arguments: [
        ("{'net.dns.0': 'x'}", #"{"id":"1","net":{"dns":["x","b"]}}"#),
        ("{'net.dns.2': 'c'}", #"{"id":"1","net":{"dns":["a","b","c"]}}"#),
        ("{'net.dns.0': null}", #"{"id":"1","net":{"dns":["b"]}}"#),
        ("{'net.port': '80'}", #"{"id":"1","net":{"port":80,"dns":["a","b"]}}"#),
        ("{'net.new.er': 1}", #"{"id":"1","net":{"dns":["a","b"],"new":{"er":1}}}"#),
        ("{'net.gone.er': null}", #"{"id":"1","net":{"dns":["a","b"]}}"#),
        ("{'z.y': 1}", #"{"id":"1","net":{"dns":["a","b"]},"z":{"y":1}}"#),
    ])
    func pathsReachIntoProperties(changes: String, stored: String) throws {
        let model = try model("net: {type: 'object', schema: {port: {type: 'number'}}}")
        #expect(try model.updated("{id: '1', net: {dns: ['a', 'b']}}", changes) == stored)
    }

    @Test(arguments: [("net.dns.4", "'x'"), ("net.dns.x", "1"), ("net.port.x", "1"), ("id.x", "1"), ("z.y", "1")])
    func pathThatLeadsNowhereIsRefused(path: String, value: String) throws {
        let model = try model("net: {type: 'object'}")
        expectError(
            .field,
            "model \"Fault\": field \"\(path)\": "
                + "the path leads through a value that is no object, or past an array's end"
        ) {
            try model.updated("{id: '1', net: {dns: ['a'], port: 1}, z: 5}", "{'\(path)': \(value)}")
        }
    }

    @Test func valueAtAPathHasToFit() throws {
        let model = try model("net: {type: 'object', schema: {port: {type: 'number'}}}, tags: {type: 'set'}")
        expectError(.field, "model \"Fault\": field \"net.port\": \"x\" is not a number") {
            try model.updated("{id: '1'}", "{'net.port': 'x'}")
        }
        #expect(
            try model.updated("{id: '1', tags: ['a', 'b']}", "{'tags.2': 'a'}") == #"{"id":"1","tags":["a","b"]}"#)
    }

    @Test func keyPropertyCanNotChange() throws {
        let message = "model \"Fault\": property 'id' is part of the key and can't be changed"
        expectError(.key, message) { try model().updated("{id: '1'}", "{id: '2'}") }
        expectError(.key, message) { try model().updated("{id: '1'}", "{id: null}") }
        #expect(try model().updated("{id: '1'}", "{id: 1}") == #"{"id":"1"}"#)
        let nested = try model(
            "o: {type: 'object'}, pk: {value: '${o.a}'}", indexes: "primary: {hash: 'pk', sort: 'sk'}")
        expectError(.key, "model \"Fault\": property 'o.a' is part of the key and can't be changed") {
            try nested.updated("{id: '1', o: {a: 1}}", "{o: {b: 1}}")
        }
        #expect(
            try nested.updated("{id: '1', o: {a: 1}}", "{o: {a: 1.0, b: 2}}") == #"{"id":"1","o":{"a":1.0,"b":2}}"#)
    }

    @Test func computedFieldMayBeGivenBackUnchanged() throws {
        let model = try model("n: {}, label: {value: 'L-${n}'}")
        let stored = #"{"id":"1","n":"a","label":"L-a"}"#
        #expect(
            try model.updated(stored, "{id: 1, n: 'b', label: 'L-a', sk: 'fault#1'}")
                == #"{"id":"1","n":"b","label":"L-b"}"#)
        #expect(error { try model.updated(stored, "{label: 'x'}") }.code == .field)
    }

    // MARK: - Limits

    @Test func itemOfTheLargestSizeIsTakenAndALargerOneRefused() throws {
        let model = try model("x: {}")
        let filler = String(repeating: "x", count: Limits.itemBytesMax - #"{"id":"a","x":""}"#.utf8.count)
        let item = try model.makeItem(["id": .string("a"), "x": .string(Text(filler))], context: [:], now: now)
        #expect(item.text.count == Limits.itemBytesMax)
        expectError(.limit, "model \"Fault\": the item has 262145 bytes, more than 262144") {
            try model.makeItem(["id": .string("a"), "x": .string(Text(filler + "x"))], context: [:], now: now)
        }
        expectError(.limit, "model \"Fault\": the item has 262145 bytes, more than 262144") {
            try model.makeUpdate(of: item.body, ["x": .string(Text(filler + "x"))], context: [:], now: now)
        }
    }

    @Test func deepestItemIsTakenAndADeeperOneRefused() throws {
        let model = try model("x: {type: 'array'}")
        func nested(_ depth: Int) -> String {
            "{id: 'a', x: \(String(repeating: "[", count: depth))\(String(repeating: "]", count: depth))}"
        }
        #expect(try model.created(nested(Model.bodyNestingMax - 1)).utf8.count > 100)
        expectError(.limit, "model \"Fault\": the item is nested deeper than 56") {
            try model.created(nested(Model.bodyNestingMax))
        }
        // A text is read to the same depth: what it holds must not nest deeper than what it stands in allows.
        let text = String(repeating: "[", count: 60) + String(repeating: "]", count: 60)
        #expect(error { try model.created("{id: 'a', x: '\(text)'}") }.code == .limit)
    }

    @Test func pathOfTooManySegmentsIsRefused() throws {
        let model = try model()
        func path(_ count: Int) -> String { (0..<count).map { "p\($0)" }.joined(separator: ".") }
        #expect(try model.updated("{id: 'a'}", "{'\(path(Model.bodyNestingMax - 1))': 1}").utf8.count > 100)
        #expect(error { try model.updated("{id: 'a'}", "{'\(path(100))': 1}") }.code == .limit)
    }

    @Test func textThatIsNotUTF8IsRefused() throws {
        let model = try model("x: {}")
        for bytes: [UInt8] in [[0xFF], [0xC3], [0xED, 0xA0, 0x80]] {
            expectError(.field, "model \"Fault\": the item holds a text that is not valid UTF-8") {
                try model.makeItem(["id": .string("a"), "x": .string(Text(bytes))], context: [:], now: now)
            }
        }
    }
}
