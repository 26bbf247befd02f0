import GRDB
import IotoBase
import IotoSchema
import IotoSync

/// Gives places in feeds within one transaction, and remembers where each stood before.
struct FeedWriter {
    let db: Database
    let history: UInt64
    /// The store's clock, for the entries that follow.
    var time: UInt64 = 0
    /// What stores an item that is new, once there was one.
    var insertion: ByteStatement?
    /// In order of first use.
    private(set) var advances: [FeedAdvance] = []

    init(db: Database, history: UInt64) {
        self.db = db
        self.history = history
    }

    /// Enters the removal that those who follow a stream get to see of an item that leaves it.
    ///
    /// - Parameter former: What they know of it.
    mutating func part(_ former: Change, version: Version, from stream: Text) throws {
        let position = try next(in: stream)
        let statement = try ByteStatement(
            "INSERT INTO parted(stream, position, hash, sort, model, json, time, writer, committed) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            in: db)
        try statement.bind(1, stream)
        try statement.bind(2, position)
        try statement.bind(3, key: (former.key.hash, former.key.sort))
        try statement.bind(5, former.model)
        try statement.bind(6, former.body)
        try statement.bind(7, bits: version.time)
        try statement.bind(8, bits: version.writer)
        try statement.bind(9, bits: time)
        try statement.run()
    }

    /// The item comes back to a stream that it may have left before.
    func join(_ key: ItemKey, _ stream: Text) throws {
        let statement = try ByteStatement("DELETE FROM parted WHERE hash = ? AND sort = ? AND stream = ?", in: db)
        try statement.bind(1, key: (key.hash, key.sort))
        try statement.bind(3, stream)
        try statement.run()
    }

    /// Writes the new ends of the feeds. To be called once, last.
    func finish() throws {
        for advance in advances {
            let statement = try ByteStatement(
                """
                INSERT INTO head(stream, position, moved, floor)
                VALUES(?, ?, (SELECT coalesce(max(moved), 0) + 1 FROM head), 0)
                ON CONFLICT(stream) DO UPDATE SET position = excluded.position, moved = excluded.moved
                """, in: db)
            try statement.bind(1, advance.stream)
            try statement.bind(2, advance.cursor)
            try statement.run()
        }
    }

    /// The place behind the feed's end, the first of `count`.
    mutating func next(in stream: Text, count: Int64 = 1) throws -> Int64 {
        if let index = advances.firstIndex(where: { $0.stream == stream }) {
            advances[index].cursor += count
            return advances[index].cursor - count + 1
        }
        let head = try SQLiteStore.head(of: stream, in: db)
        advances.append(FeedAdvance(stream: stream, history: history, previous: head, cursor: head + count))
        return head + 1
    }
}

/// Where a reading of a feed begins.
enum FeedStart {
    case after(Int64)
    /// At the first entry that was committed when the store's clock stood there or above.
    case since(UInt64)
}

extension SQLiteStore {
    /// Position of the feed's last entry; 0 before the first.
    static func head(of stream: Text, in db: Database) throws -> Int64 {
        let statement = try ByteStatement("SELECT position FROM head WHERE stream = ?", in: db)
        try statement.bind(1, stream)
        guard try statement.step() else { return 0 }
        defer { statement.end() }
        return statement.integer(0)
    }

    public func broadcastFeeds() async throws(IotoError) -> [StreamCursor] {
        let history = history
        return try await read(.kept) { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT stream, position FROM head WHERE stream = ? OR stream >= 'account/' AND stream < 'account0'
                    """, arguments: [IotoSync.Stream.all.string])
            var feeds = rows.map {
                StreamCursor(stream: Text($0[0] as String), history: history, position: $0[1])
            }
            if !feeds.contains(where: { $0.stream == IotoSync.Stream.all }) {
                feeds.append(StreamCursor(stream: IotoSync.Stream.all, history: history, position: 0))
            }
            return feeds
        }
    }

    /// A stretch of a feed.
    ///
    /// Entries that were superseded leave holes; a page that reaches the feed's end names that end as its cursor, so
    /// that the holes are behind whoever reads on. A position beyond the end is of another history, or of a store that
    /// was set back: the page then is empty and names this store's end and history, which tells the reader.
    static func page(
        of stream: Text, _ history: UInt64, from start: FeedStart, _ bytesMax: Int, _ itemsMax: Int, in db: Database
    ) throws -> FeedPage {
        let position =
            switch start {
            case .after(let position): position
            case .since(let time): try SQLiteStore.position(before: time, in: stream, db)
            }
        var page = FeedPage(
            stream: stream, history: history, previous: position, cursor: position, hasMore: false, entries: [],
            time: try SQLiteStore.clock(in: db).last)
        page.floor =
            try Int64.fetchOne(
                db.cachedStatement(sql: "SELECT floor FROM head WHERE stream = ?"), arguments: [stream.string]) ?? 0
        let rows = try ByteStatement(
            try SQLiteStore.isParted(stream, after: position, in: db)
                ? SQLiteStore.entries + " UNION ALL " + SQLiteStore.partedEntries + " ORDER BY 1"
                : SQLiteStore.entries + " ORDER BY 1", in: db)
        try rows.bind(1, stream)
        try rows.bind(2, position)
        var bytes = 0
        func takes(_ entry: FeedEntry) -> Bool {
            bytes += entry.change.body.count + 2 * (entry.change.key.hash.count + entry.change.key.sort.count) + 128
            for (name, _) in entry.change.stamps { bytes += name.count + 24 }
            if !page.entries.isEmpty, bytes > bytesMax || page.entries.count >= itemsMax {
                page.hasMore = true
                return false
            }
            page.entries.append(entry)
            return true
        }
        while try rows.step(), takes(SQLiteStore.feedEntry(rows)) {}
        rows.end()
        if !page.hasMore { try SQLiteStore.journalEntries(of: stream, after: position, in: db, takes) }
        page.end = try SQLiteStore.head(of: stream, in: db)
        page.cursor = if page.hasMore, let last = page.entries.last { last.position } else { page.end }
        return page
    }

    /// The position behind which every entry was committed at `time` or later.
    private static func position(before time: UInt64, in stream: Text, _ db: Database) throws -> Int64 {
        let statement = try db.cachedStatement(
            sql: """
                SELECT * FROM (SELECT position, committed FROM item WHERE stream = ?1 AND position >= ?2 ORDER BY 1 LIMIT 1)
                UNION ALL
                SELECT * FROM (SELECT position, committed FROM parted WHERE stream = ?1 AND position >= ?2 ORDER BY 1 LIMIT 1)
                ORDER BY 1 LIMIT 1
                """)
        var (low, high) = (Int64(1), try head(of: stream, in: db) + 1)
        while low < high {
            let middle = low + (high - low) / 2
            if let row = try Row.fetchOne(statement, arguments: [stream.string, middle]),
                UInt64(bitPattern: row[1] as Int64) < time {
                low = (row[0] as Int64) + 1
            } else {
                high = middle
            }
        }
        return low - 1
    }

    private static let entries = """
        SELECT position, hash, sort, model, time, writer, removed IS NOT NULL, json, own, stamps FROM item
        WHERE stream = ?1 AND position > ?2
        """
    private static let partedEntries = """
        SELECT position, hash, sort, model, time, writer, 1, json, 0, NULL FROM parted WHERE stream = ?1 AND position > ?2
        """

    /// Whether items have left a stream that were in it behind a position.
    private static func isParted(_ stream: Text, after position: Int64, in db: Database) throws -> Bool {
        let statement = try ByteStatement("SELECT 1 FROM parted WHERE stream = ? AND position > ? LIMIT 1", in: db)
        try statement.bind(1, stream)
        try statement.bind(2, position)
        defer { statement.end() }
        return try statement.step()
    }

    private static func feedEntry(_ row: ByteStatement) -> FeedEntry {
        var change = SQLiteStore.change(row, from: 1)
        change.own = row.bits(8)
        change.stamps = SQLiteStore.stamps(row, 9)
        return FeedEntry(position: row.integer(0), change: change)
    }
}
