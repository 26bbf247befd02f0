import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// What a database tells of an item's last versions.
@Suite struct TrailTests {
    private func versions(_ store: Store, _ key: ItemKey, _ model: Model) throws -> [ToldVersion]? {
        var told: [ToldVersion] = []
        return try store.explain(key, model: model) { told.append($0) } ? told : nil
    }

    /// Each version as "cmd by path fate", the newest first.
    private func story(_ store: Store, _ key: ItemKey, _ model: Model) throws -> [String] {
        try #require(try versions(store, key, model)).map {
            "\($0.isRemoval ? "remove" : "upsert") \($0.isOwn ? "device" : "other") \($0.path) \($0.fate)"
        }
    }

    private func story(_ device: Fleet.Member, _ name: Text, _ id: Text) throws -> [String] {
        let key = ItemKey(hash: "device#" + device.id, sort: Text(name.string.lowercased()) + "#" + id)
        return try story(device.store, key, try #require(device.store.schema.model(name)))
    }

    private func pair() throws -> (Fleet, Fleet.Member) {
        let fleet = try Fleet()
        return (fleet, try fleet.add())
    }

    @Test func creationLeavesNoTrail() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        #expect(try versions(store, key(shared, "1"), shared) == nil)
        try store.put(shared, "1")
        #expect(try store.number("SELECT count(*) FROM item WHERE trail IS NULL") == 1)
        #expect(try story(store, key(shared, "1"), shared) == ["upsert device waiting current"])
        #expect(try versions(store, key(shared, "1"), fixture.model("Setting")) == nil)
    }

    @Test func modelsThatStayHaveNoTrail() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        for value in 1...3 { try store.put(local, "1", value) }
        #expect(try store.number("SELECT count(*) FROM item WHERE trail IS NULL") == 1)
        #expect(try story(store, key(local, "1"), local) == ["upsert device local current"])
    }

    @Test func versionsAreToldTheNewestFirstWithTheirTimes() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        try store.answer(try store.pending(), .acknowledged)
        fixture.clock.time += 1000
        try store.put(shared, "1", 2)
        fixture.clock.time += 1000
        try store.put(shared, "1", 3)
        #expect(
            try story(store, key(shared, "1"), shared) == [
                "upsert device waiting current", "upsert device unsent overwritten", "upsert device acknowledged overwritten",
            ])
        let times = try versions(store, key(shared, "1"), shared)?.map { $0.version.milliseconds }
        #expect(times == [testTime + 2000, testTime + 1000, testTime])
    }

    @Test func trailGoesOverRemovalAndReturnAndIsBounded() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        try store.answer(try store.pending(), .acknowledged)
        try store.remove(shared, "1")
        #expect(
            try story(store, key(shared, "1"), shared) == [
                "remove device waiting current", "upsert device acknowledged overwritten",
            ])
        try store.answer(try store.pending(), .acknowledged)
        try store.put(shared, "1", 2)
        #expect(
            try story(store, key(shared, "1"), shared) == [
                "upsert device waiting current", "remove device acknowledged overwritten",
                "upsert device acknowledged overwritten",
            ])
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        for value in 3...20 { try store.put(shared, "1", value) }
        #expect(try story(store, key(shared, "1"), shared).count == 1 + Trail.entriesMax)
        #expect(
            try store.number("SELECT length(trail) FROM item") == Int64(Trail.entriesMax * Trail.entryBytes), "as SQL has it")
    }

    @Test func rolledBackChangesLeaveNoTrail() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        try store.begin()
        try store.put(shared, "1", 2)
        try store.rollBack()
        #expect(try story(store, key(shared, "1"), shared) == ["upsert device waiting current"])
    }

    @Test func localChangeOfWhatComesDownKeepsVersionAndTrail() throws {
        let (fleet, device) = try pair()
        fleet.connect(device)
        try fleet.cloudPut("Setting", "s", "1")
        try fleet.settle()
        fleet.time += 10
        try fleet.cloudPut("Setting", "s", "2")
        try fleet.settle()
        let expected = ["upsert other down current", "upsert other down overwritten"]
        #expect(try story(device, "Setting", "s") == expected)
        try device.put("Setting", "s", "edited here")
        #expect(try story(device, "Setting", "s") == expected)
    }

    @Test func conflictIsToldOnTheSideThatLosesAndOnTheOneThatWins() throws {
        let (fleet, device) = try pair()
        fleet.connect(device)
        try device.put("Note", "a", "base")
        try device.put("Note", "b", "base")
        try fleet.settle()
        fleet.disconnect(device)
        try device.put("Note", "a", "device, earlier")
        fleet.time += 1000
        device.wall = fleet.time
        try fleet.cloudPut("Note", "a", "cloud, later")
        try fleet.cloudPut("Note", "b", "cloud, earlier")
        fleet.time += 1000
        device.wall = fleet.time
        try device.put("Note", "b", "device, later")
        fleet.connect(device)
        try fleet.settle()
        #expect(try device.value("Note", "a") == "cloud, later" && device.value("Note", "b") == "device, later")
        #expect(
            try story(device, "Note", "a") == [
                "upsert other down current", "upsert device unsent lost", "upsert device acknowledged overwritten",
            ])
        #expect(
            try story(device, "Note", "b") == [
                "upsert device acknowledged current", "upsert other down refused", "upsert device acknowledged overwritten",
            ])
    }

    @Test func removalByTheCloudIsTold() throws {
        let (fleet, device) = try pair()
        fleet.connect(device)
        try device.put("Note", "a", "1")
        try fleet.settle()
        try fleet.cloudPut("Note", "a", "", isRemoval: true)
        try fleet.settle()
        #expect(
            try story(device, "Note", "a") == ["remove other down current", "upsert device acknowledged overwritten"])
    }

    @Test func newVersionByTheCloudIsTold() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        let pending = try store.pending()
        let version = Version(time: pending[0].change.version.time - 5, writer: store.replica)
        try store.answer(pending, .again(as: version))
        #expect(
            try story(store, key(fault, "1"), fault) == ["upsert device waiting current", "upsert device up restamped"])
        #expect(try versions(store, key(fault, "1"), fault)?[0].version == store.pending()[0].change.version)
    }

    @Test func rejectionIsToldWithItsReason() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.answer(try store.pending(), .rejected(code: -203, reason: "not that way"))
        #expect(try story(store, key(fault, "1"), fault) == ["upsert device rejected current"])
        #expect(try versions(store, key(fault, "1"), fault)?[0].reason == "not that way")
    }

    @Test func expiryIsToldAndWhatFollowsIt() throws {
        let fixture = try Fixture.expiring()
        let store = try fixture.open()
        let note = try fixture.model("Note")
        func put(_ until: Int64) throws {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(note, key(note, "1"), body: Array(#"{"id":"1","until":\#(until)}"#.utf8))
            }
        }
        try put(testTime / 1000 + 60)
        try store.answer(try store.pending(), .acknowledged)
        fixture.clock.time += 61_000
        #expect(try store.removeExpired().removed == 1)
        #expect(try story(store, key(note, "1"), note) == ["upsert device acknowledged expired"])
        try put(testTime / 1000 + 600)
        #expect(
            try story(store, key(note, "1"), note) == ["upsert device waiting current", "upsert device acknowledged expired"])
    }

    @Test func fieldsThatAreJoinedAreTold() throws {
        let source = """
            {
                version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } },
                process: { Note: { sync: 'both', merge: 'fields' } },
                models: { Note: {
                    pk: { value: 'device#${deviceId}' }, sk: { value: 'note#${id}' }, id: { type: 'string' },
                    deviceId: { type: 'string' }, value: { type: 'string' }, other: { type: 'string' },
                } },
            }
            """
        let fleet = try Fleet(try Schema(source: Array(source.utf8), name: "s"))
        let device = try fleet.add()
        fleet.connect(device)
        try device.put("Note", "a", "base")
        try fleet.settle()
        fleet.disconnect(device)
        try device.put("Note", "a", "device")
        let theirs = Version(time: UInt64(fleet.time + 50) << 16, writer: 9)
        var change = Change(
            model: "Note", key: ItemKey(hash: "device#d1", sort: "note#a"), version: theirs, isRemoval: false,
            body: Array(#"{"id":"a","deviceId":"d1","value":"base","other":"cloud"}"#.utf8))
        change.stamps = ["other": .string(.hexadecimal(theirs.time))]
        let cursor = StreamCursor(stream: "device/d1", history: 1, position: 50)
        _ = try device.store.apply([change], cursor: cursor, hubTime: theirs.time)
        #expect(try device.item("Note", "a")?["other"] == .string("cloud") && device.value("Note", "a") == "device")
        #expect(
            try story(device, "Note", "a") == [
                "upsert device waiting current", "upsert device unsent merged", "upsert other down merged",
                "upsert device acknowledged overwritten",
            ])
    }

    @Test func trailIsReadAsItIsWritten() {
        let version = Version(time: 77, writer: 5)
        let removal = Trail.entry(version, .lost, isRemoval: true)
        let trail = Trail.adding(Trail.entry(Version(time: 78, writer: 5), .restamped, isRemoval: false), to: removal)
        #expect(
            Trail.entries(trail) == [
                .init(version: Version(time: 78, writer: 5), fate: .restamped, isRemoval: false),
                .init(version: version, fate: .lost, isRemoval: true),
            ])
        #expect(Trail.adding(removal, to: trail) == trail)
        #expect(Trail.entries(Array("nonsense that is longer than any entry of a trail".utf8)).isEmpty)
    }

    /// What an older library writes has no trail.
    @Test func libraryOfTheFormatBeforeCanWriteToTheFile() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let shared = try fixture.model("Shared")
        for value in 1...3 { try store.put(shared, "1", value) }
        try store.damage(
            "REPLACE INTO item(hash, sort, json, model, time, writer, position) "
                + "SELECT hash, sort, json, model, time, writer, position FROM item")
        store.close()
        store = try fixture.open()
        #expect(try story(store, key(shared, "1"), shared) == ["upsert device waiting current"])
    }

    @Test func salvageReadsRowsWithAndWithoutATrail() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        for value in 1...3 { try store.put(shared, "2", value) }
        for value in 1...3 { try store.put(shared, "3", value) }
        try store.remove(shared, "3")
        store.close()
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.path.string))
        try file.seek(toOffset: 28)
        try file.write(contentsOf: Data([0, 0, 0, 1]))
        try file.seek(toOffset: 0)
        try file.write(contentsOf: Data("damaged!".utf8))
        try file.close()
        store = try fixture.open { $0.isRecovering = true }
        #expect(try store.scanned(shared) == ["shared#1", "shared#2"])
        #expect(try store.number("SELECT count(*) FROM tombstone") == 1)
        let key = key(shared, "3")
        #expect(try versions(store, key, shared)?.count == 4)
    }
}
