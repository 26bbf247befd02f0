import IotoBase
import IotoJSON
import IotoSync
import Testing

@testable import IotoStore

/// Devices whose clocks are wrong, with the cloud.
@Suite struct ClockFleetTests {
    private let hour: Int64 = 3_600_000
    private let year: Int64 = 365 * 24 * 3_600_000

    private func updated(_ item: JSONObject?) -> Int64 {
        item?["updated"]?.stringValue.flatMap { ISODate.parse($0) } ?? -1
    }

    private func cloudItem(_ fleet: Fleet, _ id: Text) -> JSONObject? {
        for row in fleet.cloud.rows.values where !row.change.isRemoval {
            let body = FieldMerge.object(row.change.body)
            if body["id"]?.stringValue == id { return body }
        }
        return nil
    }

    @Test func bootIn1970KeepsTheOrderOfWritesAndLosesNothing() throws {
        let fleet = try Fleet()
        try fleet.cloudPut("Note", "n", "cloud, before")
        let device = try fleet.add()
        device.wall = 5_000
        try device.put("Alarm", "a", "first")
        let first = try device.put("Alarm", "b", "first")
        let second = try device.put("Alarm", "b", "second")
        #expect(second > first)
        fleet.connect(device)
        try fleet.settle()
        #expect(fleet.cloud.value("Alarm", "a") == "first" && fleet.cloud.value("Alarm", "b") == "second")
        // It has seen the cloud's state, so what it writes then is later, whatever its clock says.
        #expect(try device.value("Note", "n") == "cloud, before")
        try device.put("Note", "n", "device, after")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == "device, after")
        #expect(try device.value("Note", "n") == "device, after")
        #expect(try device.store.pendingCount() == 0)
    }

    @Test func bootIn1970ShowsTheRightTimesOnceTheyAreKnown() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = 5_000
        try fleet.kill(device)
        try device.put("Alarm", "early", "x")
        #expect(updated(try device.item("Alarm", "early")) == 5_000)
        fleet.wait(20_000)
        let written = fleet.time
        try device.put("Alarm", "later", "x")
        fleet.wait(10_000)
        fleet.connect(device)
        try fleet.settle()
        let item = try device.item("Alarm", "later")
        #expect(abs(updated(item) - written) <= 1_000)
        #expect(updated(item) - updated(try device.item("Alarm", "early")) == 20_000)
        #expect(cloudItem(fleet, "later") == item)
        try device.put("Alarm", "new", "x")
        #expect(abs(updated(try device.item("Alarm", "new")) - fleet.time) <= 5_000)
        // What is right already stays.
        let known = try device.item("Alarm", "new")
        try fleet.settle()
        #expect(try device.item("Alarm", "new") == known)
    }

    /// Of a clock in 1970, and of one that is fifty years ahead.
    @Test(arguments: [0, 50], [Int64.max, .max - 1_000, .min, .min + 1_000])
    func aDateAtTheEndOfNumbersIsCorrectedLikeOthers(years: Int64, date: Int64) throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = years == 0 ? 5_000 : fleet.time + years * year
        try fleet.kill(device)
        let alarm = try #require(fleet.schema.model("Alarm"))
        try device.store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(
                alarm, key(alarm, "a"), body: Array(#"{"id":"a","deviceId":"d1","value":"x","updated":\#(date)}"#.utf8))
        }
        fleet.connect(device)
        try fleet.settle()
        #expect(fleet.cloud.value("Alarm", "a") == "x")
        #expect(try device.store.pendingCount() == 0)
    }

    @Test func timeThatIsSetBeforeTheCloudIsMetCorrectsWhatWasWrittenBefore() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = 5_000
        try fleet.kill(device)
        try device.put("Alarm", "early", "x")
        device.wall = fleet.time
        try device.put("Alarm", "set", "x")
        let set = try device.item("Alarm", "set")
        fleet.connect(device)
        try fleet.settle()
        #expect(abs(updated(try device.item("Alarm", "early")) - fleet.time) <= 5_000)
        #expect(try device.item("Alarm", "set") == set)
        #expect(cloudItem(fleet, "early") == (try device.item("Alarm", "early")))
    }

    @Test func clockYearsAheadDoesNotWinForEver() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = fleet.time + 10 * year
        try device.put("Note", "n", "from the future")
        fleet.connect(device)
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == "from the future")
        // The hub bounds the drift, so the cloud's next word is the last.
        let stored = try #require(fleet.cloud.rows.values.first?.change.version)
        #expect(stored.milliseconds <= fleet.time + Limits.clockDriftMax)
        fleet.wait(1_000)
        try fleet.cloudPut("Note", "n", "cloud")
        try fleet.settle()
        #expect(try device.value("Note", "n") == "cloud")
        #expect(updated(cloudItem(fleet, "n")) <= fleet.time + 1_000)
        try device.put("Note", "n", "device again")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == "device again")
        #expect(updated(try device.item("Note", "n")) <= fleet.time + 1_000)
    }

    @Test func stepBackWhileRunningKeepsTheOrder() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        fleet.connect(device)
        try fleet.settle()
        let first = try device.put("Note", "n", "before the step")
        try fleet.settle()
        device.wall -= 24 * hour
        let second = try device.put("Note", "n", "after the step")
        #expect(second > first)
        try fleet.kill(device)
        let third = try device.put("Note", "n", "after a restart")
        #expect(third > second)
        fleet.connect(device)
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "n") == "after a restart")
        #expect(try device.store.pendingCount() == 0)
    }

    @Test func twoDevicesApartByHoursAgreeOnWhatCameLast() throws {
        let fleet = try Fleet()
        let (behind, ahead) = (try fleet.add("d1"), try fleet.add("d2"))
        behind.wall = fleet.time - 5 * hour
        ahead.wall = fleet.time + 3 * hour
        for device in [behind, ahead] { fleet.connect(device) }
        try fleet.settle()
        for device in [behind, ahead] {
            // One after the other, each knowing of what was before: cloud, device, cloud, device.
            try fleet.cloudPut("Note", "n", "cloud 1", of: device.id)
            try fleet.settle()
            fleet.wait(100)
            try device.put("Note", "n", "device 2")
            try fleet.settle()
            fleet.wait(100)
            try fleet.cloudPut("Note", "n", "cloud 3", of: device.id)
            try fleet.settle()
            #expect(try device.value("Note", "n") == "cloud 3")
            fleet.wait(100)
            try device.put("Note", "n", "device 4")
            try fleet.settle()
            #expect(try device.value("Note", "n") == "device 4")
            #expect(abs(updated(try device.item("Note", "n")) - fleet.time) <= 5_000)
        }
        #expect(fleet.cloud.rows.values.allSatisfy { FieldMerge.object($0.change.body)["value"] == .string("device 4") })
    }

    @Test func timesOfAClockHoursOffAreCorrectedBeforeTheyAreSent() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = fleet.time - 5 * hour
        try fleet.kill(device)
        try device.put("Alarm", "a", "x")
        fleet.connect(device)
        try fleet.settle()
        #expect(abs(updated(cloudItem(fleet, "a")) - fleet.time) <= 5_000)
        #expect(try device.item("Alarm", "a") == cloudItem(fleet, "a"))
    }

    @Test func oldAnswerIsNotTakenForTheTimeOfDay() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        fleet.connect(device)
        // The answer is on its way for an hour.
        for message in fleet.up { fleet.run(.message(topic: message.topic, payload: message.payload)) }
        fleet.up = []
        fleet.wait(hour)
        fleet.up = []
        fleet.deliver()
        #expect(abs(device.store.timeOfDay() - fleet.time) <= 5_000)
    }

    /// Milliseconds since a change was made that waits, as the status tells them.
    private func age(_ device: Fleet.Member) throws -> Int64 { try device.store.pendingWeight().age }

    @Test func whatWaitsIsAsOldAsItIsWhereTheCloudAloneTellsTheTime() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = 5_000
        try fleet.kill(device)
        fleet.connect(device)
        try fleet.settle()
        #expect(try age(device) == 0)
        fleet.disconnect(device)
        try device.put("Alarm", "a", "x")
        #expect(try age(device) > 0)
        fleet.wait(90_000)
        #expect(try abs(age(device) - 90_000) <= 1_000)
    }

    @Test(arguments: [-50, -1, 1, 5])
    func whatWaitsIsAsOldAsItIsThoughTheClockIsSetMeanwhile(years: Int64) throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = years == -50 ? 5_000 : fleet.time + years * year
        try fleet.kill(device)
        try device.put("Alarm", "a", "x")
        fleet.wait(90_000)
        #expect(try abs(age(device) - 90_000) <= 1_000)
        // By the cloud, while the clock stays wrong.
        device.store.learnTime(fleet.time)
        #expect(try abs(age(device) - 90_000) <= 1_000)
        // By the machine.
        device.wall = fleet.time
        fleet.wait(10_000)
        #expect(try abs(age(device) - 100_000) <= 1_000)
    }

    @Test func whatWaitsIsNeverSaidNotToWait() throws {
        let fleet = try Fleet()
        let device = try fleet.add()
        device.wall = fleet.time + 5 * year
        try device.put("Alarm", "a", "x")
        device.wall = fleet.time
        try fleet.kill(device)
        #expect(try age(device) > 0)
    }
}
