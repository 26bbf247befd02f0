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
            if round % 5 == 0 {
                // Answers to the question that is out, at last.
                let ends: [Int64] = [9, .max, .max - 1, 1 << 62, .min]
                let answers = answers(to: loop, end: ends[Int(random.next() % 5)])
                for answer in answers { loop.device.received("ioto/device/d1/sync/BATCH", answer, loop.now) }
                turn(loop)
                payload = answers[round / 5 % 3]
            }
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<payload.count, using: &random)
                switch random.next() % 4 {
                case 0: payload[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: payload.remove(at: index)
                case 2: payload.insert(contentsOf: payload[index...].prefix(8), at: index)
                default: HostileTests.exaggerate(&payload, from: index, using: &random)
                }
            }
            loop.device.received("ioto/device/d1/sync/BATCH", payload, loop.now)
            loop.device.received("ioto/device/d1/sync/SYNC", payload, loop.now)
            loop.run(.message(topic: request.topic, payload: payload))
            turn(loop)
        }
    }

    /// What runs in a turn of the network thread's loop, and what others ask meanwhile.
    private func turn(_ loop: Loopback) {
        let device = loop.device
        loop.now.monotonic += 100
        device.tick(loop.now)
        _ = device.takePublications()
        let progress = device.catchUpProgress
        #expect(progress.total >= 0 && progress.done <= progress.total)
        _ = (device.deadline, device.isCaughtUp, device.isHolding, device.isFenced, device.sent.count, device.statistics)
        if var flush = try? device.flush(loop.now) { _ = try? device.isFlushed(&flush) }
        _ = device.takePublications()
    }

    /// Pages for all streams that the device is made to ask for.
    private func answers(to loop: Loopback, end: Int64 = 9) -> [[UInt8]] {
        loop.disconnect()
        loop.device.connected(loop.now)
        let questions = loop.device.takePublications().filter { $0.topic.string.hasSuffix("syncDown") }
        let question = questions.last.flatMap { try? JSON.parse($0.payload)["seq"]?.integerValue } ?? 0
        return ["device/d1", "all", "account/a1"].map { stream in
            Array(
                page("Setting").replacing("device/d1\"", with: stream + "\"")
                    .replacing(#""more":false"#, with: #""more":false,"seq":\#(question),"end":\#(end)"#).utf8)
        }
    }

    /// Puts an extreme in the place of a number, or of digits in a text.
    private static func exaggerate(_ payload: inout [UInt8], from index: Int, using random: inout JitterGenerator) {
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        guard let start = payload[index...].firstIndex(where: isDigit) else { return }
        let end = payload[start...].firstIndex { !isDigit($0) } ?? payload.count
        let numbers = [
            "9223372036854775807", "-9223372036854775808", "9223372036854775806", "-1", "18446744073709551615", "4611686018427387904",
            "1152921504606846975", "ffffffffffffffff", "7fffffffffffffff", "0ffeffffffffffff",
        ]
        payload.replaceSubrange(start..<end, with: numbers[Int(random.next() % UInt64(numbers.count))].utf8)
    }

    @Test func theEndOfAStreamIsBelievedWithinReasonAlone() throws {
        let loop = Loopback.connected()
        for answer in answers(to: loop, end: .max) { loop.device.received("ioto/device/d1/sync/BATCH", answer, loop.now) }
        let progress = loop.device.catchUpProgress
        #expect(progress.total > 0 && progress.done < progress.total)
        // Where it can be multiplied, for a percentage.
        #expect(progress.total <= .max / 100)
    }

    @Test(arguments: ["0fff000000000000", "3fffffffffffffff", "7fffffffffffffff", "ffffffffffffffff"])
    func timesBeyondBeliefAreTakenFromNobody(time: String) throws {
        let loop = Loopback.connected()
        loop.receive("BATCH", page("Setting").replacing(#""time":"018bcfe568000000"#, with: #""time":"\#(time)"#))
        #expect(loop.replica.applied.isEmpty)
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        let version = try #require(loop.replica.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9).first).change.version
        loop.receive("SYNC", #"{"v":2,"seq":1,"time":"\#(time)","vers":["\#(version.text.string)"]}"#)
        loop.receive(
            "SYNC",
            #"{"v":2,"seq":1,"time":"018bcfe568000000","again":[{"ver":"\#(version.text.string)","to":"\#(time)-00000000000000d1"}]}"#)
        let pending = try loop.replica.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9)
        #expect(pending.map { $0.change.version } == [version])
    }

    @Test(arguments: [0, 511, 512, 513, 100_000])
    func reasonOfARejectionIsCut(count: Int) throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        let version = try #require(loop.replica.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9).first).change.version.text.string
        let reason = "x" + String(repeating: "\u{20AC}", count: count / 3)
        loop.receive(
            "SYNC",
            #"{"v":2,"seq":\#(loop.device.up.sequence),"time":"018bcfe568000000","rejected":[{"ver":"\#(version)","code":-7,"reason":"\#(reason)"}]}"#)
        let kept = try #require(loop.replica.rejected.first).reason
        #expect(kept.count <= 512 && kept.isValidUTF8)
        #expect(reason.hasPrefix(kept.string) && (kept.count >= 510 || kept.string == reason))
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
