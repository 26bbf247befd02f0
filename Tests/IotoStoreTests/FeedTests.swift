import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

@Suite struct FeedTests {
    let stream: Text = "device/d1"

    func cursor(_ position: Int64, history: UInt64 = 9) -> StreamCursor {
        StreamCursor(stream: stream, history: history, position: position)
    }

    func change(
        _ model: Model, _ id: String, _ value: Int = 0, milliseconds: Int64 = testTime, writer: UInt64 = 42,
        isRemoval: Bool = false
    ) -> Change {
        Change(
            model: model.name, key: key(model, id),
            version: Version(time: HybridClock.time(milliseconds), writer: writer), isRemoval: isRemoval,
            body: isRemoval ? Array(#"{"id":"\#(id)"}"#.utf8) : body(id, value))
    }

    @Test func changesOfTheCloudAreAppliedWithTheCursor() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let recorder = Recorder()
        store.setObserver(recorder)
        #expect(try store.cursor(of: stream) == nil)
        let first = change(setting, "1", 1)
        #expect(try store.apply([first, change(setting, "2")], cursor: cursor(2), hubTime: 0) == 2)
        #expect(try store.cursor(of: stream) == cursor(2))
        let item = try #require(try store.get(setting, "1"))
        #expect(item.version == first.version)
        #expect(item.body == first.body)
        #expect(try store.pendingCount() == 0)
        let second = change(setting, "1", 2, milliseconds: testTime + 1)
        let removal = change(setting, "2", milliseconds: testTime + 1, isRemoval: true)
        #expect(try store.apply([second, removal], cursor: cursor(4, history: .max), hubTime: 0) == 2)
        #expect(try store.cursor(of: stream) == cursor(4, history: .max))
        #expect(
            recorder.lines == [
                "remote create setting#1", "remote create setting#2", "remote update setting#1",
                "remote remove setting#2",
            ])
        #expect(recorder.events[2].before?.body == first.body)
        #expect(recorder.events[3].before != nil && recorder.events[3].after == nil)
    }

    @Test func whatIsNotNewerIsPassedOver() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let recorder = Recorder()
        #expect(try store.apply([change(setting, "1", 1)], cursor: cursor(1), hubTime: 0) == 1)
        store.setObserver(recorder)
        let same = change(setting, "1", 9)
        let older = change(setting, "1", 9, milliseconds: testTime - 1)
        let lowerWriter = change(setting, "1", 9, writer: 41)
        let olderRemoval = change(setting, "1", milliseconds: testTime - 1, isRemoval: true)
        #expect(try store.apply([same, older, lowerWriter, olderRemoval], cursor: cursor(2), hubTime: 0) == 0)
        #expect(string(try store.get(setting, "1")?.body) == string(body("1", 1)))
        #expect(recorder.commits == 0)
        #expect(try store.apply([change(setting, "1", 2, writer: 43)], cursor: cursor(3), hubTime: 0) == 1)
    }

    @Test func pageOfNewAndKnownItemsTakesWhatIsNewer() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        #expect(try store.apply([change(setting, "2", 1), change(setting, "4", 1)], cursor: cursor(2), hubTime: 0) == 2)
        let recorder = Recorder()
        store.setObserver(recorder)
        let page = [
            change(setting, "1", 1), change(setting, "2", 2, milliseconds: testTime + 1), change(setting, "3", 1),
            change(setting, "4", 2, milliseconds: testTime - 1), change(setting, "5", 1), change(setting, "5", 2, milliseconds: testTime + 1),
            change(setting, "6", 1), change(setting, "6", milliseconds: testTime + 2, isRemoval: true),
            change(setting, "6", 3, milliseconds: testTime + 1), change(setting, "7", 1),
        ]
        #expect(try store.apply(page, cursor: cursor(12), hubTime: 0) == 8)
        #expect(try store.scanned(setting) == ["setting#1", "setting#2", "setting#3", "setting#4", "setting#5", "setting#7"])
        for (id, value) in [("1", 1), ("2", 2), ("3", 1), ("4", 1), ("5", 2), ("7", 1)] {
            #expect(string(try store.get(setting, id)?.body) == string(body(id, value)))
        }
        #expect(
            recorder.lines == [
                "remote create setting#1", "remote update setting#2", "remote create setting#3", "remote create setting#5",
                "remote update setting#5", "remote create setting#6", "remote remove setting#6", "remote create setting#7",
            ])
        // And not over the tombstone that is there.
        #expect(try store.apply([change(setting, "6", 4), change(setting, "8")], cursor: cursor(14), hubTime: 0) == 1)
        #expect(try store.get(setting, "6") == nil)
    }

    @Test func aRemovalIsNotComeBackFrom() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let removal = change(setting, "1", isRemoval: true)
        // It may arrive before the change that it follows.
        #expect(try store.apply([removal], cursor: cursor(1), hubTime: 0) == 1)
        #expect(try store.apply([change(setting, "1", milliseconds: testTime - 1)], cursor: cursor(2), hubTime: 0) == 0)
        #expect(try store.get(setting, "1") == nil)
        #expect(try store.apply([change(setting, "1", milliseconds: testTime + 1)], cursor: cursor(3), hubTime: 0) == 1)
        #expect(try store.get(setting, "1") != nil)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
    }

    @Test func aNewerChangeOfTheCloudTakesThePendingOneOutOfTheOutbox() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        for id in ["1", "2", "3"] { try store.put(shared, id, 1) }
        try store.remove(shared, "2")
        let sent = try store.pending()
        let later = testTime + 1000
        let changes = [
            change(shared, "1", 5, milliseconds: later), change(shared, "2", 5, milliseconds: later),
            change(shared, "3", milliseconds: later, isRemoval: true),
        ]
        #expect(try store.apply(changes, cursor: cursor(3), hubTime: 0) == 3)
        #expect(try store.pendingCount() == 0)
        #expect(string(try store.get(shared, "1")?.body) == string(body("1", 5)))
        #expect(string(try store.get(shared, "2")?.body) == string(body("2", 5)))
        #expect(try store.get(shared, "3") == nil)
        // The answer to what was sent comes late.
        try store.answer(sent, .acknowledged)
        // The next local change is newer than the cloud's, though the wall clock is behind it.
        let next = try store.put(shared, "1", 6)
        #expect(next.version > changes[0].version)
        #expect(try store.pendingCount() == 1)
    }

    @Test func anOlderChangeOfTheCloudLeavesThePendingOne() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        let pending = try store.pending()
        let older = change(shared, "1", 5, milliseconds: testTime - 1)
        #expect(try store.apply([older], cursor: cursor(1), hubTime: HybridClock.time(testTime)) == 0)
        #expect(try store.pending() == pending)
    }

    @Test func anOlderChangeOfTheCloudWaitsForTheAnswerToAPendingOneAheadOfItsClock() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        let pending = try store.pending()
        let older = change(shared, "1", 5, milliseconds: testTime - 40_000)
        let hubTime = HybridClock.time(testTime - 31_000)
        #expect(throws: IotoError.self) { try store.apply([older], cursor: cursor(1), hubTime: hubTime) }
        #expect(try store.cursor(of: cursor(1).stream) == nil)
        // The hub gives it a time between the cloud's change and its own.
        try store.answer(pending, .again(as: Version(time: HybridClock.time(testTime - 35_000), writer: store.replica)))
        #expect(try store.apply([older], cursor: cursor(1), hubTime: hubTime) == 0)
        let newer = change(shared, "1", 6, milliseconds: testTime - 34_000)
        #expect(try store.apply([newer], cursor: cursor(2), hubTime: hubTime) == 1)
        #expect(try store.pendingCount() == 0)
    }

    @Test func aLocalChangeDoesNotShutOutTheCloud() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let remote = change(setting, "1", 1, milliseconds: testTime - 9000)
        _ = try store.apply([remote], cursor: cursor(1), hubTime: 0)
        #expect(try store.put(setting, "1", 2).version == remote.version)
        // The same again is no news; anything newer wins, though the local clock is far ahead of it.
        #expect(try store.apply([remote], cursor: cursor(1), hubTime: 0) == 0)
        #expect(string(try store.get(setting, "1")?.body) == string(body("1", 2)))
        let newer = change(setting, "1", 3, milliseconds: testTime - 8000)
        #expect(try store.apply([newer], cursor: cursor(2), hubTime: 0) == 1)
        #expect(string(try store.get(setting, "1")?.body) == string(body("1", 3)))
        try store.remove(setting, "1")
        #expect(try store.apply([newer], cursor: cursor(2), hubTime: 0) == 0)
        #expect(try store.get(setting, "1") == nil)
        #expect(try store.put(setting, "1", 4).version == newer.version)
        try store.remove(setting, "1")
        let newest = change(setting, "1", 5, milliseconds: testTime - 7000)
        #expect(try store.apply([newest], cursor: cursor(3), hubTime: 0) == 1)
        // An item that the cloud never had gives way to whatever the cloud has.
        #expect(try store.put(setting, "2", 1).version == .zero)
        #expect(try store.apply([change(setting, "2", 2, milliseconds: 1)], cursor: cursor(4), hubTime: 0) == 1)
        try store.put(setting, "3", 1)
        try store.remove(setting, "3")
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        #expect(try store.pendingCount() == 0)
    }

    @Test func unknownModelsAndHostileChangesAreSkipped() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        var unknown = change(setting, "1")
        unknown.model = "Unknown"
        var endless = change(setting, "2")
        endless.version = Version(time: .max, writer: 1)
        var large = change(setting, "3")
        large.body = [UInt8](repeating: 32, count: Limits.itemBytesMax + 1)
        var long = change(setting, "4")
        long.key.sort = Text([UInt8](repeating: 97, count: Limits.keyBytesMax + 1))
        let good = change(setting, "5")
        #expect(try store.apply([unknown, endless, large, long, good], cursor: cursor(5), hubTime: .max) == 1)
        #expect(try store.cursor(of: stream) == cursor(5))
        #expect(try store.put(try fixture.model("Fault"), "1").version.time < HybridClock.timeMax)
    }

    @Test func anItemOfOneModelInThePlaceOfAnother() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let shared = try fixture.model("Shared")
        _ = try store.apply([change(setting, "1")], cursor: cursor(1), hubTime: 0)
        let recorder = Recorder()
        store.setObserver(recorder)
        var other = change(setting, "1", milliseconds: testTime + 1)
        other.model = shared.name
        #expect(try store.apply([other], cursor: cursor(2), hubTime: 0) == 1)
        #expect(recorder.lines == ["remote remove setting#1", "remote create setting#1"])
        #expect(recorder.events.map { $0.model === setting } == [true, false])
    }

    @Test func theHubsTimeIsLearned() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let setting = try fixture.model("Setting")
        fixture.clock.time = 0
        let hub = HybridClock.time(testTime)
        _ = try store.apply([], cursor: cursor(0), hubTime: hub)
        #expect(try store.put(fault, "1").version.time == hub + 2)
        try store.answer([], .acknowledged, hubTime: hub + 100)
        #expect(try store.put(fault, "2").version.time == hub + 102)
        _ = try store.apply([change(setting, "1", milliseconds: testTime + 7)], cursor: cursor(1), hubTime: 0)
        #expect(try store.put(fault, "3").version.milliseconds == testTime + 7)
    }

    @Test func theCursorMovesPastOwnChangesFromWhereItStood() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        func advance(_ previous: Int64, _ next: StreamCursor) throws -> StreamCursor? {
            let advance = FeedAdvance(
                stream: next.stream, history: next.history, previous: previous, cursor: next.position)
            try store.settle(Settlement(entries: [], hubTime: 0, advance: advance))
            return try store.cursor(of: stream)
        }
        #expect(try advance(3, cursor(4)) == nil)
        #expect(try advance(0, cursor(2)) == cursor(2))
        #expect(try advance(0, cursor(5)) == cursor(2))
        #expect(try advance(2, cursor(5, history: 8)) == cursor(2))
        #expect(try advance(2, cursor(5)) == cursor(5))
    }

    @Test func oldTombstonesArePurgedInSteps() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let fault = try fixture.model("Fault")
        let count = Int(StoreLimits.purgeStep) + 1
        let removals = (0..<count).map { change(setting, "\($0)", isRemoval: true) }
        _ = try store.apply(removals, cursor: cursor(1), hubTime: HybridClock.time(testTime))
        // This one is not acknowledged.
        try store.put(fault, "1")
        try store.remove(fault, "1")
        // However far ahead the device's own clock is, the hub's counts.
        fixture.clock.time = testTime + 10 * Limits.tombstoneRetention
        #expect(try store.purgeTombstones() == 0)
        let day: Int64 = 86_400_000
        for days in [Int64(0), 2] {
            let time = HybridClock.time(testTime + Limits.tombstoneRetention + days * day)
            _ = try store.apply([], cursor: cursor(1), hubTime: time)
            if days == 0 { #expect(try store.purgeTombstones() == 0) }
        }
        store.close()
        let second = try fixture.open()
        #expect(try second.number("SELECT count(*) FROM tombstone") == 2)
        #expect(try second.purgeTombstones() == 1)
        #expect(try second.purgeTombstones() == 0)
        #expect(try second.pending().map(\.change.isRemoval) == [true])
        try second.answer(try second.pending(), .acknowledged)
        #expect(try second.purgeTombstones() == 1)
    }

    @Test func oldTombstonesGoWhileTheStoreStaysOpen() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let setting = try fixture.model("Setting")
        let count = Int(StoreLimits.purgeStepOfMessage) + 1
        func hear(days: Int64) throws {
            let time = HybridClock.time(testTime + Limits.tombstoneRetention + days * 86_400_000)
            _ = try store.apply([], cursor: cursor(1), hubTime: time)
        }
        func left() throws -> Int64 { try store.number("SELECT count(*) FROM tombstone") }
        let removals = (0..<count).map { change(setting, "\($0)", isRemoval: true) }
        _ = try store.apply(removals, cursor: cursor(1), hubTime: HybridClock.time(testTime))
        // After a long absence nothing is forgotten before the cloud has been heard.
        try hear(days: 2)
        try hear(days: 2)
        #expect(try left() == Int64(count))
        try hear(days: 4)
        #expect(try left() == 1)
        try hear(days: 4)
        #expect(try left() == 0)
    }
}
