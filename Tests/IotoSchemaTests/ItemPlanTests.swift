import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// The short way to a new item, which has to end where the long way does.
@Suite struct ItemPlanTests {
    private static let fields = """
        pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${kind}#${id}'},
        deviceId: {}, kind: {enum: ['fan', 'door']}, id: {type: 'string', generate: 'ulid'}, note: {}, code: {required: true},
        n: {type: 'number'}, open: {type: 'boolean', default: false}, at: {type: 'date'}, level: {type: 'number', enum: [1, 2]},
        rest: {type: 'object'}, raw: {type: 'binary'}, place: {default: 'here'},
        """

    private func model(_ fields: String = ItemPlanTests.fields, params: String = "") throws -> Model {
        let indexes = "primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}"
        return try #require(try schema(fields, params: params, indexes: indexes).model("Fault"))
    }

    private func write(_ model: Model, _ texts: [String?], _ context: Context = [:]) -> (key: ItemKey, body: [UInt8])? {
        let texts = texts.map { $0.map { CText(Text($0)) } }
        return withExtendedLifetime(texts) {
            texts.map { $0?.pointer }.withUnsafeBufferPointer { pointers in
                model.writeItem(isNew: true, pointers.baseAddress!, count: pointers.count, context: context, now: now)
            }
        }
    }

    /// What the long way makes of the same; nil when it refuses.
    private func make(_ model: Model, _ texts: [String], _ context: Context = [:]) -> PreparedItem? {
        var properties = JSONObject()
        for place in stride(from: 0, to: texts.count, by: 2) { properties[Text(texts[place])] = .string(Text(texts[place + 1])) }
        return try? model.makeItem(properties, context: context, now: now)
    }

    @Test(arguments: [
        ["id", "1", "kind", "fan", "code", "E1"], ["code", "", "kind", "door", "id", "x y"],
        ["id", "é", "kind", "fan", "code", "Grüße, 世界 🌡"], ["id", "1", "kind", "fan", "code", "E", "n", "-5.25", "open", "1"],
        ["id", "1", "kind", "fan", "code", "E", "n", "0", "open", "false", "note", "12345678"],
        ["id", "1", "kind", "fan", "code", "E", "at", "2026-11-20T23:40:48.312Z", "level", "2"],
        ["id", "1", "kind", "fan", "code", "E", "at", "1795218048312", "raw", "AQID", "place", "there"],
    ])
    func theItemIsThatOfTheLongWay(texts: [String]) throws {
        for params in ["", "timestamps: true, isoDates: true", "timestamps: 'update'"] {
            let model = try model(params: params)
            let context: Context = ["deviceId": "d#1", "accountId": "a1"]
            let expected = try #require(make(model, texts, context))
            let found = try #require(write(model, texts, context))
            #expect(found.key == expected.key)
            #expect(String(decoding: found.body, as: UTF8.self) == text(expected.body))
        }
    }

    @Test func whatIsNotGivenIsGenerated() throws {
        let fields = "pk: {value: 'fault'}, sk: {value: '${id}'}, id: {generate: 'uid(12)'}, code: {},"
        let found = try #require(write(try model(fields), ["code", "E"]))
        let id = try #require(try JSON.parse(found.body).objectValue?["id"]?.stringValue)
        #expect(id.count == 12 && found.key.sort == id)
    }

    /// Names and values, `-` for NULL.
    @Test(arguments: [
        ["id", "1", "kind", "fan"], ["id", "1", "code", "E"], ["id", "1", "kind", "lamp", "code", "E"],
        ["id", "1", "kind", "", "code", "E"], ["id", "", "kind", "fan", "code", "E"],
        ["id", "1", "kind", "fan", "code", "-"], ["-", "1", "kind", "fan", "code", "E"],
        ["id", "1", "kind", "fan", "code", "say \"no\""], ["id", "1", "kind", "fan", "code", "a\\b"],
        ["id", "1", "kind", "fan", "code", "line\nline and more"], ["id", "1", "kind", "fan", "code", "E", "code", "F"],
        ["id", "1", "kind", "fan", "code", "E", "other", "x"], ["id", "1", "kind", "fan", "code", "E", "sk", "fault#fan#1"],
        ["id", "1", "kind", "fan", "code", "E", "n", "0x10"], ["id", "1", "kind", "fan", "code", "E", "n", "05"],
        ["id", "1", "kind", "fan", "code", "E", "n", "-0"], ["id", "1", "kind", "fan", "code", "E", "n", "5."],
        ["id", "1", "kind", "fan", "code", "E", "n", ""], ["id", "1", "kind", "fan", "code", "E", "n", "-"],
        ["id", "1", "kind", "fan", "code", "E", "n", "1e5"], ["id", "1", "kind", "fan", "code", "E", "n", "1234567890123456789"],
        ["id", "1", "kind", "fan", "code", "E", "open", "yes"], ["id", "1", "kind", "fan", "code", "E", "at", "soon"],
        ["id", "1", "kind", "fan", "code", "E", "level", "3"], ["id", "1", "kind", "fan", "code", "E", "rest", "{}"],
        ["id", "1", "kind", "fan", "code", "E", "raw", "*"],
    ])
    func whatHasToBeJudgedIsLeftToTheLongWay(texts: [String]) throws {
        #expect(write(try model(), texts.map { $0 == "-" ? nil : $0 }, ["deviceId": "d1"]) == nil)
    }

    @Test func textThatIsNotUTF8IsLeftToTheLongWay() throws {
        let model = try model("pk: {value: 'fault'}, sk: {value: '${id}'}, id: {},")
        for bytes: [UInt8] in [[0xC3], [0xFF, 0x41], [0x41, 0x80], Array("1234567".utf8) + [0xC3, 0x28]] {
            let (name, value) = (CText("id"), CText(Text(bytes)))
            let texts: [UnsafePointer<CChar>?] = [name.pointer, value.pointer]
            #expect(model.writeItem(isNew: true, texts, count: 2, context: [:], now: now) == nil)
            withExtendedLifetime((name, value)) {}
        }
    }

    @Test func limitsAreLeftToTheLongWay() throws {
        let model = try model("pk: {value: 'fault'}, sk: {value: '${id}'}, id: {}, note: {},")
        let long = String(repeating: "k", count: Limits.keyBytesMax)
        #expect(write(model, ["id", long])?.key.sort == Text(long))
        #expect(write(model, ["id", long + "k"]) == nil)
        #expect(write(model, ["id", "1", "note", String(repeating: "n", count: Limits.itemBytesMax)]) == nil)
        let indexed = try self.model(
            "pk: {value: 'fault'}, sk: {value: '${id}'}, id: {}, note: {}, gs1pk: {value: '${note}'}, gs1sk: {value: '${id}'},")
        #expect(write(indexed, ["id", "1", "note", "short"]) != nil)
        #expect(write(indexed, ["id", "1", "note", long + "k"]) == nil)
    }

    @Test(arguments: [
        "pk: {value: 'd'}, sk: {value: 'fault#${n}'}, n: {type: 'number'},",
        "pk: {value: 'd'}, sk: {value: '${id}'}, id: {}, name: {value: 'a-${id}'},",
        "pk: {value: 'd'}, sk: {value: '${id}'}, id: {}, u: {unique: true, scope: '${id}'},",
        "pk: {value: 'd'}, sk: {value: '${id}'}, id: {}, list: {type: 'array', default: [1]},",
    ])
    func aModelThatTakesMoreHasNoPlan(fields: String) throws {
        #expect(try model(fields).itemPlan == nil)
    }

    /// Any texts in any fields: the short way gives what the long way does, or nothing.
    @Test func itNeverDiffersFromTheLongWay() throws {
        let names = ["id", "kind", "code", "note", "n", "open", "at", "level", "place", "rest", "sk", "x"]
        let values = ["", "1", "0", "fan", "door", "true", "-1.5", "2026-11-20", "é", "\"", "1e3", "00", "{a: 1}", "12345678\t"]
        let model = try model(params: "timestamps: true")
        var seed: UInt64 = 7
        func next(_ limit: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % limit
        }
        var written = 0
        for _ in 0..<20_000 {
            var texts = ["id", "7", "kind", "fan", "code", values[next(values.count)]]
            for _ in 0..<next(3) { texts += [names[next(names.count)], values[next(values.count)]] }
            guard let found = write(model, texts, ["deviceId": "d1"]) else { continue }
            written += 1
            let expected = make(model, texts, ["deviceId": "d1"])
            #expect(found.key == expected?.key, "\(texts)")
            #expect(found.body == expected?.text, "\(texts)")
        }
        #expect(written > 3000)
    }

    private func change(_ model: Model, _ item: [UInt8], _ texts: [String], _ context: Context = [:]) -> [UInt8]? {
        let texts = texts.map { CText(Text($0)) }
        return withExtendedLifetime(texts) {
            texts.map { Optional($0.pointer) }.withUnsafeBufferPointer { pointers in
                let pairs = pointers.baseAddress!
                guard let named = model.writeItem(isNew: false, pairs, count: texts.count, context: context, now: now) else {
                    return nil
                }
                let found = model.writeItem(over: item, isNew: false, pairs, count: texts.count, context: context, now: now)
                #expect(found == nil || found?.key == named.key)
                return found?.body
            }
        }
    }

    private func changeLong(_ model: Model, _ item: [UInt8], _ texts: [String], _ context: Context = [:]) -> [UInt8]? {
        var changes = JSONObject()
        for place in stride(from: 0, to: texts.count, by: 2) { changes[Text(texts[place])] = .string(Text(texts[place + 1])) }
        guard let current = try? JSON.parse(item).objectValue else { return nil }
        return try? model.makeUpdate(of: current, changes, context: context, now: now).text
    }

    private static let stored = Array(
        #"{"deviceId":"d1","kind":"fan","id":"1","note":"a \"b\" {c","n":-5,"open":true,"rest":{"a":[1,"}"]},"place":"x","y":[{}]}"#
            .utf8)

    @Test(arguments: [
        ["n", "7"], ["note", "plain"], ["place", "", "open", "0"], ["n", "0.5", "note", "Grüße", "place", "a longer text than before"],
    ])
    func aChangeIsThatOfTheLongWay(texts: [String]) throws {
        let model = try model()
        let all = ["id", "1", "kind", "fan"] + texts
        let expected = changeLong(model, ItemPlanTests.stored, all, ["deviceId": "d1"])
        #expect(expected != nil)
        #expect(change(model, ItemPlanTests.stored, all, ["deviceId": "d1"]) == expected)
    }

    @Test func aChangeSetsWhenItWasMade() throws {
        let fields = "pk: {value: 'fault'}, sk: {value: '${id}'}, id: {}, n: {type: 'number'},"
        let model = try model(fields, params: "timestamps: true")
        let stored = Array(#"{"id":"1","n":1,"created":5,"updated":6}"#.utf8)
        let found = change(model, stored, ["id", "1", "n", "2"])
        #expect(found == Array(#"{"id":"1","n":2,"created":5,"updated":\#(now)}"#.utf8))
        #expect(change(model, stored, ["id", "1", "created", "2"]) == nil)
    }

    /// What is stored, and what is given beside the key.
    @Test(arguments: [
        (#"{"deviceId":"d1","kind":"fan","id":"1"}"#, ["n", "7"]), (#"{"deviceId":"d2","kind":"fan","id":"1","n":1}"#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"door","id":"1","n":1}"#, ["n", "7"]), (#"{"kind":"fan","id":"1","n":1}"#, ["n", "7"]),
        (#"{"deviceId":"d1","id":"1","kind":"fan","n":1}"#, ["n", "7"]), (#"{"deviceId":"d1", "kind":"fan","id":"1","n":1}"#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":1"#, ["n", "7"]), (#"{"deviceId":"d1","kind":"fan","id":"1","n":1}}"#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":1,}"#, ["n", "7"]), (#"{"deviceId":"d1","kind":"fan","id":"1","n"}"#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":}"#, ["n", "7"]), (#"{"deviceId":"d1","kind":"fan","id":"1","n""#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":"\"#, ["n", "7"]), ("", ["n", "7"]), ("{", ["n", "7"]), ("{}", ["n", "7"]), ("[]", ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","y":1,"n":1}"#, ["n", "7"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":1}"#, ["n", "x"]), (#"{"deviceId":"d1","kind":"fan","id":"1","at":1}"#, ["at", "2"]),
        (#"{"deviceId":"d1","kind":"fan","id":"1","n":1}"#, ["other", "x"]), (#"{"deviceId":"d1","kind":"fan","id":"1","note":"a"}"#, ["note", "b\n"]),
    ])
    func aChangeThatTakesMoreIsLeftToTheLongWay(stored: String, texts: [String]) throws {
        let all = ["id", "1", "kind", "fan"] + texts
        #expect(change(try model(), Array(stored.utf8), all, ["deviceId": "d1"]) == nil)
    }

    /// Any bytes in the place of a stored item end within their bounds, and differ from the long way never.
    @Test func aChangeOfDamagedItemsStaysWithinThem() throws {
        let model = try model()
        let texts = ["id", "1", "kind", "fan", "n", "12", "place", "there"]
        var seed: UInt64 = 11
        func next(_ limit: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % limit
        }
        let bytes = Array("\"\\{}[],:x1 ".utf8)
        for _ in 0..<20_000 {
            var item = ItemPlanTests.stored
            for _ in 0..<next(3) { item[next(item.count)] = bytes[next(bytes.count)] }
            if next(3) == 0 { item.removeLast(next(item.count)) }
            guard let found = change(model, item, texts, ["deviceId": "d1"]) else { continue }
            // What can't be parsed is told when it is read.
            guard let expected = changeLong(model, item, texts, ["deviceId": "d1"]) else { continue }
            #expect(JSON.isSame(found, expected), "\(String(decoding: item, as: UTF8.self))")
        }
    }
}

extension JSON {
    fileprivate static func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        (try? JSON.parse(left)) == (try? JSON.parse(right))
    }
}
