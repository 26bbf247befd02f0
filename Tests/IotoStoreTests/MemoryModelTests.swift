import Foundation
import IotoBase
import IotoSchema
import Testing

@testable import IotoStore

/// Models whose items are in memory alone (`mem`), and models whose changes gather there (`delay`).
@Suite struct MemoryModelTests {
    static func schema() throws -> Schema {
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0',
                indexes: {primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}},
                models: {
                    Live: {
                        pk: {value: 'device#d1'}, sk: {value: 'live#${id}'}, id: {type: 'string'},
                        gs1pk: {value: 'level#${level}'}, gs1sk: {value: 'live#${id}'}, level: {type: 'string'},
                        serial: {type: 'string', unique: true}, expires: {type: 'date', ttl: true},
                    },
                    Slow: {
                        pk: {value: 'device#d1'}, sk: {value: 'slow#${id}'}, id: {type: 'string'},
                        gs1pk: {value: 'level#${level}'}, gs1sk: {value: 'slow#${id}'}, level: {type: 'string'},
                    },
                    Other: {pk: {value: 'device#d1'}, sk: {value: 'slow#${id}'}, id: {type: 'string'}},
                    Brief: {pk: {value: 'device#d1'}, sk: {value: 'brief#${id}'}, id: {type: 'string'}},
                    Log: {pk: {value: 'device#d1'}, sk: {value: 'log#${id}'}, id: {type: 'string'}},
                    Fault: {pk: {value: 'device#d1'}, sk: {value: 'fault#${id}'}, id: {type: 'string'}},
                },
                process: {Live: {mem: true, enable: 'device'}, Slow: {delay: '1h', sync: 'up', outboxLimit: 300}, Brief: {delay: '50ms'},
                    Log: {sync: 'up', outboxLimit: 2, onFull: 'dropOldest'}},
            }
            """
        return try Schema(source: Array(source.utf8), name: "schema.json5")
    }

    let fixture: Fixture
    let live: Model
    let slow: Model

    init() throws {
        fixture = try Fixture(try MemoryModelTests.schema())
        live = try fixture.model("Live")
        slow = try fixture.model("Slow")
    }

    func put(_ store: Store, _ model: Model, _ text: String, _ id: String) throws {
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(model, key(model, id), body: Array(text.utf8))
        }
    }

    func indexed(_ store: Store, _ model: Model, _ hash: Text) throws -> [String] {
        let index = try #require(fixture.schema.indexes.first { $0.name == "gs1" })
        var sorts: [String] = []
        try store.scan(Scan(model, index: index, range: KeyRange(hash: hash))) { (row) throws(IotoError) in
            sorts.append(try row.key().sort.string)
            return true
        }
        return sorts
    }

    // MARK: mem

    @Test func itemsInMemoryNeverTouchTheDisk() throws {
        let store = try fixture.open { $0.durability = .full }
        let before = try store.statistics()
        for id in 0..<100 { try put(store, live, #"{"id":"\#(id)","level":"\#(id % 2)"}"#, "\(id)") }
        try store.remove(live, "7")
        let after = try store.statistics()
        #expect(after.bytesWritten == before.bytesWritten)
        #expect(after.syncs == before.syncs)
        #expect(after.items == 99)
        #expect(after.memoryBytes > 0)
        #expect(try store.get(live, "8") != nil)
        #expect(try store.get(live, "7") == nil)
        #expect(try store.scanned(live).count == 99)
        #expect(try indexed(store, live, "level#0").count == 50)
        store.close()
        let again = try fixture.open()
        #expect(try again.scanned(live) == [])
        #expect(try again.number("SELECT count(*) FROM item") == 0)
    }

    @Test func itemsInMemoryHaveUniqueValuesAndExpire() throws {
        let store = try fixture.open()
        let recorder = Recorder()
        store.setObserver(recorder)
        try put(store, live, #"{"id":"1","serial":"a"}"#, "1")
        expectError(.exists) { try put(store, live, #"{"id":"2","serial":"a"}"#, "2") }
        try put(store, live, #"{"id":"3","expires":\#(testTime + 1000)}"#, "3")
        #expect(try store.nextExpiry() == testTime + 1000)
        fixture.clock.time = testTime + 2000
        #expect(try store.get(live, "3") == nil)
        #expect(try store.removeExpired().removed == 1)
        #expect(try store.nextExpiry() == nil)
        #expect(recorder.lines == ["create live#1", "create live#3", "expired live#3"])
    }

    @Test func aTransactionIsOneOnDiskAndInMemory() throws {
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(live, "kept")
        try store.begin()
        try store.put(live, "1")
        try store.put(fault, "1")
        try store.remove(live, "kept")
        #expect(try store.get(live, "1") != nil)
        #expect(try store.get(fault, "1") != nil)
        try store.rollBack()
        #expect(try store.get(live, "1") == nil)
        #expect(try store.get(live, "kept") != nil)
        #expect(try store.get(fault, "1") == nil)
        try store.begin()
        try store.put(fault, "1")
        try store.put(live, "1")
        try store.put(fault, "2")
        try store.commit()
        #expect(try store.scanned(live) == ["live#1", "live#kept"])
        #expect(try store.scanned(fault) == ["fault#1", "fault#2"])
        expectError(.limit) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(live, key(live, "2"), body: body("2"))
                _ = try transaction.put(fault, key(fault, "3"), body: [UInt8](repeating: 32, count: 300_000))
            }
        }
        #expect(try store.get(live, "2") == nil)
    }

    @Test func memoryHasACeiling() throws {
        let store = try fixture.open()
        var ceilings = Ceilings()
        ceilings.memoryBytes = 200_000
        try store.setCeilings(ceilings)
        let text = #"{"id":"x","text":""# + String(repeating: "x", count: 500) + #""}"#
        var count = 0
        expectError(.full) {
            while count < 1000 {
                try put(store, live, text, "\(count)")
                count += 1
            }
        }
        #expect(count > 40 && count < 400, "\(count)")
        #expect(try store.scanned(live).count == count)
        #expect(try store.statistics().refused == 1)
        try store.put(try fixture.model("Fault"), "1")
        try store.remove(live, "0")
        try store.remove(live, "1")
        try put(store, live, text, "again")
    }

    @Test func threadsReadAndWriteMemory() throws {
        let store = try fixture.open()
        let threads = try (0..<6).map { number in
            try IotoBase.Thread(name: "memory") {
                for id in 0..<200 {
                    if number % 2 == 0 {
                        _ = try? store.put(live, "\(number)-\(id)")
                    } else {
                        let sorts = try? store.scanned(live)
                        #expect(sorts != nil && sorts == sorts?.sorted())
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(try store.scanned(live).count == 600)
    }

    // MARK: delay

    @Test func delayedChangesAreReadAndNotWritten() throws {
        let store = try fixture.open { $0.durability = .full }
        let recorder = Recorder()
        store.setObserver(recorder)
        let before = try store.statistics()
        for value in 0..<100 { try store.put(slow, "\(value % 10)", value) }
        try store.remove(slow, "3")
        #expect(string(try store.get(slow, "4")?.body) == string(body("4", 94)))
        #expect(try store.get(slow, "3") == nil)
        expectError(.notFound) { try store.remove(slow, "3") }
        let after = try store.statistics()
        #expect(after.bytesWritten == before.bytesWritten)
        #expect(after.syncs == before.syncs)
        #expect(try store.pendingCount() == 0)
        #expect(recorder.events.isEmpty)
        try store.flushDelayed()
        #expect(try store.pendingCount() == 9)
        #expect(try store.statistics().syncs - before.syncs <= 2)
        // One event for each item, of what it was and is now.
        #expect(recorder.lines.sorted() == [0, 1, 2, 4, 5, 6, 7, 8, 9].map { "create slow#\($0)" })
        try store.put(slow, "4", 7)
        try store.remove(slow, "5")
        try store.flushDelayed()
        #expect(recorder.lines.suffix(2) == ["update slow#4", "remove slow#5"])
        #expect(string(recorder.events.first { $0.kind == .update }?.before?.body) == string(body("4", 94)))
    }

    @Test func scansFindDelayedChanges() throws {
        let store = try fixture.open()
        try put(store, slow, #"{"id":"1","level":"a"}"#, "1")
        #expect(try store.scanned(slow) == ["slow#1"])
        try put(store, slow, #"{"id":"2","level":"a"}"#, "2")
        try put(store, slow, #"{"id":"1","level":"b"}"#, "1")
        #expect(try indexed(store, slow, "level#a") == ["slow#2"])
        #expect(try indexed(store, slow, "level#b") == ["slow#1"])
    }

    @Test func delayedChangesAreCommittedInTimeAndWhenClosed() throws {
        let store = try fixture.open()
        let brief = try fixture.model("Brief")
        // The slow one first: the other's time may be over before the next line.
        try store.put(slow, "1")
        try store.put(brief, "1")
        let deadline = Date.now + 10
        while try store.number("SELECT count(*) FROM item") == 0, Date.now < deadline { usleep(10_000) }
        // All that has gathered is committed together.
        #expect(try store.number("SELECT count(*) FROM item") == 2)
        try store.put(slow, "2")
        #expect(try store.number("SELECT count(*) FROM item") == 2)
        store.close()
        let again = try fixture.open()
        #expect(try again.number("SELECT count(*) FROM item") == 3)
        #expect(try again.pendingCount() == 2)
    }

    @Test func aBackupAndATransactionCommitDelayedChanges() throws {
        let store = try fixture.open()
        try store.put(slow, "1", 1)
        try store.save(to: fixture.path("backup.db"))
        #expect(try fixture.open("backup.db").scanned(slow) == ["slow#1"])
        try store.put(slow, "1", 2)
        try store.begin()
        #expect(string(try store.get(slow, "1")?.body) == string(body("1", 2)))
        try store.put(slow, "1", 3)
        #expect(string(try store.get(slow, "1")?.body) == string(body("1", 3)))
        try store.put(slow, "2", 3)
        try store.rollBack()
        #expect(try store.get(slow, "2") == nil)
        #expect(string(try store.get(slow, "1")?.body) == string(body("1", 2)))
    }

    @Test func aWriteThatFailsLeavesNothingGathered() throws {
        let store = try fixture.open()
        try store.put(slow, "1", 1)
        expectError(.notFound) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(slow, key(slow, "1"), body: body("1", 2))
                guard try transaction.get(key(slow, "1"), model: slow)?.body == body("1", 2) else { return }
                _ = try transaction.put(slow, key(slow, "2"), body: body("2", 2))
                throw IotoError(.notFound, "on purpose")
            }
        }
        #expect(string(try store.get(slow, "1")?.body) == string(body("1", 1)))
        #expect(try store.get(slow, "2") == nil)
    }

    @Test func gatheringIsBounded() throws {
        let store = try fixture.open()
        for id in 0..<(StoreLimits.gatheredMax + 10) { try store.put(slow, "\(id)") }
        #expect(try store.number("SELECT count(*) FROM item") == Int64(StoreLimits.gatheredMax) + 1)
        #expect(try store.get(slow, "\(StoreLimits.gatheredMax + 5)") != nil)
        let large = [UInt8](#"{"id":"x","text":""#.utf8) + [UInt8](repeating: 65, count: 200_000) + [UInt8](#""}"#.utf8)
        for id in 0..<3 {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(slow, key(slow, "large\(id)"), body: large)
            }
        }
        #expect(try store.number("SELECT count(*) FROM item WHERE length(json) > 100000") == 3)
    }

    @Test func aDelayedChangeThatMeetsALimitIsTold() throws {
        let store = try fixture.open()
        let recorder = Recorder()
        store.setObserver(recorder)
        for id in 0..<310 { try store.put(slow, "\(id)") }
        try store.flushDelayed()
        #expect(try store.pendingCount() == 300)
        #expect(recorder.events.filter { $0.kind == .full }.count == 10)
        #expect(try store.statistics().refused == 10)
        // Another model's item has come between.
        let other = try fixture.model("Other")
        try store.answer(try store.pending(), .acknowledged)
        try store.put(slow, "new")
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(other, ItemKey(hash: "device#d1", sort: "slow#new"), body: body("new"))
        }
        try store.flushDelayed()
        #expect(recorder.events.last?.kind == .full)
        #expect(try store.get(ItemKey(hash: "device#d1", sort: "slow#new"), model: other) != nil)
    }

    @Test func manyThreadsLoseNoDelayedUpdate() throws {
        let store = try fixture.open()
        let brief = try fixture.model("Brief")
        try store.put(brief, "n", 0)
        let threads = try (0..<4).map { _ in
            try IotoBase.Thread(name: "delay") {
                for _ in 0..<250 {
                    try? store.write { (transaction) throws(IotoError) in
                        guard let item = try transaction.get(key(brief, "n"), model: brief),
                            let value = try item.properties()["value"]?.integerValue
                        else { return }
                        _ = try transaction.put(brief, item.key, body: body("n", Int(value) + 1))
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(string(try store.get(brief, "n")?.body) == string(body("n", 1000)))
        store.close()
        #expect(string(try fixture.open().get(brief, "n")?.body) == string(body("n", 1000)))
    }

    // MARK: Receipts

    @Test func aReceiptOfADelayedChangeCommitsIt() throws {
        let store = try fixture.open()
        let receipt = try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(slow, key(slow, "1"), body: body("1"))
                _ = try transaction.put(live, key(live, "1"), body: body("1"))
            }
        }
        #expect(try store.receipt(receipt)?.state == .stored)
        #expect(try store.pendingCount() == 1)
        #expect(try store.get(live, "1") != nil)
    }

    @Test func aReceiptTellsOfAChangeThatGaveWay() throws {
        let store = try fixture.open()
        let log = try fixture.model("Log")
        let receipt = try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(log, key(log, "1"), body: body("1"))
            }
        }
        try store.put(log, "2")
        #expect(try store.receipt(receipt)?.state == .stored)
        try store.put(log, "3")
        let found = try #require(try store.receipt(receipt))
        #expect(found.state == .rejected && found.code == ErrorCode.full.rawValue)
        #expect(found.reason.hasPrefix("dropped: "))
    }
}
