import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Snapshots of a stream, as the file keeps them. The fixture's items name no device: they are in the stream of all.
@Suite struct SnapshotStoreTests {
    private func change(_ model: Model, _ id: String, writer: UInt64 = 42, milliseconds: Int64 = testTime) -> Change {
        Change(
            model: model.name, key: key(model, id), version: Version(time: HybridClock.time(milliseconds), writer: writer),
            isRemoval: false, body: body(id))
    }

    private func cursor(_ position: Int64, history: UInt64 = 9) -> StreamCursor {
        StreamCursor(stream: Stream.all, history: history, position: position)
    }

    private func ids(_ store: Store, _ model: Model) throws -> [String] {
        try store.scanned(model).map { $0.split(separator: "#").last.map(String.init) ?? "" }
    }

    @Test func whatIsNotNamedGoesAtTheEndAndNotBefore() throws {
        let fixture = try Fixture()
        let setting = try fixture.model("Setting")
        var store = try fixture.open()
        _ = try store.apply(["1", "2", "3"].map { change(setting, $0) }, cursor: cursor(3), hubTime: 0)
        _ = try store.apply(
            [change(setting, "1")], part: SnapshotPart(begins: true, ends: false, floor: 7), cursor: cursor(4), hubTime: 0)
        #expect(try ids(store, setting) == ["1", "2", "3"])
        // The process dies here, and goes on with what the file has.
        try fixture.copy(to: "copy.db")
        store.close()
        store = try fixture.open("copy.db")
        let recorder = Recorder()
        store.setObserver(recorder)
        #expect(try store.snapshotFloor(of: Stream.all) == 7)
        #expect(try store.cursor(of: Stream.all) == cursor(4))
        _ = try store.apply(
            [change(setting, "4")], part: SnapshotPart(begins: false, ends: true, floor: 7), cursor: cursor(9), hubTime: 0)
        #expect(try ids(store, setting) == ["1", "4"])
        #expect(try store.snapshotFloor(of: Stream.all) == nil)
        #expect(try store.number("SELECT count(*) FROM snapshot") == 0)
        #expect(recorder.lines == ["remote create setting#4", "remote remove setting#2", "remote remove setting#3"])
    }

    @Test func pendingAndPurelyLocalItemsStay() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (setting, shared, fault) = (try fixture.model("Setting"), try fixture.model("Shared"), try fixture.model("Fault"))
        try store.put(setting, "local")
        try store.put(shared, "pending")
        try store.put(fault, "up")
        try store.put(try fixture.model("Local"), "x")
        _ = try store.apply(
            [], part: SnapshotPart(begins: true, ends: true, floor: 0), cursor: cursor(1), hubTime: 0)
        #expect(try ids(store, setting) == ["local"])
        #expect(try ids(store, shared) == ["pending"])
        #expect(try ids(store, fault) == ["up"])
        #expect(try store.pendingCount() == 2)
    }

    @Test(arguments: [true, false])
    func acknowledgedOwnItemIsSentAgainOrRemoved(resends: Bool) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        let item = try store.put(shared, "mine")
        try store.answer(try store.pending(), .acknowledged)
        _ = try store.apply(
            [], part: SnapshotPart(begins: true, ends: false, floor: 0, resends: resends), cursor: cursor(1), hubTime: 0)
        // That it has to be sent again outlives a snapshot that begins anew.
        _ = try store.apply(
            [], part: SnapshotPart(begins: true, ends: true, floor: 0), cursor: cursor(1), hubTime: 0)
        #expect(try ids(store, shared) == (resends ? ["mine"] : []))
        #expect(try store.pending().map { $0.change.version } == (resends ? [item.version] : []))
    }

    @Test func namedInAnOlderStateIsSentAgain() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "a", 2)
        try store.put(shared, "gone")
        try store.remove(shared, "gone")
        try store.answer(try store.pending(), .acknowledged)
        let older = testTime - 1000
        _ = try store.apply(
            [change(shared, "a", writer: store.replica, milliseconds: older), change(shared, "gone", milliseconds: older)],
            part: SnapshotPart(begins: true, ends: true, floor: 0), cursor: cursor(2), hubTime: 0)
        #expect(try store.pending().map { $0.change.isRemoval } == [false, true])
        #expect(string(try store.get(shared, "a")?.body)?.contains("2") == true)
    }

    @Test func cloudThatHasLostItsStoreGetsWhatTheDeviceHasOfIt() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (shared, fault, setting) = (try fixture.model("Shared"), try fixture.model("Fault"), try fixture.model("Setting"))
        let stream = Stream.device("d1")
        let body = { (id: String) in Array(#"{"id":"\#(id)","deviceId":"d1"}"#.utf8) }
        func theirs(_ model: Model, _ id: String, at: Int64) -> Change {
            var change = change(model, id, milliseconds: testTime + at)
            change.body = body(id)
            return change
        }
        _ = try store.apply(
            [theirs(shared, "lost", at: 5), theirs(shared, "older", at: 5), theirs(setting, "older", at: 5), theirs(setting, "lost", at: 5)],
            cursor: StreamCursor(stream: stream, history: 9, position: 4), hubTime: 0)
        try store.put(fault, "up")
        try store.put(fault, "gone")
        try store.remove(fault, "gone")
        try store.answer(try store.pending(), .acknowledged)
        _ = try store.apply(
            [theirs(shared, "older", at: 1), theirs(setting, "older", at: 1)],
            part: SnapshotPart(begins: true, ends: true, floor: 0, resends: true),
            cursor: StreamCursor(stream: stream, history: 8, position: 2), hubTime: 0)
        // What goes up is sent, whoever wrote it; what only comes down is as the cloud has it.
        #expect(
            Set(try store.pending().map { $0.change.key.sort }) == ["shared#lost", "shared#older", "fault#up", "fault#gone"])
        #expect(try ids(store, setting) == ["older"])
        #expect(try store.get(setting, "older")?.version.milliseconds == testTime + 1)
    }

    /// A copy of the database may give the item back, of which the cloud knows nothing.
    @Test func cloudThatHasLostItsStoreGetsRemovalsAsWell() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        let stream = Stream.device("d1")
        func theirs(_ id: String, at: Int64, isRemoval: Bool = false, of owner: String = #""deviceId":"d1""#) -> Change {
            var change = change(shared, id, milliseconds: testTime + at)
            change.body = Array(#"{"id":"\#(id)",\#(owner)}"#.utf8)
            change.isRemoval = isRemoval
            return change
        }
        _ = try store.apply(
            ["mine", "theirs", "named", "later"].map { theirs($0, at: 1) }
                + [theirs("account", at: 1, isRemoval: true, of: #""accountId":"a1""#)],
            cursor: StreamCursor(stream: stream, history: 9, position: 5), hubTime: 0)
        for id in ["mine", "later"] { try store.remove(shared, id) }
        _ = try store.apply(
            ["theirs", "named"].map { theirs($0, at: 2, isRemoval: true) },
            cursor: StreamCursor(stream: stream, history: 9, position: 7), hubTime: 0)
        try store.answer(try store.pending(), .acknowledged)
        let removed = try store.number("SELECT count(*) FROM tombstone")
        #expect(removed == 5)
        _ = try store.apply(
            [theirs("named", at: 2, isRemoval: true), theirs("later", at: 3_600_000)],
            part: SnapshotPart(begins: true, ends: true, floor: 0, resends: true),
            cursor: StreamCursor(stream: stream, history: 8, position: 2), hubTime: 0)
        let pending = try store.pending()
        #expect(Set(pending.map { $0.change.key.sort }) == ["shared#mine", "shared#theirs"])
        #expect(pending.allSatisfy { $0.change.isRemoval })
        #expect(pending.contains { $0.change.version == Version(time: HybridClock.time(testTime + 2), writer: 42) })
        // What came after the removal stays, and the snapshot has come to its end.
        #expect(try ids(store, shared) == ["later"])
        #expect(try store.number("SELECT count(*) FROM snapshot") == 0)
    }

    @Test func theEndOfASnapshotIsDoneInStepsWithoutLeavingAnythingOut() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (setting, fault) = (try fixture.model("Setting"), try fixture.model("Fault"))
        let stream = Stream.device("d1")
        let count = 2 * StoreLimits.snapshotStep + 10
        let value = String(repeating: "v", count: 2 * StoreLimits.snapshotStepBytes / count)
        func theirs(_ id: Int) -> Change {
            var change = change(setting, "\(id)")
            change.body = Array(#"{"id":"\#(id)","deviceId":"d1","value":"\#(value)"}"#.utf8)
            return change
        }
        _ = try store.apply(
            (0..<count).map(theirs), cursor: StreamCursor(stream: stream, history: 9, position: 4), hubTime: 0)
        try store.write { (transaction) throws(IotoError) in
            for id in 0..<count { _ = try transaction.put(fault, key(fault, "\(id)"), body: body("\(id)")) }
        }
        while case let waiting = try store.pending(), !waiting.isEmpty { try store.answer(waiting, .acknowledged) }
        _ = try store.apply(
            [theirs(0), theirs(count - 1)], part: SnapshotPart(begins: true, ends: true, floor: 0, resends: true),
            cursor: StreamCursor(stream: stream, history: 8, position: 2), hubTime: 0)
        #expect(try store.scanned(setting).count == 2)
        #expect(try store.pendingCount() == Int64(count))
    }

    @Test func changeThatWasMadeOverWhatTheSnapshotNamesIsNoConflict() throws {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model("Cloud")
        _ = try store.apply([change(model, "1")], cursor: cursor(3), hubTime: HybridClock.time(testTime))
        let mine = try store.put(model, "1", 2)
        var part = SnapshotPart(begins: true, ends: false, floor: 7)
        part.seen = 3
        part.isKnown = true
        _ = try store.apply([change(model, "1")], part: part, cursor: cursor(3), hubTime: HybridClock.time(testTime))
        #expect(try store.pending().map { $0.change.version } == [mine.version])
        #expect(try store.snapshotSeen(of: Stream.all) == 3)
        // What it had not seen wins, as the model says.
        part.begins = false
        part.isKnown = false
        _ = try store.apply([change(model, "1", milliseconds: testTime + 1)], part: part, cursor: cursor(5), hubTime: HybridClock.time(testTime))
        #expect(try store.pendingCount() == 0)
    }

    @Test func fullDiskLeavesTheSnapshotWhereItWas() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        _ = try store.apply(["1", "2"].map { change(setting, $0) }, cursor: cursor(2), hubTime: 0)
        try store.damage("CREATE TRIGGER full BEFORE DELETE ON item BEGIN SELECT raise(ABORT, 'disk full'); END")
        #expect(throws: IotoError.self) {
            try store.apply(
                [], part: SnapshotPart(begins: true, ends: true, floor: 0), cursor: cursor(3), hubTime: 0)
        }
        #expect(try ids(store, setting) == ["1", "2"])
        #expect(try store.cursor(of: Stream.all) == cursor(2))
        #expect(try store.snapshotFloor(of: Stream.all) == nil)
    }

    @Test func fileOfAnEarlierMinorVersionGetsTheTable() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        try store.damage("DROP TABLE snapshot")
        try store.damage("DROP TABLE receipt")
        try store.damage("DROP TABLE field")
        try store.damage("ALTER TABLE item DROP COLUMN trail")
        try store.damage("ALTER TABLE tombstone DROP COLUMN trail")
        try store.damage("PRAGMA user_version = 1001")
        store.close()
        store = try fixture.open()
        _ = try store.apply([], part: SnapshotPart(begins: true, ends: true, floor: 0), cursor: cursor(1), hubTime: 0)
        #expect(try store.number("PRAGMA user_version") > 1001)
    }
}
