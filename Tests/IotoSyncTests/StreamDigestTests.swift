import CPlatform
import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

@Suite struct StreamDigestTests {
    private let note = TestSchema.model("Note")

    private func key(_ id: Text) -> ItemKey { ItemKey(hash: "device#d1", sort: "note#" + id) }

    private func digest(_ bodies: [Text], _ stream: Text = "device/d1", of model: Model? = nil) throws -> StreamDigest {
        var digest = StreamDigest(of: stream)
        for body in bodies {
            let object = try #require(try JSON.parse(body.bytes).objectValue)
            try digest.add(model ?? note, key(object["id"]?.stringValue ?? ""), body.bytes)
        }
        return digest
    }

    private func isEqual(_ left: Text, _ right: Text) throws -> Bool {
        try digest([left]).hash == digest([right]).hash
    }

    /// The reference implementation's vectors of SipHash-2-4-128.
    @Test(arguments: [
        (0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
        (2, "8177228da4a45dc7fca38bdef60affe4"), (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
        (63, "5150d1772f50834a503e069a973fbd7c"),
    ])
    func hashIsSipHash(_ count: Int, _ expected: String) {
        var hash: (UInt64, UInt64) = (0, 0)
        let bytes = (0..<count).map { UInt8($0) }
        withUnsafeMutableBytes(of: &hash) {
            platform_digest(bytes, count, $0.baseAddress?.assumingMemoryBound(to: UInt64.self))
        }
        #expect((Text.hexadecimal(hash.0.byteSwapped) + Text.hexadecimal(hash.1.byteSwapped)).string == expected)
    }

    /// So that a digest means the same in every version: it is in docs/SYNC-PROTOCOL.md.
    @Test func digestOfAnItemStands() throws {
        #expect(try digest([]).hash.text.string == String(repeating: "0", count: 32))
        let found = try digest([#"{"deviceId":"d1","id":"1","value":5,"tags":["a",{"on":true}]}"#])
        #expect(found.items == 1 && found.hash.text.string == "144e19b380931910b10fe93376b07b27")
    }

    @Test func orderOfItemsDoesNotCount() throws {
        let bodies: [Text] = (0..<5).map { "{\"deviceId\":\"d1\",\"id\":\"\($0)\"}" }
        #expect(try digest(bodies) == digest(bodies.reversed()))
        #expect(try digest(bodies).items == 5)
    }

    @Test(arguments: [
        (#"{"deviceId":"d1","id":"1","a":1,"b":{"x":1,"y":2}}"#, #"{"b":{"y":2,"x":1},"a":1,"id":"1","deviceId":"d1"}"#),
        (#"{"deviceId":"d1","id":"1","a":5}"#, #"{"deviceId":"d1","id":"1","a":5.0}"#),
        (#"{"deviceId":"d1","id":"1","a":[150,0]}"#, #"{"deviceId":"d1","id":"1","a":[1.50e2,-0.0]}"#),
        (#"{"deviceId":"d1","id":"1","a":0.001}"#, #"{"deviceId":"d1","id":"1","a":1E-3}"#),
        (#"{"deviceId":"d1","id":"1"}"#, #"{"deviceId":"d1","accountId":"a1","id":"1"}"#),
    ])
    func spellingDoesNotCount(_ left: String, _ right: String) throws {
        #expect(try isEqual(Text(left), Text(right)))
    }

    @Test(arguments: [
        #"{"deviceId":"d1","id":"2","a":5,"b":{"x":"1"}}"#, #"{"deviceId":"d1","id":"1","a":6,"b":{"x":"1"}}"#,
        #"{"deviceId":"d1","id":"1","a":"5","b":{"x":"1"}}"#, #"{"deviceId":"d1","id":"1","a":50,"b":{"x":"1"}}"#,
        #"{"deviceId":"d1","id":"1","a":-5,"b":{"x":"1"}}"#, #"{"deviceId":"d1","id":"1","a":0.5,"b":{"x":"1"}}"#,
        #"{"deviceId":"d1","id":"1","a":5,"b":{"x":"2"}}"#, #"{"deviceId":"d1","id":"1","a":5,"b":{}}"#,
        #"{"deviceId":"d1","id":"1","a":5}"#, #"{"deviceId":"d1","id":"1","a":5,"b":{"x":"1"},"c":null}"#,
        #"{"deviceId":"d1","id":"1","a":5,"b":[{"x":"1"}]}"#, #"{"deviceId":"d1","id":"1","a":5,"b":"x"}"#,
        #"{"deviceId":"d1","id":"1","a":5,"b":{"deviceId":"d1","x":"1"}}"#, #"{"deviceId":"d1","id":"1","b":5,"a":{"x":"1"}}"#,
    ])
    func everyValueCounts(_ other: String) throws {
        #expect(try !isEqual(#"{"deviceId":"d1","id":"1","a":5,"b":{"x":"1"}}"#, Text(other)))
    }

    @Test func longNumbersAreNotRounded() throws {
        #expect(try !isEqual(#"{"deviceId":"d1","a":9007199254740993}"#, #"{"deviceId":"d1","a":9007199254740992}"#))
        #expect(try !isEqual(#"{"deviceId":"d1","a":1e400}"#, #"{"deviceId":"d1","a":1e401}"#))
    }

    @Test func keyAndModelCount() throws {
        let body: JSONObject = ["deviceId": .string("d1"), "id": .string("1")]
        var hashes: [Text] = []
        for (model, hash, sort) in [("Note", "a", "b"), ("Note", "ab", ""), ("Note", "", "ab"), ("Plan", "a", "b")] {
            var digest = StreamDigest(of: "device/d1")
            let item = try digest.add(
                TestSchema.model(Text(model)), ItemKey(hash: Text(hash), sort: Text(sort)), body.text)
            hashes.append(try #require(item).text)
        }
        #expect(Set(hashes).count == 4)
    }

    @Test(arguments: [
        "", "{", "{}}", "[]", "null", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":[1}", "{\"a\":\"x}", "{\"a\":\"x\\",
        "{\"a\":" + String(repeating: "[", count: 100_000),
    ])
    func whatIsNotJSONIsTold(_ body: String) {
        var digest = StreamDigest(of: "all")
        #expect(throws: IotoError.self) {
            try digest.add(TestSchema.model("Notice"), ItemKey(hash: "h", sort: "s"), Array(body.utf8))
        }
        #expect(digest == StreamDigest(of: "all"))
    }

    @Test func twoOfTheSameAreNotNone() throws {
        let body: Text = #"{"deviceId":"d1","id":"1"}"#
        #expect(try digest([body, body]).hash != digest([]).hash)
        #expect(try digest([body, body]).hash != digest([body]).hash)
    }

    @Test func orderOfASetDoesNotCountAndThatOfAnArrayDoes() throws {
        let source = """
            {
                version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } }, process: { Tag: { sync: 'both' } },
                models: { Tag: {
                    pk: { type: 'string', value: 'tag#' }, sk: { type: 'string', value: 'tag#${id}' }, id: { type: 'string' },
                    deviceId: { type: 'string' }, names: { type: 'set' }, list: { type: 'array' },
                } },
            }
            """
        let tag = try #require(try Schema(source: Array(source.utf8), name: "s").model("Tag"))
        func hash(_ body: Text) throws -> ContentHash { try digest([body], of: tag).hash }
        #expect(try hash(#"{"deviceId":"d1","names":["a","b"]}"#) == hash(#"{"deviceId":"d1","names":["b","a"]}"#))
        #expect(try hash(#"{"deviceId":"d1","names":["a","b"]}"#) != hash(#"{"deviceId":"d1","names":["a"]}"#))
        #expect(try hash(#"{"deviceId":"d1","list":["a","b"]}"#) != hash(#"{"deviceId":"d1","list":["b","a"]}"#))
    }

    /// An item counts to its device, also if it only goes up; else to its account or to all, if its model comes down.
    @Test(arguments: [
        ("Note", "d1", "device/d1"), ("Reading", "d1", "device/d1"), ("Setting", "d1", "device/d1"), ("Note", "d2", nil),
        ("Secret", "d1", nil), ("Report", "d1", nil), ("Reading", nil, nil), ("Setting", nil, "all"),
    ])
    func itemCountsToItsStreamAlone(_ model: String, _ device: String?, _ stream: Text?) throws {
        var body: JSONObject = ["id": .string("1")]
        if let device { body["deviceId"] = .string(Text(device)) }
        for name: Text in ["device/d1", "account/a1", "all"] {
            var digest = StreamDigest(of: name)
            try digest.add(TestSchema.model(Text(model)), ItemKey(hash: "h", sort: "s"), body.text)
            #expect(digest.items == (name == stream ? 1 : 0), "\(name)")
        }
        body["accountId"] = .string("a1")
        var digest = StreamDigest(of: "account/a1")
        try digest.add(TestSchema.model("Setting"), ItemKey(hash: "h", sort: "s"), body.text)
        #expect(digest.items == (device == nil ? 1 : 0))
    }
}
