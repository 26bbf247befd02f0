import Foundation
import GRDB
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

extension SQLiteStore {
    public func item(_ key: ItemKey) async throws(IotoError) -> Change? {
        try await read { db in try SQLiteStore.stored(key, in: db)?.change }
    }

    public func items(model: Text, after key: ItemKey?, limit: Int) async throws(IotoError) -> [Change] {
        try await read { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT hash, sort, model, time, writer, removed IS NOT NULL, json FROM item
                    WHERE removed IS NULL AND model = ? AND (? IS NULL OR (hash, sort) > (?, ?))
                    ORDER BY hash, sort LIMIT ?
                    """)
            let rows = try Row.fetchAll(
                statement,
                arguments: [
                    model.string, key?.hash.string, key?.hash.string, key?.sort.string, max(0, limit),
                ])
            return rows.map { SQLiteStore.change($0, from: 0) }
        }
    }

    public func history(of key: ItemKey) async throws(IotoError) -> ItemHistory? {
        let history = history
        return try await read { db in
            guard let item = try SQLiteStore.stored(key, in: db) else { return nil }
            var found = ItemHistory(change: item.change, trail: item.trail)
            if let stream = item.stream, let position = try SQLiteStore.position(of: key, in: stream, db) {
                found.place = StreamCursor(stream: stream, history: history, position: position)
            }
            return found
        }
    }

    public func write(_ write: LocalWrite) async throws(IotoError) -> Change? {
        let (writer, history) = (writer, history)
        return try await self.write { db in
            let current = try SQLiteStore.stored(write.key, in: db)
            guard current?.change.version == write.expected else { return nil }

            var clock = try SQLiteStore.clock(in: db)
            if let current { clock.observe(current.change.version.time) }
            let version = Version(time: clock.next(wall: Instant.now.wall), writer: writer)
            if let current, version <= current.change.version {
                throw IotoError(.corrupt, "item \(write.key.sort): its version is beyond the clock's range")
            }
            try SQLiteStore.setClock(clock, in: db)

            var change = Change(
                model: write.model, key: write.key, version: version, isRemoval: write.isRemoval, body: write.body)
            if write.merges, !write.isRemoval {
                let known = current.flatMap { $0.change.isRemoval ? nil : $0.change }
                change.stamps = known?.stamps ?? [:]
                FieldMerge.stamp(
                    &change.stamps, from: FieldMerge.object(known?.body ?? []), to: FieldMerge.object(write.body),
                    at: version.time)
            }
            var feed = FeedWriter(db: db, history: history)
            feed.time = clock.last
            try SQLiteStore.replace(
                current, by: ItemState(change, stream: write.stream, owner: write.owner, over: current), feed: &feed)
            try feed.finish()
            return change
        }
    }

    public func expire(_ removals: [LocalWrite]) async throws(IotoError) -> Int {
        let (writer, history) = (writer, history)
        return try await write { db in
            var clock = try SQLiteStore.clock(in: db)
            var feed = FeedWriter(db: db, history: history)
            var removed = 0
            for removal in removals {
                guard let current = try SQLiteStore.stored(removal.key, in: db), !current.change.isRemoval,
                    current.change.version == removal.expected, current.change.version.time + 1 < HybridClock.timeMax
                else { continue }
                let version = Version(time: current.change.version.time + 1, writer: writer)
                clock.observe(version.time)
                feed.time = clock.next(wall: Instant.now.wall)
                let change = Change(
                    model: removal.model, key: removal.key, version: version, isRemoval: true, body: removal.body)
                try SQLiteStore.replace(
                    current, by: ItemState(change, stream: removal.stream, owner: removal.owner, over: current), feed: &feed)
                removed += 1
            }
            guard removed > 0 else { return 0 }
            try feed.finish()
            try SQLiteStore.setClock(clock, in: db)
            return removed
        }
    }

    // MARK: - Within a transaction

    static func stored(_ key: ItemKey, in db: Database) throws -> ItemState? {
        let statement = try db.cachedStatement(
            sql: """
                SELECT hash, sort, model, time, writer, removed IS NOT NULL, json, stream, owner, marks, own, stamps, trail
                FROM item WHERE hash = ? AND sort = ?
                """)
        return try Row.fetchOne(statement, arguments: [key.hash.string, key.sort.string]).map { row in
            var change = change(row, from: 0)
            change.stamps = stamps(row, 11)
            var item = ItemState(
                change: change, stream: (row[7] as String?).map { Text($0) }, owner: Text(row[8] as String))
            item.marks = ((row[9] as String?) ?? "").split(separator: ",").compactMap { Int64($0) }
            item.own = UInt64(bitPattern: row[10] as Int64)
            item.trail = bytes(row, 12) ?? []
            return item
        }
    }

    /// Position of the item's entry in a feed.
    static func position(of key: ItemKey, in stream: Text, _ db: Database) throws -> Int64? {
        let statement = try db.cachedStatement(
            sql: "SELECT position FROM feed WHERE stream = ? AND hash = ? AND sort = ?")
        return try Int64.fetchOne(statement, arguments: [stream.string, key.hash.string, key.sort.string])
    }

    static func setMarks(_ marks: [Int64], of key: ItemKey, in db: Database) throws {
        try db.cachedStatement(sql: "UPDATE item SET marks = ? WHERE hash = ? AND sort = ?")
            .execute(arguments: [text(marks), key.hash.string, key.sort.string])
    }

    private static func text(_ marks: [Int64]) -> String? {
        marks.isEmpty ? nil : marks.map { String($0) }.joined(separator: ",")
    }

    /// Stores a state of an item in the place of the current one, and enters it in the feeds.
    static func replace(
        _ current: ItemState?, by item: ItemState, feed: inout FeedWriter
    ) throws {
        let (change, stream) = (item.change, item.stream)
        try feed.db.cachedStatement(
            sql: """
                INSERT INTO item(hash, sort, model, time, writer, removed, json, owner, stream, stamps, marks, own, trail)
                VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT(hash, sort) DO UPDATE SET model = excluded.model, time = excluded.time,
                    writer = excluded.writer, removed = excluded.removed, json = excluded.json,
                    owner = excluded.owner, stream = excluded.stream, stamps = excluded.stamps,
                    marks = excluded.marks, own = excluded.own, trail = excluded.trail
                """
        ).execute(arguments: [
            change.key.hash.string, change.key.sort.string, change.model.string,
            Int64(bitPattern: change.version.time), Int64(bitPattern: change.version.writer),
            change.isRemoval ? Instant.now.wall : nil, Text(change.body).string, item.owner.string, stream?.string,
            change.stamps.isEmpty ? nil : Text(JSON.object(change.stamps).text).string, text(item.marks),
            Int64(bitPattern: item.own), item.trail.isEmpty ? nil : Text(item.trail).string,
        ])
        if let current, let left = current.stream, left != stream {
            // Whoever follows the stream that the item leaves gets to see it go, and nothing of what it now is: it may
            // be another device's. A model that no longer goes down leaves its items where they are.
            if stream != nil {
                try feed.append(change.key, version: change.version, to: left, parted: current.change.body)
            } else {
                try feed.remove(change.key, from: left)
            }
        }
        if let stream {
            try feed.append(change.key, version: change.version, to: stream)
        }
    }

    static func setTrail(_ trail: [UInt8], of key: ItemKey, in db: Database) throws {
        try db.cachedStatement(sql: "UPDATE item SET trail = ? WHERE hash = ? AND sort = ?")
            .execute(arguments: [Text(trail).string, key.hash.string, key.sort.string])
    }

    /// A change from the columns hash, sort, model, time, writer, removal, json.
    static func change(_ row: Row, from index: Int) -> Change {
        Change(
            model: Text(row[index + 2] as String),
            key: ItemKey(hash: Text(row[index] as String), sort: Text(row[index + 1] as String)),
            version: version(row, from: index + 3),
            isRemoval: row[index + 5],
            body: bytes(row, index + 6) ?? [])
    }

    /// The times of the fields' changes, see `FieldMerge`.
    static func stamps(_ row: Row, _ index: Int) -> JSONObject {
        bytes(row, index).map { FieldMerge.object($0) } ?? [:]
    }

    static func version(_ row: Row, from index: Int) -> Version {
        Version(
            time: UInt64(bitPattern: row[index] as Int64), writer: UInt64(bitPattern: row[index + 1] as Int64))
    }

    /// The bytes of a text column.
    static func bytes(_ row: Row, _ index: Int) -> [UInt8]? {
        (row[index] as Data?).map { [UInt8]($0) }
    }
}
