import CPlatform
import CSQLite
import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Reading by pages where a page can't be read, is damaged, or stands far behind; and where the snapshot is another than it seems.
@Suite(.serialized) struct PageFaultTests {
    typealias Dice = TreeScanTests.Dice

    func fill(_ store: Store, _ model: Model, _ count: Int, _ seed: UInt64 = 5) throws {
        var dice = Dice(state: seed)
        try store.write { (transaction) throws(IotoError) in
            for _ in 0..<count {
                let key = TreeScanTests.randomKey(&dice)
                _ = try transaction.put(model, key, body: TreeScanTests.randomBody(&dice))
            }
        }
    }

    /// The outcome of a scan: the rows that were visited, and the error that ended it.
    func scan(_ store: Store, _ model: Model, _ needle: String? = nil) -> (rows: [String], error: IotoError?) {
        var rows: [String] = []
        do throws(IotoError) {
            try store.scan(Scan(model, range: KeyRange(hash: nil), needle: needle.map { Array($0.utf8) })) {
                (row) throws(IotoError) in
                rows.append("\(try row.key()) \(String(decoding: row.body, as: UTF8.self))")
                return true
            }
        } catch {
            return (rows, error)
        }
        return (rows, nil)
    }

    // MARK: Reads that fail

    @Test(arguments: [false, true])
    func aReadThatFailsIsToldOrMadeAgain(lasts: Bool) throws {
        let fixture = try Fixture()
        let local = try fixture.model("Local")
        let faulty = try FaultyFiles()
        defer { faulty.end() }
        let store = try fixture.open { $0.vfs = faulty.name }
        defer { store.close() }
        store.cache.limit(to: 0)
        try fill(store, local, 900)
        try store.maintain { (writer) throws(IotoError) in writer.checkpoint() }
        try fill(store, local, 150, 6)
        let expected = scan(store, local)
        #expect(expected.error == nil && expected.rows.count > 500)
        let keys = (0..<60).map { _ in var dice = Dice(state: 8); return TreeScanTests.randomKey(&dice) }
        let bodies = try keys.map { try store.get($0, model: local)?.body }
        faulty.lasts.store(lasts, ordering: .relaxed)
        var (good, told) = (0, 0)
        for left in 0..<150 {
            // Another snapshot, so that nothing is remembered.
            store.readers.setPageCache(StoreLimits.pageCacheKiB)
            faulty.readsLeft.store(left, ordering: .relaxed)
            let found = scan(store, local)
            faulty.readsLeft.store(-1, ordering: .relaxed)
            if let error = found.error { #expect(error.code == .io) } else { #expect(found.rows.count == expected.rows.count) }
            #expect(found.rows.elementsEqual(expected.rows.prefix(found.rows.count)), "read \(left)")
            if found.error == nil { good += 1 } else { told += 1 }

            store.readers.setPageCache(StoreLimits.pageCacheKiB)
            faulty.readsLeft.store(left, ordering: .relaxed)
            for (key, body) in zip(keys, bodies) {
                do throws(IotoError) {
                    let item = try store.get(key, model: local)
                    #expect(item?.body == body)
                } catch {
                    #expect(error.code == .io)
                }
            }
            faulty.readsLeft.store(-1, ordering: .relaxed)
        }
        // What failed once SQLite has read then.
        #expect(lasts ? told > 30 : good > 50)
    }

    // MARK: Damage

    static func damage(_ bytes: inout [UInt8], _ dice: inout Dice) {
        let pages = bytes.count / 4096
        // Not the first, without which nothing is opened.
        let page = Int.random(in: 1..<pages, using: &dice) * 4096
        func put(_ number: UInt32, _ at: Int) {
            for byte in 0..<4 { bytes[at + byte] = UInt8(truncatingIfNeeded: number >> (24 - 8 * UInt32(byte))) }
        }
        switch Int.random(in: 0..<10, using: &dice) {
        case 0:
            for _ in 0..<8 { bytes[Int.random(in: 4096..<bytes.count, using: &dice)] ^= 1 << UInt8.random(in: 0..<8, using: &dice) }
        case 1: bytes[page + Int.random(in: 0..<12, using: &dice)] = UInt8.random(in: 0...255, using: &dice)
        case 2:
            let cell = page + 8 + 2 * Int.random(in: 0..<8, using: &dice)
            bytes[cell] = UInt8.random(in: 0...255, using: &dice)
        case 3:
            // Pointers to pages above, and to none.
            let target = UInt32.random(in: 0..<UInt32(pages + 20), using: &dice)
            put(target, bytes[page] == 2 ? page + 8 : page + Int.random(in: 0..<4092, using: &dice))
        case 4:
            guard bytes[page] == 2 else { return }
            for cell in 0..<(Int(bytes[page + 3]) << 8 | Int(bytes[page + 4])) where 14 + 2 * cell <= 4096 {
                let at = Int(bytes[page + 12 + 2 * cell]) << 8 | Int(bytes[page + 13 + 2 * cell])
                if at <= 4092 { put(UInt32(page / 4096 + 1), page + at) }
            }
        case 5: bytes.replaceSubrange(page..<page + 4096, with: [UInt8](repeating: 0, count: 4096))
        case 6:
            let other = Int.random(in: 1..<pages, using: &dice) * 4096
            bytes.replaceSubrange(page..<page + 4096, with: Array(bytes[other..<other + 4096]))
        case 7: for at in page + 3..<page + 5 { bytes[at] = 0 }
        case 8:
            // What a row says of its columns.
            let place = page + 8 + 2 * Int.random(in: 0..<4, using: &dice)
            let at = page + (Int(bytes[place]) << 8) % 4096 + Int(bytes[place + 1]) + Int.random(in: 0..<14, using: &dice)
            if at < bytes.count { bytes[at] ^= UInt8.random(in: 1..<8, using: &dice) }
        default: bytes.removeLast(Int.random(in: 1..<bytes.count / 2, using: &dice))
        }
    }

    /// As far as a walk gets, it gives what SQLite's gives; and it says that it has come to the end where SQLite does alone.
    func compareWalks(_ path: Text, _ seed: UInt64) throws -> Bool {
        let connection = try Connection(path: path, mode: .reader)
        defer { connection.close() }
        _ = try connection.integer("SELECT count(*) FROM sqlite_master")
        guard let shared = try connection.sharedLogHeader() else { return false }
        let holder = try connection.statement(.itemRoot)
        defer { holder.end() }
        guard let tree = try connection.openTree(holder, shared, 1, nil) else { return false }
        defer { platform_tree_close(tree) }
        let statement = try connection.prepare(
            PageStressTests.columns + "WHERE model = ?1 ORDER BY hash, sort", isPersistent: false)
        try statement.bind(1, 1 as Int64)
        var row = platform_row()
        var code = 1 as Int32
        var error: IotoError?
        while code > 0 {
            code = platform_tree_next(tree, &row)
            // SQLite looks at all of a page first.
            guard code >= 0, error == nil else { continue }
            let found = code > 0 ? PageStressTests.line(row) : nil
            do throws(IotoError) {
                let expected = try statement.step() ? try statement.text(0).string : nil
                #expect(found == expected, "seed \(seed)")
                if found != expected { return true }
            } catch let told {
                error = told
            }
        }
        #expect(code < 0 || error == nil, "seed \(seed): the end where SQLite has: \(error?.message.string ?? "")")
        return true
    }

    @Test func ofDamagedFilesPagesGiveNothingElseThanSQLite() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let local = try fixture.model("Local")
        try fill(store, local, 900)
        let number = try store.number("SELECT id FROM model WHERE name = 'Local'")
        try store.damage("UPDATE item SET model = 1 WHERE model = \(number)")
        store.close()
        let sound = try [UInt8](Data(contentsOf: fixture.folder.appendingPathComponent("state.db")))
        var walked = 0
        let file = fixture.folder.appendingPathComponent("copy.db")
        for seed in 0..<(ProcessInfo.processInfo.environment["IOTO_STRESS_SECONDS"] == nil ? 400 : 20000) as Range<UInt64> {
            var dice = Dice(state: seed)
            var bytes = sound
            for _ in 0..<Int.random(in: 1...3, using: &dice) { PageFaultTests.damage(&bytes, &dice) }
            try Data(bytes).write(to: file)
            do throws(IotoError) {
                do { if try compareWalks(fixture.path("copy.db"), seed) { walked += 1 } } catch let error as IotoError { throw error } catch {}
                store = try Store(path: fixture.path("copy.db"), schema: fixture.schema, options: StoreOptions())
                defer { store.close() }
                _ = scan(store, local, "\"E3\"")
                for _ in 0..<20 { _ = try store.get(TreeScanTests.randomKey(&dice), model: local) }
            } catch {
                #expect(error.code == .corrupt || error.code == .io || error.code == .format, "seed \(seed): \(error.message)")
            }
            try Files.removeDatabase(fixture.path("copy.db"))
        }
        #expect(walked > 200)
    }

    /// A file of 4.2 GB, most of which is a hole.
    @Test func pagesBehindFourGigabytesAreRead() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let local = try fixture.model("Local")
        try fill(store, local, 1500)
        try store.damage("UPDATE item SET model = 1")
        let root = Int(try store.number("SELECT rootpage FROM sqlite_master WHERE name = 'item'"))
        store.close()
        let file = fixture.folder.appendingPathComponent("state.db")
        var bytes = try [UInt8](Data(contentsOf: file))
        let far = 1_050_000
        let handle = try FileHandle(forUpdating: file)
        func number(_ at: Int) -> Int { bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) } }
        func put(_ number: Int, _ at: Int) { for byte in 0..<4 { bytes[at + byte] = UInt8(number >> (24 - 8 * byte) & 0xFF) } }
        var moved = 0
        func move(_ page: Int) throws {
            let start = (page - 1) * 4096
            guard bytes[start] == 2 else { return }
            let cells = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
            for cell in 0...cells {
                let place = start + 12 + 2 * cell
                let at = start + (cell == cells ? 8 : Int(bytes[place]) << 8 | Int(bytes[place + 1]))
                let child = number(at)
                try move(child)
                try handle.seek(toOffset: UInt64(child + far - 1) * 4096)
                try handle.write(contentsOf: Data(bytes[(child - 1) * 4096..<child * 4096]))
                put(child + far, at)
                moved += 1
            }
        }
        try move(root)
        let pages = bytes.count / 4096 + far
        put(pages, 28)
        try handle.seek(toOffset: 0)
        try handle.write(contentsOf: Data(bytes))
        try handle.truncate(atOffset: UInt64(pages) * 4096)
        try handle.close()
        #expect(moved > 100)

        #expect(try compareWalks(fixture.path, 0))
        store = try fixture.open()
        let run = PageStressTests.Run()
        for seed in 0..<3 as Range<UInt64> { try PageStressTests.lookUpKeys(store, .init(seed), run) }
        #expect(run.failures.withLock { $0 } == [] && run.lookups.load(ordering: .relaxed) > 1000)
        let found = try TreeScanTests().rows(store, try fixture.model("Fault"), "\"E3\"")
        #expect(found.pages < 16)
        store.close()
    }

    // MARK: Snapshots

    func elsewhere(_ body: @escaping @Sendable () throws -> Void) throws { try TreeScanTests().elsewhere(body) }

    /// In a transaction that had begun before, the last state is not the one that is seen.
    @Test func aScanInAnOlderTransactionSeesItsState() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        // Of a log as long as this no snapshots are kept.
        try store.damage("PRAGMA wal_autocheckpoint = 0")
        try fill(store, local, 4000)
        try store.readers.read { (connection) throws(IotoError) in
            #expect(!connection.hasSnapshot)
            try connection.run(.beginRead)
            let before = try connection.integer("SELECT count(*) FROM item")
            do {
                try self.elsewhere { for number in 0..<3 { try store.put(local, "\(number)") } }
            } catch {
                throw IotoError(.misuse, "the other thread failed")
            }
            var count: Int64 = 0
            try store.scan(Scan(local, range: KeyRange(hash: nil)), connection) { (_) throws(IotoError) in
                count += 1
                return true
            }
            #expect(count == before)
            try connection.run(.commit)
        }
    }

    /// Whether or not the snapshot is kept between reads.
    @Test(arguments: [10, 4000])
    func aDigestIsOfOneState(items: Int) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (setting, shared) = (try fixture.model("Setting"), try fixture.model("Shared"))
        try store.damage("PRAGMA wal_autocheckpoint = 0")
        try fill(store, setting, items)
        try store.put(shared, "1")
        let before = try store.digest(of: Stream.all) { _, _, _ in true }
        var isFirst = true
        let during = try store.digest(of: Stream.all) { _, _, _ in
            if isFirst { #expect(throws: Never.self) { try self.elsewhere { try store.put(shared, "2") } } }
            isFirst = false
            return true
        }
        #expect(!isFirst && during.hash == before.hash && during.items == before.items)
        #expect(try store.digest(of: Stream.all) { _, _, _ in true }.items == before.items + 1)
    }
}
