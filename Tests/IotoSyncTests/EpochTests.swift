import IotoBase
import Testing

@testable import IotoSync

/// Two databases of one device: copies, older states, others.
@Suite struct EpochTests {
    /// A new process, on what the disk had when `epoch` was kept, connects.
    private func start(_ loop: Loopback, _ epoch: Epoch? = nil, replica: UInt64? = nil) {
        loop.device.disconnected(loop.now)
        if let epoch { loop.replica.keptEpoch = epoch }
        if let replica { loop.replica.replica = replica }
        loop.restartDevice()
        loop.connect()
        loop.settle()
    }

    @Test func eachConnectionHasTheNextNumber() throws {
        let loop = Loopback.connected()
        #expect(loop.replica.keptEpoch.number == 1 && loop.replica.keptEpoch.isConfirmed)
        start(loop)
        loop.device.disconnected(loop.now)
        loop.connect()
        loop.settle()
        #expect(loop.replica.keptEpoch.number == 3 && loop.cloud.devices["d1"]?.epoch == 3)
        #expect(!loop.device.isFenced)
    }

    @Test func anOlderStateIsFencedAndStaysSo() throws {
        let loop = Loopback.connected()
        let old = loop.replica.keptEpoch
        start(loop)
        start(loop, old)
        #expect(loop.device.isFenced && loop.replica.keptEpoch.isFenced && loop.device.lastError?.code == .fenced)
        // Changes are kept, and nothing is sent: neither by this process nor by the next.
        try loop.change("Note", "a", "kept")
        try loop.flush()
        loop.wait(600_000)
        #expect(loop.up.isEmpty && loop.replica.pendingCount() == 1)
        start(loop)
        #expect(loop.device.isFenced && loop.up.isEmpty && loop.cloud.rows.isEmpty)
        // Under a new identity it goes on.
        start(loop, Epoch(), replica: 0xD2)
        #expect(!loop.device.isFenced && loop.device.isCaughtUp && loop.replica.pendingCount() == 0)
        #expect(loop.cloud.rows.count == 1)
    }

    @Test func whatComesLateOfTheConnectionBeforeEndsNothingOfTheNext() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "a", "late")
        try loop.flush()
        let late = loop.up
        loop.disconnect()
        loop.connect()
        loop.settle()
        for message in late { loop.run(.message(topic: message.topic, payload: message.payload)) }
        loop.settle()
        #expect(loop.hub.sessions["d1"]?.feed != nil && !loop.device.isFenced)
        try loop.cloudChange("Setting", "1", "a")
        loop.deliverDown()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func ofTwoCopiesTheSecondIsFenced() throws {
        let loop = Loopback.connected()
        let image = loop.replica.keptEpoch
        start(loop, image)
        let original = loop.replica.keptEpoch
        start(loop, image)
        #expect(loop.device.isFenced)
        start(loop, original)
        #expect(!loop.device.isFenced && loop.device.isCaughtUp)
    }

    @Test func theCopyThatIsConnectedIsFencedWithItsNextMessage() throws {
        let loop = Loopback.connected()
        let image = loop.replica.keptEpoch
        let connected = loop.device
        // The other copy connects through another hub process, and nobody has told this connection.
        loop.replica.keptEpoch = image
        loop.restartDevice()
        loop.connect()
        loop.settle()
        #expect(!loop.device.isFenced)
        loop.device = connected
        try loop.change("Note", "a", "1")
        try loop.flush()
        loop.settle()
        #expect(loop.device.isFenced && loop.cloud.rows.isEmpty)
    }

    @Test func aNewDatabaseTakesOverAndTheOldOneIsFenced() throws {
        let loop = Loopback.connected()
        start(loop)
        let old = loop.replica.keptEpoch
        start(loop, Epoch(), replica: 0xD2)
        #expect(!loop.device.isFenced)
        start(loop, old, replica: 0xD1)
        #expect(loop.device.isFenced)
    }

    @Test func aLateMessageOfAReplacedDatabaseFencesNobody() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "a", "late")
        try loop.flush()
        let late = loop.up
        start(loop, Epoch(), replica: 0xD2)
        start(loop)
        // It was never heard but by its first connection's number, and is known all the same.
        for message in late { loop.run(.message(topic: message.topic, payload: message.payload)) }
        loop.restartHub()
        loop.settle()
        try loop.change("Note", "b", "1")
        try loop.flush()
        loop.settle()
        #expect(!loop.device.isFenced && loop.replica.pendingCount() == 0 && loop.cloud.devices["d1"]?.replica == 0xD2)
    }

    /// A copy of a database whose connection nobody had answered may be heeded under the same one, and what it writes is left out of what
    /// comes down: so the process that goes on makes a connection of its own, under which nobody else is.
    @Test func aProcessThatGoesOnUnderTheConnectionOfTheOneBeforeLeavesItWhenItIsAnswered() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        loop.connect()
        let image = loop.replica.keptEpoch
        #expect(image.number == 2 && !image.isConfirmed)
        start(loop)
        #expect(loop.replica.keptEpoch.number == 3 && loop.cloud.devices["d1"]?.epoch == 3)
        #expect(!loop.device.isFenced && loop.device.isCaughtUp)
        start(loop, image)
        #expect(loop.device.isFenced)
    }

    @Test func whatACopyWroteBeforeTheProcessHadAConnectionOfItsOwnComesDown() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        loop.connect()
        let image = loop.replica.keptEpoch
        loop.disconnect()
        let (rows, cursors) = (loop.replica.rows, loop.replica.cursors)
        loop.restartDevice()
        loop.connect()
        // The question is answered before the copy writes, and the answer arrives behind that.
        loop.deliverUp()
        let (process, answers) = (loop.device, loop.down)
        loop.replica.keptEpoch = image
        loop.restartDevice()
        try loop.replica.put("Note", "a", value: "the copy's")
        loop.device.connected(loop.now)
        try loop.flush()
        loop.deliverUp()
        (loop.replica.rows, loop.replica.cursors, loop.replica.keptEpoch) = (rows, cursors, image)
        (loop.device, loop.up, loop.down) = (process, [], answers)
        loop.settle()
        #expect(loop.cloud.value("Note", "a") == "the copy's")
        #expect(loop.replica.value("Note", "a") == "the copy's")
    }

    @Test func pageForACopyThatWasConnectedMeanwhileMovesNoCursor() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        // The broker gives the original what it has kept for the copy: a page that leaves out what both write.
        loop.receive(
            "BATCH",
            #"{"v":2,"stream":"device/d1","history":"\#(Text.hexadecimal(loop.cloud.history).string)","prev":0,"cursor":3,"#
                + #""time":"0000000000000001","without":"\#(Text.hexadecimal(loop.replica.replica).string)","changes":[]}"#)
        #expect(loop.replica.cursor(of: "device/d1")?.position ?? 0 == 0)
        loop.connect()
        loop.settle()
        #expect(loop.device.isCaughtUp)
    }

    @Test func anOlderStateThatGoesOnGetsItsOwnLaterItems() throws {
        let loop = Loopback.connected()
        let (rows, cursors, epoch) = (loop.replica.rows, loop.replica.cursors, loop.replica.keptEpoch)
        try loop.change("Note", "a", "later")
        try loop.flush()
        loop.settle()
        #expect(loop.replica.cursor(of: "device/d1")?.position == 1)
        // The file is put back, and the cloud can't tell: the connection was the same one.
        (loop.replica.rows, loop.replica.cursors) = (rows, cursors)
        start(loop, epoch)
        #expect(!loop.device.isFenced && loop.device.isCaughtUp)
        #expect(loop.replica.value("Note", "a") == "later")
        // From then on nothing comes back.
        try loop.change("Note", "a", "latest")
        try loop.flush()
        loop.settle()
        loop.disconnect()
        loop.connect()
        let before = loop.publishedDown.count
        loop.settle()
        let own = loop.publishedDown[before...].count { String(decoding: $0, as: UTF8.self).contains("latest") }
        #expect(own == 0)
    }

    @Test func anotherHubThatKnowsTheFormerConnectionStoresNothingOfIt() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "a", "late")
        try loop.flush()
        let late = loop.up
        let former = loop.hub
        let epoch = loop.replica.keptEpoch
        // The next connection is heard by another process of the hub.
        loop.disconnect()
        loop.restartHub()
        start(loop, epoch)
        #expect(loop.cloud.devices["d1"]?.epoch == 2 && loop.cloud.stored.count == 1)
        let hub = loop.hub
        loop.hub = former
        try loop.replica.put("Note", "b", value: "later")
        for message in late { loop.run(.message(topic: message.topic, payload: message.payload)) }
        #expect(loop.cloud.stored.count == 1)
        // The fence is for that connection, and not for this one.
        loop.settle()
        #expect(!loop.device.isFenced)
        loop.hub = hub
    }

    @Test func whatIsSaidToTheOtherDatabaseMovesNoCursor() throws {
        let loop = Loopback.connected()
        let page = #"{"v":2,"stream":"device/d1","history":"000000000000aaaa","prev":0,"cursor":3,"time":"0000000000000001","changes":[]"#
        loop.receive("BATCH", page + #","without":"00000000000000ff"}"#)
        #expect(loop.replica.cursor(of: "device/d1")?.position ?? 0 == 0)
        loop.receive(
            "SYNC",
            #"{"v":2,"seq":1,"time":"0000000000000001","vers":["0000000000000002-00000000000000ff"],"feed":{"stream":"device/d1","#
                + #""history":"000000000000aaaa","prev":0,"cursor":3}}"#)
        #expect(loop.replica.cursor(of: "device/d1")?.position ?? 0 == 0)
        loop.settle()
        loop.receive("BATCH", page + #","without":"00000000000000d1"}"#)
        #expect(loop.replica.cursor(of: "device/d1")?.position == 3)
    }

    /// A copy that is not fenced yet has the same id, and may give the same version to another change.
    @Test func answerToACopyClearsNothing() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "a", "mine")
        try loop.flush()
        loop.up = []
        let version = try #require(loop.replica.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9).first).change.version
        for sequence in [loop.device.up.start, loop.device.up.sequence + 1] {
            loop.receive(
                "SYNC",
                #"{"v":2,"seq":\#(sequence),"time":"0000000000000001","vers":["\#(version.text.string)"],"feed":{"stream":"device/d1","#
                    + #""history":"\#(Text.hexadecimal(loop.cloud.history).string)","prev":0,"cursor":3}}"#)
        }
        #expect(loop.replica.pendingCount() == 1)
        #expect(loop.replica.cursor(of: "device/d1")?.position ?? 0 == 0)
        loop.wait(60_000)
        loop.settle()
        #expect(loop.cloud.stored.count == 1 && loop.replica.pendingCount() == 0)
    }

    @Test func aDeathBeforeTheAnswerFencesNobody() throws {
        let loop = Loopback.connected()
        for _ in 0..<3 {
            // Heard by the hub, not answered.
            loop.device.disconnected(loop.now)
            loop.restartDevice()
            loop.connect()
            loop.deliverUp()
            loop.down.removeAll()
        }
        for _ in 0..<3 {
            // Not heard.
            loop.device.disconnected(loop.now)
            loop.restartDevice()
            loop.connect()
        }
        loop.settle()
        // One number for those that nobody has answered, and one of the last process's own.
        #expect(!loop.device.isFenced && loop.device.isCaughtUp && loop.replica.keptEpoch.number == 3)
    }

    @Test func aDiskThatIsFullFencesNobody() throws {
        let loop = Loopback.connected()
        loop.device.disconnected(loop.now)
        loop.replica.failure = IotoError(.full, "full")
        loop.connect()
        loop.settle()
        #expect(!loop.device.isFenced && loop.device.isCaughtUp && loop.replica.keptEpoch.number == 1)
    }

    @Test func anOlderStateOfTheCloudFencesNobody() throws {
        let loop = Loopback.connected()
        let old = loop.cloud.devices
        start(loop)
        start(loop)
        loop.cloud.devices = old
        loop.restartHub()
        start(loop)
        #expect(!loop.device.isFenced && loop.device.isCaughtUp && loop.cloud.devices["d1"]?.epoch == 4)
    }

    @Test func aFenceForAnotherConnectionIsNotHeeded() throws {
        let loop = Loopback.connected()
        loop.receive("SYNC", #"{"v":2,"fenced":"0000000000000001"}"#)
        loop.receive("BATCH", #"{"v":2,"fenced":"0000000000000000"}"#)
        loop.receive("BATCH", #"{"v":2,"fenced":5}"#)
        #expect(!loop.device.isFenced)
    }

    @Test func aDeviceThatTellsNoEpochIsServed() throws {
        let loop = Loopback.connected()
        let known = try #require(loop.cloud.devices["d1"])
        var next = known
        (next.epoch, next.nonce) = (0, 0)
        #expect(try known.following(next) == known)
        next.replica = 5
        #expect(try known.following(next).epoch == 0)
    }
}
