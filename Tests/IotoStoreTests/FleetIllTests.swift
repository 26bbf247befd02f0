import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// What fleets suffer from, and must not suffer from here: each has a test by its name.
@Suite struct FleetIllTests {
    private func fleet() throws -> (Fleet, Fleet.Member) {
        let fleet = try Fleet()
        let device = try fleet.add()
        fleet.connect(device)
        try fleet.settle()
        return (fleet, device)
    }

    @Test func offlineWritesAreNotMissingAfterAKill() throws {
        let (fleet, device) = try fleet()
        fleet.disconnect(device)
        for index in 0..<50 { try device.put("Alarm", "a\(index)", "offline") }
        try device.put("Note", "gone", "x")
        try device.remove("Note", "gone")
        try fleet.kill(device)
        #expect(try device.store.pendingCount() == 51)
        fleet.connect(device)
        try fleet.settle()
        for index in 0..<50 { #expect(fleet.cloud.value("Alarm", "a\(index)") == "offline") }
        #expect(fleet.cloud.value("Note", "gone") == nil)
        #expect(try device.store.pendingCount() == 0)
    }

    /// Every message of a try is lost, in whichever direction, or the cloud's store fails; and nobody writes again.
    @Test(arguments: ["up", "down", "store"])
    func queueDoesNotWedgeUntilTheNextWrite(lost: String) throws {
        let (fleet, device) = try fleet()
        try device.put("Alarm", "a", "only")
        if lost == "store" { fleet.cloud.failure = IotoError(.storage, "the disk is full") }
        fleet.changed(device)
        fleet.wait(6_000)
        if lost == "up" {
            #expect(!fleet.up.isEmpty)
            fleet.up = []
        } else {
            for message in fleet.up { fleet.run(.message(topic: message.topic, payload: message.payload)) }
            fleet.up = []
            if lost == "down" { fleet.down = [] }
        }
        for _ in 0..<20 {
            fleet.wait(1_000)
            while !fleet.up.isEmpty || !fleet.down.isEmpty { fleet.deliver() }
        }
        #expect(fleet.cloud.value("Alarm", "a") == "only")
        #expect(try device.store.pendingCount() == 0)
        #expect(fleet.cloud.stored.count == 1)
    }

    @Test func oneBadRecordDoesNotBlockTheRest() throws {
        let (fleet, device) = try fleet()
        // Another device's item, in the place that this one claims.
        let model = try #require(fleet.schema.model("Alarm"))
        try device.put("Alarm", "first", "good")
        try device.store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(
                model, ItemKey(hash: "device#d2", sort: "alarm#bad"),
                body: Array(#"{"id":"bad","deviceId":"d2","value":"bad"}"#.utf8))
        }
        try device.put("Alarm", "last", "good")
        try fleet.settle()
        #expect(fleet.cloud.value("Alarm", "first") == "good" && fleet.cloud.value("Alarm", "last") == "good")
        #expect(fleet.cloud.value("Alarm", "bad") == nil)
        #expect(try device.store.pendingCount() == 0)
    }

    @Test func rejectionIsHeardOf() throws {
        let (fleet, device) = try fleet()
        let model = try #require(fleet.schema.model("Alarm"))
        let receipt = try device.store.withReceipt { () throws(IotoError) in
            try device.store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(
                    model, ItemKey(hash: "device#d2", sort: "alarm#bad"),
                    body: Array(#"{"id":"bad","deviceId":"d2","value":"bad"}"#.utf8))
            }
        }
        try fleet.settle()
        let event = try #require(device.recorder.events.last)
        #expect(event.kind == .rejected && !event.reason.isEmpty)
        let letter = try #require(try device.store.rejectedChanges(after: 0, itemsMax: 10).first)
        #expect(letter.code < 0 && letter.reason == event.reason)
        let found = try #require(try device.store.receipt(receipt))
        #expect(found.state == .rejected && found.reason == event.reason)
        #expect(device.device.statistics.refusedItems == 1)
    }

    @Test func deletesDoNotComeBack() throws {
        let (fleet, device) = try fleet()
        try fleet.cloudPut("Note", "n", "alive")
        try fleet.settle()
        fleet.disconnect(device)
        // Here it is removed while an older state of it is still on its way, from both sides, and comes twice.
        try device.put("Note", "n", "older")
        fleet.connect(device)
        fleet.changed(device)
        fleet.wait(6_000)
        let late = fleet.up
        try device.remove("Note", "n")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == nil)
        for _ in 0..<2 {
            for message in late { fleet.run(.message(topic: message.topic, payload: message.payload)) }
            try fleet.settle()
        }
        #expect(fleet.cloud.value("Note", "n") == nil)
        #expect(try device.value("Note", "n") == nil)
        // And where the cloud removes it while the device is away for longer than tombstones are kept.
        try fleet.cloudPut("Note", "m", "alive")
        try fleet.settle()
        #expect(try device.value("Note", "m") == "alive")
        fleet.disconnect(device)
        try fleet.cloudPut("Note", "m", "alive", isRemoval: true)
        fleet.cloud.purge()
        try fleet.kill(device)
        fleet.connect(device)
        try fleet.settle()
        #expect(try device.value("Note", "m") == nil)
        #expect(fleet.cloud.value("Note", "m") == nil && fleet.cloud.value("Note", "n") == nil)
    }

    @Test(arguments: [-5 * 3_600_000, 5 * 3_600_000] as [Int64])
    func deviceClockDoesNotDecideWhoWins(off: Int64) throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = fleet.time + off
        fleet.connect(device)
        try fleet.settle()
        // Whoever writes with knowledge of the other's word has the last one.
        try device.put("Note", "n", "device 1")
        try fleet.settle()
        fleet.wait(10)
        try fleet.cloudPut("Note", "n", "cloud 2")
        try fleet.settle()
        #expect(try device.value("Note", "n") == "cloud 2")
        try device.put("Note", "n", "device 3")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == "device 3")
        fleet.wait(10)
        try fleet.cloudPut("Note", "n", "cloud 4")
        try fleet.settle()
        #expect(try device.value("Note", "n") == "cloud 4")
        #expect(fleet.cloud.value("Note", "n") == "cloud 4")
    }

    @Test func backlogDoesNotSlowEverything() throws {
        let (fleet, device) = try fleet()
        fleet.disconnect(device)
        let clock = ContinuousClock()
        func puts(_ name: String) throws -> Duration {
            var best = Duration.seconds(1000)
            for round in 0..<5 {
                let time = try clock.measure {
                    for index in 0..<100 { try device.put("Alarm", Text("\(name)-\(round)-\(index)" as String), "x") }
                }
                best = min(best, time)
            }
            return best
        }
        let without = try puts("without")
        let model = try #require(fleet.schema.model("Alarm"))
        for chunk in 0..<20 {
            try device.store.write { (transaction) throws(IotoError) in
                for index in 0..<1_000 {
                    let id = Text("backlog-\(chunk)-\(index)" as String)
                    _ = try transaction.put(
                        model, ItemKey(hash: "device#d1", sort: "alarm#" + id),
                        body: Text(#"{"id":""# + id.string + #"","deviceId":"d1","value":"x"}"#).bytes)
                }
            }
        }
        #expect(try device.store.pendingCount() >= 20_000)
        #expect(try puts("with") < without * 3)
        // What comes from the cloud does not wait behind what goes to it.
        try fleet.cloudPut("Setting", "s", "urgent")
        fleet.connect(device)
        for _ in 0..<6 { fleet.deliver() }
        #expect(try device.value("Setting", "s") == "urgent")
        #expect(try device.store.pendingCount() > 10_000)
    }

    @Test func statusDoesNotLie() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        #expect(!device.device.isConnected && !device.device.isCaughtUp)
        fleet.connect(device)
        #expect(device.device.isConnected && !device.device.isCaughtUp)
        try fleet.settle()
        #expect(device.device.isCaughtUp)
        try device.put("Alarm", "a", "x")
        fleet.changed(device)
        fleet.wait(6_000)
        // It is sent, and not acknowledged: it counts as pending, and as nothing else.
        #expect(try device.store.pendingCount() == 1)
        #expect(device.device.statistics.sentItems == 0)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
        #expect(device.device.statistics.sentItems == 1)
        fleet.disconnect(device)
        #expect(!device.device.isConnected && !device.device.isCaughtUp)
        try fleet.cloudPut("Setting", "s", "meanwhile")
        fleet.connect(device)
        #expect(!device.device.isCaughtUp)
        try fleet.settle()
        #expect(device.device.isCaughtUp)
        #expect(device.device.statistics.receivedItems == 1)
    }
}
