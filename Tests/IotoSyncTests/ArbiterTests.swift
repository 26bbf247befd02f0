import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// What a cloud's store makes of a device's changes.
struct ArbiterTests {
    private let key = ItemKey(hash: "device#d1", sort: "valve#1")
    private let wall: Int64 = 1_700_000_000_000

    private func change(_ time: UInt64, writer: UInt64 = 7) -> Change {
        Change(model: "Valve", key: key, version: Version(time: time, writer: writer), isRemoval: false, body: Array("{}".utf8))
    }

    private func arbiter(_ last: UInt64 = 0) -> Arbiter {
        Arbiter(device: "d1", clock: HybridClock(last: last), writer: 0xC1, history: 1, wall: wall)
    }

    private func stored(_ time: UInt64) -> ItemState {
        ItemState(change: change(time, writer: 0xC1), stream: "device/d1", owner: "d1")
    }

    private func entry(_ time: UInt64, winner: ConflictRule.Winner? = nil) -> StreamedChange {
        let seen = StreamCursor(stream: "device/d1", history: 1, position: 3)
        return StreamedChange(
            change: change(time), stream: "device/d1", rule: winner.map { ConflictRule(winner: $0, seen: seen) })
    }

    private func isStored(_ decision: Arbiter.Decision) -> Bool {
        if case .store = decision { return true }
        return false
    }

    @Test(arguments: [HybridClock.time(1_700_000_000_000), HybridClock.time(1_700_000_000_000) + 1])
    func newVersionIsNoneThatADeviceIssuesItself(last: UInt64) throws {
        var arbiter = arbiter(last)
        let (first, second) = (entry(10, winner: .device), entry(12, winner: .device))
        #expect(!isStored(arbiter.decide(first, over: stored(100), position: 4)))
        #expect(!isStored(arbiter.decide(second, over: stored(100), position: 4)))
        #expect(arbiter.again.map(\.version) == [first.change.version, second.change.version])
        // A device's own times are even.
        #expect(arbiter.again.allSatisfy { $0.newVersion.time & 1 == 1 && $0.newVersion.writer == 7 && $0.newVersion.time > last })
        #expect(arbiter.again[0].newVersion < arbiter.again[1].newVersion)
        #expect(arbiter.clock.last == arbiter.again[1].newVersion.time && arbiter.stored == 0)
    }

    // MARK: What the store has forgotten

    private func forgotten(
        _ time: UInt64, upTo: UInt64, history: UInt64 = 1, winner: ConflictRule.Winner? = nil, stream: Text? = "device/d1"
    ) throws -> (item: ItemState, arbiter: Arbiter) {
        var arbiter = arbiter(500)
        arbiter.forgotten = upTo
        var entry = entry(time, winner: winner)
        let body = #"{"id":"1","deviceId":"d1","value":"edited"}"#
        entry.stream = stream
        entry.change.body = Array(body.utf8)
        entry.known = (history, try #require(TestSchema.schema.model("Note")))
        let current: ItemState? = nil
        guard case .store(let item) = arbiter.decide(entry, over: current, position: nil) else {
            throw IotoError(.notFound, "nothing is stored")
        }
        return (item, arbiter)
    }

    @Test(arguments: [nil, ConflictRule.Winner.later, .cloud])
    func editOfWhatIsRemovedAndForgottenIsOverruled(winner: ConflictRule.Winner?) throws {
        let (item, arbiter) = try forgotten(100, upTo: 100, winner: winner)
        #expect(item.change.isRemoval && item.change.version.writer == 0xC1 && item.change.version.time > 500)
        #expect(item.owner == "d1" && item.stream == "device/d1")
        #expect(FieldMerge.object(item.change.body) == ["id": .string("1"), "deviceId": .string("d1")])
        #expect(arbiter.met == [MetChange(version: Version(time: 100, writer: 7), other: item.change)])
        // The device is not told to step over the entry.
        let advance = FeedAdvance(stream: "device/d1", history: 1, previous: 0, cursor: 1)
        guard case .applied(1, [], let advances, _, []) = arbiter.answer([advance]) else {
            Issue.record("another answer")
            return
        }
        #expect(advances.map { $0.isAsSent } == [false])
    }

    @Test func editOfWhatOnlyGoesUpIsNotAnsweredWithARemoval() throws {
        let (item, arbiter) = try forgotten(100, upTo: 100, stream: nil)
        #expect(item.change.isRemoval && item.stream == nil && arbiter.met.isEmpty)
    }

    @Test func editIsStoredUnlessTheItemMustHaveBeenRemoved() throws {
        // Newer than what is forgotten, nothing forgotten, known to another store, and where the device wins.
        #expect(try !forgotten(102, upTo: 100).item.change.isRemoval)
        #expect(try !forgotten(100, upTo: 0).item.change.isRemoval)
        #expect(try !forgotten(100, upTo: 100, history: 2).item.change.isRemoval)
        #expect(try !forgotten(100, upTo: 100, winner: .device).item.change.isRemoval)
        var arbiter = arbiter(500)
        arbiter.forgotten = 400
        guard case .store(let item) = arbiter.decide(entry(100), over: nil, position: nil) else {
            Issue.record("a new item is not stored")
            return
        }
        #expect(!item.change.isRemoval)
        // What is there is not removed.
        var known = entry(102)
        known.known = (1, try #require(TestSchema.schema.model("Note")))
        guard case .store(let item) = arbiter.decide(known, over: stored(100), position: 1) else {
            Issue.record("an edit is not stored")
            return
        }
        #expect(!item.change.isRemoval)
    }

    @Test func changeThatWinsAndIsLaterIsStoredAsItIs() throws {
        var arbiter = arbiter()
        guard case .store(let item) = arbiter.decide(entry(102, winner: .device), over: stored(100), position: 4) else {
            Issue.record("it is not stored")
            return
        }
        #expect(item.change.version == Version(time: 102, writer: 7) && item.own == 102)
    }

    /// One that has joined again has another writer, and what it wrote before its old times.
    @Test(arguments: [true, false]) func anotherChangeOfTheSameTimeIsNotTakenForKnown(isOther: Bool) {
        var stored = ItemState(change: change(102, writer: 6), stream: "device/d1", owner: "d1")
        stored.own = 102
        if isOther { stored.change.body = Array(#"{"value":"other"}"#.utf8) }
        var arbiter = arbiter(200)
        #expect(isStored(arbiter.decide(entry(102, winner: .later), over: stored, position: 4)) == isOther)
    }

    @Test(arguments: [ConflictRule.Winner.later, .device])
    func changeThatTakesThePlaceOfOneThatTheDeviceDidNotKnowSaysSo(winner: ConflictRule.Winner) {
        var arbiter = arbiter()
        #expect(isStored(arbiter.decide(entry(102, winner: winner), over: stored(100), position: 4)))
        #expect(arbiter.met == [MetChange(version: Version(time: 102, writer: 7), other: stored(100).change, taken: 4)])
    }

    @Test func earlierChangeGivesWayToOneThatTheDeviceDidNotKnow() {
        var arbiter = arbiter()
        #expect(!isStored(arbiter.decide(entry(98, winner: .later), over: stored(100), position: 4)))
        #expect(arbiter.met == [MetChange(version: Version(time: 98, writer: 7), other: stored(100).change)])
    }

    @Test func changeThatHadSeenWhatIsStoredIsNoConflict() {
        var arbiter = arbiter()
        #expect(!isStored(arbiter.decide(entry(10, winner: .device), over: stored(100), position: 3)))
        #expect(arbiter.again.isEmpty && arbiter.met.isEmpty)
    }

    @Test func versionFromTheFutureIsAboveWhatIsStoredWhoeverStoredIt() {
        // Another process of the hub, whose clock is ahead.
        let ahead = HybridClock.time(wall + 59_000)
        var arbiter = arbiter(ahead)
        var far = entry(HybridClock.time(wall + 3_600_000))
        far.timeMax = HybridClock.time(wall + 60_000)
        #expect(!isStored(arbiter.decide(far, over: stored(ahead), position: nil)))
        #expect(arbiter.again.count == 1 && arbiter.again[0].newVersion.time > ahead)
        // It comes again under that.
        var again = far
        again.change.version = arbiter.again[0].newVersion
        again.timeMax = 0
        #expect(isStored(arbiter.decide(again, over: stored(ahead), position: nil)))
    }

    /// The device has to hear of it, and its cursor must not step over it.
    @Test(arguments: [true, false])
    func entryOfAJoinedChangeIsNotTheDevicesOwn(joins: Bool) {
        var arbiter = arbiter()
        var (mine, theirs) = (change(102), change(101, writer: 0xC1))
        mine.stamps = ["a": .string(.hexadecimal(102))]
        theirs.body = Array((joins ? #"{"b":1}"# : "{}").utf8)
        var entry = StreamedChange(change: mine, stream: "device/d1")
        entry.merges = true
        #expect(isStored(arbiter.decide(entry, over: ItemState(change: theirs, stream: "device/d1", owner: "d1"), position: 4)))
        let advance = FeedAdvance(stream: "device/d1", history: 1, previous: 4, cursor: 5)
        guard case .applied(_, _, let advances, _, _) = arbiter.answer([advance]) else { return }
        #expect(advances.map { $0.isAsSent } == [!joins])
    }

    @Test func formerVersionThatComesLateDoesNotTakeThePlaceOfTheNewOne() {
        var arbiter = arbiter()
        let now = HybridClock.time(wall)
        let given = ItemState(change: change(now | 1), stream: "device/d1", owner: "d1")
        // It was too far ahead once, and is not any more.
        var late = entry(HybridClock.time(wall + 30_000))
        late.timeMax = HybridClock.time(wall + 60_000)
        #expect(!isStored(arbiter.decide(late, over: given, position: nil)))
        #expect(arbiter.again.map(\.version) == [late.change.version])
        // What another one stored since is not the device's to be above of.
        #expect(isStored(arbiter.decide(late, over: stored(now | 1), position: nil)))
    }

    @Test func itemOfAnotherDeviceIsRefused() {
        var arbiter = arbiter()
        var theirs = stored(1)
        theirs.owner = "d2"
        #expect(!isStored(arbiter.decide(entry(10), over: theirs, position: nil)))
        #expect(arbiter.refused == [Version(time: 10, writer: 7)])
    }

    @Test func tombstoneStaysInTheItemsStreamAndItsOwners() {
        var former = stored(1)
        former.stream = "account/a1"
        var removal = change(2)
        removal.isRemoval = true
        #expect(ItemState(removal, stream: "device/d1", owner: "d9", over: former).stream == "account/a1")
        #expect(ItemState(removal, stream: nil, owner: "d9", over: former).stream == nil)
        #expect(ItemState(removal, stream: "device/d1", owner: "d9", over: former).owner == "d1")
    }
}
