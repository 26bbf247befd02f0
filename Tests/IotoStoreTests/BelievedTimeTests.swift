import IotoBase
import IotoSync
import Testing

@testable import IotoStore

/// Times that no honest clock says.
@Suite struct BelievedTimeTests {
    /// Around every power of two that a bound could be, as sixteen digits.
    static let times: [String] = [
        "07ffffffffffffff", "0ffeffffffffffff", "0fff000000000000", "0fffffffffffffff", "1000000000000000", "1fffffffffffffff",
        "2000000000000000", "3fffffffffffffff", "4000000000000000", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff",
    ]

    /// Whoever reaches the broker says a time: in the hub's clock, in an item's version, and in a version to send under.
    private func lie(_ time: String, _ fleet: Fleet, _ device: Fleet.Member) throws {
        try device.put("Note", "sent", "x")
        fleet.changed(device)
        fleet.wait(6_000)
        fleet.up = []
        let sent = try #require(try device.store.pending().first).change.version.text.string
        let truth = Text.hexadecimal(HybridClock.time(fleet.time)).string
        let item = #"{"_type":"Note","sk":"note#low","id":"low","deviceId":"d1","value":"lie"}"#
        for (hub, version) in [(truth, time), (time, truth), (time, time)] {
            say("BATCH", #"{"v":2,"stream":"device/d1","history":"00000000000000aa","prev":0,"cursor":1,"more":false,"time":"\#(hub)","changes":[{"ver":"\#(version)-0000000000000007","item":\#(item)}]}"#)
            say("SYNC", #"{"v":2,"seq":1,"time":"\#(hub)","vers":[],"keys":[],"again":[{"ver":"\#(sent)","to":"\#(version)-\#(sent.suffix(16))"}]}"#)
            say("SYNC", #"{"v":2,"seq":1,"time":"\#(hub)","vers":[],"keys":[],"overruled":[{"ver":"\#(sent)","by":{"ver":"\#(version)-0000000000000007","item":\#(item.replacing("low", with: "sent"))}}]}"#)
        }
        func say(_ verb: Text, _ payload: String) {
            fleet.down = [Publication(topic: "ioto/device/d1/sync/" + verb, payload: Array(payload.utf8))]
            fleet.deliver()
            fleet.up = []
        }
    }

    @Test(arguments: times)
    func whateverIsSaidTheNextChangeIsTakenAndTheFileOpens(time: String) throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        fleet.connect(device)
        try fleet.settle()
        try lie(time, fleet, device)
        try device.put("Alarm", "after", "a")
        let note = try device.put("Note", "low", "mine")
        #expect(note.time <= UInt64(Int64.max))
        try fleet.kill(device)
        try device.put("Alarm", "reopened", "b")
        device.store.close()
        try fleet.kill(device)
        fleet.connect(device)
        try fleet.settle()
        fleet.wait(400_000)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
        #expect(fleet.cloud.value("Alarm", "after") == "a" && fleet.cloud.value("Alarm", "reopened") == "b")
        // What the cloud says next is newer, all the same.
        for id: Text in ["low", "sent"] {
            try fleet.cloudPut("Note", id, "cloud")
            try fleet.settle()
            #expect(try device.value("Note", id) == "cloud")
        }
        for row in fleet.cloud.rows.values { #expect(row.change.version.milliseconds <= fleet.time + Limits.clockDriftMax) }
    }

    @Test func aVersionBeyondBeliefIsNotTakenDown() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let cursor = StreamCursor(stream: "all", history: 1, position: 1)
        for (id, time) in [("a", HybridClock.timeMax - 1), ("b", HybridClock.timeMax), ("c", UInt64(Int64.max))] {
            let change = Change(
                model: "Setting", key: key(setting, id), version: Version(time: time, writer: 7), isRemoval: false,
                body: body(id, 1))
            _ = try store.apply([change], cursor: cursor, hubTime: HybridClock.time(testTime))
        }
        #expect(try ["a", "b", "c"].map { try store.get(setting, $0) != nil } == [true, false, false])
    }

    /// As builds left them that believed what was said, and damaged.
    @Test(arguments: ["3fffffffffffffff", "0fff000000000000"])
    func whatIsRecoveredKeepsItsItemsAndGetsAClockToGoOnWith(time: String) throws {
        let fixture = try Fixture()
        let recovery = StoreRecoveryTests()
        try recovery.make(fixture, 1000)
        let store = try fixture.open()
        try store.damage("UPDATE item SET time = 0x\(time)")
        store.close()
        let leaves = try recovery.pages(fixture, of: "item")
        try recovery.spoil(fixture, page: leaves[3])
        let recovered = try fixture.open { $0.isRecovering = true }
        let fault = try fixture.model("Fault")
        #expect(try recovered.scanned(fault).count > 800)
        let next = try recovered.write { (transaction) throws(IotoError) in
            try transaction.put(fault, key(fault, "new"), body: body("new", 1)).version
        }
        #expect(next.time < HybridClock.timeMax)
    }

    /// As builds left them that believed what was said.
    @Test(arguments: ["3fffffffffffffff", "4000000000000000", "4000000000123456"])
    func aFileWhoseClockWasRaisedTooFarOpensAndSends(time: String) throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        try device.put("Alarm", "stuck", "a")
        try device.store.damage("UPDATE meta SET value = 0x\(time) WHERE name = 'clock'")
        try device.store.damage("UPDATE item SET time = 0x\(time)")
        try fleet.kill(device)
        try device.put("Alarm", "next", "b")
        try fleet.kill(device)
        fleet.connect(device)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
        #expect(fleet.cloud.value("Alarm", "stuck") == "a" && fleet.cloud.value("Alarm", "next") == "b")
    }

    @Test func aClockThatWasSetTooFarStaysWithinWhatIsBelieved() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = .max
        try fleet.kill(device)
        var last = Version.zero
        for _ in 0..<100 {
            let next = try device.put("Alarm", "a", "x")
            #expect(last < next && next.time < HybridClock.timeMax)
            last = next
        }
        fleet.connect(device)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
    }
}
