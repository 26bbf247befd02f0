import CSQLite
import Foundation
import IotoBase
import Synchronization
import Testing

@testable import IotoStore

/// The log is written in runs of frames: what has committed is in the files, and what fails is told.
@Suite(.serialized) struct HeldFramesTests {
    /// A database with pages of 4096 bytes and a table `t(k, v)`, through a meter over `CountedFiles`.
    final class Subject {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ioto-held-\(UUID().uuidString)")
        let files = CountedFiles()
        var meter: FileMeter?
        var handle: OpaquePointer?

        init(cachePages: Int = 2000, pageBytes: Int = 4096, synchronous: String = "NORMAL") throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let meter = try FileMeter(base: files.name)
            self.meter = meter
            #expect(sqlite3_open_v2(path("a.db"), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, meter.name) == SQLITE_OK)
            for sql in [
                "PRAGMA page_size = \(pageBytes)", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = \(synchronous)",
                "PRAGMA cache_size = \(cachePages)", "PRAGMA wal_autocheckpoint = 200",
                "CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB)",
            ] { #expect(run(sql) == SQLITE_OK) }
        }

        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

        func run(_ sql: String) -> Int32 { sqlite3_exec(handle, sql, nil, nil, nil) & 0xFF }

        func end() {
            #expect(sqlite3_close(handle) == SQLITE_OK)
            handle = nil
            meter = nil
            files.end()
            try? FileManager.default.removeItem(at: folder)
        }

        /// All rows, by SQLite alone of the files as they are now, as another process would recover them.
        func recovered() throws -> String {
            for suffix in ["", "-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: path("b.db" + suffix))
                guard suffix != "-shm" else { continue }
                try FileManager.default.copyItem(atPath: path("a.db" + suffix), toPath: path("b.db" + suffix))
            }
            var other: OpaquePointer?
            #expect(sqlite3_open(path("b.db"), &other) == SQLITE_OK)
            defer { sqlite3_close(other) }
            #expect(Subject.text(other, "PRAGMA integrity_check") == "ok")
            return Subject.rows(other)
        }

        var rows: String { Subject.rows(handle) }

        private static func rows(_ handle: OpaquePointer?) -> String {
            text(handle, "SELECT group_concat(k || ':' || length(v) || ':' || hex(substr(v, 1, 8)), ' ') FROM (SELECT * FROM t ORDER BY k)")
        }

        private static func text(_ handle: OpaquePointer?, _ sql: String) -> String {
            var statement: OpaquePointer?
            #expect(sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK)
            defer { sqlite3_finalize(statement) }
            guard sqlite3_step(statement) == SQLITE_ROW, let text = sqlite3_column_text(statement, 0) else { return "" }
            return String(cString: text)
        }
    }

    @Test func aTransactionTakesOneWrite() throws {
        let subject = try Subject()
        defer { subject.end() }
        for rows in 1...20 {
            let before = subject.files.writes.load(ordering: .relaxed)
            #expect(subject.run("INSERT INTO t(v) VALUES(randomblob(100))") == SQLITE_OK)
            #expect(subject.files.writes.load(ordering: .relaxed) - before == 1, "row \(rows)")
        }
        // More frames than are held: 36 rows of a page each, and a bit.
        let before = subject.files.writes.load(ordering: .relaxed)
        let rows = "(VALUES(1),(2),(3),(4),(5),(6))"
        #expect(subject.run("INSERT INTO t(v) SELECT randomblob(3900) FROM \(rows) AS a, \(rows) AS b") == SQLITE_OK)
        #expect((3...4).contains(subject.files.writes.load(ordering: .relaxed) - before))
        let isSame = try subject.recovered() == subject.rows
        #expect(isSame)
    }

    /// Transactions that outgrow the page cache, change pages again that are in the log already, and are taken back. Not in
    /// parts: after that SQLite 3.40 itself leaves sums in the log that no recovery believes.
    @Test(arguments: [("NORMAL", 4096), ("FULL", 4096), ("NORMAL", 1024)])
    func whatIsCommittedIsInTheFiles(synchronous: String, pageBytes: Int) throws {
        let subject = try Subject(cachePages: 10, pageBytes: pageBytes, synchronous: synchronous)
        defer { subject.end() }
        var dice = TreeScanTests.Dice(state: 11)
        var committed = ""
        for transaction in 0..<70 {
            #expect(subject.run("BEGIN IMMEDIATE") == SQLITE_OK)
            for _ in 0..<Int(dice.next() % 40) {
                let key = dice.next() % 400
                #expect(subject.run("REPLACE INTO t VALUES(\(key), randomblob(\(dice.next() % 3000)))") == SQLITE_OK)
                if dice.next() % 5 == 0 { #expect(subject.run("UPDATE t SET v = zeroblob(300) WHERE k BETWEEN \(key) AND \(key + 20)") == SQLITE_OK) }
            }
            #expect(subject.run(dice.next() % 4 == 0 ? "ROLLBACK" : "COMMIT") == SQLITE_OK)
            // First of all: a read of the log would write what is held.
            let found = try subject.recovered()
            committed = subject.rows
            let isSame = found == committed
            #expect(isSame, "transaction \(transaction)")
        }
        #expect(!committed.isEmpty)
        // Frames that SQLite had corrected: their pages had been written before.
        #expect(subject.files.headers.load(ordering: .relaxed) > 20 || pageBytes != 4096)
    }

    /// Two connections that take turns: what makes the log longer is not written over the other one's frames.
    @Test func syncedCommitsDoNotEachMakeTheLogLonger() throws {
        let subject = try Subject(synchronous: "FULL")
        defer { subject.end() }
        let meter = try #require(subject.meter)
        var other: OpaquePointer?
        #expect(sqlite3_open_v2(subject.path("a.db"), &other, SQLITE_OPEN_READWRITE, meter.name) == SQLITE_OK)
        defer { sqlite3_close(other) }
        var sizes: Set<UInt64> = []
        for turn in 0..<60 {
            let handle = turn % 3 == 0 ? other : subject.handle
            #expect(sqlite3_exec(handle, "INSERT INTO t(v) VALUES(randomblob(3000))", nil, nil, nil) == SQLITE_OK)
            let size = try FileManager.default.attributesOfItem(atPath: subject.path("a.db-wal"))[.size] as? UInt64
            sizes.insert(try #require(size))
            let isSame = try subject.recovered() == subject.rows
            #expect(isSame, "turn \(turn)")
        }
        #expect(sizes.count < 15)
    }

    /// A transaction whose pages did not fit the cache is rolled back, and another connection writes to the same place.
    @Test func whatIsRolledBackIsNotWrittenOverAnotherOnesFrames() throws {
        let subject = try Subject(cachePages: 10)
        defer { subject.end() }
        let meter = try #require(subject.meter)
        var other: OpaquePointer?
        #expect(sqlite3_open_v2(subject.path("a.db"), &other, SQLITE_OPEN_READWRITE, meter.name) == SQLITE_OK)
        defer { sqlite3_close(other) }
        for round in 0..<60 {
            // With an empty log the rollback has nothing to read from it.
            if round % 2 == 0 { #expect(subject.run("PRAGMA wal_checkpoint(TRUNCATE)") == SQLITE_OK) }
            #expect(subject.run("BEGIN IMMEDIATE") == SQLITE_OK)
            for _ in 0..<(10 + round % 20) { #expect(subject.run("INSERT INTO t(v) VALUES(randomblob(3900))") == SQLITE_OK) }
            #expect(subject.run("ROLLBACK") == SQLITE_OK)
            for _ in 0..<20 {
                #expect(sqlite3_exec(other, "INSERT INTO t(v) VALUES(randomblob(2000))", nil, nil, nil) == SQLITE_OK)
            }
            #expect(subject.rows.split(separator: " ").count == 20 * (round + 1))
            let isSame = try subject.recovered() == subject.rows
            #expect(isSame, "round \(round)")
        }
    }

    /// Every write of the log fails in turn, for want of room and otherwise.
    @Test(arguments: [SQLITE_FULL, SQLITE_IOERR])
    func aWriteThatFailsFailsTheTransaction(code: Int32) throws {
        let subject = try Subject(cachePages: 10)
        defer { subject.end() }
        #expect(subject.run("INSERT INTO t VALUES(1, randomblob(500))") == SQLITE_OK)
        var failed = 0
        for left in 0..<40 {
            let before = subject.rows
            subject.files.code.store(code, ordering: .relaxed)
            subject.files.writesLeft.store(left % 8, ordering: .relaxed)
            var result = subject.run("BEGIN IMMEDIATE")
            for _ in 0..<30 where result == SQLITE_OK {
                result = subject.run("REPLACE INTO t SELECT abs(random()) % 60, randomblob(2000)")
            }
            if result == SQLITE_OK { result = subject.run("COMMIT") }
            subject.files.writesLeft.store(-1, ordering: .relaxed)
            if result != SQLITE_OK {
                #expect(result == code)
                _ = subject.run("ROLLBACK")
                #expect(subject.rows == before)
                failed += 1
            }
            let isSame = try subject.recovered() == subject.rows
            #expect(isSame)
            #expect(subject.run("REPLACE INTO t VALUES(\(left), randomblob(700))") == SQLITE_OK)
            let isSameAgain = try subject.recovered() == subject.rows
            #expect(isSameAgain)
        }
        #expect(failed > 10)
    }
}

/// A file system layer under SQLite that counts the writes of a log, and lets one fail.
final class CountedFiles: @unchecked Sendable {
    let writes = Atomic<Int>(0)
    /// Of them those of a frame's header alone.
    let headers = Atomic<Int>(0)
    /// Writes that go well before one fails; below 0: none does.
    let writesLeft = Atomic<Int>(-1)
    let code = Atomic<Int32>(SQLITE_FULL)
    let name: Text = "counted-\(Int64.random(in: 0...Int64.max))"
    private let text: CText
    private let layer = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    private let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    private var original: UnsafePointer<sqlite3_io_methods>?
    nonisolated(unsafe) private static var current: CountedFiles?

    /// One at a time, which is to be ended.
    init() {
        text = CText(name)
        layer.initialize(to: sqlite3_vfs_find(nil)!.pointee)
        layer.pointee.zName = text.pointer
        layer.pointee.pNext = nil
        CountedFiles.current = self
        layer.pointee.xOpen = { _, name, file, flags, outFlags in
            guard let counted = CountedFiles.current, let file else { return SQLITE_IOERR }
            let base = sqlite3_vfs_find(nil)!
            let code = base.pointee.xOpen(base, name, file, flags, outFlags)
            guard let own = file.pointee.pMethods, flags & SQLITE_OPEN_WAL != 0 else { return code }
            counted.original = own
            counted.methods.initialize(to: own.pointee)
            counted.methods.pointee.xWrite = { file, data, bytes, offset in
                let counted = CountedFiles.current!
                counted.writes.wrappingAdd(1, ordering: .relaxed)
                if bytes == 24 { counted.headers.wrappingAdd(1, ordering: .relaxed) }
                let left = counted.writesLeft.load(ordering: .relaxed)
                if left >= 0 { counted.writesLeft.store(left - 1, ordering: .relaxed) }
                if left == 0 { return counted.code.load(ordering: .relaxed) }
                return counted.original!.pointee.xWrite(file, data, bytes, offset)
            }
            file.pointee.pMethods = UnsafePointer(counted.methods)
            return code
        }
        sqlite3_vfs_register(layer, 0)
    }

    /// No file may be open any more.
    func end() {
        sqlite3_vfs_unregister(layer)
        CountedFiles.current = nil
        layer.deallocate()
        methods.deallocate()
    }
}
