import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct ModelKeyTests {
    private static let fields = """
        pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${kind}#${n:4}'},
        deviceId: {}, kind: {}, n: {type: 'number'}, note: {},
        """

    private func device() throws -> Model {
        try #require(
            try schema(ModelKeyTests.fields, indexes: "primary: {hash: 'pk', sort: 'sk'}").model("Fault"))
    }

    private func match(_ model: Model, _ properties: String, _ context: Context = [:]) throws -> KeyMatch {
        try model.key(try object(properties), context: context)
    }

    @Test func wholeKeyIsExact() throws {
        let expected = KeyMatch.exact(ItemKey(hash: "device#d1", sort: "fault#fan#0007"))
        #expect(try match(device(), "{deviceId: 'd1', kind: 'fan', n: 7, note: 'x'}") == expected)
        #expect(try match(device(), "{kind: 'fan', n: '7'}", ["deviceId": "d1"]) == expected)
    }

    @Test func contextTakesPrecedenceOverTheProperty() throws {
        let found = try match(device(), "{deviceId: 'other', kind: 'fan', n: 7}", ["deviceId": "d1"])
        #expect(found == .exact(ItemKey(hash: "device#d1", sort: "fault#fan#0007")))
    }

    @Test(arguments: [
        ("{deviceId: 'd1', kind: 'fan'}", "device#d1", "fault#fan#"),
        ("{deviceId: 'd1', n: 7}", "device#d1", "fault#"),
        ("{deviceId: 'd1'}", "device#d1", "fault#"), ("{kind: 'fan', n: 7}", nil, "fault#fan#0007"),
        ("{}", nil, "fault#"),
        ("{deviceId: null, kind: null}", nil, "fault#"), ("{kind: {begins: 'f'}, n: {'<': 7}}", nil, "fault#"),
        ("{kind: ['f']}", nil, "fault#"),
    ])
    func partOfTheKeyIsAPrefix(properties: String, hash: String?, sort: String) throws {
        #expect(try match(device(), properties) == .prefix(hash: hash.map { Text($0) }, sortPrefix: Text(sort)))
    }

    @Test func keyAttributeStandsForItsTemplate() throws {
        let exact = KeyMatch.exact(ItemKey(hash: "device#d1", sort: "fault#fan#0007"))
        #expect(try match(device(), "{deviceId: 'd1', sk: 'fault#fan#0007'}") == exact)
        #expect(try match(device(), "{pk: 'device#d1', sk: 'fault#fan#0007'}") == exact)
        #expect(try match(device(), "{pk: 'device#d1', sk: 'fault#fan#0007', n: 7}", ["deviceId": "d1"]) == exact)
        #expect(
            try match(device(), "{deviceId: 'd1', sk: {begins: 'fault#f'}}")
                == .prefix(hash: "device#d1", sortPrefix: "fault#"))
    }

    @Test(arguments: ["{pk: 'device#d2'}", "{sk: 'other#1'}", "{sk: 'fault#pump#1', kind: 'fan'}"])
    func keyAttributeThatDisagreesIsRefused(properties: String) throws {
        let device = try device()
        #expect(error { try match(device, properties, ["deviceId": "d1"]) }.code == .key)
    }

    @Test func emptyKeyPropertyIsRefused() throws {
        let model = try model()
        expectError(.key, "model \"Fault\": field \"id\": is empty, but part of the key") {
            try match(model, "{id: ''}")
        }
        expectError(.key, "model \"Fault\": field \"id\": is empty, but part of the key") {
            try model.created("{id: ''}")
        }
    }

    @Test func keyPropertyOfTheWrongTypeIsRefused() throws {
        let device = try device()
        expectError(.field, "model \"Fault\": field \"n\": \"x\" is not a number") {
            try match(device, "{n: 'x', kind: 'a'}")
        }
    }

    @Test func schemaWithAHashAlone() throws {
        let model = try #require(try schema("id: {}", indexes: "primary: {hash: 'id'}").model("Fault"))
        #expect(try match(model, "{id: 'a'}") == .exact(ItemKey(hash: "a", sort: "")))
        #expect(try match(model, "{}") == .prefix(hash: nil, sortPrefix: ""))
        let item = try model.makeItem(try object("{id: 'a'}"), context: [:], now: now)
        #expect(item.key == ItemKey(hash: "a", sort: ""))
        #expect(text(item.body) == #"{"id":"a"}"#)
    }

    @Test func schemaWithASortAlone() throws {
        let model = try model()
        #expect(try match(model, "{id: 'a'}") == .exact(ItemKey(hash: "", sort: "fault#a")))
        #expect(try match(model, "{}") == .prefix(hash: "", sortPrefix: "fault#"))
    }

    @Test func plainKeyFieldIsStoredAndRequired() throws {
        let model = try #require(try schema("at: {type: 'date'}", indexes: "primary: {sort: 'at'}").model("Fault"))
        let item = try model.makeItem(try object("{at: '1970-01-01'}"), context: [:], now: now)
        #expect(item.key == ItemKey(hash: "", sort: "0"))
        #expect(text(item.body) == #"{"at":0}"#)
        expectError(.key, "model \"Fault\": property 'at' is missing, which is the key") { try model.created("{}") }
    }

    @Test func plainKeyFieldMayBeGenerated() throws {
        let model = try #require(
            try schema("id: {generate: 'uid(4)'}", indexes: "primary: {hash: 'id'}").model("Fault"))
        let item = try model.makeItem([:], context: [:], now: now)
        #expect(item.key.hash == "0001")
        #expect(item.body["id"] == .string("0001"))
    }

    @Test func containerAsAKeyIsRefusedBySchema() {
        let message = error { try schema("sk: {type: 'object'}") }.message
        #expect(message.hasSuffix("field \"sk\": a key is a text, a number, a boolean or a date"))
    }

    @Test func numericSortKeyWarns() throws {
        #expect(
            try schema("sk: {type: 'number'}").warnings == [
                "schema.json5:7: model \"Fault\": field \"sk\": sorts as text, 10 before 9; pad it in a template"
            ])
    }

    @Test func modelWithOneOfTwoKeyAttributesHasAnEmptyOther() throws {
        let model = try #require(
            try schema("pk: {value: 'x#${id}'}, id: {}", indexes: "primary: {hash: 'pk', sort: 'sk'}").model(
                "Fault"))
        let item = try model.makeItem(try object("{id: 'a'}"), context: [:], now: now)
        #expect(item.key == ItemKey(hash: "x#a", sort: ""))
        #expect(error { try model.created("{id: 'a', sk: 'x'}") }.code == .field)
        #expect(
            text(model.wireItem(body: item.body, key: item.key, includeHash: true))
                == #"{"id":"a","_type":"Fault","pk":"x#a"}"#)
    }

    @Test func missingKeyPropertyIsNamed() throws {
        let model = try model()
        let message = "model \"Fault\": attribute 'sk' needs property 'id'"
        expectError(.key, message) { try model.created("{}") }
        expectError(.key, message) { try model.itemKey(of: [:]) }
        expectError(.key, message) { try model.replicated("{}") }
    }

    @Test func keyOfTheLargestSizeIsTakenAndALongerOneRefused() throws {
        let model = try model()
        let longest = String(repeating: "x", count: Limits.keyBytesMax - 6)
        #expect(try model.itemKey(of: ["id": .string(Text(longest))]).sort.count == Limits.keyBytesMax)
        for body in [
            { try model.created("{id: '\(longest)x'}") },
            {
                _ = try match(model, "{id: '\(longest)x'}")
                return ""
            },
        ] {
            expectError(.limit, "model \"Fault\": attribute 'sk' has 1025 bytes, more than 1024", body)
        }
    }

    @Test func keyOfABodyFromElsewhereIsComputedByType() throws {
        let body = try object("{deviceId: 5, kind: 'fan', n: '7', x: 1}")
        #expect(try device().itemKey(of: body) == ItemKey(hash: "device#5", sort: "fault#fan#0007"))
    }

    @Test func tombstoneKeepsKeyPropertiesAndOwners() throws {
        let model = try model(
            "sub: {value: '${o.a.b}'}, o: {type: 'object'}, accountId: {}",
            indexes: "primary: {hash: 'sub', sort: 'sk'}")
        let body = try object("{id: 'a', note: 1, o: {a: {b: 'c', d: 1}, e: 1}, accountId: 'acme'}")
        let kept = model.keyProperties(of: body)
        #expect(text(kept) == #"{"o":{"a":{"b":"c"}},"id":"a","accountId":"acme"}"#)
        #expect(try model.itemKey(of: kept) == model.itemKey(of: body))
    }

    // MARK: - Secondary indexes and the wire

    private func indexed() throws -> Model {
        try model(
            """
            gs1pk: {value: 'all'}, gs1sk: {value: 'level#${level:2}'}, level: {type: 'number'}, owner: {},
            rank: {type: 'number'}
            """,
            indexes: """
                primary: {sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}, gs2: {hash: 'owner'},
                ls1: {sort: 'rank', type: 'local'}, gs3: {hash: 'none'}
                """)
    }

    @Test func indexKeysAreComputedAndSparse() throws {
        let schema = try schema(
            """
            sk: {value: 'f#${id}'}, id: {}, gs1pk: {value: 'all'}, gs1sk: {value: 'level#${level:2}'},
            level: {type: 'number'}, owner: {}
            """,
            indexes:
                """
                primary: {sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}, gs2: {hash: 'owner'},
                ls1: {sort: 'level', type: 'local'}, gs3: {hash: 'none'}
                """
        )
        let model = try #require(schema.model("Fault"))
        func key(_ body: String, _ index: Int) throws -> ItemKey? {
            try model.indexKey(of: try object(body), in: schema.indexes[index])
        }
        let body = "{id: 'a', level: 3, owner: 'me'}"
        #expect(try key(body, 0) == ItemKey(hash: "", sort: "f#a"))
        #expect(try key(body, 1) == ItemKey(hash: "all", sort: "level#03"))
        #expect(try key(body, 2) == ItemKey(hash: "me", sort: ""))
        #expect(try key(body, 3) == ItemKey(hash: "", sort: "3"))
        #expect(try key(body, 4) == nil)
        #expect(try key("{id: 'a', owner: ''}", 1) == nil)
        #expect(try key("{id: 'a', owner: ''}", 2) == nil)
    }

    @Test func preparedItemHasItsSecondaryKeys() throws {
        let item = try indexed().makeItem(try object("{id: 'a', level: 3, owner: ''}"), context: [:], now: now)
        #expect(item.secondaryKeys == [ItemKey(hash: "all", sort: "level#03"), nil, nil, nil])
        #expect(try model().makeItem(try object("{id: 'a'}"), context: [:], now: now).secondaryKeys.isEmpty)
    }

    @Test func itemWithATooLongSecondaryKeyIsRefused() throws {
        let model = try model("owner: {}", indexes: "primary: {sort: 'sk'}, gs: {hash: 'owner'}")
        #expect(try model.created("{id: 'a', owner: '\(String(repeating: "x", count: 1024))'}").utf8.count > 1024)
        expectError(.limit, "model \"Fault\": attribute 'owner' has 1025 bytes, more than 1024") {
            try model.created("{id: 'a', owner: '\(String(repeating: "x", count: 1025))'}")
        }
    }

    @Test func wireItemHasTypeAndKeyAttributes() throws {
        let model = try device()
        let item = try model.makeItem(try object("{deviceId: 'd1', kind: 'fan', n: 7}"), context: [:], now: now)
        #expect(
            text(model.wireItem(body: item.body, key: item.key, includeHash: false))
                == #"{"deviceId":"d1","kind":"fan","n":7,"_type":"Fault","sk":"fault#fan#0007"}"#)
        #expect(
            text(model.wireItem(body: item.body, key: item.key, includeHash: true))
                == #"{"deviceId":"d1","kind":"fan","n":7,"_type":"Fault","sk":"fault#fan#0007","pk":"device#d1"}"#)
    }

    @Test func wireItemHasIndexAttributesOnRequest() throws {
        let model = try indexed()
        func wire(_ source: String) throws -> String {
            let item = try model.makeItem(try object(source), context: [:], now: now)
            return text(model.wireItem(body: item.body, key: item.key, includeHash: true, includeIndexes: true))
        }
        #expect(
            try wire("{id: 'a', level: 3}")
                == #"{"id":"a","level":3,"_type":"Fault","sk":"fault#a","gs1pk":"all","gs1sk":"level#03"}"#)
        #expect(try wire("{id: 'a'}") == #"{"id":"a","_type":"Fault","sk":"fault#a","gs1pk":"all"}"#)
    }

    @Test func wireItemReturnsAsTheSameReplica() throws {
        let model = try indexed()
        let item = try model.makeItem(try object("{id: 'a', level: 3, odd: [1]}"), context: [:], now: now)
        let wire = model.wireItem(body: item.body, key: item.key, includeHash: true, includeIndexes: true)
        let replica = try model.makeReplica(wire, context: [:])
        #expect(replica.key == item.key)
        #expect(replica.text == item.text)
    }
}
