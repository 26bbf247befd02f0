import IotoBase
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

    @Test func windowGrowsWithSoonAnswers() throws {
        let loop = try loop(2000)
        // Whoever answered a question speaks version 2, or it takes the first answer.
        try loop.flush()
        var sizes: [Int] = []
        while !loop.up.isEmpty, sizes.count < 20 {
            sizes.append(loop.up.count)
            loop.deliverUp()
            loop.deliverDown()
        }
        #expect(sizes.starts(with: [1, 2, 3, 6, 12, 24]))
        // What the hub keeps of one device is 64 messages.
        #expect(sizes.max() == 48)
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 2000)
    }

    @Test func lateAnswersHalveTheWindowAndSilenceEndsIt() throws {
        let loop = try loop(600)
        try loop.flush()
        for _ in 0..<3 {
            loop.deliverUp()
            loop.deliverDown()
        }
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
