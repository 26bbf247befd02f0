import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// Changes on the wire: the stored JSON as it is, and under the cloud's names where the schema maps them.
@Suite struct WireCodecTests {
    private func schema(_ key: String = "sk: {value: 'unit#${id}'}", primary: String = "{sort: 'sk'}") throws -> Schema {
        let source = """
            {format: 'onetable:1.1.0', indexes: {primary: \(primary)}, models: {
                Plain: {\(key), id: {}, n: {type: 'number'}},
                Named: {\(key), id: {}, n: {type: 'number', map: 'aVeryMuchLongerNameThanItsOwn'},
                        mail: {map: 'data.mail'}, zip: {map: 'data.z'}}},
             process: {Plain: {sync: 'both'}, Named: {sync: 'both'}}}
            """
        return try Schema(source: Array(source.utf8), name: "wire.json5")
    }

    private func change(_ schema: Schema, _ model: Text, _ properties: JSONObject, isRemoval: Bool = false) throws -> Change {
        let model = try #require(schema.model(model))
        let item = try model.makeItem(properties, context: [:], now: 1)
        let body = isRemoval ? JSON.object(model.keyProperties(of: item.body)).text : item.text
        return Change(
            model: model.name, key: item.key, version: Version(time: 5 << 16, writer: 7), isRemoval: isRemoval, body: body)
    }

    private func encoded(_ schema: Schema, _ change: Change) -> [UInt8] {
        var output: [UInt8] = []
        WireCodec(schema: schema).append(change, to: &output)
        return output
    }

    @Test func itemWithoutMapIsJoinedInAsItIs() throws {
        let schema = try schema()
        let text = Text(encoded(schema, try change(schema, "Plain", ["id": .string("1"), "n": .number("5.00")]))).string
        #expect(text.hasSuffix(#""item":{"_type":"Plain","sk":"unit#1","id":"1","n":5.00}}"#))
    }

    @Test func mappedItemHasTheCloudsNames() throws {
        let schema = try schema()
        let properties: JSONObject = [
            "id": .string("1"), "n": .number("5.00"), "mail": .string("m"), "zip": .string("z"),
        ]
        let text = Text(encoded(schema, try change(schema, "Named", properties))).string
        #expect(
            text.hasSuffix(
                #""item":{"id":"1","aVeryMuchLongerNameThanItsOwn":5.00,"data":{"mail":"m","z":"z"},"_type":"Named","sk":"unit#1"}}"#
            ))
    }

    @Test(arguments: ["Plain", "Named"], [true, false])
    func changeComesBackAsItWasSent(model: String, isRemoval: Bool) throws {
        for schema in [
            try schema(), try schema("pk: {value: 'unit#${id}'}", primary: "{hash: 'pk'}"), try schema("id: {}", primary: "{hash: 'id'}"),
        ] {
            let properties: JSONObject = ["id": .string("1"), "n": .number("5"), "odd": .bool(true)]
            let sent = try change(schema, Text(model), properties, isRemoval: isRemoval)
            let json = try JSON.parse(encoded(schema, sent))
            let (read, _, _) = try WireCodec(schema: schema).change(json, context: [:])
            #expect(read.body == sent.body && read.key == sent.key && read.isRemoval == isRemoval)
            #expect(read.model == sent.model && read.version == sent.version)
        }
    }

    @Test(arguments: ["Plain", "Named"], [true, false])
    func thatTheCloudHasHadAnItemIsSaidAndRead(model: String, isBrief: Bool) throws {
        let schema = try schema()
        let codec = WireCodec(schema: schema)
        for isKnown in [true, false] {
            var sent = try change(schema, Text(model), ["id": .string("1"), "n": .number("5")])
            sent.isKnown = isKnown
            var message = UpMessage(sequence: 1, replica: 7, account: "a1", changes: [sent])
            message.isBrief = isBrief
            let payload = codec.encode(message)
            #expect(Text(payload).string.contains(#""known":true"#) == isKnown)
            let read = try codec.changes(of: try codec.parse(payload), replica: 7, context: Context())
            let found = try read.map { entry in
                switch entry {
                case .plain(let change, _, _): change
                case .whole(let json): try codec.change(json, replica: 7, context: Context()).change
                }
            }
            #expect(found.map { $0.isKnown } == [isKnown] && found.map { $0.body } == [sent.body])
            #expect(payload.count <= sent.body.count + codec.overhead(of: sent, isBrief: isBrief) + 100)
        }
    }

    @Test(arguments: ["Plain", "Named"])
    func overheadIsNeverExceeded(model: String) throws {
        let schema = try schema()
        let id = String(repeating: "\u{1}", count: 100)
        for properties: JSONObject in [
            ["id": .string(Text(id))],
            ["id": .string("1"), "n": .number("5"), "mail": .string(""), "zip": .string("")],
        ] {
            let change = try change(schema, Text(model), properties)
            let count = encoded(schema, change).count
            #expect(count <= change.body.count + WireCodec(schema: schema).overhead(of: change))
        }
    }
}
