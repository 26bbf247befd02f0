import Foundation
import GRDB
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// New items that wait for their table.
@Suite struct JournalTests {
    /// A store that merges only when it must.
    private func lazyStore() throws -> TestStore { try TestStore(journal: Journal(pause: .seconds(3600))) }

    private func open(_ path: String) throws -> SQLiteStore {
        try SQLiteStore(path: path, mode: .existing, journal: Journal(pause: .seconds(3600)))
    }

    private func many(_ name: String, _ count: Int = 20, stream: Text? = "device/d1") -> [StreamedChange] {
        (100..<100 + count).map { change(Text("\(name)\($0)" as String), time: 10, stream: stream) }
    }

    @discardableResult
    private func apply(
        _ changes: [StreamedChange], device: Text = "d1", to store: SQLiteStore
    ) async throws -> (stored: Int, refused: [Version], advances: [FeedAdvance]) {
        let answer = await store.answer(.apply(changes, device: device))
        guard case .applied(let stored, let refused, let advances, _, _) = answer else { throw UnexpectedAnswer(answer: answer) }
        return (stored, refused, advances)
    }

    private func execute(_ sql: String, in path: String) async throws {
        let queue = try DatabaseQueue(path: path)
        try await queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }

    private func number(_ sql: String, in path: String) async throws -> Int {
        let queue = try DatabaseQueue(path: path)
        defer { try? queue.close() }
        return try await queue.read { try Int.fetchOne($0, sql: sql) ?? 0 }
    }

    private func rows(_ path: String) async throws -> Int { try await number("SELECT count(*) FROM journal", in: path) }

    // MARK: Writing

    @Test func manyNewItemsAreJournaledAndFewAreNot() async throws {
        let test = try lazyStore()
        let path = test.store.path
        try await apply(many("few", Journal.itemsMin - 1), to: test.store)
        #expect(try await rows(path) == 0)
        let result = try await apply(many("many", Journal.itemsMin), to: test.store)
        #expect(try await rows(path) == 1)
        #expect(result.stored == 16 && result.advances.map(\.previous) == [15] && result.advances.map(\.cursor) == [31])
        // Then one costs less there than to have all merged.
        try await apply(many("one", 1), to: test.store)
        #expect(try await rows(path) == 2)
        #expect(try await number("SELECT count(*) FROM item", in: path) == 15)
    }

    enum Other: CaseIterable { case removal, otherStream, stamps, twice, stored, journaled }

    @Test(arguments: Other.allCases) func whatIsMoreThanNewGoesToTheTable(_ other: Other) async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        #expect(try await test.store.item(key("a100")) != nil)
        try await apply(many("b"), to: test.store)
        var changes = many("c")
        switch other {
        case .removal: changes[9].change.isRemoval = true
        case .otherStream: changes[9].stream = "all"
        case .stamps: changes[9].change.stamps = ["value": .string("000000000000000a")]
        case .twice: changes[9] = change("c100", time: 12)
        case .stored: changes[9] = change("a100", time: 12)
        case .journaled: changes[9] = change("b100", time: 12)
        }
        #expect(try await apply(changes, to: test.store).stored == 20)
        #expect(try await rows(test.store.path) == 0)
        #expect(try await test.store.item(changes[9].change.key)?.version.time == changes[9].change.version.time)
        #expect(try await test.store.item(changes[9].change.key)?.isRemoval == (other == .removal))
        let found = try await test.page("device/d1").entries.count
        #expect(found == [.otherStream: 59, .twice: 59, .stored: 59, .journaled: 59][other] ?? 60)
    }

    @Test func itemsThatGoNowhereAreJournaled() async throws {
        let test = try lazyStore()
        #expect(try await apply(many("a", stream: nil), to: test.store).advances.isEmpty)
        #expect(try await rows(test.store.path) == 1)
        #expect(try await test.store.history(of: key("a105"))?.place == nil)
        #expect(try await test.store.item(key("a119"))?.version == Version(time: 10, writer: 7))
    }

    @Test func nextRequestOfTheDeviceMeetsWhatIsJournaled() async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        let again = try await apply(many("a"), to: test.store)
        #expect(again.stored == 0 && again.refused.isEmpty && again.advances.isEmpty)
        try await apply(many("b"), to: test.store)
        #expect(try await test.apply(change("b101", time: 11, body: #"{"v":2}"#)).stored == 1)
        #expect(try await test.store.item(key("b101")).map { Text($0.body) } == #"{"v":2}"#)
        try await apply(many("c"), to: test.store)
        #expect(try await test.apply(change("c101", time: 9)).stored == 0)
        #expect(try await test.store.history(of: key("c101"))?.trail.count == Trail.entryBytes)
        try await apply(many("d"), to: test.store)
        let refused = try await apply([change("d101", time: 99, stream: "device/d2")], device: "d2", to: test.store)
        #expect(refused.stored == 0 && refused.refused.map(\.time) == [99])
        #expect(try await test.page("device/d1").entries.count == 80)
    }

    /// What the journal keeps of an item is all that its row would have.
    @Test func journaledItemsAreThoseThatAreStored() async throws {
        let stores = [try lazyStore(), try lazyStore()]
        for (index, test) in stores.enumerated() {
            var changes = many("a", 30)
            for place in changes.indices {
                changes[place].change.version = Version(time: UInt64(1000 - place), writer: 7)
                changes[place].rule = ConflictRule(winner: .device, seen: StreamCursor(stream: "device/d1", history: 1, position: 0))
            }
            // By the table, because of its first request's few.
            for part in index == 0 ? [changes[...]] : [changes[..<10], changes[10..<20], changes[20...]] {
                try await apply(Array(part), to: test.store)
            }
            #expect(try await rows(test.store.path) == 1 - index)
            _ = try await test.store.item(key("a100"))
        }
        let sql = """
            SELECT group_concat(json_array(hash, sort, model, time, removed, json, owner, stream, marks, own, stamps, trail, position,
                committed, writer)) FROM (SELECT * FROM item ORDER BY sort)
            """
        let texts = try await [stores[0], stores[1]].asyncMap { test in
            try await DatabaseQueue(path: test.store.path).read { try String.fetchOne($0, sql: sql) }
        }
        #expect(texts[0] == texts[1] && texts[0]?.contains(",971,") == true)
    }

    // MARK: Reading

    @Test func everyReaderSeesWhatIsJournaled() async throws {
        let schema = try testSchema()
        let readers: [(String, (SQLiteStore) async throws -> Bool)] = [
            ("item", { try await $0.item(key("a105"))?.version.time == 10 }),
            ("items", { try await $0.items(model: "Setting", after: nil, limit: 99).count == 20 }),
            ("history", { try await $0.history(of: key("a105"))?.place?.position == 6 }),
            ("digest", { try await CloudDatabase(store: $0, schema: schema).digest(of: "all").digest.items == 20 }),
            (
                "since",
                {
                    let answer = $0.answerNow(.readFeedSince(stream: "all", time: 1, bytesMax: 1 << 20, itemsMax: 99))
                    guard case .page(let page) = answer else { return false }
                    return page.entries.count == 20 && page.previous == 0
                }
            ),
            (
                "write",
                {
                    let write = LocalWrite(
                        model: "Setting", key: key("a105"), body: Text("{}").bytes, stream: "all", owner: "d1",
                        expected: Version(time: 10, writer: 7))
                    return try await $0.write(write) != nil
                }
            ),
            (
                "expire",
                {
                    let removal = LocalWrite(
                        model: "Setting", key: key("a105"), isRemoval: true, body: Text("{}").bytes, stream: "all", owner: "d1",
                        expected: Version(time: 10, writer: 7))
                    return try await $0.expire([removal]) == 1
                }
            ),
        ]
        for (name, reads) in readers {
            let test = try lazyStore()
            try await apply(many("a", stream: "all"), to: test.store)
            #expect(try await rows(test.store.path) == 1)
            #expect(try await reads(test.store), "\(name)")
            #expect(try await rows(test.store.path) == 0, "\(name)")
        }
    }

    @Test func pagesAreTheSameBeforeAndAfterTheMerge() async throws {
        let test = try lazyStore()
        for id in ["x", "y", "z"] as [Text] { try await test.apply(change(id, time: 1)) }
        try await test.apply(change("x", time: 2, stream: "all"))
        try await apply(many("a", 17), to: test.store)
        try await apply(many("o", 16, stream: "all"), to: test.store)
        try await apply(many("b", 19), to: test.store)
        #expect(try await rows(test.store.path) == 3)
        func pages() async throws -> [FeedPage] {
            var pages: [FeedPage] = []
            for position in [-1, 0, 1, 2, 3, 4, 5, 19, 20, 21, 22, 23, 39, 40, 41, .max - 1] as [Int64] {
                for (bytesMax, itemsMax) in [(0, 9), (400, 9), (3000, 99), (1 << 20, 1), (1 << 20, 7), (1 << 20, 99)] {
                    pages.append(try await test.page("device/d1", after: position, bytesMax: bytesMax, itemsMax: itemsMax))
                }
            }
            return pages
        }
        let before = try await pages()
        #expect(try await rows(test.store.path) == 3)
        #expect(try await test.store.item(key("a100")) != nil)
        #expect(try await rows(test.store.path) == 0)
        #expect(try await pages() == before)
        // Position 1 is of an item that has left.
        #expect(before[11].entries.map(\.position) == Array(2...40) && before[11].cursor == 40)
    }

    @Test func stretchesFollowEachOtherWhileOthersMerge() async throws {
        let test = try lazyStore()
        for name in ["a", "b", "c"] { try await apply(many(name), to: test.store) }
        var (position, seen) = (Int64(0), [Int64]())
        for _ in 0..<12 {
            let page = try await test.page("device/d1", after: position, itemsMax: 7)
            seen += page.entries.map(\.position)
            position = page.cursor
            if position == 28 { _ = try await test.store.item(key("a100")) }
            if position == 35 { try await apply(many("d"), to: test.store) }
            #expect(page.hasMore == (position < 80))
        }
        #expect(seen == Array(1...80))
    }

    // MARK: Several processes

    @Test func anotherProcessSeesAndWritesWhatIsJournaled() async throws {
        let test = try lazyStore()
        let other = try open(test.store.path)
        try await apply(many("a"), to: test.store)
        #expect(try await rows(other.path) == 1)
        #expect(try await other.item(key("a100")) != nil)
        #expect(try await rows(other.path) == 0)
        try await apply(many("b"), to: test.store)
        // Each finds the other's rows.
        try await apply(many("c"), to: other)
        #expect(try await rows(other.path) == 1)
        #expect(try await apply(many("b"), to: other).stored == 0)
        try await apply(many("d"), to: other)
        try await apply(many("d", 30), to: test.store)
        let write = LocalWrite(
            model: "Setting", key: key("d129"), body: Text(#"{"id":"w"}"#).bytes, stream: "device/d1", owner: "d1",
            expected: Version(time: 10, writer: 7))
        #expect(try await other.write(write) != nil)
        let page = try await test.page("device/d1")
        #expect(page.entries.map(\.position) == Array(1...89) + [91] && page.cursor == 91)
        await other.close()
    }

    @Test func processesThatJournalAndMergeAtOnceLeaveADenseFeed() async throws {
        let test = try TestStore(journal: Journal(bytesMax: 4000, pause: .milliseconds(1)))
        let path = test.store.path
        let stores = try (0..<3).map { _ in
            try SQLiteStore(path: path, mode: .existing, journal: Journal(bytesMax: 4000, pause: .milliseconds(1)))
        }
        try await withThrowingTaskGroup { group in
            for (number, store) in stores.enumerated() {
                group.addTask {
                    for turn in 0..<15 {
                        guard try await apply(many("\(number)-\(turn)-"), to: store).stored == 20 else { throw CancellationError() }
                        if turn % 5 == number { _ = try await store.items(model: "Setting", after: nil, limit: 9) }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await test.page("device/d1").entries.map(\.position) == Array(1...900))
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 999).count == 900)
        #expect(try await test.page("device/d1").entries.map(\.position) == Array(1...900))
        for store in stores { await store.close() }
    }

    // MARK: Ends

    @Test func killedProcessLeavesItsItems() async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        try await apply(many("b"), to: test.store)
        let copy = TemporaryFolder()
        for name in ["", "-wal"] {
            let files = FileManager.default
            try files.createDirectory(atPath: copy.path, withIntermediateDirectories: true)
            try files.copyItem(atPath: test.store.path + name, toPath: copy.file("cloud.db" + name))
        }
        let store = try open(copy.file("cloud.db"))
        #expect(try await rows(store.path) == 0)
        #expect(try await store.items(model: "Setting", after: nil, limit: 99).count == 40)
        #expect(try await store.history(of: key("b119"))?.place?.position == 40)
        #expect(try await apply(many("b"), to: store).stored == 0)
        await store.close()
    }

    @Test func failedTransactionLeavesNothingAndTheNextIsWhole() async throws {
        let test = try lazyStore()
        let path = test.store.path
        for name in ["a", "b"] {
            let fault = "CREATE TRIGGER fault BEFORE \(name == "a" ? "INSERT" : "UPDATE") ON head BEGIN SELECT RAISE(ABORT, 'x'); END"
            try await execute(fault, in: path)
            guard case .failed = await test.store.answer(.apply(many(name), device: "d1")) else {
                Issue.record("it does not fail")
                return
            }
            #expect(try await rows(path) == 0)
            try await execute("DROP TRIGGER fault", in: path)
            #expect(try await apply(many(name), to: test.store).stored == 20)
            #expect(try await rows(path) == 1)
            if name == "a" { _ = try await test.store.item(key("a100")) }
        }
        #expect(try await test.page("device/d1").entries.map(\.position) == Array(1...40))
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 99).count == 40)
    }

    @Test func backupHasWhatIsJournaled() async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        let copy = test.folder.file("copy.db")
        try SQLiteStore.backUp(test.store.path, to: copy) { _ in }
        #expect(try await rows(copy) == 1)
        try SQLiteStore.restore(test.folder.file("new.db"), from: copy) { _ in }
        let store = try open(test.folder.file("new.db"))
        #expect(try await store.items(model: "Setting", after: nil, limit: 99).count == 20)
        await store.close()
    }

    @Test func fileOfFormat6GetsAJournal() async throws {
        let test = try lazyStore()
        try await test.apply(change("x", time: 1))
        await test.store.close()
        try await execute("DROP TABLE journal; PRAGMA user_version = 6", in: test.store.path)
        let store = try open(test.store.path)
        try await apply(many("a"), to: store)
        #expect(try await rows(store.path) == 1)
        #expect(try await number("PRAGMA user_version", in: store.path) == 7)
        #expect(try await store.items(model: "Setting", after: nil, limit: 99).count == 21)
        await store.close()
    }

    @Test func journalIsMergedWhenNothingMoreComes() async throws {
        let test = try TestStore(journal: Journal(pause: .milliseconds(50)))
        let path = test.store.path
        for name in ["a", "b"] {
            for part in 0..<3 { try await apply(many("\(name)\(part)-", 700), to: test.store) }
            #expect(try await eventually { try await rows(path) == 0 })
            #expect(await eventually { !test.store.journal.isWaiting })
        }
        #expect(try await number("SELECT count(*) FROM item", in: path) == 4200)
    }

    @Test func closedStoreMergesNoMore() async throws {
        let test = try lazyStore()
        #expect(!test.store.journal.isWaiting)
        try await apply(many("a"), to: test.store)
        #expect(test.store.journal.isWaiting)
        await test.store.close()
        #expect(await eventually { !test.store.journal.isWaiting })
        #expect(try await rows(test.store.path) == 1)
    }

    @Test func journalThatIsFullIsMergedByRequests() async throws {
        let item = JournalCodec.bytes(of: [ItemState(change: many("a0")[0].change, stream: nil, owner: "d1")], committed: [1]).count
        let limit = 3 * 400 * item
        let test = try TestStore(journal: Journal(bytesMax: limit, pause: .seconds(3600)))
        var counts: [Int] = []
        for part in 0..<7 {
            try await apply(many("a\(part)", 400), to: test.store)
            counts.append(try await rows(test.store.path))
            #expect(try await number("SELECT sum(length(items)) FROM journal", in: test.store.path) <= limit + 400 * item)
        }
        // What fills it is no more than the limit yet; then as many rows go as have a piece's items.
        #expect(counts == [1, 2, 3, 4, 2, 3, 4])
        #expect(try await test.page("device/d1", bytesMax: 1 << 30, itemsMax: 9999).entries.map(\.position) == Array(1...2800))
        #expect(try await apply(many("a0", 400), to: test.store).stored == 0)
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 9999).count == 2800)
    }

    // MARK: Damage

    @Test(arguments: [
        "items = x''", "items = substr(items, 2)", "items = substr(items, 1, length(items) - 1)", "items = CAST(items || x'00' AS BLOB)",
        "items = zeroblob(47)", "items = zeroblob(4096)", "items = CAST(substr(items, 1, 32) || x'ffffffffffffffff' AS BLOB)",
        "last = last + 1", "last = last - 1", "first = -9223372036854775807 - 1", "last = 9223372036854775807",
        "first = 9223372036854775807, last = 9223372036854775807",
    ])
    func damageIsToldAndHarmless(_ damage: String) async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        try await execute("UPDATE journal SET \(damage)", in: test.store.path)
        for position in [0, 1, 19] as [Int64] {
            let answer = await test.store.answer(.readFeed(stream: "device/d1", after: position, bytesMax: 1 << 20, itemsMax: 99))
            // Another `first` or `last` may put it before the position, and else all of it can be read.
            if case .failed(let error) = answer { #expect(error.code == .corrupt) }
            if case .page = answer { #expect(position > 0) }
        }
        await expect(.corrupt) { _ = try await test.store.item(key("x")) }
        await expect(.corrupt) { _ = try await test.store.items(model: "Setting", after: nil, limit: 9) }
        guard case .failed(let error) = await test.store.answer(.apply([change("a100", time: 12)], device: "d1")) else {
            Issue.record("it is stored")
            return
        }
        #expect(error.code == .corrupt)
        await expect(.corrupt) { _ = try open(test.store.path) }
        #expect(try await rows(test.store.path) == 1)
    }

    @Test func itemThatIsInTheTableAlreadyIsDamage() async throws {
        let test = try lazyStore()
        try await apply(many("a"), to: test.store)
        try await execute(
            "INSERT INTO item(hash, sort, model, time, writer, json, owner) VALUES('h', 'setting#a105', 'Setting', 1, 1, '{}', '')",
            in: test.store.path)
        await expect(.corrupt) { _ = try await test.store.item(key("a105")) }
    }

    @Test func codecTakesNoBytesThatAreNotItsOwn() throws {
        let items = many("a", 3).map { entry in
            var item = ItemState(change: entry.change, stream: nil, owner: "d1")
            item.own = 5
            return item
        }
        let bytes = JournalCodec.bytes(of: items, committed: [1, 2, .max])
        func read(_ bytes: [UInt8]) throws -> [JournalItem] {
            var (reader, found) = (JournalReader(bytes), [JournalItem]())
            while let item = try reader.next() { found.append(item) }
            return found
        }
        let found = try read(bytes)
        #expect(found.map(\.change) == items.map(\.change) && found.map(\.own) == [5, 5, 5] && found.map(\.committed) == [1, 2, .max])
        let size = bytes.count / 3
        for count in 0..<bytes.count where count % size != 0 {
            #expect(throws: IotoError.self) { _ = try read(Array(bytes[..<count])) }
        }
        for place in bytes.indices {
            var damaged = bytes
            damaged[place] ^= 0xFF
            _ = try? read(damaged)
            var reader = JournalReader(damaged)
            try? reader.skip(.max)
        }
        var reader = JournalReader(bytes)
        try reader.skip(2)
        #expect(try reader.next() == found[2] && reader.next() == nil)
    }
}

extension Array {
    fileprivate func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
