import CSQLite
import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// What a file holds is not trusted: each of these is an error or goes unnoticed, and none is a trap.
@Suite struct StoreDamageTests {
    /// Everything that reads or writes the item `fault#1`.
    static func exercise(_ store: Store, _ fault: Model) throws {
        try? store.writer.map { (writer) throws(IotoError) in _ = try writer.text("PRAGMA quick_check") }
        _ = try? store.pendingRange()
        _ = try? store.pending()
        _ = try? store.rejectedChanges(after: .min, itemsMax: 100)
        _ = try? store.cursor(of: "all")
        _ = try? store.purgeTombstones()
        _ = try? store.scanned(fault)
        _ = try? store.scanned(fault, hash: nil, isReversed: true)
        _ = try? store.get(fault, "1")?.properties()
        if let pending = try? store.pending() {
            try? store.answer(pending, .rejected(code: 1, reason: "no"))
        }
        let change = Change(
            model: "Fault", key: key(fault, "1"), version: Version(time: HybridClock.time(testTime), writer: 1),
            isRemoval: false, body: body("1"))
        _ = try? store.apply(
            [change], cursor: StreamCursor(stream: "all", history: 0, position: 0), hubTime: 0)
        try? store.remove(fault, "1")
        _ = try? store.put(fault, "1", 2)
    }

    @Test(arguments: [
        "model = NULL", "model = 'x'", "time = x'00'", "time = 'later'", "writer = 'me'", "position = 'first'",
        "json = x'7B7D'", "json = ''", "json = '[]'", "json = 'garbage'", "json = 12",
    ])
    func valuesOfAnotherTypeAreDamage(assignment: String) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.put(fault, "2")
        // The tables say NOT NULL; an editor of files does not listen.
        try store.damage("PRAGMA ignore_check_constraints = ON")
        try store.damage("PRAGMA writable_schema = ON")
        try store.damage("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'item'")
        store.close()
        let other = try fixture.open()
        try other.damage("UPDATE item SET \(assignment) WHERE sort = 'fault#1'")
        expectError(.corrupt) { try other.get(fault, "1") }
        expectError(.corrupt) { try other.put(fault, "1") }
        #expect(try other.get(fault, "2") != nil)
        try StoreDamageTests.exercise(other, fault)
        #expect(try other.get(fault, "2") != nil)
    }

    @Test func aValueBeyondTheLimitIsDamage() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        store.close()
        var handle: OpaquePointer?
        #expect(sqlite3_open(fixture.path.string, &handle) == SQLITE_OK)
        let sql = "UPDATE item SET json = '{' || hex(zeroblob(1000000)) || '}'"
        #expect(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK)
        sqlite3_close(handle)
        let other = try fixture.open()
        expectError(.corrupt) { try other.get(fault, "1") }
        try StoreDamageTests.exercise(other, fault)
    }

    @Test func textThatIsNotJSONIsDamageWhenItIsParsed() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.damage("UPDATE item SET json = '{garbage}'")
        expectError(.corrupt) { try store.get(fault, "1")?.properties() }
        expectError(.corrupt) { try store.remove(fault, "1") }
        // A new state heals it.
        try store.put(fault, "1", 2)
        #expect(try store.get(fault, "1")?.properties()["value"] == .integer(2))
    }

    @Test(arguments: [
        "UPDATE outbox SET position = -position", "UPDATE outbox SET hash = x'00'", "UPDATE outbox SET sort = 5",
        "UPDATE cursor SET history = 'x'", "UPDATE cursor SET position = 'x'", "UPDATE tombstone SET time = 'x'",
        "UPDATE tombstone SET json = 5", "UPDATE tombstone SET position = 'x'", "UPDATE item SET time = -1",
        "UPDATE item SET time = 0, writer = 5", "UPDATE item SET model = 99", "UPDATE item SET position = 1",
        "UPDATE rejected SET code = 'x'", "UPDATE rejected SET reason = x'FF'", "UPDATE rejected SET at = 'x'",
        "UPDATE model SET id = -id", "UPDATE model SET name = x'FF' || id", "UPDATE model SET sent = 'x'",
        "UPDATE meta SET value = 'x' WHERE name = 'replica'", "DELETE FROM meta WHERE name = 'clock'",
        "CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM outbox; END",
    ])
    func anEditedFileIsNeverATrap(edit: String) throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        do {
            let store = try fixture.open()
            for id in ["1", "2", "3"] { try store.put(fault, id) }
            try store.remove(fault, "2")
            try store.answer([try store.pending()[2]], .rejected(code: 1, reason: "no"))
            _ = try store.apply([], cursor: StreamCursor(stream: "all", history: 3, position: 1), hubTime: 0)
            try store.damage(edit)
            try StoreDamageTests.exercise(store, fault)
        }
        if let store = try? fixture.open() { try StoreDamageTests.exercise(store, fault) }
    }

    @Test func flippedBytesAreNeverATrap() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open()
        for id in 0..<40 { try store.put(fault, "\(id)") }
        for id in 0..<10 { try store.remove(fault, "\(id + 10)") }
        store.close()
        let file = URL(fileURLWithPath: fixture.path.string)
        let sound = try Data(contentsOf: file)
        var state: UInt64 = 2026
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<300 {
            var data = sound
            for _ in 0...random(8) { data[random(data.count)] = UInt8(random(256)) }
            try? Files.remove(fixture.path + "-wal")
            try data.write(to: file)
            if let store = try? fixture.open() { try StoreDamageTests.exercise(store, fault) }
        }
    }
}
