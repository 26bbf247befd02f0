import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Models with indexes: `Fault` is in gs1 and ls1, has a unique serial and one within its site, and expires; `Pump` shares
/// gs1 and comes down as well.
private func indexedSchema(
    gs1: String = "severity#${severity}", pump: Bool = true, faultSync: String = "up", ttl: Bool = true
) throws -> Schema {
    let source = """
        {
            format: 'onetable:1.1.0', version: '1.0.0',
            indexes: {
                primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}, ls1: {type: 'local', sort: 'level'},
            },
            models: {
                Fault: {
                    pk: {value: 'device#d1'}, sk: {value: 'fault#${id}'},
                    gs1pk: {value: '\(gs1)'}, gs1sk: {value: 'at#${at}'},
                    id: {type: 'string'}, severity: {type: 'string'}, at: {type: 'string'}, level: {type: 'string'},
                    serial: {type: 'string', unique: true}, slot: {type: 'number', unique: true, scope: '${site}'},
                    site: {type: 'string'}, \(ttl ? "expires: {type: 'date', ttl: true}" : "")
                },
                \(pump ? """
                Pump: {
                    pk: {value: 'device#d1'}, sk: {value: 'pump#${id}'},
                    gs1pk: {value: 'severity#${severity}'}, gs1sk: {value: 'at#${at}'},
                    id: {type: 'string'}, severity: {type: 'string'}, at: {type: 'string'},
                    expires: {type: 'date', ttl: true}, serial: {type: 'string', unique: true},
                },
                """ : "")
            },
            process: {Fault: {sync: '\(faultSync)'}, \(pump ? "Pump: {sync: 'both'}" : "")},
        }
        """
    return try Schema(source: Array(source.utf8), name: "schema.json5")
}

private func json(_ id: String, _ rest: String) -> [UInt8] {
    Array(#"{"id":"\#(id)"\#(rest.isEmpty ? "" : ",")\#(rest)}"#.utf8)
}

extension Store {
    @discardableResult
    fileprivate func put(_ model: Model, _ id: String, _ rest: String) throws -> StoredItem {
        try write { (transaction) throws(IotoError) in
            try transaction.put(model, key(model, id), body: json(id, rest))
        }
    }

    fileprivate func found(
        _ model: Model, _ index: String, hash: Text? = nil, prefix: Text = "", after: ScanPosition? = nil,
        isReversed: Bool = false, limit: Int = .max
    ) throws -> (ids: [String], last: ScanPosition?) {
        let index = try #require(schema.indexes.first { $0.name == Text(index) })
        var ids: [String] = []
        var last: ScanPosition?
        let scan = Scan(
            model, index: index, range: KeyRange(hash: hash, prefix: prefix), after: after, isReversed: isReversed)
        try self.scan(scan) { (row) throws(IotoError) in
            ids.append(try row.item().value(at: "id")?.stringValue?.string ?? "?")
            last = try row.position()
            return ids.count < limit
        }
        return (ids, last)
    }

    fileprivate func ids(_ model: Model, _ index: String, hash: Text? = nil, prefix: Text = "") throws -> [String] {
        try found(model, index, hash: hash, prefix: prefix).ids
    }

    fileprivate func entries() throws -> Int64 { try number("SELECT count(*) FROM idx") }

    fileprivate func remote(_ model: Model, _ id: String, _ rest: String?, _ time: Int64, writer: UInt64 = 7) throws -> Bool {
        let change = Change(
            model: model.name, key: key(model, id), version: Version(time: UInt64(time) << 16, writer: writer),
            isRemoval: rest == nil, body: json(id, rest ?? ""))
        return try apply([change], cursor: StreamCursor(stream: "s", history: 1, position: time), hubTime: HybridClock.time(testTime)) == 1
    }
}

@Suite struct IndexTests {
    let fixture: Fixture
    let store: Store
    let fault: Model
    let pump: Model

    init() throws {
        fixture = try Fixture(try indexedSchema())
        store = try fixture.open()
        fault = try fixture.model("Fault")
        pump = try fixture.model("Pump")
    }

    @Test func anIndexIsOrderedByItsSortKeyThenByTheItem() throws {
        try store.put(fault, "c", #""severity":"high","at":"1""#)
        try store.put(fault, "b", #""severity":"high","at":"2""#)
        try store.put(fault, "a", #""severity":"high","at":"2""#)
        try store.put(fault, "d", #""severity":"low","at":"0""#)
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == ["c", "a", "b"])
        #expect(try store.ids(fault, "gs1", hash: "severity#high", prefix: "at#2") == ["a", "b"])
        #expect(try store.found(fault, "gs1", hash: "severity#high", isReversed: true).ids == ["b", "a", "c"])
        #expect(try store.ids(fault, "gs1") == ["c", "a", "b", "d"])
        #expect(try store.found(fault, "gs1", isReversed: true).ids == ["d", "b", "a", "c"])
    }

    @Test func anItemWithoutAnAttributeIsNotInTheIndex() throws {
        try store.put(fault, "a", #""severity":"high""#)
        try store.put(fault, "b", #""severity":"","at":"1""#)
        try store.put(fault, "c", #""severity":null,"at":"1""#)
        #expect(try store.entries() == 0)
    }

    @Test func aLocalIndexHasThePartitionOfThePrimaryOne() throws {
        try store.put(fault, "a", #""level":"2""#)
        try store.put(fault, "b", #""level":"1""#)
        try store.put(fault, "c", "")
        #expect(try store.ids(fault, "ls1", hash: "device#d1") == ["b", "a"])
        #expect(try store.ids(fault, "ls1", hash: "device#d2") == [])
    }

    @Test func anIndexShowsTheItemsOfTheModelThatIsAskedFor() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        try store.put(pump, "p", #""severity":"high","at":"1""#)
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == ["a"])
        #expect(try store.ids(pump, "gs1", hash: "severity#high") == ["p"])
    }

    @Test func anUpdateMovesTheEntryAndARemovalTakesIt() throws {
        try store.put(fault, "a", #""severity":"high","at":"1","x":1"#)
        try store.put(fault, "a", #""severity":"high","at":"1","x":2"#)
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == ["a"])
        try store.put(fault, "a", #""severity":"low","at":"1""#)
        #expect(try store.ids(fault, "gs1") == ["a"])
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == [])
        try store.remove(fault, "a")
        #expect(try store.entries() == 0)
    }

    @Test func aRollbackTakesTheEntriesBack() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        _ = error {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "a"), body: json("a", #""severity":"low","at":"1""#))
                _ = try transaction.put(fault, key(fault, "b"), body: json("b", #""severity":"low","at":"1""#))
                throw IotoError(.misuse, "enough")
            }
        }
        #expect(try store.ids(fault, "gs1") == ["a"])
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == ["a"])
    }

    @Test func aTransactionFindsWhatItHasWritten() throws {
        let index = try #require(fixture.schema.indexes.first { $0.name == "gs1" })
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, key(fault, "a"), body: json("a", #""severity":"low","at":"1""#))
            var count = 0
            try transaction.scan(Scan(fault, index: index, range: KeyRange(hash: "severity#low"))) { (_) throws(IotoError) in
                count += 1
                return true
            }
            #expect(count == 1)
        }
    }

    @Test func changesOfTheCloudAreIndexed() throws {
        #expect(try store.remote(pump, "p", #""severity":"high","at":"1""#, 10))
        #expect(try store.ids(pump, "gs1", hash: "severity#high") == ["p"])
        #expect(try store.remote(pump, "p", #""severity":"low","at":"1""#, 20))
        #expect(try store.ids(pump, "gs1", hash: "severity#low") == ["p"])
        #expect(try !store.remote(pump, "p", #""severity":"high","at":"1""#, 15))
        #expect(try store.entries() == 1)
        #expect(try store.remote(pump, "p", nil, 30))
        #expect(try store.entries() == 0)
    }

    @Test func pagesShowEachItemThatStaysOnceWhateverComesAndGoes() throws {
        var random = SystemRandomNumberGenerator()
        for isReversed in [false, true] {
            for hash: Text? in ["severity#s", nil] {
                // Few sort keys, so that pages end within equal ones.
                for id in 0..<60 { try store.put(fault, "k\(id)", #""severity":"s","at":"\#(id % 3)""#) }
                var seen: [String: Int] = [:]
                var after: ScanPosition?
                repeat {
                    let page = try store.found(
                        fault, "gs1", hash: hash, after: after, isReversed: isReversed, limit: 7)
                    for id in page.ids { seen[id, default: 0] += 1 }
                    after = page.last
                    // The item of the token goes, others come on both sides of it.
                    if let last = page.ids.last, last.hasPrefix("x") { try store.remove(fault, last) }
                    let fresh = "x\(Int.random(in: 0..<1_000_000, using: &random))"
                    try store.put(fault, fresh, #""severity":"s","at":"\#(Int.random(in: 0..<3, using: &random))""#)
                } while after != nil && seen.count < 1000
                for id in 0..<60 { #expect(seen["k\(id)"] == 1) }
                #expect(seen.values.allSatisfy { $0 == 1 })
                for id in seen.keys where id.hasPrefix("x") { _ = try? store.remove(fault, id) }
            }
        }
    }

    @Test func theTokenOfARemovedItemStillWorks() throws {
        for id in ["a", "b", "c"] { try store.put(fault, id, #""severity":"s","at":"1""#) }
        let page = try store.found(fault, "gs1", hash: "severity#s", limit: 2)
        #expect(page.ids == ["a", "b"])
        try store.remove(fault, "b")
        #expect(try store.found(fault, "gs1", hash: "severity#s", after: page.last).ids == ["c"])
        #expect(try store.found(fault, "gs1", hash: "severity#s", after: page.last, isReversed: true).ids == ["a"])
        #expect(try store.found(fault, "gs1", hash: "severity#a", after: page.last).ids == [])
        #expect(try store.found(fault, "gs1", hash: "severity#t", after: page.last, isReversed: true).ids == [])
    }

    @Test func scansOfAnIndexSeekTheirFirstEntry() throws {
        for sql in [SQL.scanIndex, .scanIndexReversed, .scanIndexAll, .scanIndexAllReversed] {
            let plan = try #require(store.writer).prepare("EXPLAIN QUERY PLAN " + sql.text, isPersistent: false)
            var lines: [String] = []
            while try plan.step() { lines.append(try plan.text(3).string) }
            #expect(lines.count == 2, "\(lines)")
            #expect(lines[0].hasPrefix("SEARCH x USING PRIMARY KEY (index_id=?"), "\(lines)")
            #expect(lines[0].contains("sort,item_hash,item_sort)"), "\(lines)")
            #expect(lines[1].hasPrefix("SEARCH i USING PRIMARY KEY (hash=? AND sort=?)"), "\(lines)")
        }
    }

    // MARK: Unique

    @Test func aUniqueValueIsTakenByOneItem() throws {
        try store.put(fault, "a", #""serial":"s1""#)
        let error = error { try store.put(fault, "b", #""serial":"s1""#) }
        #expect(error.code == .exists)
        #expect(error.message.string == #"model "Fault": field "serial": another item has the value "s1""#)
        try store.put(fault, "a", #""serial":"s1","x":1"#)
        try store.put(fault, "b", #""serial":"s2""#)
        expectError(.exists) { try store.put(fault, "a", #""serial":"s2""#) }
        try store.put(pump, "p", #""serial":"s1""#)
        try store.remove(fault, "a")
        try store.put(fault, "c", #""serial":"s1""#)
    }

    @Test func aUniqueValueIsUniqueWithinItsScope() throws {
        try store.put(fault, "a", #""slot":5,"site":"x""#)
        try store.put(fault, "b", #""slot":5,"site":"y""#)
        expectError(.exists) { try store.put(fault, "c", #""slot":5.0,"site":"x""#) }
        try store.put(fault, "c", #""site":"x""#)
    }

    @Test func aRefusedValueLeavesTheTransactionAsItWas() throws {
        try store.put(fault, "a", #""serial":"s1""#)
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, key(fault, "b"), body: json("b", #""serial":"s2""#))
            #expect(
                error { try transaction.put(fault, key(fault, "c"), body: json("c", #""serial":"s2""#)) }.code == .exists)
        }
        #expect(try store.get(fault, "b") != nil)
        #expect(try store.get(fault, "c") == nil)
    }

    @Test func theCloudsItemIsStoredWithWhateverValueItHas() throws {
        try store.put(pump, "a", #""serial":"s1""#)
        #expect(try store.remote(pump, "b", #""serial":"s1""#, testTime + 10))
        // Both keep it, through changes of other properties; a third item can't have it.
        try store.put(pump, "a", #""serial":"s1","x":1"#)
        try store.put(pump, "b", #""serial":"s1","x":1"#)
        expectError(.exists) { try store.put(pump, "c", #""serial":"s1""#) }
        try store.remove(pump, "a")
        expectError(.exists) { try store.put(pump, "c", #""serial":"s1""#) }
        try store.remove(pump, "b")
        try store.put(pump, "c", #""serial":"s1""#)
    }

    @Test func aUniqueValueIsNoLongerThanAKey() throws {
        let longest = String(repeating: "x", count: 1024)
        try store.put(fault, "a", #""serial":"\#(longest)""#)
        expectError(.limit) { try store.put(fault, "b", #""serial":"\#(longest)x""#) }
        #expect(try store.remote(pump, "b", #""serial":"\#(longest)x""#, testTime))
        #expect(try store.get(pump, "b") != nil)
    }

    // MARK: Making anew

    @Test func aSchemaWithAnotherIndexMakesItAnew() throws {
        try store.put(fault, "a", #""severity":"high","at":"1","serial":"s1""#)
        try store.put(pump, "p", #""severity":"high","at":"1""#)
        store.close()
        let changed = try indexedSchema(gs1: "kind#${severity}")
        let second = try fixture.open(schema: changed)
        let model = try #require(changed.model("Fault"))
        #expect(try second.ids(model, "gs1", hash: "kind#high") == ["a"])
        #expect(try second.number("SELECT count(*) FROM idxdef") == 6)
        expectError(.exists) { try second.put(model, "b", #""serial":"s1""#) }
        second.close()
        let third = try fixture.open(schema: try indexedSchema(pump: false))
        #expect(try third.ids(fault, "gs1", hash: "severity#high") == ["a"])
        #expect(try third.number("SELECT count(*) FROM idx WHERE item_sort LIKE 'pump%'") == 0)
    }

    @Test func indexesThatStayAreNotMadeAnew() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        try store.damage("INSERT INTO idx SELECT index_id, hash, 'mark', item_hash, item_sort FROM idx")
        store.close()
        // The unique field of Pump goes, gs1 changes; the mark was in gs1 alone.
        let second = try fixture.open(schema: try indexedSchema(ttl: false))
        #expect(try second.number("SELECT count(*) FROM idx WHERE sort = 'mark'") == 1)
    }

    @Test func aDeathWhileIndexesAreMadeLeavesTheOldOnes() throws {
        for id in 0..<50 { try store.put(fault, "\(id)", #""severity":"high","at":"\#(id)""#) }
        try fixture.copy(to: "copy.db")
        store.close()
        // The transaction of the making, cut off before its commit.
        let connection = try Connection(path: fixture.path("copy.db"), mode: .writer(.normal))
        let changed = try indexedSchema(gs1: "kind#${severity}")
        try connection.execute("BEGIN IMMEDIATE")
        try connection.execute("DELETE FROM idx")
        try connection.execute("REPLACE INTO meta(name, value) VALUES('indexes', 5)")
        try fixture.copy("copy.db", to: "crashed.db")
        try connection.execute("ROLLBACK")
        connection.close()
        let same = try fixture.open("crashed.db")
        #expect(try same.ids(fault, "gs1", hash: "severity#high").count == 50)
        same.close()
        let other = try fixture.open("crashed.db", schema: changed)
        #expect(try other.ids(try #require(changed.model("Fault")), "gs1", hash: "kind#high").count == 50)
    }

    @Test func whatAnOlderLibraryWritesIsIndexedAtTheNextOpening() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        store.close()
        // What a library of format 1.0 does when it opens the file, and a change of its own.
        let old = try Connection(path: fixture.path, mode: .writer(.normal))
        try old.execute("UPDATE model SET sent = 0 WHERE name = ''")
        try old.execute(
            #"UPDATE item SET json = '{"id":"a","severity":"low","at":"1"}'"#)
        old.close()
        let again = try fixture.open()
        #expect(try again.ids(fault, "gs1", hash: "severity#high") == [])
        #expect(try again.ids(fault, "gs1", hash: "severity#low") == ["a"])
    }

    @Test func twoProcessesWithDifferentSchemasDoNotBelieveEachOthersIndexes() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        let changed = try indexedSchema(gs1: "kind#${severity}")
        let second = try fixture.open(schema: changed)
        let model = try #require(changed.model("Fault"))
        // The second has made them anew: the first has none now, but its items.
        expectError(.busy) { try store.ids(fault, "gs1", hash: "severity#high") }
        try store.put(fault, "b", #""severity":"high","at":"2""#)
        expectError(.busy) { try store.put(fault, "c", #""serial":"s1""#) }
        #expect(try store.get(fault, "b") != nil)
        // What the first wrote is not in the second's.
        expectError(.busy) { try second.ids(model, "gs1", hash: "kind#high") }
        try second.put(model, "d", #""severity":"high","at":"3""#)
        second.close()
        store.close()
        let third = try fixture.open(schema: changed)
        #expect(try third.ids(model, "gs1", hash: "kind#high") == ["a", "b", "d"])
    }

    @Test func twoProcessesWithOneSchemaKeepOneIndex() throws {
        let second = try fixture.open()
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        try second.put(fault, "b", #""severity":"high","at":"2""#)
        #expect(try store.ids(fault, "gs1", hash: "severity#high") == ["a", "b"])
        try store.put(fault, "c", #""serial":"s1""#)
        expectError(.exists) { try second.put(fault, "d", #""serial":"s1""#) }
    }

    @Test func resetEmptiesTheIndexes() throws {
        try store.put(fault, "a", #""severity":"high","at":"1","serial":"s1""#)
        store.close()
        let again = try fixture.open { $0.isReset = true }
        #expect(try again.entries() == 0)
        try again.put(fault, "b", #""serial":"s1""#)
    }

    @Test func aStoreThatOnlyReadsUsesTheIndexesThatAreThere() throws {
        try store.put(fault, "a", #""severity":"high","at":"1""#)
        store.close()
        let reader = try fixture.open { $0.isReadOnly = true }
        #expect(try reader.ids(fault, "gs1", hash: "severity#high") == ["a"])
        reader.close()
        let other = try indexedSchema(gs1: "kind#${severity}")
        let stranger = try fixture.open(schema: other) { $0.isReadOnly = true }
        expectError(.busy) { try stranger.ids(try #require(other.model("Fault")), "gs1") }
    }
}

@Suite struct ExpiryTests {
    let fixture: Fixture
    let store: Store
    let fault: Model
    let pump: Model
    let recorder = Recorder()

    init() throws {
        fixture = try Fixture(try indexedSchema())
        store = try fixture.open()
        fault = try fixture.model("Fault")
        pump = try fixture.model("Pump")
        store.setObserver(recorder)
    }

    /// `expires` so many seconds after the test's time.
    func expires(_ seconds: Int64) -> String { #""severity":"s","at":"1","serial":"u","expires":\#(testTime / 1000 + seconds)"# }

    func wait(_ seconds: Int64) { fixture.clock.time += seconds * 1000 }

    func settle() throws { try store.answer(try store.pending(), .acknowledged) }

    @Test func anExpiredItemVanishesFromReadsAtOnce() throws {
        try store.put(fault, "a", expires(1))
        #expect(try store.get(fault, "a") != nil)
        wait(1)
        #expect(try store.get(fault, "a") == nil)
        #expect(try store.scanned(fault) == [])
        #expect(try store.ids(fault, "gs1") == [])
        #expect(try store.write { (transaction) throws(IotoError) in try transaction.get(key(fault, "a"), model: fault) } == nil)
        #expect(try store.number("SELECT count(*) FROM item") == 1)
    }

    @Test func nothingExpiresByAClockThatIsNotSet() throws {
        try store.put(fault, "a", #""expires":1000000000"#)
        #expect(try store.get(fault, "a") == nil)
        fixture.clock.time = 1_577_836_799_999
        #expect(try store.get(fault, "a") != nil)
        #expect(try store.removeExpired().removed == 0)
        fixture.clock.time = 1_577_836_800_000
        #expect(try store.get(fault, "a") == nil)
    }

    @Test func removalTakesWhatHasExpiredAndTellsIt() throws {
        try store.put(fault, "a", #""expires":\#(testTime / 1000 + 1)"#)
        try store.put(fault, "b", #""expires":\#(testTime / 1000 + 5)"#)
        try store.put(fault, "c", "")
        try settle()
        wait(2)
        #expect(try store.nextExpiry() == (testTime / 1000 + 1) * 1000)
        let step = try store.removeExpired()
        #expect(step.removed == 1 && !step.hasMore)
        #expect(recorder.lines.last == "expired fault#a")
        #expect(recorder.events.last?.before?.key.sort == "fault#a")
        #expect(try store.number("SELECT count(*) FROM item") == 2)
        #expect(try store.nextExpiry() == (testTime / 1000 + 5) * 1000)
        // It goes up alone: nobody will ask for it.
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        #expect(try store.pendingCount() == 0)
    }

    @Test func removalGoesInBoundedSteps() throws {
        try store.write { (transaction) throws(IotoError) in
            for id in 0..<450 {
                _ = try transaction.put(fault, key(fault, "\(id)"), body: json("\(id)", #""expires":\#(testTime / 1000 - 1)"#))
            }
        }
        try settle()
        // Settled, they went with their answers: expired before they were sent.
        #expect(try store.number("SELECT count(*) FROM item") == 0)
        try store.write { (transaction) throws(IotoError) in
            for id in 0..<450 {
                _ = try transaction.put(fault, key(fault, "\(id)"), body: json("\(id)", #""expires":\#(testTime / 1000 + 9)"#))
            }
        }
        try settle()
        wait(10)
        var steps: [Int] = []
        while true {
            let step = try store.removeExpired(isSilent: true)
            steps.append(step.removed)
            if !step.hasMore { break }
        }
        #expect(steps == [200, 200, 50])
    }

    @Test func aSilentRemovalTellsNobody() throws {
        try store.put(fault, "a", expires(1))
        try settle()
        wait(2)
        let before = recorder.lines
        #expect(try store.removeExpired(isSilent: true).removed == 1)
        #expect(recorder.lines == before)
    }

    @Test func anItemThatWaitsForTheCloudStaysUntilItsAnswer() throws {
        try store.put(fault, "a", expires(1))
        wait(2)
        #expect(try store.removeExpired().removed == 0)
        let pending = try store.pending()
        #expect(pending.count == 1 && !pending[0].change.isRemoval)
        #expect(try store.removeExpired().removed == 0)
        try store.answer(pending, .acknowledged)
        #expect(recorder.lines.last == "expired fault#a")
        #expect(try store.number("SELECT count(*) FROM item") == 0)
        #expect(try store.entries() == 0)
    }

    @Test func anItemThatWaitedAndDoesNotExpireAfterAllIsRemovedLater() throws {
        try store.put(fault, "a", expires(100))
        wait(200)
        #expect(try store.removeExpired().removed == 0)
        // The clock was ahead.
        wait(-150)
        try settle()
        #expect(try store.get(fault, "a") != nil)
        wait(100)
        #expect(try store.removeExpired().removed == 1)
    }

    @Test func anExpiredItemIsAsGoodAsNoneForTheNextOne() throws {
        let first = try store.put(fault, "a", expires(1))
        wait(2)
        let second = try store.put(fault, "a", expires(100))
        #expect(second.version > first.version)
        #expect(recorder.lines.suffix(2) == ["expired fault#a", "create fault#a"])
        #expect(try store.removeExpired().removed == 0)
        // And its unique value is free.
        wait(200)
        try store.put(fault, "b", expires(300))
    }

    // MARK: Against the cloud

    /// A pump of the cloud, version `time`, that expires after one second, removed by expiry.
    func expired() throws {
        #expect(try store.remote(pump, "p", expires(1), testTime))
        wait(2)
        #expect(try store.removeExpired().removed == 1)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 1)
        #expect(try store.pendingCount() == 0)
    }

    @Test func theSameStateOnceMoreDoesNotBringTheItemBack() throws {
        try expired()
        let lines = recorder.lines
        #expect(try !store.remote(pump, "p", expires(1), testTime))
        #expect(try !store.remote(pump, "p", expires(1000), testTime - 1))
        #expect(recorder.lines == lines)
        #expect(try store.get(pump, "p") == nil)
    }

    @Test func aNewerStateOfTheCloudWinsOverTheExpiry() throws {
        try expired()
        #expect(try store.remote(pump, "p", expires(1000), testTime + 1))
        #expect(try store.get(pump, "p") != nil)
        #expect(recorder.lines.last == "remote create pump#p")
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
    }

    @Test func aNewLocalItemIsNewerThanTheExpiry() throws {
        try expired()
        let item = try store.put(pump, "p", expires(1000))
        #expect(item.version.time > UInt64(testTime) << 16)
        #expect(try store.pendingCount() == 1)
        // The cloud's own expiry of the old state comes late, and is older.
        #expect(try !store.remote(pump, "p", nil, testTime + 1))
    }

    @Test func theCloudsOwnExpiryIsNoSecondEvent() throws {
        try expired()
        let lines = recorder.lines
        #expect(try store.remote(pump, "p", nil, testTime + 1))
        #expect(recorder.lines == lines)
    }

    @Test func theCloudsExpiryBeforeOursIsToldAsExpiry() throws {
        #expect(try store.remote(pump, "p", expires(1), testTime))
        wait(2)
        #expect(try store.remote(pump, "p", nil, testTime + 1500))
        #expect(recorder.lines.last == "expired pump#p")
        #expect(try store.removeExpired().removed == 0)
    }

    @Test func aStateThatHasExpiredOnItsWayIsTakenAsARemoval() throws {
        #expect(try store.remote(pump, "q", expires(-5), testTime))
        #expect(recorder.lines == [])
        #expect(try store.number("SELECT count(*) FROM item") == 0)
        #expect(try store.remote(pump, "p", expires(100), testTime))
        #expect(try store.remote(pump, "p", expires(-5), testTime + 1))
        #expect(recorder.lines == ["remote create pump#p", "remote expired pump#p"])
        #expect(try store.entries() == 0)
    }

    @Test func aClockThatWasAheadGetsTheItemBackWhenTheCloudSendsItAgain() throws {
        wait(1000)
        #expect(try store.remote(pump, "p", expires(100), testTime))
        #expect(try store.get(pump, "p") == nil)
        wait(-1000)
        #expect(try store.remote(pump, "p", expires(100), testTime))
        #expect(try store.get(pump, "p") != nil)
    }
}
