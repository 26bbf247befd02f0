import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

@Suite struct SQLiteStoreFeedTests {
    @Test func positionsAreDenseAndAnItemHasOneEntry() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1), change("b", time: 1))
        try await test.apply(change("a", time: 2))
        let page = try await test.page("device/d1")
        #expect(page.entries.map(\.position) == [2, 3])
        #expect(page.entries.map(\.change.key) == [key("b"), key("a")])
        #expect(page.entries.last?.change.version.time == 2)
        #expect(page.cursor == 3 && !page.hasMore && page.previous == 0 && page.history == test.store.history)
    }

    @Test func advanceSaysWhereTheFeedWasAndIs() async throws {
        let test = try TestStore()
        let first = try await test.apply(change("a", time: 1), change("b", time: 1, stream: "all"), change("c", time: 1))
        #expect(
            first.advances == [
                FeedAdvance(stream: "device/d1", history: test.store.history, previous: 0, cursor: 2),
                FeedAdvance(stream: "all", history: test.store.history, previous: 0, cursor: 1),
            ])
        let second = try await test.apply(change("a", time: 2))
        #expect(second.advances.map(\.previous) == [2] && second.advances.map(\.cursor) == [3])
    }

    @Test func changeThatDoesNotGoDownEntersNoFeed() async throws {
        let test = try TestStore()
        let result = try await test.apply(change("a", time: 1, stream: nil))
        #expect(result.stored == 1 && result.advances.isEmpty)
        #expect(try await test.page("device/d1").entries.isEmpty)
    }

    @Test func pagesFollowEachOtherWithoutGap() async throws {
        let test = try TestStore()
        for index in 1...7 { try await test.apply(change(Text(decimal: index), time: 1)) }
        try await test.apply(change("2", time: 2), change("7", time: 2))
        var position: Int64 = 0
        var seen: [Int64] = []
        while true {
            let page = try await test.page("device/d1", after: position, itemsMax: 2)
            #expect(page.previous == position)
            seen += page.entries.map(\.position)
            position = page.cursor
            if !page.hasMore { break }
        }
        #expect(seen == [1, 3, 4, 5, 6, 8, 9] && position == 9)
    }

    @Test func pageThatReachesTheEndStepsOverTheHoles() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1))
        try await test.apply(change("a", time: 2), change("b", time: 1), change("a", time: 3))
        let page = try await test.page("device/d1", after: 4)
        #expect(page.entries.isEmpty && page.cursor == 4)
        #expect(try await test.page("device/d1", after: 1).entries.map(\.position) == [3, 4])
    }

    @Test func bytesBoundAPageButOneEntryAlwaysGoes() async throws {
        let test = try TestStore()
        let body = Text("{\"x\":\"\(String(repeating: "x", count: 1000))\"}")
        for id in ["a", "b", "c"] as [Text] { try await test.apply(change(id, time: 1, body: body)) }
        // Body, twice the key, and 128, as the hub counts.
        let entry = body.count + 2 * (key("a").hash.count + key("a").sort.count) + 128
        for (bytesMax, count) in [(0, 1), (2 * entry - 1, 1), (2 * entry, 2), (3 * entry, 3)] {
            let page = try await test.page("device/d1", bytesMax: bytesMax)
            #expect(page.entries.count == count)
            #expect(page.hasMore == (count < 3))
            #expect(page.cursor == Int64(count))
        }
    }

    @Test func stampsOfFieldsCountToAPage() async throws {
        let test = try TestStore()
        for id in ["a", "b", "c"] {
            var entry = change(Text(id), time: 5)
            for number in 0..<100 { entry.change.stamps.append(Text("field-\(number)" as String), .string("0000000000000005")) }
            try await test.apply(entry)
        }
        let page = try await test.page("device/d1", bytesMax: 4_000)
        #expect(page.entries.count == 1 && page.hasMore && page.entries.first?.change.stamps.count == 100)
    }

    @Test func positionOfAnotherHistoryGetsThisStoresEnd() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1))
        let page = try await test.page("device/d1", after: 99)
        #expect(page.entries.isEmpty && page.cursor == 1 && page.previous == 99 && !page.hasMore)
        let unknown = try await test.page("device/none")
        #expect(unknown.entries.isEmpty && unknown.cursor == 0)
    }

    @Test func removalStaysInTheStreamOfItsItem() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1, stream: "account/x"))
        try await test.apply(change("a", time: 2, removal: true, stream: "all"))
        let page = try await test.page("account/x")
        #expect(page.entries.map(\.change.isRemoval) == [true])
        #expect(try await test.page("all").entries.isEmpty)
    }

    @Test func itemThatChangesStreamLeavesTheOldOneWithoutShowingItsNewState() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1, body: #"{"id":"a","v":1}"#))
        _ = try await test.store.write(
            LocalWrite(
                model: "Setting", key: key("a"), body: Text(#"{"id":"a","v":"of d2"}"#).bytes, stream: "device/d2",
                owner: "d2", expected: Version(time: 1, writer: 7)))
        let old = try await test.page("device/d1", after: 1)
        let new = try await test.page("device/d2")
        let parted = try #require(old.entries.first)
        #expect(old.entries.count == 1 && parted.position == 2)
        #expect(parted.change.isRemoval && parted.change.version == new.entries.first?.change.version)
        #expect(Text(parted.change.body) == #"{"id":"a","v":1}"#)
        #expect(new.entries.map(\.change.isRemoval) == [false])

        // And back: the entry stands for the item again.
        let version = try #require(new.entries.first?.change.version)
        _ = try await test.store.write(
            LocalWrite(
                model: "Setting", key: key("a"), body: Text(#"{"id":"a","v":3}"#).bytes, stream: "device/d1",
                owner: "d1", expected: version))
        let back = try await test.page("device/d1")
        #expect(back.entries.map(\.change.isRemoval) == [false])
        #expect(back.entries.first.map { Text($0.change.body) } == #"{"id":"a","v":3}"#)
    }

    @Test func broadcastFeedsAreThoseOfAllAndOfAccounts() async throws {
        let test = try TestStore()
        #expect(
            try await test.store.broadcastFeeds()
                == [StreamCursor(stream: "all", history: test.store.history, position: 0)])
        try await test.apply(
            change("a", time: 1), change("b", time: 1, stream: "all"), change("c", time: 1, stream: "account/x"),
            change("d", time: 1, stream: "account/y"), change("e", time: 1, stream: "account/y"))
        let feeds = try await test.store.broadcastFeeds().sorted { $0.stream < $1.stream }
        #expect(feeds.map(\.stream) == ["account/x", "account/y", "all"])
        #expect(feeds.map(\.position) == [1, 2, 1])
    }

    // MARK: Watching

    @Test func movesOfThisAndOfOtherConnectionsAreTold() async throws {
        let test = try TestStore()
        try await test.apply(change("before", time: 1, stream: "device/before"))
        var moves = try test.store.movedStreams().makeAsyncIterator()
        try await test.apply(change("a", time: 1), change("b", time: 1, stream: "all"))
        #expect(await moves.next() == ["device/d1", "all"])

        // As another process has it: nothing but the file in common.
        let other = try SQLiteStore(path: test.store.path, mode: .existing)
        let start = ContinuousClock.now
        _ = await other.answer(.apply([change("c", time: 1, stream: "account/x")], device: "d1"))
        #expect(await moves.next() == ["account/x"])
        #expect(ContinuousClock.now - start < .seconds(2))
        await other.close()
        await test.store.close()
        #expect(await moves.next() == nil)
    }

    @Test func concurrentWritersLeaveADenseFeed() async throws {
        let test = try TestStore()
        let stores = try (0..<4).map { _ in try SQLiteStore(path: test.store.path, mode: .existing) }
        try await withThrowingTaskGroup { group in
            for (number, store) in stores.enumerated() {
                group.addTask {
                    for index in 0..<25 {
                        let id = Text(decimal: number * 100 + index)
                        let answer = await store.answer(.apply([change(id, time: 1)], device: "d1"))
                        guard case .applied(stored: 1, _, _, _, _) = answer else {
                            throw UnexpectedAnswer(answer: answer)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let page = try await test.page("device/d1")
        #expect(page.entries.map(\.position) == Array(1...100) && page.cursor == 100)
        for store in stores { await store.close() }
    }
}

/// Tombstones whose time is over.
struct SQLiteStoreTombstoneTests {
    @Test func tombstonesGoAndRaiseTheFloor() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1), change("b", time: 1), change("c", time: 1))
        try await test.apply(change("a", time: 2, removal: true))
        try await test.apply(change("d", time: 2))
        #expect(try await test.store.purgeTombstones(before: 1000) == 0)
        #expect(try await test.page("device/d1").floor == 0)
        #expect(try await test.store.purgeTombstones(before: Instant.now.wall + 1) == 1)
        let page = try await test.page("device/d1")
        #expect(page.floor == 4 && page.cursor == 5)
        #expect(page.entries.map { $0.change.key } == [key("b"), key("c"), key("d")])
        #expect(try await test.store.item(key("a")) == nil)
        #expect(try await test.page("device/d2").floor == 0)
        // A change from before then begins the item anew: nothing is left to compare it with.
        #expect(try await test.apply(change("a", time: 1)).stored == 1)
    }

    @Test func editOfWhatTheStoreHasForgottenRemovesItOnceMore() async throws {
        let test = try TestStore()
        let model = try #require(try testSchema().model("Setting"))
        func edit(_ id: Text, _ time: UInt64, of history: UInt64) -> StreamedChange {
            var entry = change(id, time: time, body: Text("{\"id\":\"\(id)\",\"deviceId\":\"d1\",\"value\":9}"))
            entry.known = (history, model)
            return entry
        }
        try await test.apply(change("a", time: 10), change("b", time: 10), change("c", time: 10))
        let history = try await test.page("device/d1").history
        try await test.apply(change("a", time: 20, removal: true), change("b", time: 30, removal: true))
        // Nothing is forgotten yet: what is not there was never there.
        try await test.apply(edit("x", 15, of: history))
        #expect(try await test.store.item(key("x"))?.isRemoval == false)
        #expect(try await test.store.purgeTombstones(before: Instant.now.wall + 1) == 2)
        let answer = await test.store.answer(
            .apply([edit("a", 15, of: history), edit("c", 40, of: history), edit("y", 15, of: history + 1)], device: "d1"))
        guard case .applied(3, [], let advances, let met, []) = answer else { throw UnexpectedAnswer(answer: answer) }
        #expect(met.map { $0.version.time } == [15] && advances.map { $0.isAsSent } == [false])
        let removal = try #require(try await test.store.item(key("a")))
        #expect(removal.isRemoval && removal.version.time > 40 && met.first?.other.version == removal.version)
        #expect(try await test.page("device/d1").entries.contains { $0.change.key == key("a") && $0.change.isRemoval })
        #expect(try await test.store.item(key("c"))?.version.time == 40)
        #expect(try await test.store.item(key("y"))?.isRemoval == false)
        // What is later than everything that is forgotten is stored; the store knows in another process, too.
        await test.store.close()
        let store = try SQLiteStore(path: test.folder.file("cloud.db"), mode: .existing)
        _ = await store.answer(.apply([edit("b", 30, of: history), edit("z", 31, of: history)], device: "d1"))
        #expect(try await store.item(key("b"))?.isRemoval == true)
        #expect(try await store.item(key("z"))?.isRemoval == false)
        await store.close()
    }

    @Test func removalFromAStreamThatTheItemHadLeftRaisesTheFloorThere() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 1, stream: "account/a1"))
        try await test.apply(change("a", time: 2, stream: "device/d1"))
        try await test.apply(change("a", time: 3, removal: true, stream: "device/d1"))
        #expect(try await test.store.purgeTombstones(before: Instant.now.wall + 1) == 1)
        #expect(try await test.page("account/a1").floor == 2)
        #expect(try await test.page("account/a1").entries.isEmpty)
        #expect(try await test.page("device/d1").floor == 2)
    }
}

/// Conflicts that the schema decides, not the versions.
struct SQLiteStoreConflictTests {
    private func sent(_ time: UInt64, _ winner: ConflictRule.Winner, seen: Int64, history: UInt64) -> StreamedChange {
        var entry = change("a", time: time, writer: 7)
        entry.rule = ConflictRule(
            winner: winner, seen: StreamCursor(stream: "device/d1", history: history, position: seen))
        return entry
    }

    /// A store whose cloud has written item "a" once, at position 1.
    private func written() async throws -> (test: TestStore, cloud: Change) {
        let test = try TestStore()
        let write = LocalWrite(
            model: "Setting", key: key("a"), body: Text("{\"id\":\"a\"}").bytes, stream: "device/d1", owner: "d1", expected: nil)
        return (test, try #require(await test.store.write(write)))
    }

    private func apply(
        _ test: TestStore, _ entry: StreamedChange
    ) async throws -> (stored: Int, met: [MetChange], again: [NewVersion]) {
        let answer = await test.store.answer(.apply([entry], device: "d1"))
        guard case .applied(let stored, _, _, let met, let again) = answer else { throw UnexpectedAnswer(answer: answer) }
        return (stored, met, again)
    }

    @Test func whatTheDeviceHadNotSeenOverrulesIt() async throws {
        let (test, cloud) = try await written()
        let later = cloud.version.time + 5
        let met = try await apply(test, sent(later, .cloud, seen: 0, history: test.store.history))
        #expect(met.stored == 0 && met.met == [MetChange(version: Version(time: later, writer: 7), other: cloud)])
        #expect(try await apply(test, sent(later, .cloud, seen: 1, history: test.store.history ^ 1)).stored == 0)
        #expect(try await apply(test, sent(later, .cloud, seen: 1, history: test.store.history)).stored == 1)
    }

    @Test func deviceWinsUnderAVersionAboveWhatItHadNotSeen() async throws {
        let (test, cloud) = try await written()
        let met = try await apply(test, sent(4, .device, seen: 0, history: test.store.history))
        let given = try #require(met.again.first).newVersion
        #expect(met.stored == 0 && given > cloud.version && given.writer == 7)
        #expect(try await test.store.item(key("a"))?.version == cloud.version)
        // The answer is lost, and the first try comes again: no two are given the same.
        let next = try #require(await apply(test, sent(4, .device, seen: 0, history: test.store.history)).again.first).newVersion
        #expect(next > given)
        #expect(try await apply(test, sent(next.time, .device, seen: 0, history: test.store.history)).stored == 1)
        #expect(try await test.store.item(key("a"))?.version == next)
    }

    @Test func changeThatCloudHadBeforeItsOwnIsNoConflict() async throws {
        let (test, cloud) = try await written()
        let own = Version(time: cloud.version.time + 4, writer: 7)
        #expect(try await apply(test, sent(own.time, .device, seen: 1, history: test.store.history)).stored == 1)
        let write = LocalWrite(
            model: "Setting", key: key("a"), body: cloud.body, stream: "device/d1", owner: "d1", expected: own)
        let next = try #require(await test.store.write(write))
        // The answer was lost: it comes again, and what the cloud has made of it stays.
        let again = try await apply(test, sent(own.time, .device, seen: 1, history: test.store.history))
        #expect(again.stored == 0 && again.met.isEmpty && again.again.isEmpty)
        let page = try await test.page("device/d1")
        #expect(page.entries.last?.change.version == next.version && page.entries.last?.change.own == own.time)
    }
}
