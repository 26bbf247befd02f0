import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// Messages that nobody honest sends.
struct HostileTests {
    private let item = #"{"_type":"Setting","sk":"setting#1","id":"1","deviceId":"d1","value":"evil"}"#

    private func page(_ model: String, cursor: Int64 = 1, previous: Int64 = 0, history: String = "000000000000aaaa") -> String {
        let item = item.replacing("Setting", with: model).replacing("setting", with: model.lowercased())
        return """
            {"v":2,"stream":"device/d1","history":"\(history)","prev":\(previous),"cursor":\(cursor),"more":false,\
            "time":"018bcfe568000000","changes":[{"cmd":"upsert","key":"\(model.lowercased())#1",\
            "ver":"018bcfe568000000-0000000000000001","item":\(item)}]}
            """
    }

    @Test(arguments: ["Reading", "Secret", "Report", "Unknown"])
    func pageCannotChangeAModelThatDoesNotComeDown(model: String) {
        let loop = Loopback.connected()
        loop.receive("BATCH", page(model))
        #expect(loop.replica.rows.isEmpty)
        #expect(loop.replica.applied.isEmpty)
    }

    @Test func samePageForAModelThatComesDownIsApplied() {
        let loop = Loopback.connected()
        loop.receive("BATCH", page("Setting"))
        #expect(loop.replica.value("Setting", "1") == "evil")
    }

    @Test func forgedResetOutsideAnAnswerIsIgnored() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "2", "good")
        loop.settle()
        loop.receive("BATCH", page("Setting", history: "00000000deadbeef").replacing(#""more""#, with: #""reset":true,"more""#))
        #expect(loop.replica.value("Setting", "1") == nil)
        #expect(loop.replica.cursors["device/d1"]?.history == 0xAAAA)
    }

    @Test func cursorBeyondTheFeedHealsAtTheNextConnection() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "2", "good")
        loop.settle()
        loop.receive("BATCH", page("Setting", cursor: .max, previous: 1))
        loop.disconnect()
        try loop.cloudChange("Setting", "3", "later")
        loop.connect()
        loop.settle()
        #expect(loop.replica.value("Setting", "3") == "later")
    }

    @Test(arguments: [
        "", "{", "[]", "null", "0", #"{"v":2}"#, #"{"v":1,"seq":1,"keys":["a"],"updated":"x"}"#,
        #"{"v":2,"seq":1,"time":"zz","vers":[]}"#, #"{"v":2,"seq":1,"time":"0000000000000000","vers":[1,2]}"#,
        #"{"v":2,"seq":1,"time":"ffffffffffffffff","vers":["ffffffffffffffff-0000000000000000"]}"#,
        #"{"v":2,"stream":"device/d1","history":"000000000000aaaa","prev":-1,"cursor":5,"time":"0000000000000000","changes":[]}"#,
        #"{"v":2,"stream":"device/d1","history":"000000000000aaaa","prev":9,"cursor":5,"time":"0000000000000000","changes":[]}"#,
        #"{"v":2,"stream":"device/d2","history":"000000000000aaaa","prev":0,"cursor":5,"time":"0000000000000000","changes":[]}"#,
        #"{"v":2,"stream":"device/d1","history":"000000000000aaaa","prev":0,"cursor":1,"time":"0000000000000000","changes":[1,null,{},[]]}"#,
        #"{"v":2,"stream":"device/d1","history":"000000000000aaaa","prev":0,"cursor":99999999999999999999,"time":"0","changes":{}}"#,
        #"{"v":1e999,"stream":[[[[[[]]]]]]}"#, "\u{0}\u{1}\u{2}",
    ])
    func malformedMessageChangesNothing(payload: String) throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        for verb: Text in ["SYNC", "BATCH", "SYNCDOWN", "UPSERT", "INSERT", "MODIFY", "REMOVE", "NONSENSE", ""] {
            loop.receive(verb, payload)
        }
        #expect(loop.replica.applied.isEmpty)
        #expect(loop.replica.pendingCount() == 1)
        // And the hub bears the same from a device.
        for verb: Text in ["syncToDynamo", "syncDown", "offline", "nonsense"] {
            loop.run(.message(topic: "ioto/service/d1/db/\(verb)", payload: Array(payload.utf8)))
        }
        #expect(loop.cloud.stored.isEmpty)
    }

    @Test func mutatedMessagesNeverTrap() throws {
        Log.set(nil, level: .error)
        defer { Log.set(nil, level: .warning) }
        var random = JitterGenerator(seed: 42)
        let loop = Loopback.connected()
        try loop.change("Note", "1", "a")
        try loop.flush()
        let request = try #require(loop.up.last)
        loop.deliverUp()
        let samples = loop.down.map { $0.payload } + [Array(page("Setting").utf8)]
        for round in 0..<4_000 {
            var payload = round % 3 == 0 ? request.payload : samples[round % samples.count]
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<payload.count, using: &random)
                switch random.next() % 3 {
                case 0: payload[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: payload.remove(at: index)
                default: payload.insert(contentsOf: payload[index...].prefix(8), at: index)
                }
            }
            loop.device.received("ioto/device/d1/sync/BATCH", payload, loop.now)
            loop.device.received("ioto/device/d1/sync/SYNC", payload, loop.now)
            loop.run(.message(topic: request.topic, payload: payload))
            _ = loop.device.takePublications()
        }
    }

    @Test func deviceCannotWriteForAnother() throws {
        let loop = Loopback.connected()
        try loop.replica.put("Reading", "1", device: "d2", value: "theirs")
        loop.connect()
        loop.settle()
        #expect(loop.cloud.stored.isEmpty)
        #expect(loop.replica.rejected.count == 1)
    }

    @Test func deviceCannotReadTheFeedOfAnother() throws {
        let loop = Loopback.connected()
        _ = try loop.cloud.put("Setting", "1", device: "d2", value: "theirs")
        let request = #"{"v":2,"seq":1,"replica":"00000000000000d1","account":"a1","cursors":{"device/d2":{"history":"0000000000000000","cursor":0},"account/a2":{"history":"0000000000000000","cursor":0}}}"#
        loop.run(.message(topic: "ioto/service/d1/db/syncDown", payload: Array(request.utf8)))
        #expect(loop.down.isEmpty)
    }

    @Test func deviceIsBoundToItsFirstAccount() throws {
        let loop = Loopback.connected()
        let request = #"{"v":2,"seq":1,"replica":"00000000000000d1","account":"a2","cursors":{"account/a2":{"history":"0000000000000000","cursor":0}}}"#
        loop.run(.message(topic: "ioto/service/d1/db/syncDown", payload: Array(request.utf8)))
        #expect(loop.cloud.devices["d1"]?.account == "a1")
        let answers = try loop.down.map { try JSON.parse($0.payload) }
        #expect(answers.count == 1 && answers[0]["code"] == .integer(-203) && answers[0]["changes"] == nil)
    }
}
