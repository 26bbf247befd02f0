import Foundation
import GRDB
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

@Suite struct SQLiteStoreTests {
    // MARK: Last writer wins

    @Test func newerChangeTakesThePlaceOfAnOlder() async throws {
        let test = try TestStore()
        #expect(try await test.apply(change("a", time: 10)).stored == 1)
        #expect(try await test.apply(change("a", time: 11, body: #"{"id":"a","v":2}"#)).stored == 1)
        let item = try await test.store.item(key("a"))
        #expect(item?.version.time == 11)
        #expect(item.map { Text($0.body) } == #"{"id":"a","v":2}"#)
    }

    @Test func olderAndEqualChangesAreIgnored() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10))
        let older = try await test.apply(change("a", time: 9, body: "{}"))
        let equal = try await test.apply(change("a", time: 10, body: "{}"))
        #expect(older.stored == 0 && older.advances.isEmpty && older.refused.isEmpty)
        #expect(equal.stored == 0 && equal.advances.isEmpty)
        #expect(try await test.store.item(key("a"))?.body == change("a", time: 10).change.body)
    }

    @Test func commitsDoNotMakeALogLongerThatHasItsRoom() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10))
        try await test.store.reserveLog()
        func size() throws -> UInt64? {
            try FileManager.default.attributesOfItem(atPath: test.store.path + "-wal")[.size] as? UInt64
        }
        let reserved = try #require(try size())
        #expect(reserved > 16_000_000)
        for time in 11...40 { try await test.apply(change("a", time: UInt64(time))) }
        try await test.store.reserveLog()
        #expect(try size() == reserved)
        // As after a kill: the files as they are.
        let copy = test.store.path + ".copy"
        for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: test.store.path + suffix, toPath: copy + suffix) }
        let again = try SQLiteStore(path: copy, mode: .existing)
        #expect(try await again.item(key("a"))?.version.time == 40)
        await again.close()
    }

    @Test func writerDecidesBetweenEqualTimes() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10, writer: 1 << 63))
        #expect(try await test.apply(change("a", time: 10, writer: 5)).stored == 0)
        #expect(try await test.apply(change("a", time: 10, writer: .max)).stored == 1)
    }

    @Test func oneRequestMayChangeAnItemTwice() async throws {
        let test = try TestStore()
        let result = try await test.apply(change("a", time: 1), change("a", time: 3), change("a", time: 2))
        #expect(result.stored == 2)
        #expect(try await test.store.item(key("a"))?.version.time == 3)
        #expect(try await test.page("device/d1").entries.map(\.position) == [2])
    }

    @Test func tombstoneOutlivesAnOlderWrite() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10))
        try await test.apply(change("a", time: 12, removal: true))
        #expect(try await test.apply(change("a", time: 11)).stored == 0)
        #expect(try await test.store.item(key("a"))?.isRemoval == true)
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 10).isEmpty)
        #expect(try await test.apply(change("a", time: 13)).stored == 1)
        #expect(try await test.store.item(key("a"))?.isRemoval == false)
    }

    @Test func anotherDevicesItemIsRefused() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10), device: "d1")
        try await test.apply(change("b", time: 10), change("b", time: 11, removal: true), device: "d1")
        let result = try await test.apply(
            change("a", time: 20, stream: "device/d2"), change("b", time: 21, stream: "device/d2"),
            change("c", time: 22, stream: "device/d2"), device: "d2")
        #expect(result.stored == 1)
        #expect(result.refused == [Version(time: 20, writer: 7), Version(time: 21, writer: 7)])
        #expect(try await test.store.item(key("a"))?.version.time == 10)
    }

    @Test func whatADatabaseSendsThatAnotherHasFollowedIsNotStored() async throws {
        let test = try TestStore()
        var (first, second) = (DeviceRecord(id: "d1", account: "a1", replica: 2), DeviceRecord(id: "d1", account: "a1", replica: 3))
        (first.epoch, first.nonce, second.epoch, second.nonce) = (1, 9, 1, 10)
        for record in [first, second] { _ = await test.store.answer(.openDevice(record)) }
        // Another process of the hub, which heard the first open, has not heard of the second.
        guard case .failed(let error) = await test.store.answer(.apply([change("a", time: 10)], device: "d1", by: first)),
            error.code == .fenced
        else {
            Issue.record("it is stored")
            return
        }
        #expect(try await test.store.item(key("a")) == nil)
        guard case .applied(1, _, _, _, _) = await test.store.answer(.apply([change("a", time: 10)], device: "d1", by: second)) else {
            Issue.record("it is not stored")
            return
        }
    }

    @Test func cloudsOwnItemIsRefusedToADevice() async throws {
        let test = try TestStore()
        _ = try await test.store.write(
            LocalWrite(model: "Setting", key: key("a"), body: Text("{}").bytes, stream: "all", owner: "", expected: nil))
        let result = try await test.apply(change("a", time: 1 << 61))
        #expect(result.stored == 0 && result.refused.count == 1)
    }

    // MARK: Local writes

    @Test func propertiesAndStampsOfAnItemWhoseFieldsMergeAreBounded() async throws {
        let test = try TestStore()
        func put(_ names: [String], over expected: Version?) async throws -> Change {
            let body = "{\"id\":\"a\"" + names.map { ",\"\($0)\":1" }.joined() + "}"
            var write = LocalWrite(
                model: "Setting", key: key("a"), body: Text(body).bytes, stream: "all", owner: "", expected: expected)
            write.merges = true
            return try #require(try await test.store.write(write))
        }
        await expect(.limit) { _ = try await put((0..<FieldMerge.propertiesMax).map { "p\($0)" }, over: nil) }
        var last: Change?
        for round in 0..<3 {
            let names = (0..<900).map { "\(round)-\($0)-" + String(repeating: "x", count: 40) }
            last = try await put(names, over: last?.version)
        }
        let stamps = try await test.page("all").entries.first?.change.stamps ?? [:]
        let gone = stamps.filter { !$0.key.string.hasPrefix("2-") && $0.key != "id" }
        #expect((20_000...32 * 1024).contains(gone.reduce(0) { $0 + $1.key.count + 24 }))
        #expect(stamps.count - gone.count >= 900)
    }

    private func write(
        _ id: Text, expected: Version?, removal: Bool = false, stream: Text? = "device/d1", owner: Text = "d1"
    ) -> LocalWrite {
        LocalWrite(
            model: "Setting", key: key(id), isRemoval: removal, body: Text("{\"id\":\"\(id)\"}").bytes, stream: stream,
            owner: owner, expected: expected)
    }

    @Test func localWriteIsStampedAboveTheItemAndTheClock() async throws {
        let test = try TestStore()
        let future = HybridClock.time(Instant.now.wall + 50_000)
        try await test.apply(change("a", time: future))
        let stored = try await test.store.item(key("a"))
        let change = try #require(try await test.store.write(write("a", expected: stored?.version)))
        #expect(change.version.time > future)
        #expect(change.version.writer == test.store.writer)
        let next = try #require(try await test.store.write(write("b", expected: nil)))
        #expect(next.version.time > change.version.time)
        #expect(try await test.store.clock().last == next.version.time)
    }

    @Test func writeUnderAnOldExpectationIsNotDone() async throws {
        let test = try TestStore()
        let first = try #require(try await test.store.write(write("a", expected: nil)))
        #expect(try await test.store.write(write("a", expected: nil)) == nil)
        #expect(try await test.store.write(write("a", expected: .zero)) == nil)
        let removal = try #require(try await test.store.write(write("a", expected: first.version, removal: true)))
        #expect(try await test.store.write(write("a", expected: first.version)) == nil)
        #expect(try await test.store.write(write("a", expected: removal.version)) != nil)
        #expect(try await test.page("device/d1").cursor == 3)
    }

    @Test func identityAndClockOutliveTheProcess() async throws {
        let test = try TestStore()
        let change = try #require(try await test.store.write(write("a", expected: nil)))
        await test.store.close()
        let again = try SQLiteStore(path: test.store.path, mode: .existing)
        #expect(again.writer == test.store.writer && again.history == test.store.history)
        #expect(try await again.clock().last == change.version.time)
        await again.close()
        #expect(try FileManager.default.contentsOfDirectory(atPath: test.folder.path) == ["cloud.db"])
    }

    // MARK: Listing

    @Test func itemsComePageByPageInOrderOfTheirKeys() async throws {
        let test = try TestStore()
        for id in ["c", "a", "e", "b", "d"] as [Text] { try await test.apply(change(id, time: 1)) }
        try await test.apply(change("b", time: 2, removal: true))
        let first = try await test.store.items(model: "Setting", after: nil, limit: 2)
        #expect(first.map(\.key) == [key("a"), key("c")])
        let second = try await test.store.items(model: "Setting", after: first.last?.key, limit: 2)
        #expect(second.map(\.key) == [key("d"), key("e")])
        #expect(try await test.store.items(model: "Setting", after: second.last?.key, limit: 2).isEmpty)
        #expect(try await test.store.items(model: "Reading", after: nil, limit: 2).isEmpty)
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 0).isEmpty)
    }

    // MARK: Devices

    @Test func firstAccountOfADeviceIsItsAccount() async throws {
        let test = try TestStore()
        #expect(try await test.open("d1", replica: .max).account == "")
        #expect(try await test.open("d1", account: "a1", replica: 2).account == "a1")
        #expect(try await test.open("d1", account: "a2", replica: 3).account == "a1")
        var record = DeviceRecord(id: "d1", account: "a1", replica: 3)
        record.former = 2
        #expect(try await test.store.devices() == [record])
    }

    @Test func schemaIsKept() async throws {
        let test = try TestStore()
        #expect(try await test.store.schema() == nil)
        let text = SchemaText(name: "s.json5", source: [1, 0, 255])
        try await test.store.save(text)
        #expect(try await test.store.schema() == text)
    }

    // MARK: Files

    @Test func committedIsSyncedToTheDisk() async throws {
        let test = try TestStore()
        // sqlite.org/pragma.html#pragma_synchronous: 2 is FULL.
        #expect(try await test.store.write { db in try Int.fetchOne(db, sql: "PRAGMA synchronous") } == 2)
        #expect(try await test.store.read { db in try String.fetchOne(db, sql: "PRAGMA journal_mode") } == "wal")
    }

    @Test func fileOfAnotherKindIsRefusedAndLeftAlone() async throws {
        let folder = TemporaryFolder()
        let other = folder.file("other.db")
        try await DatabaseQueue(path: other).write { try $0.execute(sql: "CREATE TABLE t(x)") }
        await expect(.format) { _ = try SQLiteStore(path: other) }
        let mode = try await DatabaseQueue(path: other).read { try String.fetchOne($0, sql: "PRAGMA journal_mode") }
        #expect(mode == "delete")

        let text = folder.file("text.db")
        try String(repeating: "no database ", count: 100).write(toFile: text, atomically: true, encoding: .utf8)
        await expect(.format) { _ = try SQLiteStore(path: text) }
        await expect(.io) { _ = try SQLiteStore(path: folder.file("missing/cloud.db")) }
        await expect(.notFound) { _ = try SQLiteStore(path: folder.file("none.db"), mode: .existing) }
    }

    @Test func newerFormatIsRefused() async throws {
        let test = try TestStore()
        await test.store.close()
        let queue = try DatabaseQueue(path: test.store.path)
        try await queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA user_version = \(StoreFormat.version + 1)") }
        try queue.close()
        await expect(.format) { _ = try SQLiteStore(path: test.store.path) }
    }

    @Test func failureIsAnAnswer() async throws {
        let test = try TestStore()
        await test.store.close()
        guard case .failed = await test.store.answer(.apply([change("a", time: 1)], device: "d1")) else {
            Issue.record("a closed store has answered")
            return
        }
    }
}
