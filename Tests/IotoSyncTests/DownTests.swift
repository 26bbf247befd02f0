import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

/// The way down: from the cloud's feed to the device.
struct DownTests {
    @Test func changeInTheCloudArrivesAtOnce() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.up.isEmpty)
    }

    @Test func changesAndRemovalsWhileAwayArriveInOneCatchUp() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        loop.settle()
        loop.disconnect()
        try loop.cloudChange("Setting", "1", "", isRemoval: true)
        try loop.cloudChange("Setting", "2", "b")
        loop.restartDevice()
        loop.connect()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == nil)
        #expect(loop.replica.value("Setting", "2") == "b")
        #expect(loop.device.isCaughtUp)
    }

    @Test func answerToAProcessThatIsGoneDoesNotEndACatchUp() throws {
        let loop = Loopback()
        loop.connect()
        loop.deliverUp()
        // The broker keeps the answer until the next process comes; meanwhile there is something new.
        let answers = loop.down
        try loop.cloudChange("Setting", "1", "a")
        loop.restartDevice()
        loop.connect()
        loop.down = answers
        loop.deliverDown()
        #expect(!loop.device.isCaughtUp)
        loop.settle()
        #expect(loop.device.isCaughtUp)
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func endOfAConnectionToldLateKeepsNothingFromTheNextOne() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        loop.connect()
        loop.settle()
        loop.run(.message(topic: "ioto/service/d1/db/offline", payload: Array("{\"v\":2}".utf8)))
        loop.deliverDown()
        loop.wait(1_000)
        loop.settle()
        try loop.cloudChange("Setting", "1", "a")
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func longFeedComesPageByPage() throws {
        let loop = Loopback()
        for index in 0..<950 { _ = try loop.cloud.put("Setting", Text(decimal: index), value: "v") }
        loop.connect()
        loop.settle()
        #expect(loop.replica.applied.count == 950)
        #expect(loop.device.isCaughtUp)
        #expect(loop.replica.cursors["device/d1"]?.position == 950)
    }

    /// One that has got the first page of a long feed, and has not stored it.
    private static func withPageThatWaits() throws -> Loopback {
        let loop = Loopback()
        for index in 0..<950 { _ = try loop.cloud.put("Setting", Text(decimal: index), value: "v") }
        loop.connect()
        loop.deliverUp()
        // Behind the answers of the other streams.
        loop.down.reverse()
        loop.deliverDown()
        return loop
    }

    @Test func nextPageIsAskedForBeforeOneIsStored() throws {
        let loop = try DownTests.withPageThatWaits()
        #expect(loop.replica.applied.count == 0)
        #expect(loop.up.count == 1)
        #expect(loop.device.deadline == 0)
        loop.wait(0)
        let stored = loop.replica.applied.count
        #expect(stored > 0)
        #expect(loop.up.count == 1)
        loop.settle()
        #expect(loop.replica.applied.count == 950)
        #expect(loop.device.isCaughtUp)
    }

    @Test func pageThatWaitsIsNotStoredBehindTheEndOfItsConnection() throws {
        let loop = try DownTests.withPageThatWaits()
        loop.disconnect()
        loop.wait(0)
        #expect(loop.replica.applied.count == 0)
        loop.connect()
        loop.settle()
        #expect(loop.replica.applied.count == 950)
        #expect(loop.device.isCaughtUp)
    }

    @Test func pageThatWaitsIsStoredBeforeWhatComesNext() throws {
        let loop = try DownTests.withPageThatWaits()
        loop.up.removeAll()
        try loop.cloudChange("Notice", "1", "all", device: nil)
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "0") == "v")
        #expect(loop.replica.value("Notice", "1") == "all")
        // The question for the next page is lost.
        loop.wait(10_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "949") == "v")
        #expect(loop.device.isCaughtUp)
    }

    @Test func longFeedDoesNotComeInVainWhileTheDiskIsFull() throws {
        let loop = try DownTests.withPageThatWaits()
        loop.replica.fault = IotoError(.full, "disk full")
        var questions = 0
        for _ in 0..<3600 {
            loop.wait(1_000)
            questions += loop.up.count
            loop.settle()
        }
        #expect(loop.replica.applied.count == 0)
        #expect((30...130).contains(questions))
        loop.replica.fault = nil
        for _ in 0..<60 {
            loop.wait(1_000)
            loop.settle()
        }
        #expect(loop.replica.applied.count == 950)
        #expect(loop.device.isCaughtUp)
    }

    @Test func eachChangeIsAppliedOnceHoweverOftenItsPageComes() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        let page = loop.down
        loop.deliverDown()
        loop.down = page + page
        loop.deliverDown()
        #expect(loop.replica.applied.count == 1)
    }

    @Test func lostPageIsNoticedByTheNextAndFetched() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        loop.down.removeAll()
        try loop.cloudChange("Setting", "2", "b")
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.replica.value("Setting", "2") == "b")
        #expect(loop.replica.applied.count == 2)
    }

    @Test func noFurtherPageIsAskedForWhileWhoeverHearsOfChangesHasEnough() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        let count = 2 * Limits.batchItemsMax + 10
        for id in 0..<count { try loop.cloudChange("Setting", Text(decimal: Int64(id)), "a") }
        // The broker has kept none of them.
        loop.down = []
        loop.connect()
        loop.device.isCrowded = true
        loop.settle()
        let first = loop.replica.rows.count
        #expect(first > 0 && first < count)
        for _ in 0..<20 { loop.wait(100) }
        #expect(loop.replica.rows.count == first && loop.up.isEmpty)
        let next = try #require(loop.device.deadline)
        #expect(next <= loop.now.monotonic + 1000)
        // A change of the cloud shows that there is more, and is put off likewise.
        try loop.cloudChange("Setting", "late", "a")
        loop.settle()
        #expect(loop.replica.rows.count < count)
        loop.device.isCrowded = false
        for _ in 0..<20 {
            loop.wait(100)
            loop.settle()
        }
        #expect(loop.replica.rows.count == count + 1 && loop.device.isCaughtUp)
    }

    @Test func pagesOutOfOrderConverge() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        try loop.cloudChange("Setting", "2", "b")
        loop.down.reverse()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.replica.value("Setting", "2") == "b")
    }

    @Test func pageThatOvertakesTheAnswerToAQuestionIsFetched() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        loop.down.removeAll()
        loop.disconnect()
        loop.connect()
        loop.deliverUp()
        // The answers wait; the page of a change made since comes first, and finds a gap.
        let answers = loop.down
        loop.down.removeAll()
        try loop.cloudChange("Setting", "2", "b")
        loop.down += answers
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.replica.value("Setting", "2") == "b")
    }

    @Test func answerThatComesBehindAPleaDoesNotSilenceIt() throws {
        let loop = Loopback()
        loop.connect()
        loop.deliverUp()
        let answers = loop.down
        _ = try loop.cloud.put("Setting", "1", value: "a")  // Committed, and the hub dies before it publishes.
        loop.down.removeAll()
        loop.restartHub()
        loop.down += answers
        loop.deliverDown()
        loop.wait(1_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func changeThatIsStoredWhileAQuestionIsAnsweredArrives() throws {
        let loop = Loopback()
        loop.connect()
        loop.holdsAnswers = true
        loop.deliverUp()
        while loop.heldAnswers.count == 1, case .device = loop.heldAnswers[0].answer { loop.releaseAnswers() }
        // The page is read, and the hub has not got it yet.
        loop.run(.feedsMoved(try loop.cloud.put("Setting", "1", value: "a")))
        loop.holdsAnswers = false
        loop.releaseAnswers()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func pageThatTheHubCouldNotReadArrivesAllTheSame() throws {
        for (model, device): (Text, Text?) in [("Setting", "d1"), ("Notice", nil)] {
            let loop = Loopback.connected()
            loop.cloud.failure = IotoError(.busy, "the store is busy")
            try loop.cloudChange(model, "1", "a", device: device)
            loop.settle()
            loop.wait(1_000)
            loop.settle()
            #expect(loop.replica.value(model, "1") == "a")
        }
    }

    @Test func pageThatTheBrokerDroppedIsFetchedWithinTheHour() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "1", "a")
        loop.down.removeAll()
        loop.wait(1_799_000)
        #expect(loop.up.isEmpty)
        loop.wait(1_801_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.device.isCaughtUp)
    }

    @Test func unansweredQuestionIsAskedAgain() throws {
        let loop = Loopback()
        _ = try loop.cloud.put("Setting", "1", value: "a")
        loop.connect()
        loop.up.removeAll()
        loop.wait(5_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(loop.device.isCaughtUp)
    }

    @Test func hubThatStartsAnewMakesDevicesAsk() throws {
        let loop = Loopback.connected()
        _ = try loop.cloud.put("Setting", "1", value: "a")  // Committed, and the hub dies before it publishes.
        loop.restartHub()
        loop.deliverDown()
        loop.wait(1_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
        try loop.cloudChange("Setting", "2", "b")
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "2") == "b")
    }

    @Test func ownChangesDoNotComeBack() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "1", "mine")
        try loop.flush()
        loop.settle()
        #expect(loop.replica.applied.isEmpty)
        #expect(loop.replica.cursors["device/d1"]?.position == 1)
        try loop.cloudChange("Note", "1", "theirs")
        loop.settle()
        #expect(loop.replica.value("Note", "1") == "theirs")
        #expect(loop.replica.cursors["device/d1"]?.position == 2)
    }

    @Test func replacedDatabaseGetsItsFormerChangesBack() throws {
        let first = Loopback.connected()
        try first.change("Note", "1", "mine")
        try first.flush()
        first.settle()
        let second = Loopback(replica: 0xD2)
        second.cloud.rows = first.cloud.rows
        second.cloud.feeds = first.cloud.feeds
        second.cloud.heads = first.cloud.heads
        second.connect()
        second.settle()
        #expect(second.replica.value("Note", "1") == "mine")
    }

    @Test func feedOfAnotherHistoryIsReadFromItsStart() throws {
        let loop = Loopback.connected()
        for index in 0..<3 { try loop.cloudChange("Setting", Text(decimal: index), "old") }
        loop.settle()
        loop.disconnect()
        loop.cloud.history = 0xBBBB
        loop.cloud.feeds = [:]
        loop.cloud.heads = [:]
        _ = try loop.cloud.put("Setting", "9", value: "new")
        loop.connect()
        loop.settle()
        #expect(loop.replica.value("Setting", "9") == "new")
        #expect(loop.replica.cursors["device/d1"] == StreamCursor(stream: "device/d1", history: 0xBBBB, position: 1))
    }

    @Test func broadcastReachesTheDevice() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Notice", "1", "all", device: nil)
        loop.settle()
        #expect(loop.replica.value("Notice", "1") == "all")
    }

    @Test func fullDiskTakesNothingOfAPageAndAsksAgain() throws {
        let loop = Loopback.connected()
        loop.replica.failure = IotoError(.full, "disk full")
        try loop.cloudChange("Setting", "1", "a")
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == nil)
        loop.wait(5_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func aDiskThatIsFullForLongIsNotAskedForWithEveryPage() throws {
        let loop = Loopback.connected()
        loop.replica.fault = IotoError(.full, "disk full")
        var questions = 0
        // A minute of changes, twice a second, and an hour of silence.
        for index in 0..<120 {
            try loop.cloudChange("Setting", Text(decimal: Int64(index)), "a")
            loop.deliverDown()
            loop.wait(500)
            questions += loop.up.count
            loop.settle()
        }
        #expect((3...12).contains(questions))
        for _ in 0..<3600 {
            loop.wait(1_000)
            loop.settle()
        }
        #expect(loop.replica.value("Setting", "1") == nil)
        // There is room again, and nothing new to tell of it.
        loop.replica.fault = nil
        for _ in 0..<60 {
            loop.wait(1_000)
            loop.settle()
        }
        #expect(loop.replica.value("Setting", "119") == "a")
        #expect(loop.device.isCaughtUp)
    }

    @Test func caughtUpIsSaidOfTheAnswerAlone() throws {
        let loop = Loopback.connected()
        let generation = loop.device.catchUp(loop.now)
        try loop.cloudChange("Setting", "1", "a")
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "1") == "a")
        #expect(!loop.device.isCaughtUp(since: generation))
        loop.up += loop.device.takePublications()
        loop.settle()
        #expect(loop.device.isCaughtUp(since: generation))
    }

    @Test func deviceThatSaidGoodbyeGetsNothing() throws {
        let loop = Loopback.connected()
        let farewell = DeviceReplicator<MemoryReplica>.farewell(Topics(device: "d1", account: "a1"))
        loop.run(.message(topic: farewell.topic, payload: farewell.payload))
        #expect(loop.down.map { $0.payload } == [HubReplicator.plea])
        try loop.cloudChange("Setting", "1", "a")
        #expect(loop.down.count == 1)
        loop.connect()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    /// A broker brings a question twice, and the store fails the second time: the device has its answer, and asks no more.
    @Test(arguments: [false, true])
    func questionThatFailsWhenItComesTwiceKeepsNothingFromTheDevice(movesMeanwhile: Bool) throws {
        let loop = Loopback()
        loop.connect()
        let question = loop.up
        loop.settle()
        loop.cloud.failure = IotoError(.busy, "the store is busy")
        loop.holdsAnswers = movesMeanwhile
        loop.up = question
        loop.deliverUp()
        if movesMeanwhile { try loop.cloudChange("Setting", "1", "news") }
        loop.holdsAnswers = false
        loop.releaseAnswers()
        if !movesMeanwhile { try loop.cloudChange("Setting", "1", "news") }
        loop.settle()
        loop.wait(2_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "news")
    }
}
