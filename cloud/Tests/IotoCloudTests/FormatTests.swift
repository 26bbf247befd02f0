import Foundation
import GRDB
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// Files of older programs.
@Suite struct FormatTests {
    /// A store of format 4, in which `b` has gone from device d1 to d2, `c` was removed and `d` does not go down.
    private static let format4 = """
        CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID;
        CREATE TABLE item(
            id INTEGER PRIMARY KEY,
            hash TEXT NOT NULL, sort TEXT NOT NULL, model TEXT NOT NULL,
            time INTEGER NOT NULL, writer INTEGER NOT NULL,
            removed INTEGER, json TEXT NOT NULL, owner TEXT NOT NULL, stream TEXT, marks TEXT,
            own INTEGER NOT NULL DEFAULT 0, stamps TEXT, trail TEXT,
            UNIQUE(hash, sort)) STRICT;
        CREATE INDEX item_model ON item(model, hash, sort) WHERE removed IS NULL;
        CREATE TABLE feed(
            stream TEXT NOT NULL, position INTEGER NOT NULL,
            hash TEXT NOT NULL, sort TEXT NOT NULL,
            parted TEXT, time INTEGER NOT NULL, writer INTEGER NOT NULL,
            committed INTEGER NOT NULL,
            PRIMARY KEY(stream, position), UNIQUE(stream, hash, sort)) STRICT, WITHOUT ROWID;
        CREATE TABLE head(
            stream TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL, moved INTEGER NOT NULL,
            floor INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX head_moved ON head(moved);
        CREATE TABLE device(
            id TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL, replica INTEGER NOT NULL,
            seen INTEGER NOT NULL, synced INTEGER NOT NULL,
            epoch INTEGER NOT NULL DEFAULT 0, nonce INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
        CREATE INDEX item_removed ON item(removed) WHERE removed IS NOT NULL;
        CREATE INDEX feed_parted ON feed(hash, sort) WHERE parted IS NOT NULL;
        INSERT INTO meta VALUES('history', 77), ('writer', 78), ('clock', 99);
        INSERT INTO item(hash, sort, model, time, writer, removed, json, owner, stream, own) VALUES
            ('h', 'setting#a', 'Setting', 20, 7, NULL, '{"id":"a"}', 'd1', 'device/d1', 20),
            ('h', 'setting#b', 'Setting', 30, 7, NULL, '{"id":"b","v":2}', 'd2', 'device/d2', 0),
            ('h', 'setting#c', 'Setting', 40, 7, 1000, '{"id":"c"}', 'd1', 'device/d1', 0),
            ('h', 'setting#d', 'Setting', 50, 7, NULL, '{"id":"d"}', 'd1', NULL, 0);
        INSERT INTO feed VALUES
            ('device/d1', 2, 'h', 'setting#a', NULL, 20, 7, 60), ('device/d1', 3, 'h', 'setting#b', '{"id":"b"}', 30, 7, 70),
            ('device/d1', 5, 'h', 'setting#c', NULL, 40, 7, 80), ('device/d2', 1, 'h', 'setting#b', NULL, 30, 7, 70);
        INSERT INTO head VALUES('device/d1', 5, 2, 1), ('device/d2', 1, 1, 0);
        PRAGMA application_id = \(StoreFormat.applicationID); PRAGMA user_version = 4;
        """

    private func open(_ change: String = "") throws -> (TemporaryFolder, SQLiteStore) {
        let folder = TemporaryFolder()
        let queue = try DatabaseQueue(path: folder.file("cloud.db"))
        try queue.writeWithoutTransaction { try $0.execute(sql: Self.format4 + change) }
        try queue.close()
        return (folder, try SQLiteStore(path: folder.file("cloud.db"), mode: .existing))
    }

    private func page(_ store: SQLiteStore, _ stream: Text, after position: Int64 = 0) async throws -> FeedPage {
        let answer = await store.answer(.readFeed(stream: stream, after: position, bytesMax: 1 << 20, itemsMax: 100))
        guard case .page(let page) = answer else { throw UnexpectedAnswer(answer: answer) }
        return page
    }

    @Test func fileOfFormat4KeepsItemsAndFeeds() async throws {
        let (folder, store) = try open()
        let first = try await page(store, "device/d1")
        #expect(first.history == 77 && first.cursor == 5 && first.floor == 1)
        #expect(first.entries.map(\.position) == [2, 3, 5])
        #expect(first.entries.map(\.change.isRemoval) == [false, true, true])
        #expect(first.entries.map { Text($0.change.body) } == [#"{"id":"a"}"#, #"{"id":"b"}"#, #"{"id":"c"}"#])
        #expect(first.entries.map(\.change.version.time) == [20, 30, 40])
        #expect(first.entries.map(\.change.own) == [20, 0, 0])
        #expect(try await page(store, "device/d1", after: 3).entries.map(\.position) == [5])
        #expect(try await page(store, "device/d2").entries.map { Text($0.change.body) } == [#"{"id":"b","v":2}"#])
        #expect(try await store.items(model: "Setting", after: nil, limit: 9).map(\.key) == [key("a"), key("b"), key("d")])
        let answer = await store.answer(.readFeedSince(stream: "device/d1", time: 70, bytesMax: 1 << 20, itemsMax: 100))
        guard case .page(let since) = answer else { throw UnexpectedAnswer(answer: answer) }
        #expect(since.previous == 2 && since.entries.count == 2)
        await store.close()
        withExtendedLifetime(folder) {}
    }

    @Test func fileOfFormat4GoesOn() async throws {
        let (folder, store) = try open()
        // The item comes back to the stream that it had left.
        _ = await store.answer(.apply([change("b", time: 60, stream: "device/d1")], device: "d2"))
        #expect(try await page(store, "device/d1").entries.map(\.position) == [2, 5, 6])
        #expect(try await page(store, "device/d2").entries.map(\.change.isRemoval) == [true])
        #expect(try await store.purgeTombstones(before: 2000) == 1)
        #expect(try await page(store, "device/d1").floor == 5)
        #expect(try await store.history(of: key("b"))?.place?.position == 6)
        await store.close()
        let again = try SQLiteStore(path: folder.file("cloud.db"), mode: .existing)
        #expect(try await page(again, "device/d1").entries.map(\.position) == [2, 6])
        await again.close()
    }

    @Test func fileOfFormat3GetsTrails() async throws {
        let (folder, store) = try open("; ALTER TABLE item DROP COLUMN trail; PRAGMA user_version = 3")
        #expect(try await store.history(of: key("a"))?.trail.isEmpty == true)
        _ = await store.answer(.apply([change("a", time: 21)], device: "d1"))
        #expect(try await store.history(of: key("a"))?.trail.count == Trail.entryBytes)
        await store.close()
        withExtendedLifetime(folder) {}
    }

    /// It would fence a database that has taken the place of another since.
    @Test func storeOfABackupKnowsNoEpochs() async throws {
        let test = try TestStore()
        var record = DeviceRecord(id: "d1", account: "a1", replica: 2)
        (record.epoch, record.nonce) = (1, 9)
        _ = await test.store.answer(.openDevice(record))
        await test.store.close()
        let (copy, path) = (test.folder.file("copy.db"), test.folder.file("new.db"))
        try SQLiteStore.backUp(test.folder.file("cloud.db"), to: copy) { _ in }
        try SQLiteStore.restore(path, from: copy) { _ in }
        let store = try SQLiteStore(path: path, mode: .existing)
        (record.replica, record.epoch, record.nonce) = (3, 7, 10)
        guard case .device(let known) = await store.answer(.openDevice(record)), known.replica == 3 else {
            Issue.record("it is fenced")
            return
        }
        await store.close()
    }

    @Test func fileOfFormat5LearnsWhichDatabaseADeviceHadBefore() async throws {
        let test = try TestStore()
        var first = DeviceRecord(id: "d1", account: "a1", replica: 2)
        (first.epoch, first.nonce) = (1, 9)
        _ = await test.store.answer(.openDevice(first))
        await test.store.close()
        let queue = try DatabaseQueue(path: test.folder.file("cloud.db"))
        try await queue.writeWithoutTransaction {
            try $0.execute(sql: "DROP TABLE journal; ALTER TABLE device DROP COLUMN former; PRAGMA user_version = 5")
        }
        try queue.close()
        let store = try SQLiteStore(path: test.folder.file("cloud.db"), mode: .existing)
        #expect(try await store.devices() == [first])
        var second = DeviceRecord(id: "d1", account: "a1", replica: 3)
        (second.epoch, second.nonce) = (1, 10)
        _ = await store.answer(.openDevice(second))
        #expect(try await store.devices().map(\.former) == [2])
        // What comes late of the one before is known, though its number is 1.
        guard case .failed(let error) = await store.answer(.openDevice(first)), error.code == .fenced else {
            Issue.record("it takes over again")
            return
        }
        await store.close()
    }
}
