import IotoBase
import IotoJSON
import Testing

@testable import IotoSync

/// When what the hub has acknowledged of a backlog leaves the outbox.
@Suite struct SettlingTests {
    /// A device with so many readings of 1 KB, of which four messages are on their way.
    private func loop(_ count: Int = 200, of model: Text = "Reading") throws -> Loopback {
        let loop = Loopback.connected()
        let value = Text([UInt8](repeating: UInt8(ascii: "x"), count: 950))
        for index in 0..<count { try loop.replica.put(model, Text(decimal: index), value: value) }
        try loop.flush()
        loop.deliverUp()
        loop.deliverDown()
        #expect(loop.up.count == 4)
        return loop
    }

    /// The hub's answer to the first message of those that are on their way.
    private func answerOne(_ loop: Loopback) {
        let rest = Array(loop.up.dropFirst())
        loop.up = Array(loop.up.prefix(1))
        loop.deliverUp()
        loop.up = rest
        loop.deliverDown()
    }

    @Test func answersOfABacklogAreSettledTogether() throws {
        let loop = try loop()
        let (before, settlements) = (loop.replica.pendingCount(), loop.replica.settlements)
        answerOne(loop)
        #expect(loop.replica.pendingCount() == before)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        // 20 messages; half a megabyte is more than all of them.
        #expect(loop.replica.settlements == settlements + 1)
        #expect(loop.cloud.stored.count == 200)
        #expect(loop.device.statistics.sentItems == 200)
    }

    @Test func answerIsSettledInTimeThoughNoOtherFollows() throws {
        let loop = try loop()
        let before = loop.replica.pendingCount()
        answerOne(loop)
        loop.wait(99)
        #expect(loop.replica.pendingCount() == before)
        loop.wait(1)
        #expect(loop.replica.pendingCount() < before)
    }

    @Test func answerIsSettledBeforeAPageIsRead() throws {
        let loop = try loop()
        let before = loop.replica.pendingCount()
        answerOne(loop)
        try loop.cloudChange("Setting", "s", "1")
        loop.deliverDown()
        #expect(loop.replica.pendingCount() < before)
    }

    @Test func answerIsSettledWhenTheConnectionEnds() throws {
        let loop = try loop()
        let before = loop.replica.pendingCount()
        answerOne(loop)
        loop.device.disconnected(loop.now)
        #expect(loop.replica.pendingCount() < before)
    }

    @Test func whatIsAnsweredCountsAsSentUntilItIsSettled() throws {
        let loop = try loop()
        let first = try #require(try loop.replica.pendingChanges(after: .min, held: [], bytesMax: 1, itemsMax: 1).first)
        #expect(loop.device.sent.holds(first.change.key, from: first.change.version.time))
        answerOne(loop)
        #expect(loop.device.sent.holds(first.change.key, from: first.change.version.time))
        loop.wait(100)
        #expect(!loop.device.sent.holds(first.change.key, from: first.change.version.time))
    }

    @Test func answerThatCanNotBeSettledIsAskedForOnceMore() throws {
        let loop = try loop()
        loop.replica.failure = IotoError(.full, "disk full")
        answerOne(loop)
        loop.wait(100)
        loop.replica.failure = nil
        loop.settle()
        loop.wait(20_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 200)
    }

    @Test func changesAreMadeWithKnowledgeOfWhatIsAnswered() throws {
        let loop = try loop(of: "Plan")
        let before = try #require(loop.replica.cursors["device/d1"]?.position)
        for _ in 0..<2 { answerOne(loop) }
        // Two more messages of the device's own changes are in the cloud, and the stored cursor does not know it yet.
        #expect(loop.replica.cursors["device/d1"]?.position == before)
        let message = try JSON.parse(#require(loop.up.last).payload)
        #expect(message["cursor"]?.integerValue == loop.cloud.heads["device/d1"])
        #expect(try #require(loop.cloud.heads["device/d1"]) > before)
    }

    @Test func editOfWhatIsAnsweredIsSentToo() throws {
        let loop = try loop()
        answerOne(loop)
        let edited = try #require(loop.cloud.stored.last)
        let id = Text(String(decoding: edited.key.sort.bytes.split(separator: UInt8(ascii: "#")).last ?? [], as: UTF8.self))
        try loop.change("Reading", id, "edited")
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.value("Reading", id) == "edited")
    }
}
