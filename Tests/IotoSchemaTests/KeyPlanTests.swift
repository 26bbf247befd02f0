import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// The short way to a key, which has to end where the long way does.
@Suite struct KeyPlanTests {
    private static let fields = """
        pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${kind}#${id}'},
        deviceId: {}, kind: {}, id: {type: 'string'}, note: {}, n: {type: 'number'},
        """

    private func model(_ fields: String = KeyPlanTests.fields) throws -> Model {
        try #require(try schema(fields, indexes: "primary: {hash: 'pk', sort: 'sk'}").model("Fault"))
    }

    private func write(
        _ model: Model, _ pairs: [(String, String?)], _ context: Context = [:], room: Int = 256
    ) -> ItemKey? {
        let texts = pairs.flatMap { [$0.0, $0.1] }.map { $0.map { CText(Text($0)) } }
        return withExtendedLifetime(texts) {
            let pointers: [UnsafePointer<CChar>?] = texts.map { $0?.pointer }
            return withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { buffer in
                pointers.withUnsafeBufferPointer { pointers in
                    model.writeKey(pointers.baseAddress!, count: pointers.count, context: context, to: buffer)
                        .map { end in
                            ItemKey(
                                hash: Text([UInt8](buffer[..<end.hashEnd])),
                                sort: Text([UInt8](buffer[end.hashEnd..<end.sortEnd])))
                        }
                }
            }
        }
    }

    @Test func theKeyIsThatOfTheLongWay() throws {
        let model = try model()
        let context: Context = ["deviceId": "d1", "accountId": "a1"]
        for id in ["1", "a b", "#", "0192"] {
            let expected = try model.key(["kind": .string("fan"), "id": .string(Text(id))], context: context)
            let found = write(model, [("id", id), ("kind", "fan")], context)
            #expect(found.map { KeyMatch.exact($0) } == expected)
        }
        let found = write(model, [("id", "7"), ("kind", "fan"), ("deviceId", "d2")])
        #expect(found == ItemKey(hash: "device#d2", sort: "fault#fan#7"))
    }

    /// Names and values, `-` for NULL.
    @Test(arguments: [
        ["id", "1"], ["id", "1", "kind", ""], ["id", "1", "kind", "-"], ["id", "é", "kind", "fan"],
        ["id", "1", "kind", "fan", "note", "x"], ["id", "1", "kind", "fan", "n", "5"],
        ["id", "1", "kind", "fan", "deviceId", "d2"], ["sk", "fault#fan#1"],
        ["id", "1", "kind", "fan", "id", "2"], ["idx", "1", "kind", "fan"], ["i", "1", "kind", "fan"],
    ])
    func whatTakesMoreIsLeftToTheLongWay(texts: [String]) throws {
        let pairs = stride(from: 0, to: texts.count, by: 2).map { place in
            (texts[place], texts[place + 1] == "-" ? nil : texts[place + 1])
        }
        let found = write(try model(), pairs, ["deviceId": "d1"])
        #expect(found == nil)
    }

    @Test func aBufferThatIsTooSmallIsNotOverrun() throws {
        let model = try model()
        let whole = "device#d1fault#fan#123".utf8.count
        let pairs: [(String, String?)] = [("id", "123"), ("kind", "fan")]
        #expect(write(model, pairs, ["deviceId": "d1"], room: whole) != nil)
        for room in 0..<whole { #expect(write(model, pairs, ["deviceId": "d1"], room: room) == nil) }
    }

    @Test(arguments: [
        "pk: {value: 'd'}, sk: {value: 'fault#${n}'}, n: {type: 'number'},",
        "pk: {value: 'd'}, sk: {value: 'fault#${id:6}'}, id: {},",
        "pk: {value: 'd'}, sk: {value: 'fault#${at.id}'}, at: {type: 'object'},",
    ])
    func aTemplateOfMoreThanTextsHasNoPlan(fields: String) throws {
        #expect(try model(fields).keyPlan == nil)
    }
}
