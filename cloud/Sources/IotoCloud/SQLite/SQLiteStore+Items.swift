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
            let statement = try ByteStatement(
                """
                SELECT hash, sort, model, time, writer, removed IS NOT NULL, json FROM item
                WHERE removed IS NULL AND model = ? AND (? IS NULL OR (hash, sort) > (?, ?))
                ORDER BY hash, sort LIMIT ?
                """, in: db)
            try statement.bind(1, model)
            try statement.bind(2, key?.hash)
            try statement.bind(3, key?.hash)
            try statement.bind(4, key?.sort)
            try statement.bind(5, Int64(max(0, limit)))
            var changes: [Change] = []
            while try statement.step() { changes.append(SQLiteStore.change(statement, from: 0)) }
            return changes
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
        let statement = try ByteStatement(
            """
            SELECT hash, sort, model, time, writer, removed IS NOT NULL, json, stream, owner, marks, own, stamps, trail
            FROM item WHERE hash = ? AND sort = ?
            """, in: db)
        try statement.bind(1, key: (key.hash, key.sort))
        guard try statement.step() else { return nil }
        defer { statement.end() }
        var change = change(statement, from: 0)
        change.stamps = stamps(statement, 11)
        var item = ItemState(change: change, stream: statement.optionalText(7), owner: statement.text(8))
        item.marks = statement.bytes(9).split(separator: UInt8(ascii: ",")).compactMap {
            Int64(String(decoding: $0, as: UTF8.self))
        }
        item.own = statement.bits(10)
        item.trail = statement.bytes(12)
        return item
    }

    /// Position of the item's entry in a feed.
    static func position(of key: ItemKey, in stream: Text, _ db: Database) throws -> Int64? {
        let statement = try ByteStatement(
            "SELECT position FROM feed WHERE stream = ? AND hash = ? AND sort = ?", in: db)
        try statement.bind(1, stream)
        try statement.bind(2, key: (key.hash, key.sort))
        guard try statement.step() else { return nil }
        defer { statement.end() }
        return statement.integer(0)
    }

    static func setMarks(_ marks: [Int64], of key: ItemKey, in db: Database) throws {
        let statement = try ByteStatement("UPDATE item SET marks = ? WHERE hash = ? AND sort = ?", in: db)
        try statement.bind(1, text(marks))
        try statement.bind(2, key: (key.hash, key.sort))
        try statement.run()
    }

    private static func text(_ marks: [Int64]) -> Text? {
        marks.isEmpty ? nil : Text(marks.map { String($0) }.joined(separator: ","))
    }

    /// Stores a state of an item in the place of the current one, and enters it in the feeds.
    static func replace(
        _ current: ItemState?, by item: ItemState, feed: inout FeedWriter
    ) throws {
        let (change, stream) = (item.change, item.stream)
        let statement = try ByteStatement(
            """
            INSERT INTO item(hash, sort, model, time, writer, removed, json, owner, stream, stamps, marks, own, trail)
            VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT(hash, sort) DO UPDATE SET model = excluded.model, time = excluded.time,
                writer = excluded.writer, removed = excluded.removed, json = excluded.json,
                owner = excluded.owner, stream = excluded.stream, stamps = excluded.stamps,
                marks = excluded.marks, own = excluded.own, trail = excluded.trail
            """, in: feed.db)
        try statement.bind(1, key: (change.key.hash, change.key.sort))
        try statement.bind(3, change.model)
        try statement.bind(4, bits: change.version.time)
        try statement.bind(5, bits: change.version.writer)
        try statement.bind(6, change.isRemoval ? Instant.now.wall : nil)
        try statement.bind(7, change.body)
        try statement.bind(8, item.owner)
        try statement.bind(9, stream)
        try statement.bind(10, change.stamps.isEmpty ? nil : JSON.object(change.stamps).text)
        try statement.bind(11, text(item.marks))
        try statement.bind(12, bits: item.own)
        try statement.bind(13, item.trail.isEmpty ? nil : item.trail)
        try statement.run()
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
    static func change(_ row: ByteStatement, from index: Int32) -> Change {
        Change(
            model: row.text(index + 2), key: ItemKey(hash: row.text(index), sort: row.text(index + 1)),
            version: version(row, from: index + 3), isRemoval: row.integer(index + 5) != 0, body: row.bytes(index + 6))
    }

    /// The times of the fields' changes, see `FieldMerge`.
    static func stamps(_ row: ByteStatement, _ index: Int32) -> JSONObject {
        row.isNull(index) ? [:] : FieldMerge.object(row.bytes(index))
    }

    static func version(_ row: ByteStatement, from index: Int32) -> Version {
        Version(time: row.bits(index), writer: row.bits(index + 1))
    }
}
