import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// Digests of databases, and of a device and its cloud.
@Suite struct DigestTests {
    private func cloudDigest(_ fleet: Fleet, _ stream: Text) throws -> ContentHash {
        var digest = StreamDigest(of: stream)
        for row in fleet.cloud.rows.values where !row.change.isRemoval {
            let model = try #require(fleet.schema.model(row.change.model))
            try digest.add(model, row.change.key, row.change.body)
        }
        return digest.hash
    }

    private func digest(_ store: Store, _ stream: Text = "device/d1") throws -> StreamDigest {
        try store.digest(of: stream) { _, _, _ in true }
    }

    private func differs(_ fleet: Fleet, _ device: Fleet.Member) throws -> Bool {
        try digest(device.store).hash != cloudDigest(fleet, "device/d1")
    }

    /// As an agent's context has it: items say whose they are.
    private func fleet() throws -> (Fleet, Fleet.Member) {
        let fleet = try Fleet()
        return (fleet, try fleet.add())
    }

    @Test func bothSidesAreEqualExactlyWhenTheyHoldTheSame() throws {
        let (fleet, device) = try fleet()
        #expect(try !differs(fleet, device))
        for id: Text in ["a", "b", "c"] { try device.put("Note", id, "1") }
        try device.put("Alarm", "x", "goes up only")
        try fleet.cloudPut("Setting", "s", "comes down only")
        #expect(try differs(fleet, device))
        #expect(try digest(device.store).pending == 4)
        fleet.connect(device)
        try fleet.settle()
        #expect(try !differs(fleet, device))
        #expect(try digest(device.store).items == 5 && digest(device.store).pending == 0)
        #expect(try digest(device.store).cursor?.history == fleet.cloud.history)

        fleet.disconnect(device)
        try device.put("Note", "a", "2")
        #expect(try differs(fleet, device), "a field")
        fleet.connect(device)
        try fleet.settle()
        #expect(try !differs(fleet, device))

        fleet.disconnect(device)
        try device.remove("Note", "b")
        #expect(try differs(fleet, device), "an item that the device has removed")
        fleet.connect(device)
        try fleet.settle()
        #expect(try !differs(fleet, device))

        fleet.disconnect(device)
        try fleet.cloudPut("Setting", "s", "", isRemoval: true)
        #expect(try differs(fleet, device), "an item that the cloud has removed")
        try fleet.cloudPut("Note", "d", "new")
        fleet.connect(device)
        try fleet.settle()
        #expect(try !differs(fleet, device))
        #expect(try digest(device.store).items == 4)
    }

    /// Two bodies under one version: damage that versions don't show.
    @Test func oneVersionWithTwoBodiesIsSeen() throws {
        let (fleet, device) = try fleet()
        try device.put("Note", "a", "1")
        fleet.connect(device)
        try fleet.settle()
        #expect(try !differs(fleet, device))
        try device.store.damage(#"UPDATE item SET json = replace(json, '"1"', '"2"')"#)
        #expect(try differs(fleet, device))
    }

    @Test func itemsOfModelsThatStayDoNotCount() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        try store.put(fixture.model("Local"), "1")
        try store.put(fixture.model("Shared"), "1")
        #expect(try digest(store, "all").items == 1)
        #expect(try digest(store, "device/d1").items == 0)
    }

    @Test func itemsThatHaveExpiredDoNotCount() throws {
        let fixture = try Fixture.expiring()
        let store = try fixture.open()
        let note = try fixture.model("Note")
        let until = testTime / 1000 + 60
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(note, key(note, "1"), body: Array(#"{"id":"1","until":\#(until)}"#.utf8))
        }
        #expect(try digest(store, "all").items == 1)
        fixture.clock.time += 61_000
        #expect(try digest(store, "all").items == 0)
        #expect(try digest(store, "all").hash == ContentHash())
    }

    @Test func visitsItemsInTheOrderOfModelsAndKeysAndStopsWhenTold() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        for id in ["b", "a", "c"] { try store.put(fixture.model("Shared"), id) }
        try store.put(fixture.model("Setting"), "z")
        var visited: [String] = []
        var sum = ContentHash()
        let whole = try store.digest(of: "all") { _, key, hash in
            visited.append(key.sort.string)
            sum.add(hash)
            return true
        }
        #expect(visited == ["setting#z", "shared#a", "shared#b", "shared#c"])
        #expect(sum == whole.hash && whole.items == 4)
        let part = try store.digest(of: "all") { _, key, _ in key.sort.string != "shared#a" }
        #expect(part.items == 2 && part.hash != whole.hash)
    }

    @Test func changesOfATransactionCountWithinItAndAreForgottenWithIt() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.begin()
        try store.put(shared, "1")
        #expect(try digest(store, "all").items == 1)
        try store.rollBack()
        #expect(try digest(store, "all").items == 0)
    }

    @Test func damagedItemIsTold() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        try store.put(fixture.model("Shared"), "1")
        try store.damage(#"UPDATE item SET json = '{"id":}'"#)
        expectError(.corrupt) { try digest(store, "all") }
    }

    @Test func gatheredChangesCount() throws {
        let source = """
            {
                version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } },
                process: { Note: { sync: 'both', delay: 3600 } },
                models: { Note: { pk: { value: 'device#d1' }, sk: { value: 'note#${id}' }, id: { type: 'string' } } },
            }
            """
        let fixture = try Fixture(try Schema(source: Array(source.utf8), name: "s"))
        let store = try fixture.open()
        try store.put(fixture.model("Note"), "1")
        #expect(try digest(store, "all").items == 1)
    }
}
