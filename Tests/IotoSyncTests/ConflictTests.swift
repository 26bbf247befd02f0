import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

/// Changes of one item on both sides, each without knowledge of the other.
struct ConflictTests {
    /// A device with an item "1" that both sides have.
    private func both(_ model: Text) throws -> Loopback {
        let loop = Loopback.connected()
        loop.setWall(loop.now.wall)
        try loop.cloudChange(model, "1", "base")
        loop.settle()
        return loop
    }

    private func value(_ loop: Loopback, _ model: Text) -> (device: Text?, cloud: Text?) {
        (loop.replica.value(model, "1"), loop.cloud.value(model, "1"))
    }

    /// The wall clocks of both sides, apart by an hour: whoever is ahead has the later version.
    private func setClocks(_ loop: Loopback, deviceIsLater: Bool) {
        loop.replica.wall = loop.now.wall + (deviceIsLater ? 30_000 : 0)
        loop.cloud.wall = loop.now.wall + (deviceIsLater ? 0 : 30_000)
    }

    /// In which order the messages of both sides come through.
    enum Order: CaseIterable { case pageFirst, changeFirst, crossing }

    private func meet(_ loop: Loopback, _ model: Text, _ order: Order, removal: Bool = false) throws {
        switch order {
        case .pageFirst:
            try loop.change(model, "1", "device")
            try loop.cloudChange(model, "1", "cloud", isRemoval: removal)
            loop.deliverDown()
        case .changeFirst:
            // The cloud writes before the change arrives, and the device sends before the page does.
            try loop.change(model, "1", "device")
            _ = try loop.cloud.put(model, "1", value: "cloud", isRemoval: removal)
        case .crossing:
            try loop.change(model, "1", "device")
            try loop.flush()
            try loop.cloudChange(model, "1", "cloud", isRemoval: removal)
        }
        try loop.flush()
        loop.settle()
        loop.run(.feedsMoved(["device/d1"]))
        loop.settle()
        loop.wait(300_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test(arguments: Order.allCases, [true, false])
    func cloudWinsWhateverTheClocksSay(order: Order, deviceIsLater: Bool) throws {
        let loop = try both("Plan")
        setClocks(loop, deviceIsLater: deviceIsLater)
        try meet(loop, "Plan", order)
        #expect(value(loop, "Plan") == ("cloud", "cloud"))
        #expect(loop.replica.conflicts.count == 1)
        #expect(loop.replica.rows.values.first?.change.version == loop.cloud.rows.values.first?.change.version)
    }

    @Test(arguments: Order.allCases, [true, false])
    func deviceWinsWhateverTheClocksSay(order: Order, deviceIsLater: Bool) throws {
        let loop = try both("Manual")
        setClocks(loop, deviceIsLater: deviceIsLater)
        try meet(loop, "Manual", order)
        #expect(value(loop, "Manual") == ("device", "device"))
    }

    @Test(arguments: Order.allCases, [true, false])
    func laterOneWinsUnlessTheSchemaSaysOtherwise(order: Order, deviceIsLater: Bool) throws {
        let loop = try both("Note")
        setClocks(loop, deviceIsLater: deviceIsLater)
        try meet(loop, "Note", order)
        let winner: Text = deviceIsLater ? "device" : "cloud"
        #expect(value(loop, "Note") == (winner, winner))
    }

    @Test(arguments: Order.allCases)
    func removalInTheCloudWinsOrLosesLikeAnyChange(order: Order) throws {
        let plan = try both("Plan")
        setClocks(plan, deviceIsLater: true)
        try meet(plan, "Plan", order, removal: true)
        #expect(value(plan, "Plan") == (nil, nil))
        let manual = try both("Manual")
        setClocks(manual, deviceIsLater: false)
        try meet(manual, "Manual", order, removal: true)
        #expect(value(manual, "Manual") == ("device", "device"))
    }

    @Test(arguments: ["Plan", "Manual"] as [Text])
    func changeOverAKnownStateIsNoConflict(model: Text) throws {
        let loop = try both(model)
        try loop.change(model, "1", "device")
        try loop.flush()
        loop.settle()
        #expect(value(loop, model) == ("device", "device"))
        try loop.cloudChange(model, "1", "cloud")
        loop.settle()
        #expect(value(loop, model) == ("cloud", "cloud"))
        #expect(loop.replica.conflicts.isEmpty)
    }

    @Test(arguments: ["Plan", "Manual"] as [Text])
    func cloudsChangeOverTheDevicesIsNoConflictThoughTheAnswerWasLost(model: Text) throws {
        let loop = try both(model)
        try loop.change(model, "1", "device")
        try loop.flush()
        loop.deliverUp()
        loop.down.removeAll()
        // The cloud has it, and goes on from there; the page comes before the answer to the next try.
        try loop.cloudChange(model, "1", "cloud")
        loop.deliverDown()
        loop.wait(300_000)
        loop.settle()
        #expect(value(loop, model) == ("cloud", "cloud"))
        #expect(loop.replica.conflicts.isEmpty)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test(arguments: ["Plan", "Manual"] as [Text])
    func changeThatComesAgainLateDoesNotUndoTheClouds(model: Text) throws {
        let loop = try both(model)
        try loop.change(model, "1", "device")
        try loop.flush()
        let again = loop.up
        loop.settle()
        try loop.cloudChange(model, "1", "cloud")
        loop.settle()
        loop.up = again
        loop.settle()
        #expect(value(loop, model) == ("cloud", "cloud"))
    }

    @Test func changeMadeBeforeTheNewStampIsHeardIsNotLost() throws {
        let loop = try both("Manual")
        setClocks(loop, deviceIsLater: false)
        try loop.change("Manual", "1", "one")
        _ = try loop.cloud.put("Manual", "1", value: "cloud")
        try loop.flush()
        loop.deliverUp()
        loop.cloud.wall += 30_000
        try loop.change("Manual", "1", "two")
        loop.settle()
        loop.wait(300_000)
        loop.settle()
        #expect(value(loop, "Manual") == ("two", "two"))
    }

    @Test func bothVersionsAreTold() throws {
        let loop = try both("Plan")
        try meet(loop, "Plan", .pageFirst)
        let conflict = try #require(loop.replica.conflicts.first)
        #expect(String(decoding: conflict.winner.body, as: UTF8.self).contains("cloud"))
        #expect(String(decoding: conflict.loser.body, as: UTF8.self).contains("device"))
    }

    @Test func hubThatOverrulesWithAnotherItemIsNotBelieved() throws {
        let loop = try both("Plan")
        try loop.change("Plan", "1", "device")
        try loop.flush()
        let version = try #require(loop.replica.pendingChanges(after: 0, bytesMax: 1, itemsMax: 1).first?.change.version)
        loop.receive(
            "SYNC",
            """
            {"v":2,"seq":\(loop.device.up.sequence),"keys":[],"vers":[],"time":"018bcfe568000000","overruled":[{"ver":"\(version.text.string)",\
            "by":{"cmd":"upsert","key":"secret#1","ver":"018bcfe568000000-0000000000000001",\
            "item":{"_type":"Secret","sk":"secret#1","id":"1","deviceId":"d1","value":"evil"}}}]}
            """)
        #expect(loop.replica.value("Secret", "1") == nil)
        #expect(loop.replica.value("Plan", "1") == "device")
        #expect(loop.replica.rejected.count == 1)
    }
}
