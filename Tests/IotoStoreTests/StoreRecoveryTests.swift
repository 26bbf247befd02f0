import CPlatform
import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

@Suite struct StoreRecoveryTests {
    /// A closed database of so many items of `Fault` that wait to be sent, and of `Local`.
    func make(_ fixture: Fixture, _ count: Int) throws {
        let store = try fixture.open()
        let (fault, local) = (try fixture.model("Fault"), try fixture.model("Local"))
        try store.write { (transaction) throws(IotoError) in
            for id in 0..<count {
                _ = try transaction.put(fault, key(fault, "\(id)"), body: body("\(id)", id))
                _ = try transaction.put(local, key(local, "\(id)"), body: body("\(id)", id))
            }
        }
        store.close()
    }

    func pages(_ fixture: Fixture, of table: String, _ kind: String = "leaf") throws -> [Int] {
        let connection = try Connection(path: fixture.path, mode: .reader)
        defer { connection.close() }
        let rows = try connection.prepare(
            Text("SELECT pageno FROM dbstat WHERE name = '\(table)' AND pagetype = '\(kind)' ORDER BY path" as String),
            isPersistent: false)
        var pages: [Int] = []
        while try rows.step() { pages.append(Int(try rows.integer(0))) }
        return pages
    }

    func spoil(_ fixture: Fixture, page: Int) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.path.string))
        try file.seek(toOffset: UInt64(page - 1) * 4096)
        try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
        try file.close()
    }

    func kept(_ fixture: Fixture) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path).filter { $0.contains(".corrupt-") }.sorted()
    }

    @Test func aDamagedFileThatIsOpenElsewhereIsLeftAlone() throws {
        let fixture = try Fixture()
        try make(fixture, 1000)
        let leaf = try #require(try pages(fixture, of: "item").dropFirst(20).first)
        try spoil(fixture, page: leaf)
        let other = try fixture.open()
        let before = try Data(contentsOf: URL(fileURLWithPath: fixture.path.string))
        let error = #expect(throws: IotoError.self) { try fixture.open { $0.isRecovering = true } }
        #expect(error?.code == .busy)
        #expect(try kept(fixture) == [])
        #expect(before == (try Data(contentsOf: URL(fileURLWithPath: fixture.path.string))))
        other.close()
        let store = try fixture.open { $0.isRecovering = true }
        #expect(try kept(fixture).count == 1)
        #expect(try store.scanned(try fixture.model("Local")).count > 900)
        store.close()
    }

    @Test func aSoundFileStaysAsItIs() throws {
        let fixture = try Fixture()
        try make(fixture, 100)
        let before = try Data(contentsOf: URL(fileURLWithPath: fixture.path.string))
        let store = try fixture.open { $0.isRecovering = true }
        #expect(try store.scanned(try fixture.model("Fault")).count == 100)
        #expect(try kept(fixture) == [])
        store.close()
        #expect(before.count == (try Data(contentsOf: URL(fileURLWithPath: fixture.path.string))).count)
        _ = try fixture.open("new.db") { $0.isRecovering = true }
    }

    @Test func everythingOutsideOfDamagedPagesIsRecovered() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        let leaves = try pages(fixture, of: "item")
        #expect(leaves.count > 60)
        let damaged = [3, 20, 21, 41, leaves.count - 2]
        for place in damaged { try spoil(fixture, page: leaves[place]) }
        let store = try fixture.open { $0.isRecovering = true }
        let fault = try fixture.model("Fault")
        let found = try store.scanned(fault).count + store.scanned(try fixture.model("Local")).count
        // What one page holds, and its neighbours' cells in the interior pages.
        let lost = 6000 - found
        #expect(lost > 0)
        #expect(lost <= damaged.count * (6000 / leaves.count + 20), "\(lost) of 6000 items are lost")
        #expect(try kept(fixture) == ["state.db.corrupt-1"])
        for item in try store.pending() { #expect(try store.get(item.change.key, model: fault) != nil) }
        #expect(try store.pending().count == store.scanned(fault).count)
        try store.put(fault, "new")
        #expect(try store.get(fault, "new") != nil)
        #expect(try store.check { _ in } == 0)
        store.close()
    }

    @Test func aDamagedQueueIsMadeAnew() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        let leaves = try pages(fixture, of: "outbox")
        try spoil(fixture, page: leaves[leaves.count / 2])
        let store = try fixture.open { $0.isRecovering = true }
        #expect(try store.scanned(try fixture.model("Fault")).count == 3000)
        #expect(try store.pending().count == 3000)
        store.close()
    }

    @Test func aFileWithoutAHeaderIsRecoveredAndKeptAside() throws {
        let fixture = try Fixture()
        try make(fixture, 10)
        try spoil(fixture, page: 1)
        expectError(.corrupt) { try fixture.open() }
        for number in 1...2 {
            let store = try fixture.open { $0.isRecovering = true }
            #expect(try store.scanned(try fixture.model("Fault")).count == 9 + number)
            try store.put(try fixture.model("Fault"), "new")
            store.close()
            #expect(try kept(fixture).count == number)
            try spoil(fixture, page: 1)
        }
    }

    @Test func theRecoveredFileIsAnotherReplicaAndItsClockGoesOn() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        let former = try fixture.open()
        let (replica, last) = (former.replica, try #require(former.pending().map { $0.change.version.time }.max()))
        _ = try former.apply([], cursor: StreamCursor(stream: "all", history: 1, position: 5), hubTime: 0)
        former.close()
        try spoil(fixture, page: try pages(fixture, of: "item")[5])
        fixture.clock.time = 0
        let store = try fixture.open { $0.isRecovering = true }
        #expect(store.replica != replica)
        #expect(try store.cursor(of: "all") == nil)
        #expect(try store.put(try fixture.model("Fault"), "new").version.time > last)
        store.close()
    }

    @Test func aFileThatLacksItsEndKeepsTheRest() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        let size = try #require(Files.size(fixture.path))
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: fixture.path.string))
        try file.truncate(atOffset: UInt64(size / 8192 * 4096))
        try file.close()
        expectError(.corrupt) { try fixture.open() }
        let store = try fixture.open { $0.isRecovering = true }
        let fault = try fixture.model("Fault")
        let found = try store.scanned(fault).count + store.scanned(try fixture.model("Local")).count
        // Half of the pages, though those above them stood in the other half.
        #expect(found > 2000, "\(found) of 6000")
        #expect(try store.check { _ in } == 0)
        store.close()
    }

    @Test func aForeignOrNewerFileIsLeftAlone() throws {
        let fixture = try Fixture()
        let other = try Connection(path: fixture.path, mode: .writer(.full))
        try other.execute("CREATE TABLE somebody(x)")
        other.close()
        expectError(.corrupt) { try fixture.open { $0.isRecovering = true } }
        #expect(try kept(fixture) == [])
        try make(try Fixture(), 1)
        let newer = try Fixture()
        try make(newer, 1)
        let connection = try Connection(path: newer.path, mode: .writer(.full))
        try connection.execute("PRAGMA user_version = 2000")
        connection.close()
        expectError(.format) { try newer.open { $0.isRecovering = true } }
        #expect(try kept(newer) == [])
    }

    @Test func randomDamageIsNeverATrapAndNeverTakesTheFileAway() throws {
        var state: UInt64 = 11
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let fixture = try Fixture()
        try make(fixture, 600)
        let file = URL(fileURLWithPath: fixture.path.string)
        let sound = try Data(contentsOf: file)
        for round in 0..<40 {
            var data = sound
            for _ in 0...random(30) { data[random(data.count)] = UInt8(random(256)) }
            if round % 4 == 0 { data.removeLast(random(data.count / 2)) }
            for suffix in ["-wal", "-shm"] { try Files.remove(fixture.path + Text(suffix)) }
            try data.write(to: file)
            if let store = try? fixture.open("state.db", { $0.isRecovering = true }) {
                try StoreDamageTests.exercise(store, try fixture.model("Fault"))
                store.close()
            }
            #expect(Files.size(fixture.path) != nil)
        }
    }

    @Test func rowsBelowADamagedPageAreRecovered() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        // The roots of the items and of the queue, and every page between them and the leaves.
        for table in ["item", "outbox"] {
            for page in try pages(fixture, of: table, "internal") { try spoil(fixture, page: page) }
        }
        let store = try fixture.open { $0.isRecovering = true }
        let found = try store.scanned(try fixture.model("Fault")).count + store.scanned(try fixture.model("Local")).count
        // A page above others holds a row between each two of them.
        #expect(found > 5700, "\(found) of 6000")
        #expect(try store.pending().count == store.scanned(try fixture.model("Fault")).count)
        store.close()
    }

    @Test func withoutThePointerMapAllIsRecoveredAndNothingThatWasRemoved() throws {
        let fixture = try Fixture()
        try make(fixture, 3000)
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.write { (transaction) throws(IotoError) in
            for id in 1000..<2000 {
                if let item = try transaction.get(key(fault, "\(id)"), model: fault) { try transaction.remove(item) }
            }
        }
        let pending = try store.pending().count
        store.close()
        try spoil(fixture, page: 2)
        // Damage that is looked for: the map is not read by a check that reads on.
        try spoil(fixture, page: try pages(fixture, of: "tombstone_time")[0])
        let recovered = try fixture.open { $0.isRecovering = true }
        #expect(try recovered.scanned(fault).count == 2000)
        #expect(try recovered.scanned(try fixture.model("Local")).count == 3000)
        #expect(try recovered.pending().count == pending)
        recovered.close()
    }

    @Test func largeItemsAndRefusedChangesAreRecovered() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let sizes = [900, 1000, 1100, 4096, 5000, 20_000, 200_000]
        func large(_ size: Int) -> [UInt8] { Array((#"{"id":"\#(size)","text":""# + String(repeating: "x", count: size) + #""}"#).utf8) }
        for size in sizes {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "\(size)"), body: large(size))
            }
        }
        try store.answer([try store.pending()[0]], .rejected(code: 7, reason: "no"))
        store.close()
        try spoil(fixture, page: 1)
        let recovered = try fixture.open { $0.isRecovering = true }
        for size in sizes {
            #expect(try recovered.get(key(fault, "\(size)"), model: fault)?.body == large(size))
        }
        #expect(try recovered.rejectedCount() == 1)
        #expect(try recovered.pendingCount() == sizes.count - 1)
        recovered.close()
    }
}
