import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// What is read where it stands is what reading the whole gives.
@Suite struct WireMessageTests {
    private let schema: Schema
    private let context: Context = ["deviceId": "d1", "accountId": "a1"]

    init() throws {
        let source = """
            {format: 'onetable:1.1.0', indexes: {primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}}, models: {
                Fault: {pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${id}'}, gs1pk: {value: 'f'}, gs1sk: {value: '${text}'},
                        id: {required: true}, deviceId: {}, text: {}, n: {type: 'number'}, open: {type: 'boolean'},
                        at: {type: 'date', isoDates: true}, level: {enum: ['a', 'b']}, more: {type: 'object'}},
                Note: {pk: {value: 'note#'}, sk: {value: 'note#${id}'}, id: {}, text: {}}},
             process: {Fault: {sync: 'both'}, Note: {sync: 'down'}}}
            """
        schema = try Schema(source: Array(source.utf8), name: "wire.json5")
    }

    /// What becomes of a change, as text.
    private func outcome(_ entry: WireChange, replica: UInt64) -> String {
        let codec = WireCodec(schema: schema)
        do throws(IotoError) {
            let change: Change
            switch entry {
            case .plain(let read, let model, let isOwn):
                change = read
                #expect(model.name == change.model)
                let body = try JSON.parse(change.body).objectValue ?? [:]
                #expect(isOwn == (Stream.owner(of: body) == "d1"))
            case .whole(let json): (change, _, _) = try codec.change(json, replica: replica, context: context)
            }
            return "\(change)"
        } catch {
            return error.message.string
        }
    }

    private func message(_ changes: [String]) -> [UInt8] {
        Array(#"{"v":2,"seq":1,"changes":[\#(changes.joined(separator: ","))]}"#.utf8)
    }

    private static let members = [
        #""id":"1""#, #""id":"""#, #""id":"é""#, #""id":"a\"b""#, #""id":5"#, #""id":null"#, #""deviceId":"d1""#, #""deviceId":"d2""#,
        #""text":"x""#, #""text":"\u0041""#, "\"text\":\"\u{7F}\"", #""text":{}"#, #""text":"\#(String(repeating: "y", count: 1100))""#,
        #""n":5"#, #""n":-0.50"#, #""n":"5""#, #""n":1e3"#, #""n":-0"#, #""n":01"#, #""n":-"#, #""open":true"#, #""open":false"#,
        #""open":1"#, #""open":truely"#, #""at":"2026-11-20T23:40:48.312Z""#, #""at":"2026-02-30T23:40:48.312Z""#, #""at":"2026-11-20""#,
        #""at":"2026-11-20T24:40:48.312Z""#, #""level":"c""#, #""more":{"a":1}"#, #""odd":1"#, #""pk":"device#d1""#, #""sk":"fault#1""#,
        #""sk":"fault#2""#,
    ]

    private static let heads = [
        #"{"ver":"0000000000000010","item":{"_type":"Fault""#, #"{"ver":"0000000000000010-0000000000000007","item":{"_type":"Fault""#,
        #"{"ver":"0000000000000010","own":"0000000000000009","item":{"_type":"Fault""#, #"{"ver":"00000000000000","item":{"_type":"Fault""#,
        #"{"ver":"7000000000000010","item":{"_type":"Fault""#, #"{"ver":"0000000000000010", "item":{"_type":"Fault""#,
        #"{"ver":"0000000000000010","item":{"_type":"Note""#, #"{"ver":"0000000000000010","item":{"_type":"None""#,
        #"{"cmd":"remove","ver":"0000000000000010","item":{"_type":"Fault""#,
        #"{"cmd":"upsert","key":"fault#1","ver":"0000000000000010-0000000000000007","item":{"_type":"Fault""#,
    ]

    @Test func changeThatIsReadWhereItStandsIsTheSame() throws {
        var random = SystemRandomNumberGenerator()
        let codec = WireCodec(schema: schema)
        var (plain, refused) = (0, 0)
        for round in 0..<4000 {
            var text = round % 4 == 0 ? try #require(Self.heads.randomElement(using: &random)) : Self.heads[0]
            // Most are of the schema's order, with one member that is odd.
            var members = [#""id":"1""#, #""deviceId":"d1""#, #""text":"x""#, #""n":5"#, #""open":true"#]
            if round % 2 == 0 {
                members[Int.random(in: 0..<members.count, using: &random)] = try #require(Self.members.randomElement(using: &random))
            }
            if round % 3 == 0 { members.append(try #require(Self.members.randomElement(using: &random))) }
            if round % 16 == 0 { members.shuffle(using: &random) }
            for member in members { text += "," + member }
            text += "}}"
            guard let whole = try? JSON.parse(Array(text.utf8)) else {
                #expect(throws: IotoError.self, "\(text)") {
                    try codec.changes(of: codec.parse(message([text])), replica: 7, context: context)
                }
                continue
            }
            let read = try codec.changes(of: codec.parse(message([text])), replica: 7, context: context)
            try #require(read.count == 1)
            let expected = outcome(.whole(whole), replica: 7)
            #expect(outcome(read[0], replica: 7) == expected, "\(text)")
            if case .plain = read[0] { plain += 1 } else { refused += 1 }
        }
        #expect(plain > 1000 && refused > 500)
    }

    @Test func changesStandInTheirOrderWhateverTheirForm() throws {
        let codec = WireCodec(schema: schema)
        let texts = (0..<20).map { number in
            let space = number % 3 == 0 ? " " : ""
            return #"{"ver":"00000000000000\#(number + 10)","item":{"_type":"Fault",\#(space)"id":"\#(number)","deviceId":"d1"}}"#
        }
        let read = try codec.changes(of: codec.parse(message(texts)), replica: 7, context: context)
        let expected = try texts.map { outcome(.whole(try JSON.parse(Array($0.utf8))), replica: 7) }
        #expect(read.map { outcome($0, replica: 7) } == expected)
        let spaced = try codec.parse(message(texts.map { $0 + " " }))
        #expect(try codec.changes(of: spaced, replica: 7, context: context).map { outcome($0, replica: 7) } == expected)
    }

    @Test(arguments: [
        #"{"v":2,"seq":1,"changes":[{"ver":"0000000000000010","item":{"_type":"Fault","id":"1"}}}"#, #"{"v":2,"changes":[}]}"#,
        #"{"v":2,"changes":[{"ver":"0000000000000010","item":{"_type":"Fault","id":"1"}},]}"#, #"{"v":2,"changes":[{]}"#,
        #"{"v":2,"changes":[{"ver":"0000000000000010","item":{"_type":"Fault","id":"1"}}]]}"#,
    ])
    func messageThatIsNoJSONIsDroppedWhole(text: String) {
        let codec = WireCodec(schema: schema)
        #expect(throws: IotoError.self) {
            try codec.changes(of: codec.parse(Array(text.utf8)), replica: 7, context: context)
        }
    }

    @Test func memberOfATextIsNotTakenForTheChanges() throws {
        let codec = WireCodec(schema: schema)
        let message = try codec.parse(Array(#"{"v":2,"account":"\",\"changes\":[","x":{"y":1,"changes":[3]},"changes":[]}"#.utf8))
        #expect(message.json["account"]?.stringValue == #"","changes":["#)
        #expect(try codec.changes(of: message, replica: 7, context: context).isEmpty)
    }

    @Test func messageOfTooManyChangesIsDropped() {
        let codec = WireCodec(schema: schema)
        let change = #"{"ver":"0000000000000010","item":{"_type":"Fault","id":"1","deviceId":"d1"}}"#
        for (count, isTaken) in [(Limits.batchItemsMax, true), (Limits.batchItemsMax + 1, false)] {
            let read = try? codec.changes(
                of: codec.parse(message([String](repeating: change, count: count))), replica: 7, context: context)
            #expect(read?.count == (isTaken ? count : nil))
        }
    }
}
