import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

/// The way up: from the outbox to the cloud's store.
struct UpTests {
    @Test func changesWaitForSyncDelayAndThenArrive() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        #expect(loop.up.isEmpty)
        loop.wait(4_999)
        #expect(loop.up.isEmpty)
        loop.wait(1)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "a")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func syncLimitSendsAtOnce() throws {
        let loop = Loopback.connected()
        try loop.replica.put("Reading", "1", value: "a")
        loop.device.changed(bytes: 10 * 1024, loop.now)
        #expect(loop.device.takePublications().count == 1)
    }

    @Test func secondUpdateBeforeTheFlushIsTheOneThatArrives() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.change("Reading", "1", "b")
        try loop.flush()
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "b")
        #expect(loop.cloud.stored.count == 1)
    }

    @Test func itemRemovedBeforeTheFlushNeverStaysInTheCloud() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.remove("Reading", "1")
        try loop.flush()
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == nil)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func lateAckDoesNotDiscardTheNewerChange() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.deliverUp()
        try loop.change("Reading", "1", "b")
        loop.deliverDown()
        #expect(loop.replica.pendingCount() == 1)
        loop.wait(5_000)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "b")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func flushIsNotDoneByTheAckOfAnOlderState() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.deliverUp()
        try loop.change("Reading", "1", "b")
        var progress = try #require(try loop.device.flush(loop.now))
        loop.deliverDown()
        #expect(try !loop.device.isFlushed(&progress))
        loop.settle()
        #expect(try loop.device.isFlushed(&progress))
        #expect(loop.cloud.value("Reading", "1") == "b")
    }

    @Test func unansweredBatchIsSentAgainInItsLatestState() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        try loop.change("Reading", "1", "b")
        loop.wait(5_000)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "b")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func lostAckMakesTheChangeArriveTwiceAndBeStoredOnce() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.deliverUp()
        loop.down.removeAll()
        loop.wait(5_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 1)
    }

    @Test func hubThatStartsAnewGetsTheUnansweredBatchAtOnce() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        for _ in 0..<6 {  // The waits have grown.
            loop.wait(300_000)
            loop.up.removeAll()
        }
        loop.restartHub()
        loop.deliverDown()
        loop.wait(1_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func ackOfAnEarlierTryCounts() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.deliverUp()
        let ack = loop.down
        loop.down.removeAll()
        loop.wait(5_000)
        loop.up.removeAll()
        loop.down = ack
        loop.deliverDown()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func itemThatChangedBetweenTwoTriesIsClearedByTheSecondAnswer() throws {
        let loop = Loopback()
        loop.connect()
        loop.settle()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        try loop.change("Reading", "1", "b")
        // The second try goes out before the first one's answer comes.
        loop.wait(10_000)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "b")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func changesOfAnEarlierProcessArriveAfterTheRestart() throws {
        let loop = Loopback()
        try loop.replica.put("Reading", "1", value: "a")
        loop.restartDevice()
        loop.connect()
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "a")
        #expect(loop.cloud.stored.count == 1)
    }

    @Test func backlogGoesOutBatchByBatchWithoutWaiting() throws {
        let loop = Loopback()
        for index in 0..<500 { try loop.replica.put("Reading", Text(decimal: index), value: "0123456789") }
        loop.connect()
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.cloud.stored.count == 500)
        #expect(loop.published.allSatisfy { $0.count <= 10 * 1024 + 512 })
    }

    @Test func itemThatNoMessageCanCarryDoesNotBlockTheQueue() throws {
        let loop = Loopback()
        let huge = Text([UInt8](repeating: 0x61, count: Limits.publishBytesMax))
        try loop.replica.put("Reading", "huge", value: huge)
        try loop.replica.put("Reading", "small", value: "a")
        loop.connect()
        loop.settle()
        #expect(loop.cloud.value("Reading", "small") == "a")
        #expect(loop.replica.pendingCount() == 0)
        #expect(loop.replica.rejected.count == 1)
    }

    @Test func brokerOfSmallPacketsGetsSmallMessages() throws {
        let loop = Loopback()
        loop.device.messageBytesMax = 2_000
        let large = Text([UInt8](repeating: 0x61, count: 2_000))
        for index in 0..<50 { try loop.replica.put("Reading", Text(decimal: index), value: "0123456789") }
        try loop.replica.put("Reading", "large", value: large)
        try loop.replica.put("Reading", "behind", value: "a")
        loop.connect()
        loop.settle()
        #expect(loop.published.allSatisfy { $0.count <= 2_000 })
        #expect(loop.cloud.stored.count == 51 && loop.cloud.value("Reading", "behind") == "a")
        #expect(loop.replica.rejected.map(\.code) == [ErrorCode.limit.rawValue])
    }

    @Test func refusedChangeLeavesTheQueueWithItsReason() throws {
        let loop = Loopback()
        // The hub's schema may be stricter than the device's: here a forged row of a model that does not go up.
        try loop.replica.put("Setting", "1", value: "a")
        let key = try #require(loop.replica.rows.keys.first)
        loop.replica.rows[key]?.position = 5
        try loop.replica.put("Reading", "1", value: "b")
        loop.connect()
        loop.settle()
        #expect(loop.replica.rejected.count == 1)
        #expect(loop.replica.rejected.first?.code == ErrorCode.denied.rawValue)
        #expect(loop.cloud.value("Setting", "1") == nil)
        #expect(loop.cloud.value("Reading", "1") == "b")
    }

    @Test func versionAheadOfTheHubsClockIsStampedAnew() throws {
        let loop = Loopback()
        loop.replica.wall = loop.now.wall + 10 * 365 * 86_400_000
        let version = try loop.replica.put("Reading", "1", value: "a")
        loop.connect()
        loop.settle()
        let stored = try #require(loop.cloud.stored.first?.version)
        #expect(stored < version)
        #expect(loop.replica.rows.values.first?.change.version == stored)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func changeWithALostStampIsStoredOnceAndDoesNotUndoTheCloudsNextOne() throws {
        let loop = Loopback.connected()
        loop.replica.wall = loop.now.wall + 10 * 365 * 86_400_000
        try loop.change("Note", "1", "a")
        try loop.flush()
        loop.deliverUp()
        // The answer with the new version is lost, and so is that to the change under it.
        loop.down.removeAll()
        loop.wait(5_000)
        loop.deliverUp()
        loop.deliverDown()
        loop.deliverUp()
        loop.down.removeAll()
        try loop.cloudChange("Note", "1", "b")
        for _ in 0..<4 {
            loop.wait(20_000)
            loop.settle()
        }
        #expect(loop.cloud.value("Note", "1") == "b")
        #expect(loop.replica.value("Note", "1") == "b")
        #expect(loop.cloud.stored.filter { $0.version.writer == loop.replica.replica }.count == 1)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func changeOfTheCloudIsNotPassedOverForAVersionAheadOfItsClock() throws {
        let loop = Loopback.connected()
        loop.replica.wall = loop.now.wall + 10 * 365 * 86_400_000
        try loop.change("Note", "1", "a")
        try loop.flush()
        loop.deliverUp()
        // The new version is on its way when the cloud changes the item, and that change arrives first.
        let answer = loop.down
        loop.down.removeAll()
        try loop.cloudChange("Note", "1", "b")
        loop.down += answer
        for _ in 0..<4 {
            loop.settle()
            loop.wait(20_000)
        }
        #expect(loop.cloud.value("Note", "1") == loop.replica.value("Note", "1"))
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func deviceInNineteenSeventyLearnsTheTime() throws {
        let loop = Loopback()
        loop.replica.wall = 5_000
        try loop.replica.put("Reading", "1", value: "a")
        loop.connect()
        loop.settle()
        let version = try loop.replica.put("Reading", "1", value: "b")
        #expect(version.milliseconds >= loop.now.wall - 1)
    }

    @Test func storageFailureWhileSettlingIsRetried() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.replica.failure = IotoError(.full, "disk full")
        loop.settle()
        #expect(loop.replica.pendingCount() == 1)
        #expect(loop.device.lastError?.code == .full)
        loop.wait(10_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func itemOfAnotherDeviceIsNotOverwritten() throws {
        let loop = Loopback()
        let key = ItemKey(hash: "device#d1", sort: "reading#1")
        let theirs = Change(
            model: "Reading", key: key, version: Version(time: 1, writer: 9), isRemoval: false, body: Array("{}".utf8))
        loop.cloud.rows[key] = ItemState(change: theirs, stream: nil, owner: "d2")
        try loop.replica.put("Reading", "1", value: "mine")
        loop.connect()
        loop.settle()
        #expect(loop.cloud.rows[key]?.change == theirs)
        #expect(loop.replica.rejected.first?.code == ErrorCode.denied.rawValue)
    }
}
