import Foundation
import GRDB
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

extension SQLiteStore {
    public func item(_ key: ItemKey) async throws(IotoError) -> Change? {
        try await read { db in try SQLiteStore.stored(key, in: db)?.item.change }
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
            guard let stored = try SQLiteStore.stored(key, in: db) else { return nil }
            let item = stored.item
            var found = ItemHistory(change: item.change, trail: item.trail)
            if let stream = item.stream, let position = stored.position {
                found.place = StreamCursor(stream: stream, history: history, position: position)
            }
            return found
        }
    }

    public func write(_ write: LocalWrite) async throws(IotoError) -> Change? {
        let (writer, history) = (writer, history)
        return try await self.write { db in
            let current = try SQLiteStore.stored(write.key, in: db)?.item
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
                let body = FieldMerge.object(write.body)
                guard body.count <= FieldMerge.propertiesMax else {
                    throw IotoError(
                        .limit, "an item of model \"\(write.model)\" has more than \(FieldMerge.propertiesMax) properties")
                }
                change.stamps = known?.stamps ?? [:]
                FieldMerge.stamp(&change.stamps, from: FieldMerge.object(known?.body ?? []), to: body, at: version.time)
                change.stamps = FieldMerge.bounded(change.stamps, of: body)
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
                guard let current = try SQLiteStore.stored(removal.key, in: db)?.item, !current.change.isRemoval,
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

    /// An item's state, and the place of its entry in its stream.
    static func stored(_ key: ItemKey, in db: Database) throws -> (item: ItemState, position: Int64?)? {
        let statement = try ByteStatement(
            """
            SELECT model, time, writer, removed IS NOT NULL, json, stream, owner, own, trail, position, marks, stamps
            FROM item WHERE hash = ? AND sort = ?
            """, in: db)
        try statement.bind(1, key: (key.hash, key.sort))
        guard try statement.step() else { return nil }
        defer { statement.end() }
        var change = Change(
            model: statement.text(0), key: key, version: version(statement, from: 1),
            isRemoval: statement.integer(3) != 0, body: statement.bytes(4))
        change.stamps = stamps(statement, 11)
        var item = ItemState(change: change, stream: statement.optionalText(5), owner: statement.text(6))
        item.marks = statement.bytes(10).split(separator: UInt8(ascii: ",")).compactMap {
            Int64(String(decoding: $0, as: UTF8.self))
        }
        item.own = statement.bits(7)
        item.trail = statement.bytes(8)
        return (item, statement.isNull(9) ? nil : statement.integer(9))
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

    /// Stores a state of an item in the place of the current one, with its entry in its stream.
    static func replace(
        _ current: ItemState?, by item: ItemState, feed: inout FeedWriter
    ) throws {
        let (change, stream) = (item.change, item.stream)
        if let left = current?.stream, let stream, left != stream, let former = current?.change {
            // Whoever follows the stream that the item leaves gets to see it go, and nothing of what it now is: it may
            // be another device's. A model that no longer goes down leaves its items where they are.
            try feed.part(former, version: change.version, from: left)
        }
        if current != nil, let stream, current?.stream != stream { try feed.join(change.key, stream) }
        guard current != nil else {
            guard try insert(item, feed: &feed) else {
                throw DatabaseError(resultCode: .SQLITE_CONSTRAINT, message: "an item is there that was not")
            }
            return
        }
        // What stays as it is needs no look at its index.
        let isSame = current?.change.model == change.model && !change.isRemoval && current?.change.isRemoval == false
        let statement = try ByteStatement(isSame ? updateSame : update, in: feed.db)
        try bind(item, at: try stream.map { try feed.next(in: $0) }, committed: feed.time, to: statement)
        try statement.run()
    }

    /// Stores an item that is not there yet.
    ///
    /// - Returns: False, and nothing is stored, when it is.
    static func insert(_ item: ItemState, feed: inout FeedWriter) throws -> Bool {
        let statement = try feed.insertion ?? insertion(in: feed.db)
        // To find it by its text takes as long as to fill it in.
        if feed.insertion == nil { feed.insertion = statement } else { statement.renew() }
        let before = feed
        let position = try item.stream.map { try feed.next(in: $0) }
        if try insert(item, at: position, committed: feed.time, statement, in: feed.db) { return true }
        feed = before
        return false
    }

    /// The same with a place that was given to it before.
    ///
    /// - Parameter statement: Of `insertion(in:)`, ready to be run.
    static func insert(
        _ item: ItemState, at position: Int64?, committed: UInt64, _ statement: ByteStatement, in db: Database
    ) throws -> Bool {
        try bind(item, at: position, committed: committed, to: statement)
        try statement.run()
        return db.changesCount > 0
    }

    static func insertion(in db: Database) throws -> ByteStatement { try ByteStatement(insert, in: db) }

    private static let insert = """
        INSERT INTO item(hash, sort, time, writer, json, owner, stream, position, committed, own, stamps, marks, trail, model, removed)
        VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT(hash, sort) DO NOTHING
        """
    private static let updateSame = """
        UPDATE item SET time = ?3, writer = ?4, json = ?5, owner = ?6, stream = ?7, position = ?8, committed = ?9, own = ?10,
            stamps = ?11, marks = ?12, trail = ?13 WHERE hash = ?1 AND sort = ?2
        """
    private static let update = """
        UPDATE item SET time = ?3, writer = ?4, json = ?5, owner = ?6, stream = ?7, position = ?8, committed = ?9, own = ?10,
            stamps = ?11, marks = ?12, trail = ?13, model = ?14, removed = ?15 WHERE hash = ?1 AND sort = ?2
        """

    /// Binds a state and its place to the parameters of these.
    private static func bind(_ item: ItemState, at position: Int64?, committed: UInt64, to statement: ByteStatement) throws {
        let change = item.change
        try statement.bind(1, key: (change.key.hash, change.key.sort))
        try statement.bind(3, bits: change.version.time)
        try statement.bind(4, bits: change.version.writer)
        try statement.bind(5, change.body)
        try statement.bind(6, item.owner)
        try statement.bind(7, item.stream)
        try statement.bind(8, position)
        try statement.bind(9, bits: committed)
        try statement.bind(10, bits: item.own)
        if !change.stamps.isEmpty { try statement.bind(11, JSON.object(change.stamps).text) }
        if !item.marks.isEmpty { try statement.bind(12, text(item.marks)) }
        if !item.trail.isEmpty { try statement.bind(13, item.trail) }
        guard statement.parameters > 13 else { return }
        try statement.bind(14, change.model)
        try statement.bind(15, change.isRemoval ? Instant.now.wall : nil)
    }

    static func setTrail(_ trail: [UInt8], of key: ItemKey, in db: Database) throws {
        let statement = try ByteStatement("UPDATE item SET trail = ? WHERE hash = ? AND sort = ?", in: db)
        try statement.bind(1, trail)
        try statement.bind(2, key: (key.hash, key.sort))
        try statement.run()
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
