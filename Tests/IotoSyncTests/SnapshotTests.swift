import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

extension Loopback {
    /// The cloud removes a setting and keeps no tombstone of it.
    fileprivate func forget(_ setting: Text) throws {
        try cloudChange("Setting", setting, "", isRemoval: true)
        cloud.purge()
    }

    /// The device comes back and asks; what it is answered stands in `down`.
    fileprivate func ask() {
        down = []
        connect()
        deliverUp()
    }

    /// Puts another text in what is on its way to the device.
    fileprivate func rewriteDown(_ part: String, _ other: String) {
        down = down.map { message in
            let text = String(decoding: message.payload, as: UTF8.self).replacing(part, with: other)
            return Publication(topic: message.topic, payload: Array(text.utf8))
        }
    }
}

/// A stream that begins anew: what the hub does not name is not there.
struct SnapshotTests {
    /// A device that has settings 1 to `count`, and is away.
    private func awayWithSettings(_ count: Int) throws -> Loopback {
        let loop = Loopback.connected()
        for index in 1...count { try loop.cloudChange("Setting", Text(decimal: index), "v") }
        loop.settle()
        loop.disconnect()
        return loop
    }

    /// A device whose note "mine" has gone up.
    private func withNote(_ value: Text = "kept") throws -> Loopback {
        let loop = Loopback.connected()
        try loop.change("Note", "mine", value)
        try loop.flush()
        return loop
    }

    @Test func removalWhoseTombstoneIsGoneReachesADeviceThatWasAway() throws {
        let loop = try awayWithSettings(3)
        try loop.forget("2")
        loop.comeBack()
        #expect(loop.replica.value("Setting", "1") == "v")
        #expect(loop.replica.value("Setting", "2") == nil)
        #expect(loop.replica.value("Setting", "3") == "v")
        #expect(loop.device.isCaughtUp)
        #expect(loop.replica.snapshots.isEmpty)
    }

    /// What the cloud forgot before the hub has read it is in no page that comes unasked either.
    @Test(arguments: [("Setting", "d1"), ("Notice", nil)] as [(Text, Text?)])
    func removalThatIsForgottenBeforeItIsSentIsNotSteppedOver(model: Text, device: Text?) throws {
        let loop = Loopback.connected()
        for id: Text in ["1", "2"] { try loop.cloudChange(model, id, "v", device: device) }
        loop.settle()
        _ = try loop.cloud.put(model, "1", device: device, value: "", isRemoval: true)
        loop.cloud.purge()
        try loop.cloudChange(model, "3", "v", device: device)
        loop.settle()
        #expect(loop.replica.value(model, "3") == "v")
        #expect(loop.replica.value(model, "1") == nil)
    }

    /// What is removed is not in it, and only the end of a snapshot tells that.
    @Test func snapshotThatAProcessWhichIsGoneHasAskedForIsNotTaken() throws {
        let loop = Loopback.connected()
        for id: Text in ["1", "2"] { try loop.cloudChange("Notice", id, "v", device: nil) }
        loop.settle()
        loop.disconnect()
        try loop.cloudChange("Notice", "1", "", device: nil, isRemoval: true)
        loop.cloud.purge()
        loop.ask()
        let late = loop.down.filter { $0.topic.string.hasSuffix("BATCH") }
        loop.restartDevice()
        loop.connect()
        loop.up = []
        loop.down = late
        loop.deliverDown()
        loop.settle()
        loop.wait(120_000)
        loop.settle()
        #expect(loop.replica.value("Notice", "1") == nil)
        #expect(loop.replica.value("Notice", "2") == "v")
    }

    @Test func deviceThatHasComeAsFarDoesNotBeginAnew() throws {
        let loop = try awayWithSettings(3)
        loop.down = []
        loop.connect()
        try loop.cloudChange("Setting", "2", "", isRemoval: true)
        loop.settle()
        loop.disconnect()
        loop.cloud.purge()
        let applied = loop.replica.applied.count
        loop.comeBack()
        #expect(loop.replica.applied.count == applied)
        #expect(!loop.published.contains { String(decoding: $0, as: UTF8.self).contains("snapshot") })
    }

    @Test func ownChangesThatTheCloudHasStay() throws {
        let loop = try withNote()
        try loop.cloudChange("Setting", "1", "v")
        loop.settle()
        loop.disconnect()
        try loop.forget("1")
        loop.comeBack()
        #expect(loop.replica.value("Note", "mine") == "kept")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func ownChangeThatTheCloudRemovedLongAgoGoes() throws {
        let loop = try withNote("old")
        loop.settle()
        loop.disconnect()
        try loop.cloudChange("Note", "mine", "", isRemoval: true)
        loop.cloud.purge()
        loop.comeBack()
        #expect(loop.replica.value("Note", "mine") == nil)
        #expect(loop.cloud.value("Note", "mine") == nil)
    }

    @Test func pendingChangeSurvivesAndGoesUp() throws {
        let loop = try awayWithSettings(1)
        try loop.change("Note", "new", "pending")
        try loop.forget("1")
        loop.comeBack()
        #expect(loop.replica.value("Note", "new") == "pending")
        #expect(loop.cloud.value("Note", "new") == "pending")
    }

    @Test func storeThatWasMadeAnewGetsWhatTheDeviceWroteAndDecidesTheRest() throws {
        let loop = try withNote()
        try loop.cloudChange("Setting", "1", "theirs")
        loop.settle()
        loop.disconnect()
        loop.cloud.forgetAll(history: 0xBBBB)
        _ = try loop.cloud.put("Setting", "2", value: "new")
        loop.comeBack()
        #expect(loop.replica.value("Note", "mine") == "kept")
        #expect(loop.cloud.value("Note", "mine") == "kept")
        #expect(loop.replica.value("Setting", "1") == nil)
        #expect(loop.replica.value("Setting", "2") == "new")
        #expect(loop.replica.pendingCount() == 0)
    }

    /// Which one it was that had acknowledged the change, no page had told.
    @Test func storeThatIsLostBeforeTheDeviceHasHadAPageGetsWhatItHadAcknowledged() throws {
        let loop = Loopback()
        loop.connect()
        try loop.change("Note", "mine", "kept")
        try loop.change("Reading", "mine", "kept")
        loop.wait(60_000)
        try loop.flush()
        loop.deliverUp()
        loop.down = loop.down.filter { $0.topic.string.hasSuffix("SYNC") }
        loop.deliverDown()
        #expect(loop.replica.pendingCount() == 0 && loop.cloud.value("Note", "mine") == "kept")
        loop.disconnect()
        loop.cloud.forgetAll(history: 0xBBBB)
        loop.restartHub()
        loop.comeBack()
        #expect(loop.cloud.value("Note", "mine") == "kept")
        #expect(loop.device.isCaughtUp && loop.replica.snapshots.isEmpty)
    }

    /// Of a stream that was empty the device may still have removals of a history before, which are newer than what comes.
    @Test func pageOfAnotherHistoryIsNotTakenUnaskedThoughTheStreamWasEmpty() throws {
        let loop = Loopback.connected()
        #expect(loop.replica.cursors["all"] == StreamCursor(stream: "all", history: 0xAAAA, position: 0))
        loop.cloud.forgetAll(history: 0xBBBB)
        try loop.cloudChange("Notice", "1", "v", device: nil)
        loop.deliverDown()
        #expect(loop.replica.cursors["all"]?.history == 0xAAAA)
        loop.settle()
        #expect(loop.replica.value("Notice", "1") == "v")
        #expect(loop.replica.cursors["all"]?.history == 0xBBBB)
    }

    @Test func storeThatWasSetBackGetsTheDevicesNewerStates() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "a", "one")
        try loop.flush()
        loop.settle()
        let (rows, feeds, heads) = (loop.cloud.rows, loop.cloud.feeds, loop.cloud.heads)
        try loop.change("Note", "a", "two")
        try loop.change("Note", "b", "two")
        try loop.flush()
        loop.settle()
        loop.disconnect()
        (loop.cloud.rows, loop.cloud.feeds, loop.cloud.heads) = (rows, feeds, heads)
        loop.restartHub()
        loop.down = []
        loop.comeBack()
        #expect(loop.cloud.value("Note", "a") == "two")
        #expect(loop.cloud.value("Note", "b") == "two")
    }

    @Test func deviceThatDiesInTheMiddleGoesOnAndLosesNothing() throws {
        let loop = try awayWithSettings(850)
        for index in [3, 847] { try loop.cloudChange("Setting", Text(decimal: index), "", isRemoval: true) }
        loop.cloud.purge()
        loop.ask()
        // The first page alone arrives.
        loop.down = Array(loop.down.prefix(1))
        loop.deliverDown()
        #expect(loop.replica.snapshotFloor(of: "device/d1") == 852)
        #expect(loop.replica.value("Setting", "3") == "v")
        loop.disconnect()
        loop.restartDevice()
        loop.comeBack()
        #expect(loop.replica.value("Setting", "3") == nil)
        #expect(loop.replica.value("Setting", "847") == nil)
        #expect(loop.replica.rows.values.filter { !$0.change.isRemoval }.count == 848)
    }

    /// Several processes of the hub answer: the one has read the page before the other stores the change.
    @Test func ownChangeThatIsStoredBehindTheLastPageStays() throws {
        let loop = try awayWithSettings(2)
        try loop.forget("1")
        loop.ask()
        let page = loop.down
        loop.down = []
        try loop.change("Note", "mine", "kept")
        try loop.flush()
        loop.deliverUp()
        loop.down = loop.down.filter { $0.topic.string.hasSuffix("SYNC") } + page
        loop.deliverDown()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == nil)
        #expect(loop.replica.value("Note", "mine") == "kept")
    }

    @Test func moreOwnChangesThanAreRememberedHaveTheEndAskedForAgain() throws {
        let loop = try awayWithSettings(2)
        try loop.forget("1")
        loop.ask()
        let page = loop.down
        loop.down = []
        let count = DeviceReplicator<MemoryReplica>.settledMax + 10
        for index in 0..<count { try loop.replica.put("Note", Text(decimal: index), value: "kept") }
        loop.device.changed(bytes: 10, loop.now)
        while loop.replica.pendingCount() > 0 {
            try loop.flush()
            loop.deliverUp()
            loop.down = loop.down.filter { $0.topic.string.hasSuffix("SYNC") }
            loop.deliverDown()
        }
        loop.down = page
        loop.deliverDown()
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == nil)
        #expect((0..<count).allSatisfy { loop.replica.value("Note", Text(decimal: $0)) == "kept" })
        #expect(loop.device.isCaughtUp)
    }

    @Test func tombstonesThatGoMeanwhileMakeItBeginAnew() throws {
        let loop = try awayWithSettings(850)
        try loop.forget("3")
        loop.ask()
        loop.down = Array(loop.down.prefix(1))
        loop.deliverDown()
        loop.up = []
        // Named already.
        try loop.forget("5")
        loop.comeBack()
        #expect(loop.replica.value("Setting", "5") == nil)
        #expect(loop.replica.rows.values.filter { !$0.change.isRemoval }.count == 848)
        #expect(loop.device.isCaughtUp)
    }

    @Test func failureAtTheEndIsRepeatedWhole() throws {
        let loop = try awayWithSettings(2)
        try loop.forget("2")
        loop.down = []
        loop.connect()
        loop.replica.failure = IotoError(.full, "disk full")
        loop.settle()
        #expect(loop.replica.value("Setting", "2") == "v")
        loop.wait(300_000)
        loop.settle()
        #expect(loop.replica.value("Setting", "2") == nil)
    }

    @Test func pageThatLeavesSomethingOutDoesNotEndASnapshot() throws {
        let loop = try awayWithSettings(2)
        loop.cloud.history = 0xBBBB
        loop.ask()
        loop.rewriteDown(#","snapshot":true"#, "")
        loop.deliverDown()
        #expect(loop.replica.cursors["device/d1"]?.history == 0xAAAA)
        #expect(loop.replica.value("Setting", "1") == "v")
    }

    @Test func itemThatTheDeviceCannotTakeIsNotRemovedForThat() throws {
        let loop = try awayWithSettings(2)
        loop.cloud.history = 0xBBBB
        loop.ask()
        // A cloud with another schema says what does not fit here.
        loop.rewriteDown(#""value":"v""#, #""value":{}"#)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "v")
        #expect(loop.device.isCaughtUp)
    }

    @Test func otherStreamsAreLeftAlone() throws {
        let loop = try awayWithSettings(2)
        try loop.cloudChange("Notice", "1", "all", device: nil)
        loop.comeBack()
        loop.disconnect()
        try loop.forget("2")
        loop.comeBack()
        #expect(loop.replica.value("Notice", "1") == "all")
        #expect(loop.replica.value("Setting", "2") == nil)
    }
}
