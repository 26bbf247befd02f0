import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Edits that wait on a device for longer than the cloud remembers what it removed.
@Suite struct ForgottenTests {
    private let hour: Int64 = 3_600_000
    private let day: Int64 = 86_400_000

    private func schema(_ process: String) throws -> Schema {
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},
                models: {
                    Note: {
                        pk: {value: 'device#${deviceId}'}, sk: {value: 'note#${id}'}, id: {type: 'string'},
                        deviceId: {type: 'string'}, value: {type: 'string'},
                    },
                },
                process: {Note: \(process)},
            }
            """
        return try Schema(source: Array(source.utf8), name: "forgotten.json5")
    }

    /// A device that has `a` as the cloud has it, and edits it when it is offline; then the cloud removes it.
    private func removed(_ process: String, fromCloud: Bool = false) throws -> (Fleet, Fleet.Member) {
        let fleet = try Fleet(try schema(process))
        let device = try fleet.add()
        if fromCloud { try fleet.cloudPut("Note", "a", "new") } else { try device.put("Note", "a", "new") }
        try device.put("Note", "b", "new")
        fleet.connect(device)
        try fleet.settle()
        fleet.disconnect(device)
        fleet.wait(hour)
        try device.put("Note", "a", "edited")
        try device.put("Note", "a", "edited again")
        fleet.wait(hour)
        try fleet.cloudPut("Note", "a", "", isRemoval: true)
        fleet.wait(31 * day)
        return (fleet, device)
    }

    private func meet(_ fleet: Fleet, _ device: Fleet.Member) throws {
        (fleet.up, fleet.down) = ([], [])
        fleet.connect(device)
        try fleet.settle()
        fleet.wait(10_000)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
        #expect(try device.value("Note", "a") == fleet.cloud.value("Note", "a"))
        #expect(fleet.cloud.value("Note", "b") == "new")
    }

    @Test(
        arguments: [
            "{sync: 'both'}", "{sync: 'both', resolve: 'cloud'}", "{sync: 'both', resolve: 'callback'}",
            "{sync: 'both', merge: 'fields'}",
        ], [false, true])
    func whatTheCloudRemovedLongAgoStaysRemoved(process: String, fromCloud: Bool) throws {
        let (fleet, device) = try removed(process, fromCloud: fromCloud)
        fleet.cloud.purge()
        try meet(fleet, device)
        #expect(fleet.cloud.value("Note", "a") == nil)
        #expect(device.recorder.events.contains { $0.kind == .conflict })
        // It can be made anew.
        try device.put("Note", "a", "once more")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "a") == "once more")
    }

    @Test func theDevicesEditWinsWhereItWinsConflicts() throws {
        let (fleet, device) = try removed("{sync: 'both', resolve: 'device'}")
        fleet.cloud.purge()
        try meet(fleet, device)
        #expect(fleet.cloud.value("Note", "a") == "edited again")
    }

    @Test func anEditThatIsNewerThanAllThatIsForgottenIsStored() throws {
        let (fleet, device) = try removed("{sync: 'both'}")
        fleet.cloud.purge()
        try device.put("Note", "a", "today")
        try meet(fleet, device)
        #expect(fleet.cloud.value("Note", "a") == "today")
    }

    /// It has forgotten tombstones of its own by now, and has never had the item.
    @Test func aCloudThatHasLostEverythingGetsTheEdit() throws {
        let (fleet, device) = try removed("{sync: 'both'}")
        fleet.cloud.forgetAll(history: 0xBBBB)
        fleet.cloud.forgotten = HybridClock.time(fleet.time)
        fleet.disconnect(device)
        fleet.connect(device)
        try fleet.settle()
        fleet.wait(10_000)
        try fleet.settle()
        #expect(try device.store.pendingCount() == 0)
        #expect(fleet.cloud.value("Note", "a") == "edited again" && fleet.cloud.value("Note", "b") == "new")
    }

    @Test func theAnswerMayComeTwice() throws {
        let (fleet, device) = try removed("{sync: 'both', merge: 'fields'}")
        fleet.cloud.purge()
        (fleet.up, fleet.down) = ([], [])
        fleet.connect(device)
        fleet.wait(6_000)
        let messages = fleet.up
        fleet.deliver()
        fleet.down = []
        for message in messages { fleet.run(.message(topic: message.topic, payload: message.payload)) }
        fleet.disconnect(device)
        try meet(fleet, device)
        #expect(fleet.cloud.value("Note", "a") == nil)
    }

    // MARK: What a device knows that the cloud has forgotten

    /// Another database of the device, whose clock is behind, made the item without knowledge of the removal.
    @Test(
        arguments: [
            "{sync: 'both'}", "{sync: 'both', resolve: 'cloud'}", "{sync: 'both', resolve: 'device'}",
            "{sync: 'both', resolve: 'callback'}", "{sync: 'both', merge: 'fields'}",
        ], [false, true])
    func aRemovalThatADeviceRemembersStands(process: String, isOwn: Bool) throws {
        let fleet = try Fleet(try schema(process))
        let device = try fleet.add()
        try device.put("Note", "a", "new")
        fleet.connect(device)
        try fleet.settle()
        let made = try #require(fleet.cloud.rows.values.first { $0.change.model == "Note" })
        fleet.wait(hour)
        if isOwn { try device.remove("Note", "a") } else { try fleet.cloudPut("Note", "a", "", isRemoval: true) }
        try fleet.settle()
        fleet.wait(2 * day)
        try fleet.settle()
        fleet.cloud.purge()
        var late = made.change
        late.version = Version(time: made.change.version.time + 2, writer: 0xD2)
        guard case .applied(1, _, let advances, _, _) = fleet.cloud.answer(
            .apply([StreamedChange(change: late, stream: made.stream)], device: "d1", by: nil))
        else { throw IotoError(.protocolViolation, "not stored") }
        fleet.run(.feedsMoved(advances.map { $0.stream }))
        for _ in 0..<5 {
            fleet.deliver()
            fleet.wait(1_000)
        }
        #expect(try device.value("Note", "a") == nil && fleet.cloud.value("Note", "a") == nil)
        #expect(try device.store.pendingCount() == 0)
        #expect(fleet.cloud.stored.count { $0.isRemoval } == 2 && fleet.up.isEmpty)
        // It can be made anew.
        try device.put("Note", "a", "once more")
        try fleet.settle()
        #expect(fleet.cloud.value("Note", "a") == "once more")
    }

    @Test func aRemovalIsSentAgainOnceAndWhereItsModelGoesUp() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let models = [try fixture.model("Shared"), try fixture.model("Setting")]
        func changes(_ milliseconds: Int64, isRemoval: Bool = false) -> [Change] {
            models.map { model in
                Change(
                    model: model.name, key: key(model, "a"),
                    version: Version(time: HybridClock.time(testTime + milliseconds), writer: 42), isRemoval: isRemoval,
                    body: body("a"))
            }
        }
        func apply(_ changes: [Change], _ position: Int64, days: Int64 = 2) throws {
            let cursor = StreamCursor(stream: "device/d1", history: 9, position: position)
            _ = try store.apply(changes, cursor: cursor, hubTime: HybridClock.time(testTime + days * day))
        }
        try apply(changes(5, isRemoval: true), 2)
        try apply(changes(5, isRemoval: true), 3)
        #expect(try store.pendingCount() == 0)
        // A page that was read before the removal may come late.
        try apply(changes(1), 4, days: 0)
        #expect(try store.pendingCount() == 0)
        for position: Int64 in 5...6 { try apply(changes(1), position) }
        let pending = try store.pending()
        #expect(pending.map { $0.change.version } == [changes(5)[0].version] && pending.allSatisfy { $0.change.isRemoval })
        // What is newer takes the place of it.
        try apply(changes(6), 7)
        #expect(try store.pendingCount() == 0 && store.get(models[0], "a") != nil)
    }

    // MARK: What a device says

    private func opened() throws -> (Fixture, Store, Model) {
        let fixture = try Fixture()
        return (fixture, try fixture.open(), try fixture.model("Shared"))
    }

    private func known(_ store: Store) throws -> [Bool] { try store.pending().map { $0.change.isKnown } }

    @Test func onlyAnOldEditOfWhatTheCloudHasHadIsSaidToBeOne() throws {
        let (fixture, store, shared) = try opened()
        // It never had this, however often it changes before it is sent.
        for value in 1...6 { try store.put(shared, "a", value) }
        fixture.clock.time += 2 * day
        for value in 7...12 { try store.put(shared, "a", value) }
        fixture.clock.time += 2 * day
        #expect(try known(store) == [false])
        try store.answer(try store.pending(), .acknowledged)
        for value in 1...6 { try store.put(shared, "a", value) }
        #expect(try known(store) == [false])
        fixture.clock.time += 2 * day
        #expect(try known(store) == [true])
        // A clock that was not set says nothing of ages.
        fixture.clock.time = 1_000
        #expect(try known(store) == [true])
    }

    @Test func whatTheCloudRefusedItHasNotHad() throws {
        let (fixture, store, shared) = try opened()
        try store.put(shared, "a", 1)
        try store.answer(try store.pending(), .rejected(code: -1, reason: "no"))
        try store.put(shared, "a", 2)
        fixture.clock.time += 2 * day
        #expect(try known(store) == [false])
    }

    @Test func whatACloudHadThatHasLostItIsNotKnownToIt() throws {
        let (fixture, store, shared) = try opened()
        try store.put(shared, "a", 1)
        try store.answer(try store.pending(), .acknowledged)
        try store.put(shared, "a", 2)
        fixture.clock.time += 2 * day
        #expect(try known(store) == [true])
        let cursor = StreamCursor(stream: "device/d1", history: 2, position: 1)
        _ = try store.apply(
            [], part: SnapshotPart(begins: true, ends: true, floor: 0, resends: true), cursor: cursor, hubTime: 0)
        #expect(try known(store) == [false])
        // Until it has the next state.
        try store.answer(try store.pending(), .acknowledged)
        try store.put(shared, "a", 3)
        try store.answer(try store.pending(), .acknowledged)
        try store.put(shared, "a", 4)
        fixture.clock.time += 2 * day
        #expect(try known(store) == [true])
    }
}
