import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

@Suite struct StoreOpeningTests {
    func bytes(_ fixture: Fixture) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: fixture.path.string))
    }

    func write(_ bytes: Data, _ fixture: Fixture) throws {
        try bytes.write(to: URL(fileURLWithPath: fixture.path.string))
    }

    /// A database with 200 items, closed.
    func filled(_ fixture: Fixture) throws {
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.write { (transaction) throws(IotoError) in
            for index in 0..<200 { _ = try transaction.put(fault, key(fault, "\(index)"), body: body("\(index)")) }
        }
        store.close()
    }

    @Test func aNewFileHasTheFormat() throws {
        let fixture = try Fixture()
        let store = try fixture.open { $0.durability = .full }
        #expect(try store.number("PRAGMA application_id") == 0x696F_746F)
        #expect(try store.number("PRAGMA user_version") == 1003)
        #expect(try store.number("PRAGMA auto_vacuum") == 2)
        #expect(try store.number("PRAGMA page_size") == 4096)
        #expect(try store.number("PRAGMA synchronous") == 2)
        #expect(store.replica != 0)
    }

    @Test func twoFilesAreTwoReplicas() throws {
        let fixture = try Fixture()
        #expect(try fixture.open("a.db").replica != fixture.open("b.db").replica)
    }

    @Test func aFolderThatDoesNotExistIsAnIOError() throws {
        let fixture = try Fixture()
        expectError(.io) { try fixture.open("none/state.db") }
        expectError(.misuse) { try Store(path: "", schema: fixture.schema, options: StoreOptions()) }
        expectError(.misuse) { try Store(path: Text([97, 0, 98]), schema: fixture.schema, options: StoreOptions()) }
    }

    @Test func namesThatMeanSomethingToSQLiteAreNames() throws {
        #expect(Connection.fileName(":memory:") == "./:memory:")
        #expect(Connection.fileName("file:x.db?mode=memory") == "./file:x.db?mode=memory")
        #expect(Connection.fileName("/var/state.db") == "/var/state.db")
    }

    @Test func garbageIsNotADatabase() throws {
        let fixture = try Fixture()
        try write(Data("this is a text file, and not a short one, with no database in it\n".utf8), fixture)
        let before = try bytes(fixture)
        expectError(.corrupt) { try fixture.open() }
        expectError(.corrupt) { try fixture.open { $0.isReset = true } }
        expectError(.corrupt) { try fixture.open { $0.isReadOnly = true } }
        #expect(try bytes(fixture) == before)
    }

    @Test func aDamagedHeaderIsNotADatabase() throws {
        let fixture = try Fixture()
        try filled(fixture)
        var data = try bytes(fixture)
        data[3] ^= 0xFF
        try write(data, fixture)
        expectError(.corrupt) { try fixture.open() }
    }

    @Test func aDatabaseOfAnotherProgramIsRefused() throws {
        let fixture = try Fixture()
        for setup in ["CREATE TABLE x(a)", "PRAGMA application_id = 7"] {
            try? Files.remove(fixture.path)
            let other = try Connection(path: fixture.path, mode: .writer(.normal))
            try other.execute(Text(setup))
            other.close()
            let before = try bytes(fixture)
            expectError(.corrupt) { try fixture.open() }
            #expect(try bytes(fixture) == before)
        }
    }

    @Test func aNewerMajorFormatIsRefusedAndANewerMinorOneIsNot() throws {
        let fixture = try Fixture()
        try filled(fixture)
        let connection = try Connection(path: fixture.path, mode: .writer(.normal))
        try connection.execute("PRAGMA user_version = 1999")
        try connection.execute("ALTER TABLE item ADD COLUMN later")
        connection.close()
        let store = try fixture.open()
        #expect(try store.pendingCount() == 200)
        try store.put(try fixture.model("Fault"), "1", 9)
        try store.damage("PRAGMA user_version = 2000")
        store.close()
        for isReset in [false, true] {
            let error = error { try fixture.open { $0.isReset = isReset } }
            #expect(error.code == .format)
            #expect(error.message.string.hasSuffix("the file has format 2.0; this library reads up to 1.x"))
        }
        expectError(.format) { try fixture.open { $0.isReadOnly = true } }
        let again = try Connection(path: fixture.path, mode: .writer(.normal))
        try again.execute("PRAGMA user_version = 999")
        again.close()
        expectError(.corrupt) { try fixture.open() }
    }

    @Test func aFileWithoutItsTablesIsDamaged() throws {
        for table in ["item", "meta", "model", "outbox", "tombstone", "parked"] {
            let fixture = try Fixture()
            try filled(fixture)
            let connection = try Connection(path: fixture.path, mode: .writer(.normal))
            try connection.execute(Text("DROP TABLE ") + Text(table))
            connection.close()
            expectError(.corrupt) {
                let store = try fixture.open()
                _ = try store.put(try fixture.model("Fault"), "1")
                let cursor = StreamCursor(stream: "all", history: 1, position: 1)
                _ = try store.apply([], cursor: cursor, hubTime: HybridClock.time(testTime))
                _ = try store.purgeTombstones()
            }
        }
    }

    @Test func aFileThatStoppedAtItsHeaderIsNew() throws {
        let fixture = try Fixture()
        let connection = try Connection(path: fixture.path, mode: .writer(.normal))
        try connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _ = try connection.text("PRAGMA journal_mode = WAL")
        connection.close()
        #expect(try #require(Files.size(fixture.path)) > 0)
        let store = try fixture.open()
        try store.put(try fixture.model("Fault"), "1")
        #expect(try store.number("PRAGMA auto_vacuum") == 2)
    }

    @Test func resetRemovesWhatIsStoredAndNamesTheReplicaAnew() throws {
        let fixture = try Fixture()
        try filled(fixture)
        let old = try fixture.open()
        let fault = try fixture.model("Fault")
        let replica = old.replica
        try old.remove(fault, "1")
        try old.answer([try old.pending()[0]], .rejected(code: 1, reason: ""))
        _ = try old.apply([], cursor: StreamCursor(stream: "all", history: 1, position: 1), hubTime: 0)
        let version = try old.put(fault, "2").version
        old.close()
        let store = try fixture.open { $0.isReset = true }
        #expect(store.replica != replica)
        #expect(try store.scanned(fault).isEmpty)
        #expect(try store.pendingCount() == 0)
        #expect(try store.rejectedCount() == 0)
        #expect(try store.cursor(of: "all") == nil)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        #expect(try store.number("PRAGMA freelist_count") == 0)
        fixture.clock.time = 0
        #expect(try store.put(fault, "1").version.time > version.time)
    }

    // MARK: Reading only

    @Test func aStoreThatOnlyReadsWritesNothing() throws {
        let fixture = try Fixture()
        expectError(.io) { try fixture.open { $0.isReadOnly = true } }
        #expect(Files.size(fixture.path) == nil)
        try filled(fixture)
        let before = try bytes(fixture)
        let store = try fixture.open { $0.isReadOnly = true }
        let fault = try fixture.model("Fault")
        #expect(try store.get(fault, "7") != nil)
        #expect(try store.scanned(fault).count == 200)
        #expect(try store.pending().count == 200)
        #expect(try store.pendingCount() == 200)
        expectError(.readOnly) { try store.put(fault, "1") }
        expectError(.readOnly) { try store.answer([], .acknowledged) }
        expectError(.readOnly) {
            _ = try store.apply([], cursor: StreamCursor(stream: "all", history: 1, position: 1), hubTime: 0)
        }
        expectError(.readOnly) { try fixture.open { $0.isReadOnly = true; $0.isReset = true } }
        store.close()
        expectError(.misuse) { try store.get(fault, "7") }
        #expect(try bytes(fixture) == before)
    }

    @Test func aStoreThatOnlyReadsSeesWhatIsInTheLog() throws {
        let fixture = try Fixture()
        let writer = try fixture.open()
        let fault = try fixture.model("Fault")
        try writer.put(fault, "1")
        #expect(try #require(Files.size(fixture.path + "-wal")) > 0)
        let reader = try fixture.open { $0.isReadOnly = true }
        #expect(try reader.get(fault, "1") != nil)
        try writer.put(fault, "2")
        #expect(try reader.get(fault, "2") != nil)
        // Also the log that a crash left behind.
        try fixture.copy(to: "crash.db")
        #expect(try fixture.open("crash.db") { $0.isReadOnly = true }.get(fault, "2") != nil)
    }

    @Test func aStoreThatOnlyReadsMayKnowMoreModelsThanTheFile() throws {
        let fixture = try Fixture()
        let first = try fixture.open(schema: try Fixture.schema(without: ["Local"]))
        try first.put(try #require(first.schema.model("Fault")), "1")
        first.close()
        let store = try fixture.open { $0.isReadOnly = true }
        #expect(try store.scanned(try fixture.model("Local"), hash: nil).isEmpty)
        #expect(try store.get(try fixture.model("Fault"), "1") != nil)
    }

    // MARK: Crashes

    @Test func everyCommitSurvivesACrash() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open { $0.durability = .full }
        for count in 1...20 {
            try store.put(fault, "\(count)", count)
            if count % 5 == 0 { try store.remove(fault, "\(count)") }
            try fixture.copy(to: "crash\(count).db")
            let revived = try fixture.open("crash\(count).db")
            #expect(try revived.scanned(fault).count == count - count / 5)
            #expect(try revived.pendingCount() == Int64(count))
            #expect(try revived.pending().map(\.change) == store.pending().map(\.change))
            #expect(try revived.writer?.text("PRAGMA integrity_check") == "ok")
        }
    }

    @Test func aTransactionUnderWayIsNotInACrashsRemains() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open()
        try store.put(fault, "1")
        var failure: (any Error)?
        try store.write { (transaction) throws(IotoError) in
            for index in 0..<2000 {
                _ = try transaction.put(fault, key(fault, "x\(index)"), body: body("\(index)"))
            }
            do { try fixture.copy(to: "crash.db") } catch { failure = error }
        }
        #expect(failure == nil)
        let revived = try fixture.open("crash.db")
        #expect(try revived.scanned(fault) == ["fault#1"])
        #expect(try revived.pendingCount() == 1)
    }

    @Test func aTornLogLosesOnlyItsTail() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open()
        try store.put(fault, "1")
        let size = try #require(Files.size(fixture.path + "-wal"))
        try store.put(fault, "2")
        try fixture.copy(to: "crash.db")
        let log = URL(fileURLWithPath: fixture.path("crash.db-wal").string)
        var data = try Data(contentsOf: log)
        #expect(data.count > Int(size))
        data.removeLast(100)
        try data.write(to: log)
        let revived = try fixture.open("crash.db")
        #expect(try revived.scanned(fault) == ["fault#1"])
        #expect(try revived.pendingCount() == 1)
    }
}
