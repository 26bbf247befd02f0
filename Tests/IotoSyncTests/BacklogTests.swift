import IotoBase
import IotoJSON
import Testing

@testable import IotoSync

/// A backlog on its way up: several messages at a time, stored together, each change brief.
@Suite struct BacklogTests {
    /// A device that has put so many readings of 1 KB by, ten to a message, and has not sent one.
    private func loop(_ count: Int) throws -> Loopback {
        let loop = Loopback.connected()
        let value = Text([UInt8](repeating: UInt8(ascii: "x"), count: 950))
        for index in 0..<count { try loop.replica.put("Reading", Text(decimal: index), value: value) }
        return loop
    }

    private func answers(_ loop: Loopback) -> Int { loop.down.filter { $0.topic == "ioto/device/d1/sync/SYNC" }.count }

    /// How many messages were on their way each time that all of them were answered after so many milliseconds.
    private func windows(_ loop: Loopback, answeredAfter wait: Int64, rounds: Int = 20) throws -> [Int] {
        // Whoever answered a question speaks version 2, or it takes the first answer.
        try loop.flush()
        var sizes: [Int] = []
        while !loop.up.isEmpty, sizes.count < rounds {
            sizes.append(loop.up.count)
            loop.deliverUp()
            loop.wait(wait)
            loop.deliverDown()
        }
        return sizes
    }

    @Test(arguments: [(Int64(0), [1, 4, 14, 40, 48]), (Int64(200), [1, 2, 3, 6, 12, 24])])
    func windowGrowsWithSoonAnswers(_ wait: Int64, _ expected: [Int]) throws {
        let loop = try loop(2000)
        let sizes = try windows(loop, answeredAfter: wait)
        #expect(sizes.starts(with: expected))
        // What the hub keeps of one device is 64 messages.
        #expect(sizes.max() == 48)
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 2000)
    }

    @Test func lateAnswersHalveTheWindowAndSilenceEndsIt() throws {
        let loop = try loop(600)
        #expect(try windows(loop, answeredAfter: 200, rounds: 3) == [1, 2, 3])
        #expect(loop.up.count == 6)
        loop.deliverUp()
        loop.wait(2_000)
        loop.deliverDown()
        #expect(loop.up.count == 4)
        loop.up.removeAll()
        loop.wait(5_000)
        #expect(loop.up.count == 1)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func messagesThatCameTogetherAreStoredTogetherAndHaveOneAnswer() throws {
        let loop = try loop(70)
        try loop.flush()
        for _ in 0..<2 {
            loop.deliverUp()
            loop.deliverDown()
        }
        let sent = loop.up.count
        #expect(sent == 3)
        loop.holdsAnswers = true
        loop.deliverUp()
        // The first is being stored; the others wait.
        #expect(loop.heldAnswers.count == 1)
        loop.holdsAnswers = false
        loop.releaseAnswers()
        #expect(answers(loop) == 2)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 70)
    }

    @Test func lostMessageOfAWindowIsSentAgainAndNoOther() throws {
        let loop = try loop(70)
        try loop.flush()
        for _ in 0..<2 {
            loop.deliverUp()
            loop.deliverDown()
        }
        loop.up.remove(at: 1)
        loop.deliverUp()
        loop.deliverDown()
        let pending = loop.replica.pendingCount()
        #expect(pending > 0)
        loop.wait(20_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 70)
    }

    @Test func messagesGoOutAFewAtATime() throws {
        let loop = try loop(600)
        #expect(try windows(loop, answeredAfter: 0, rounds: 2) == [1, 4])
        loop.deliverUp()
        let answers = loop.down
        loop.down = []
        for answer in answers { loop.device.received(answer.topic, answer.payload, loop.now) }
        #expect(loop.device.takePublications().count == 4)
        #expect(loop.device.deadline == 0)
        loop.device.tick(loop.now)
        #expect(loop.device.takePublications().count == 4)
    }

    @Test(arguments: [true, false]) func answersAreBriefForWhoReadsThem(_ reads: Bool) throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        if !reads {
            loop.up = loop.up.map { message in
                let payload = String(decoding: message.payload, as: UTF8.self).replacing(#""b":1,"#, with: "")
                return Publication(topic: message.topic, payload: Array(payload.utf8))
            }
        }
        loop.deliverUp()
        let answer = try JSON.parse(#require(loop.down.last { $0.topic == "ioto/device/d1/sync/SYNC" }).payload)
        #expect((answer["keys"] == nil) == reads)
        #expect((answer["replica"] != nil) == reads)
        #expect(answer["vers"]?.arrayValue?.first?.stringValue?.count == (reads ? 16 : 33))
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func changesAreBriefOnceTheHubHasAnswered() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.settle()
        try loop.change("Reading", "2", "b")
        try loop.flush()
        let message = String(decoding: try #require(loop.published.last), as: UTF8.self)
        #expect(!message.contains(#""cmd""#))
        #expect(!message.contains(#""key""#))
        loop.settle()
        #expect(loop.cloud.value("Reading", "2") == "b")
        try loop.remove("Reading", "2")
        try loop.flush()
        loop.settle()
        #expect(loop.cloud.value("Reading", "2") == nil)
        #expect(loop.replica.pendingCount() == 0)
    }
}
