import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Files of each released format, made by the library of that format: `IOTO_WRITE_FIXTURE=<path> swift test --filter
/// writesAFixture` makes one of the present format.
@Suite struct FormatFixtureTests {
    static func schema() throws -> Schema {
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0',
                indexes: {
                    primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'},
                    ls1: {type: 'local', sort: 'level'},
                },
                models: {
                    Fault: {
                        pk: {value: 'device#d1'}, sk: {value: 'fault#${id}'},
                        gs1pk: {value: 'severity#${severity}'}, gs1sk: {value: 'at#${at}'},
                        id: {type: 'string'}, severity: {type: 'string'}, at: {type: 'string'}, level: {type: 'string'},
                        serial: {type: 'string', unique: true}, expires: {type: 'date', ttl: true},
                    },
                    Setting: {pk: {value: 'device#d1'}, sk: {value: 'setting#${id}'}, id: {type: 'string'}},
                    Shared: {pk: {value: 'device#d1'}, sk: {value: 'shared#${id}'}, id: {type: 'string'}},
                    Local: {pk: {value: 'device#d1'}, sk: {value: 'local#${id}'}, id: {type: 'string'}},
                },
                process: {
                    Fault: {sync: 'up'}, Setting: {sync: 'down'}, Shared: {sync: 'both'}, Local: {enable: 'device'},
                },
            }
            """
        return try Schema(source: Array(source.utf8), name: "schema.json5")
    }

    /// Fault `id`: odd ones are critical, every fifth expired in 2001, the others expire in 2100.
    static func fault(_ id: Int) -> [UInt8] {
        Array(
            """
            {"id":"\(100 + id)","severity":"\(id % 2 == 1 ? "critical" : "low")","at":"2026-11-\(10 + id)",\
            "level":"\(id % 3)","serial":"s\(id)","expires":\(id % 5 == 0 ? 1_000_000_000_000 : 4_102_444_800_000)}
            """.utf8)
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["IOTO_WRITE_FIXTURE"] != nil)) func writesAFixture() throws {
        let fixture = try Fixture(try FormatFixtureTests.schema())
        let store = try fixture.open { $0.durability = .full }
        let models = try ["Fault", "Setting", "Shared", "Local"].map { try fixture.model($0) }
        for id in 1...20 {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(models[0], key(models[0], "\(100 + id)"), body: FormatFixtureTests.fault(id))
            }
        }
        let pending = try store.pending()
        try store.answer(Array(pending[0..<10]), .acknowledged)
        try store.answer([pending[10]], .rejected(code: 7, reason: "no"))
        for id in 1...3 { try store.put(models[2], "\(id)", id) }
        try store.remove(models[2], "3")
        try store.put(models[3], "1", 1)
        let change = Change(
            model: "Setting", key: key(models[1], "1"), version: Version(time: UInt64(testTime) << 16, writer: 7),
            isRemoval: false, body: body("1", 1))
        _ = try store.apply([change], cursor: StreamCursor(stream: "device/d1", history: 5, position: 9), hubTime: 0)
        store.close()
        let target = try #require(ProcessInfo.processInfo.environment["IOTO_WRITE_FIXTURE"])
        try FileManager.default.copyItem(atPath: fixture.path.string, toPath: target)
    }
}

extension FormatFixtureTests {
    /// A copy of a file of an older format.
    private func copyFixture(_ name: String) throws -> Fixture {
        let fixture = try Fixture(try FormatFixtureTests.schema())
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
        try FileManager.default.copyItem(
            at: folder.appendingPathComponent(name), to: URL(fileURLWithPath: fixture.path.string))
        return fixture
    }

    /// The same, opened.
    private func openFixture(
        _ name: String, _ configure: (inout StoreOptions) -> Void = { _ in }
    ) throws -> (Fixture, Store) {
        let fixture = try copyFixture(name)
        return (fixture, try fixture.open("state.db", schema: nil, configure))
    }

    @Test(arguments: ["format-1000.db", "format-1001.db", "format-1002.db"])
    func aFileOfEachFormatIsOpenedWithAllThatIsInIt(_ name: String) throws {
        let (fixture, store) = try openFixture(name)
        let fault = try fixture.model("Fault")
        #expect(try store.number("PRAGMA user_version") == 1003)
        // 20 faults, of which every fifth has expired; ids from 101.
        #expect(try store.scanned(fault).count == 16)
        #expect(try store.scanned(fault, isReversed: true).first == "fault#119")
        #expect(try store.get(try fixture.model("Shared"), "1") != nil)
        #expect(try store.get(try fixture.model("Local"), "1") != nil)
        #expect(try store.get(try fixture.model("Setting"), "1")?.version.writer == 7)
        #expect(try store.pendingCount() == 12)
        #expect(try store.pending().filter { $0.change.isRemoval }.count == 1)
        #expect(try store.rejectedCount() == 1)
        #expect(try store.cursor(of: "device/d1")?.position == 9)
        // The indexes of its schema are there: format 1.0 has none, and they are made.
        let index = try #require(fixture.schema.indexes.first { $0.name == "gs1" })
        var sorts: [String] = []
        try store.scan(Scan(fault, index: index, range: KeyRange(hash: "severity#critical", prefix: "at#2026-11-2"))) {
            (row) throws(IotoError) in
            sorts.append(try row.key().sort.string)
            return true
        }
        #expect(sorts == ["fault#111", "fault#113", "fault#117", "fault#119"])
        expectError(.exists) {
            try store.write { (transaction) throws(IotoError) in
                try transaction.put(fault, key(fault, "x"), body: Array(#"{"id":"x","serial":"s3"}"#.utf8))
            }
        }
        // Two of the four that have expired wait in the outbox; later libraries have removed the others with the answer.
        #expect(try store.removeExpired().removed == (name == "format-1000.db" ? 2 : 0))
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.number("SELECT count(*) FROM item WHERE sort LIKE 'fault#%'") == 16)
        store.close()
        #expect(try fixture.open().number("PRAGMA user_version") == 1003)
    }

    private func versions(_ store: Store, _ id: String) throws -> [ToldVersion] {
        let shared = try #require(store.schema.model("Shared"))
        var told: [ToldVersion] = []
        _ = try store.explain(key(shared, id), model: shared) { told.append($0) }
        return told
    }

    /// The last of its steps finds that it has been done; none of the others may be left.
    @Test(arguments: ["format-1000.db", "format-1001.db", "format-1002.db"])
    func aMigrationIsWholeOrNotAtAll(_ name: String) throws {
        let fixture = try copyFixture(name)
        let raw = try Connection(path: fixture.path, mode: .writer(.normal))
        try raw.execute("ALTER TABLE tombstone ADD COLUMN trail TEXT")
        let format = try raw.integer("PRAGMA user_version")
        let shape: Text = "SELECT count(*) * 1000 + sum(length(sql)) FROM sqlite_schema"
        let before = try raw.integer(shape)
        expectError(.corrupt) { try fixture.open() }
        #expect(try raw.integer(shape) == before)
        #expect(try raw.integer("PRAGMA user_version") == format)
        try raw.execute("ALTER TABLE tombstone DROP COLUMN trail")
        raw.close()
        let store = try fixture.open()
        #expect(try store.number("PRAGMA user_version") == 1003)
        #expect(try store.scanned(try fixture.model("Fault")).count == 16)
        #expect(try store.pendingCount() == 12)
    }

    @Test func aFileOfFormat1002GetsTrails() throws {
        let (fixture, store) = try openFixture("format-1002.db")
        let shared = try fixture.model("Shared")
        #expect(try store.number("PRAGMA user_version") == 1003)
        #expect(try store.scanned(shared) == ["shared#1", "shared#2"] && store.pendingCount() == 12)
        #expect(try versions(store, "1").count == 1)
        #expect(try versions(store, "3")[0].isRemoval)
        try store.put(shared, "1", 7)
        try store.put(shared, "3", 7)
        #expect(try versions(store, "1").count == 2)
        #expect(try versions(store, "3")[1].isRemoval)
        store.close()
        #expect(try fixture.open().scanned(shared).count == 3)
    }

    @Test func aFileOfFormat1002IsReadWithoutBeingChanged() throws {
        let (fixture, store) = try openFixture("format-1002.db") { $0.isReadOnly = true }
        let shared = try fixture.model("Shared")
        #expect(try store.scanned(shared) == ["shared#1", "shared#2"])
        #expect(try versions(store, "1").count == 1)
        #expect(try store.digest(of: "all") { _, _, _ in true }.items == 3)
    }

    /// Format 1.0 has no indexes, and a library that only reads makes none.
    @Test(arguments: [("format-1000.db", false), ("format-1001.db", true), ("format-1002.db", true)])
    func aFileOfEachFormatIsReadWithoutBeingChanged(_ name: String, hasIndexes: Bool) throws {
        let (fixture, store) = try openFixture(name) { $0.isReadOnly = true }
        let fault = try fixture.model("Fault")
        #expect(try store.scanned(fault).count == 16)
        let index = try #require(fixture.schema.indexes.first { $0.name == "gs1" })
        var indexed = 0
        let scan = Scan(fault, index: index, range: KeyRange(hash: nil))
        if hasIndexes {
            try store.scan(scan) { (_) throws(IotoError) in
                indexed += 1
                return true
            }
            #expect(indexed == 16)
            #expect(try store.nextExpiry() == 1_000_000_000_000)
        } else {
            expectError(.busy) { try store.scan(scan) { (_) throws(IotoError) in true } }
            #expect(try store.nextExpiry() == nil)
        }
        #expect(try store.pendingCount() == 12)
    }

    /// What a library of format 1.0 did with receipts and stamps: nothing.
    private func rollBackTo1000(_ store: Store, _ statements: [String]) throws {
        try store.damage("UPDATE model SET sent = 0 WHERE name = ''")
        for statement in statements { try store.damage(statement) }
        store.close()
    }

    @Test func receiptsOfWhatAnOlderLibrarySentAreSettled() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let shared = try fixture.model("Shared")
        let receipts = try ["1", "2", "3", "4"].map { id in
            try store.withReceipt { () throws(IotoError) in
                try store.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(shared, key(shared, id), body: body(id))
                }
            }
        }
        // It had an answer to the first, a refusal of the second, and a change of the cloud for the third.
        let sorts = (1...3).map { "'shared#\($0)'" }.joined(separator: ", ")
        try rollBackTo1000(
            store,
            [
                "DELETE FROM outbox WHERE sort IN (\(sorts))",
                """
                INSERT INTO rejected SELECT position, model, hash, sort, time, 9, 0, json, 7, 'no', 5 FROM item \
                WHERE sort = 'shared#2'
                """,
                "UPDATE item SET writer = 9, time = time + 1000, position = NULL WHERE sort = 'shared#3'",
            ])
        store = try fixture.open()
        let found = try receipts.map { try #require(try store.receipt($0)) }
        #expect(found.map { $0.state } == [.durable, .rejected, .overtaken, .stored])
        #expect(found[1].code == 7 && found[1].reason == "no")
        #expect(try store.pending().map { $0.change.key } == [key(shared, "4")])
    }

    @Test func anItemThatAnOlderLibraryChangedCountsAsAWhole() throws {
        let fixture = try Fixture(ConflictStoreTests.schema())
        var store = try fixture.open()
        let model = try fixture.model("Fields")
        for id in ["1", "2"] { try store.put(model, id, 1) }
        try rollBackTo1000(
            store, ["UPDATE item SET json = '{\"id\":\"1\",\"value\":2}', time = time + 65536 WHERE sort LIKE '%#1'"])
        store = try fixture.open()
        let stamps = try store.pending().map { $0.change.stamps }
        #expect(stamps.count == 2)
        #expect(stamps[0].isEmpty)
        #expect(!stamps[1].isEmpty)
    }

    @Test func theFileTellsWhichLibraryHasOpenedItLast() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let library = "SELECT value FROM meta WHERE name = 'library'"
        #expect(try store.number(library) == StoreFormat.version)
        // A later one, that keeps something more with every change, and knows by this that it has not been kept.
        try store.damage("CREATE TABLE later(hash TEXT NOT NULL)")
        try store.damage("UPDATE meta SET value = 1003 WHERE name = 'library'")
        try store.damage("PRAGMA user_version = 1003")
        try store.put(try fixture.model("Fault"), "1")
        store.close()
        store = try fixture.open()
        #expect(try store.number(library) == StoreFormat.version)
        #expect(try store.number("PRAGMA user_version") == 1003)
        #expect(try store.number("SELECT count(*) FROM later") == 0)
        #expect(try store.pendingCount() == 1)
        try store.put(try fixture.model("Fault"), "2")
        #expect(try store.scanned(try fixture.model("Fault")).count == 2)
    }
}
