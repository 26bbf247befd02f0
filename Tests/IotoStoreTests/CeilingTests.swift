import CSQLite
import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

@Suite struct CeilingTests {
    @Test func theGaugeFollowsEveryChange() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (fault, shared, local) = (try fixture.model("Fault"), try fixture.model("Shared"), try fixture.model("Local"))
        var ceilings = Ceilings()
        ceilings.outboxItems = 1_000_000
        try store.setCeilings(ceilings)
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for step in 0..<1500 {
            let model = [fault, shared, local][random(3)]
            let id = "\(random(20))"
            switch random(8) {
            case 0...3: try store.put(model, id, random(100_000))
            case 4: try? store.remove(model, id)
            case 5:
                let pending = try store.pending()
                if !pending.isEmpty {
                    let answers: [Settlement.Answer] = [.acknowledged, .rejected(code: 1, reason: "no")]
                    try store.answer(Array(pending.prefix(random(4))), answers[random(2)])
                }
            case 6:
                let version = Version(time: HybridClock.time(testTime + Int64(random(1_000_000))), writer: 1)
                let change = Change(
                    model: "Shared", key: key(shared, id), version: version, isRemoval: random(2) == 0,
                    body: body(id, 1))
                _ = try store.apply([change], cursor: StreamCursor(stream: "s", history: 1, position: 1), hubTime: HybridClock.time(testTime + 1_000_000))
            default:
                try? store.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(fault, key(fault, id), body: body(id, 1))
                    throw IotoError(.misuse, "rolled back")
                }
            }
            guard let gauge = store.gauge else { continue }
            let weighed = try OutboxGauge(try #require(store.writer))
            #expect(gauge.total.items == weighed.total.items, "step \(step)")
            #expect(gauge.total.bytes == weighed.total.bytes, "step \(step)")
            let told = try store.pendingWeight()
            #expect(told.items == weighed.total.items && told.bytes == weighed.total.bytes, "step \(step)")
        }
    }

    @Test func aRefusedChangeIsCountedAndTold() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let recorder = Recorder()
        var ceilings = Ceilings()
        ceilings.outboxItems = 1
        try store.setCeilings(ceilings)
        try store.put(fault, "1")
        store.setObserver(recorder)
        expectError(.full) { try store.put(fault, "2") }
        #expect(recorder.lines == ["full fault#2"])
        #expect(recorder.events.first?.reason.string.hasPrefix("refused: ") == true)
        #expect(try store.get(fault, "2") == nil)
        #expect(try store.statistics().refused == 1)
        try store.answer(try store.pending(), .acknowledged)
        try store.put(fault, "2")
        #expect(try store.pending().count == 1)
    }

    @Test func changesOfTheCloudAreNotRefused() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        var ceilings = Ceilings()
        ceilings.outboxItems = 1
        ceilings.outboxBytes = 10
        try store.setCeilings(ceilings)
        let shared = try fixture.model("Shared")
        let change = Change(
            model: "Shared", key: key(shared, "1"), version: Version(time: HybridClock.time(testTime), writer: 1),
            isRemoval: false, body: body("1", 1))
        #expect(try store.apply([change], cursor: StreamCursor(stream: "s", history: 1, position: 1), hubTime: HybridClock.time(testTime)) == 1)
    }

    @Test func anotherProcessesChangesAreWeighed() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let other = try fixture.open()
        let fault = try fixture.model("Fault")
        var ceilings = Ceilings()
        ceilings.outboxItems = 3
        try store.setCeilings(ceilings)
        try store.put(fault, "1")
        for id in ["2", "3"] { try other.put(fault, id) }
        expectError(.full) { try store.put(fault, "4") }
        try other.answer(try other.pending(), .acknowledged)
        try store.put(fault, "4")
    }

    /// Whatever is asked: a statement is kept for each of the library's own, of which there are so many.
    @Test func preparedStatementsTakeBoundedMemory() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        func use(_ round: Int) throws -> Int64 {
            for id in 0..<20 {
                try store.put(shared, "\(round)-\(id)", id)
                _ = try store.get(shared, "\(round)-\(id)")
                _ = try store.scanned(shared, prefix: Text("shared#\(round)-\(id)"), isReversed: id % 2 == 0)
                try store.write { (transaction) throws(IotoError) in
                    try transaction.scan(shared, hash: nil, sortPrefix: Text("shared#\(id)"), after: nil, isReversed: id % 3 == 0) { _ in true }
                }
            }
            try store.answer(try store.pending(), .acknowledged)
            try store.remove(shared, "\(round)-0")
            return try #require(store.writer).status(SQLITE_DBSTATUS_STMT_USED)
        }
        // Some are of use once there is something to remove.
        _ = try use(0)
        let used = try (1..<12).map { try use($0) }
        #expect(used[0] > 0 && Set(used).count == 1, "\(used)")
    }

    @Test func theMeterCountsWhatIsWritten() throws {
        let fixture = try Fixture()
        let store = try fixture.open { $0.durability = .full }
        let fault = try fixture.model("Fault")
        let before = try store.statistics()
        for id in 0..<20 { try store.put(fault, "\(id)") }
        let after = try store.statistics()
        #expect(after.commits - before.commits == 20)
        #expect(after.syncs - before.syncs >= 20)
        #expect(after.bytesWritten - before.bytesWritten >= 20 * 4096)
        #expect(after.items == 20)
        #expect(after.outboxItems == 20)
        _ = try store.scanned(fault)
        #expect(try store.statistics().bytesWritten == after.bytesWritten)
    }

    @Test func removalsShrinkTheFile() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        let body = Array(("{\"text\":\"" + String(repeating: "x", count: 700) + "\"}").utf8)
        try store.write { (transaction) throws(IotoError) in
            for id in 0..<2000 { _ = try transaction.put(local, key(local, "\(id)"), body: body) }
        }
        let full = try store.number("PRAGMA page_count")
        for id in 0..<2000 { try store.remove(local, "\(id)") }
        let left = try store.number("PRAGMA page_count")
        #expect(left < full / 2, "\(full) pages, then \(left)")
        #expect(try store.vacuum() > 0)
        #expect(try store.number("PRAGMA freelist_count") == 0)
        #expect(try store.number("PRAGMA page_count") < 40)
        store.close()
        #expect(try #require(Files.size(fixture.path)) < 40 * 4096)
    }
}
