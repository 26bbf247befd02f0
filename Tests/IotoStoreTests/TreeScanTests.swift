import CSQLite
import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Synchronization
import Testing

@testable import IotoStore

/// Scans and gets by the pages of the tree, held against SQLite's own.
@Suite struct TreeScanTests {
    /// Numbers that its seed decides.
    struct Dice: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
    }

    struct Row: Equatable {
        let key: ItemKey
        let body: [UInt8]
        let version: Version
    }

    /// The items that a scan visits which is made by pages, or through SQLite, and the pages that SQLite looked at for it.
    func rows(
        _ store: Store, _ model: Model, _ needle: String? = nil, throughSQLite: Bool = false
    ) throws -> (rows: [Row], pages: Int64) {
        // Every key is behind the empty one.
        let first = ScanPosition(item: ItemKey(hash: "", sort: ""))
        let scan = Scan(
            model, range: KeyRange(hash: nil), after: throughSQLite ? first : nil, needle: needle.map { Array($0.utf8) })
        let before = pages(store)
        var rows: [Row] = []
        try store.scan(scan) { (row) throws(IotoError) in
            let item = try row.item()
            rows.append(Row(key: try row.key(), body: item.body, version: item.version))
            return true
        }
        return (rows, pages(store) - before)
    }

    func pages(_ store: Store) -> Int64 {
        var statistics = StoreStatistics()
        store.readers.count(&statistics)
        return statistics.cacheHits + statistics.cacheMisses
    }

    /// Frames of the log that are not in the file yet.
    func logRest(_ store: Store) -> Int64 {
        guard let shared = store.sharedHeader else { return 0 }
        var header = ioto_log_header()
        ioto_log_header_read(shared, &header)
        return Int64(ioto_log_rest(shared, &header))
    }

    /// Compares scans for every code, and of everything.
    func compare(_ store: Store, _ models: [Model], _ moment: String, keepsSnapshots: Bool = true) throws {
        for model in models {
            for needle in [nil, "\"E1\"", "\"E7\"", "\"no such\""] {
                let (found, pages) = try rows(store, model, needle)
                let expected = try rows(store, model, needle, throughSQLite: true)
                #expect(found == expected.rows, "\(moment), \(model.name), \(needle ?? "all")")
                #expect(pages < 16 && (expected.pages > 100 || expected.rows.count < 100), "\(moment): by the pages")
            }
        }
        if keepsSnapshots { try compareGets(store, models, moment) }
    }

    /// Gets keys that are there and keys that are not, beside a transaction, whose gets SQLite makes.
    func compareGets(_ store: Store, _ models: [Model], _ moment: String) throws {
        store.cache.limit(to: 0)
        var dice = Dice(state: 99)
        var keys = (0..<500).map { _ in TreeScanTests.randomKey(&dice) }
        for model in models { keys += try rows(store, model, "\"E3\"").rows.map(\.key) }
        func bodies(_ count: inout Int) throws -> [[UInt8]?] {
            var bodies: [[UInt8]?] = []
            for key in keys {
                for model in models {
                    let item = try store.get(key, model: model)
                    #expect(item == nil || item?.key == key)
                    if item != nil { count += 1 }
                    bodies.append(item.map { $0.body + Array("\($0.version) \($0.position ?? -7)".utf8) })
                }
            }
            return bodies
        }
        var (found, expected) = (0, 0)
        // Some are made through SQLite first, with up to sixteen pages, long rows and all: one more for so many frames of the log.
        let before = pages(store)
        let beside = try bodies(&found)
        let read = pages(store) - before
        let most = min(400, 100 + 16 * logRest(store) / Int64(StoreLimits.framesPerLookup))
        #expect(read < most && keys.count > 500, "\(moment): by the pages")
        try store.begin()
        let within = try bodies(&expected)
        try store.rollBack()
        #expect(beside == within && found == expected && found > 0, "\(moment): gets")
    }

    static func size(_ dice: inout Dice) -> Int {
        switch Int.random(in: 0..<40, using: &dice) {
        case 0: .random(in: 4000...60000, using: &dice)
        case 1...2: .random(in: 4060...4110, using: &dice)
        case 3...6: .random(in: 900...1100, using: &dice)
        default: .random(in: 0...300, using: &dice)
        }
    }

    static func randomBody(_ dice: inout Dice) -> [UInt8] {
        let code = Int.random(in: 0..<20, using: &dice)
        let escape = Int.random(in: 0..<30, using: &dice) == 0 ? #"\u0041"# : ""
        return Array(#"{"code":"E\#(code)","text":"\#(String(repeating: "x", count: size(&dice)))\#(escape)"}"#.utf8)
    }

    static func randomKey(_ dice: inout Dice) -> ItemKey {
        let number = Int.random(in: 0..<3000, using: &dice)
        var hash = Text("d\(number % 7)")
        if number % 50 == 0 { hash = Text(String(repeating: "h", count: number % 1000) + "\(number)") }
        let sort = number % 90 == 0 ? Text() : Text(String(repeating: "s", count: number % 37 * 25) + "\(number)")
        return ItemKey(hash: hash, sort: sort)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func pagesGiveWhatSQLiteGives(_ seed: UInt64) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        // However slow the machine is, the snapshots stay, and with them what the lookups know.
        store.readers.rest = 600_000
        let models = [try fixture.model("Fault"), try fixture.model("Local")]
        var dice = Dice(state: seed)
        for round in 0..<6 {
            try store.write { (transaction) throws(IotoError) in
                for _ in 0..<700 {
                    let model = models[Int.random(in: 0...1, using: &dice)]
                    let key = TreeScanTests.randomKey(&dice)
                    var item = try transaction.get(key, model: models[0])
                    if item == nil { item = try transaction.get(key, model: models[1]) }
                    if let item, Bool.random(using: &dice) {
                        try transaction.remove(item)
                    } else {
                        _ = try transaction.put(item?.model ?? model, key, body: TreeScanTests.randomBody(&dice))
                    }
                }
            }
            try compare(store, models, "round \(round), in the log")
            if round % 2 == 1 {
                try store.maintain { (writer) throws(IotoError) in writer.checkpoint() }
                try compare(store, models, "round \(round), in the file")
                // The log begins anew.
                try store.put(models[1], "one more", round)
                try compare(store, models, "round \(round), in both")
            }
        }
    }

    @Test func aLogOfSeveralBlocksOfTheIndexIsRead() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        try store.damage("PRAGMA wal_autocheckpoint = 0")
        let text = String(repeating: "x", count: 3700)
        for round in 0..<3 {
            try store.write { (transaction) throws(IotoError) in
                for number in 0..<1500 {
                    let body = Array(#"{"code":"E\#((number + round) % 20)","text":"\#(text)"}"#.utf8)
                    _ = try transaction.put(local, ItemKey(hash: "d", sort: Text("\(number)")), body: body)
                }
            }
        }
        let frames = try #require(Files.size(fixture.path + "-wal")) / 4120
        #expect(frames > 4200 && frames < 8000)
        try compare(store, [local], "in the log", keepsSnapshots: false)
    }

    /// Nobody reads an older value than one whose commit was over before.
    @Test func aGetBesideWritersSeesWhatIsCommitted() throws {
        let fixture = try Fixture()
        let stores = [try fixture.open(), try fixture.open()]
        let local = try fixture.model("Local")
        let items = 3000
        let text = String(repeating: "x", count: 400)
        let committed = Mutex([Int](repeating: 0, count: items))
        let isOver = Atomic<Bool>(false)
        let gets = Atomic<Int>(0)
        let byPages = Atomic<Int>(0)
        let failures = Mutex<[String]>([])
        @Sendable func put(_ transaction: StoreTransaction, _ id: Int, _ value: Int) throws(IotoError) {
            let body = Array(#"{"v":\#(value),"text":"\#(text)"}"#.utf8)
            _ = try transaction.put(local, ItemKey(hash: "d", sort: Text("\(id * 7919 % items)")), body: body)
        }
        try stores[0].write { (transaction) throws(IotoError) in
            for id in 0..<items { try put(transaction, id, 0) }
        }
        @Sendable func write(_ store: Store) throws {
            var dice = Dice(state: 3)
            var value = 0
            while !isOver.load(ordering: .relaxed) {
                let ids = (0..<Int.random(in: 1...40, using: &dice)).map { _ in Int.random(in: 0..<items, using: &dice) }
                value += 1
                try store.write { (transaction) throws(IotoError) in for id in ids { try put(transaction, id, value) } }
                committed.withLock { list in for id in ids { list[id] = value } }
                if value % 20 == 0 { Foundation.Thread.sleep(forTimeInterval: 0.005) }
            }
        }
        @Sendable func read(_ store: Store, _ seed: UInt64) throws {
            store.cache.limit(to: 0)
            var dice = Dice(state: seed)
            while !isOver.load(ordering: .relaxed) {
                let id = Int.random(in: 0..<items, using: &dice)
                let least = committed.withLock { $0[id] }
                let key = ItemKey(hash: "d", sort: Text("\(id * 7919 % items)"))
                guard let value = try store.get(key, model: local)?.value(at: "v")?.integerValue, value >= least else {
                    throw IotoError(.corrupt, "an older value")
                }
                gets.add(1, ordering: .relaxed)
                try store.readers.read { (connection) in
                    if connection.isLookingUp { byPages.add(1, ordering: .relaxed) }
                }
            }
        }
        var threads: [IotoBase.Thread] = []
        for (place, store) in stores.enumerated() {
            for isReader in place == 0 ? [false, true] : [true] {
                threads.append(
                    try IotoBase.Thread(name: "test") {
                        do {
                            if isReader { try read(store, UInt64(place)) } else { try write(store) }
                        } catch {
                            failures.withLock { $0.append("\(error)") }
                            isOver.store(true, ordering: .relaxed)
                        }
                    })
            }
        }
        for _ in 0..<20 where !isOver.load(ordering: .relaxed) { Foundation.Thread.sleep(forTimeInterval: 0.1) }
        isOver.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        #expect(gets.load(ordering: .relaxed) > 1000 && byPages.load(ordering: .relaxed) > 200)
    }

    func elsewhere(_ body: @escaping @Sendable () throws -> Void) throws {
        let failure = Mutex<String?>(nil)
        let thread = try IotoBase.Thread(name: "test") {
            do { try body() } catch { failure.withLock { $0 = "\(error)" } }
        }
        thread.join()
        #expect(failure.withLock { $0 } == nil)
    }

    /// With a snapshot that is kept between reads and, once the log is long, without one.
    @Test(arguments: [1, 1100])
    func aScanWithinAScanSeesItsState(commits: Int) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        try store.damage("PRAGMA wal_autocheckpoint = 0")
        for _ in 0..<commits { try store.put(local, "1") }
        for id in ["1", "2", "3"] { try store.put(local, id) }
        var inner: [Int] = []
        try store.scan(Scan(local, range: KeyRange(hash: nil))) { (row) throws(IotoError) in
            do {
                let id = "\(4 + inner.count)"
                try self.elsewhere { try store.put(local, id) }
                inner.append(try self.rows(store, local).rows.count)
            } catch {
                throw IotoError(.misuse, "the other thread failed")
            }
            return true
        }
        #expect(inner == [3, 3, 3])
        #expect(try rows(store, local).rows.count == 6)
    }

    @Test func aCommitBeforeTheSnapshotIsSeen() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        try store.put(local, "1")
        var count = 0
        try store.readers.read { (connection) throws(IotoError) in
            // The header of the log is known, and nothing is read yet.
            do { try self.elsewhere { try store.put(local, "2") } } catch { throw IotoError(.misuse, "the other thread failed") }
            try store.scan(Scan(local, range: KeyRange(hash: nil)), connection) { (_) throws(IotoError) in
                count += 1
                return true
            }
        }
        #expect(count == 2)
    }

    @Test func anExpiredItemIsNotGivenByPages() throws {
        let schema = try Schema(
            source: Array(
                """
                {format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk'}},
                 models: {Fault: {pk: {value: '${id}'}, id: {type: 'string'}, ends: {type: 'date', ttl: true}}},
                 process: {Fault: {enable: 'device'}}}
                """.utf8), name: "schema.json5")
        let fixture = try Fixture(schema)
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.write { (transaction) throws(IotoError) in
            for (id, ends) in [("a", testTime / 1000 - 60), ("b", testTime / 1000 + 60)] {
                let body = Array(#"{"id":"\#(id)","ends":\#(ends)}"#.utf8)
                _ = try transaction.put(fault, ItemKey(hash: Text(id), sort: ""), body: body)
            }
        }
        #expect(try rows(store, fault).rows.map(\.key.hash) == ["b"])
    }

    @Test func damageIsToldByPagesAsThroughSQLite() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let local = try fixture.model("Local")
        try store.write { (transaction) throws(IotoError) in
            for number in 10000..<14000 {
                _ = try transaction.put(local, key(local, "\(number)"), body: body("\(number)", number))
            }
        }
        store.close()
        // Leaves of the second half.
        let handle = try FileHandle(forUpdating: fixture.folder.appendingPathComponent("state.db"))
        let pages = try handle.seekToEnd() / 4096
        for page in (pages / 2)..<pages {
            try handle.seek(toOffset: page * 4096)
            guard try handle.read(upToCount: 1)?.first == 0x0A else { continue }
            try handle.seek(toOffset: page * 4096)
            try handle.write(contentsOf: Data(repeating: 0xFF, count: 64))
        }
        try handle.close()
        store = try fixture.open()
        var visited = 0
        var failure: IotoError?
        do throws(IotoError) {
            try store.scan(Scan(local, range: KeyRange(hash: nil))) { (_) throws(IotoError) in
                visited += 1
                return true
            }
        } catch {
            failure = error
        }
        #expect(failure?.code == .corrupt)
        #expect(visited > 100 && visited < 3900)
    }

    /// Each transaction takes the mark from one item and gives it to another, and moves rows about; a scan that mixed two states
    /// would count another number of marks.
    @Test func aScanBesideWritersSeesOneState() throws {
        let fixture = try Fixture()
        let stores = [try fixture.open(), try fixture.open()]
        let local = try fixture.model("Local")
        let (items, marks) = (600, 200)
        let isOver = Atomic<Bool>(false)
        let scans = Atomic<Int>(0)
        let transactions = Atomic<Int>(0)
        let failures = Mutex<[String]>([])
        @Sendable func put(
            _ transaction: StoreTransaction, _ number: Int, _ isMarked: Bool, _ dice: inout Dice
        ) throws(IotoError) {
            let text = String(repeating: "x", count: TreeScanTests.size(&dice))
            let body = Array(#"{"n":\#(number),"state":"\#(isMarked ? "on" : "off")","text":"\#(text)"}"#.utf8)
            _ = try transaction.put(local, ItemKey(hash: "d", sort: Text("\(number % 30)-\(number)")), body: body)
        }
        @Sendable func isMarked(_ transaction: StoreTransaction, _ number: Int) throws(IotoError) -> Bool {
            let key = ItemKey(hash: "d", sort: Text("\(number % 30)-\(number)"))
            guard let body = try transaction.get(key, model: local)?.body else { throw IotoError(.notFound, "gone") }
            return String(decoding: body, as: UTF8.self).contains("\"on\"")
        }
        var dice = Dice(state: 7)
        try stores[0].write { (transaction) throws(IotoError) in
            for number in 0..<items { try put(transaction, number, number < marks, &dice) }
        }
        @Sendable func write(_ store: Store, _ seed: UInt64) throws {
            var dice = Dice(state: seed)
            while !isOver.load(ordering: .relaxed) {
                try store.write { (transaction) throws(IotoError) in
                    let (a, b) = (Int.random(in: 0..<items, using: &dice), Int.random(in: 0..<items, using: &dice))
                    let (first, second) = (try isMarked(transaction, a), try isMarked(transaction, b))
                    guard a != b else { return }
                    try put(transaction, a, second, &dice)
                    try put(transaction, b, first, &dice)
                }
                transactions.add(1, ordering: .relaxed)
            }
        }
        @Sendable func read(_ store: Store) throws {
            while !isOver.load(ordering: .relaxed) {
                let scan = Scan(local, range: KeyRange(hash: nil), needle: Array("\"on\"".utf8))
                var seen: [Text] = []
                try store.scan(scan) { (row) throws(IotoError) in
                    seen.append(try row.key().sort)
                    return true
                }
                scans.add(1, ordering: .relaxed)
                guard seen.count == marks, seen == seen.sorted() else { throw IotoError(.corrupt, "\(seen.count) marks") }
            }
        }
        var threads: [IotoBase.Thread] = []
        for (store, seed) in zip(stores, [11, 12] as [UInt64]) {
            for isReader in [false, true] {
                threads.append(
                    try IotoBase.Thread(name: "test") {
                        do {
                            if isReader { try read(store) } else { try write(store, seed) }
                        } catch {
                            failures.withLock { $0.append("\(error)") }
                            isOver.store(true, ordering: .relaxed)
                        }
                    })
            }
        }
        for _ in 0..<30 where !isOver.load(ordering: .relaxed) { Foundation.Thread.sleep(forTimeInterval: 0.1) }
        isOver.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        #expect(scans.load(ordering: .relaxed) > 20 && transactions.load(ordering: .relaxed) > 100)
    }
}
