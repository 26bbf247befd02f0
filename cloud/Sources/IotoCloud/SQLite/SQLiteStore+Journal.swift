import GRDB
import IotoBase
import IotoSchema
import IotoSync
import Synchronization

/// What a transaction needs of the journal.
enum JournalUse {
    /// All items are in their table: what the journal has is merged first.
    case merged
    /// It leaves the items alone, or sees to the journal itself.
    case kept
}

/// What this process knows of the journal, in which new items wait for their table.
///
/// The rows in the journal are of one process at a time, since each merges first what it finds of another. A row's id is random
/// in an empty journal, and else the next one: as long as the last is the one that this process has given, all are its own. So
/// nothing has to be taken back when a transaction fails.
final class Journal: Sendable {
    /// Changes of a request that makes it worthwhile to begin one, or to go on a while.
    static let itemsMin = 16
    /// Keys that are known at most.
    static let keysMax = 1_000_000
    /// Items merged in one transaction while there is time, so that writers don't wait long.
    static let pieceItems = 1000

    /// For the store's writer alone.
    struct Own {
        var last: Int64?
        /// What it holds at most.
        var bytes = 0
        /// Hash values of the keys, merged ones among them. Those of two keys may be equal: then the second takes the longer way.
        var keys: Set<Int> = []
    }

    private struct Idle {
        var last = ContinuousClock.now
        var task: Task<Void, Never>?
        var isClosed = false
    }

    /// Bytes that the journal may hold before each request has the oldest of it merged.
    let bytesMax: Int
    /// How long nothing is journaled before it is merged.
    private let pause: Duration
    let own = Mutex(Own())
    private let idle = Mutex(Idle())

    init(bytesMax: Int = 8 * 1024 * 1024, pause: Duration = .milliseconds(200)) {
        self.bytesMax = bytesMax
        self.pause = pause
    }

    deinit {
        close()
    }

    /// Something is journaled: it is to be merged when nothing more comes.
    ///
    /// - Parameter merge: Merges a piece; false when there is none.
    func noteWork(_ merge: @escaping @Sendable () async throws(IotoError) -> Bool) {
        idle.withLock { idle in
            idle.last = .now
            guard idle.task == nil, !idle.isClosed else { return }
            idle.task = Task { [weak self] in
                while let pause = self?.pauseNeeded() {
                    if pause > .zero {
                        try? await Task.sleep(for: pause)
                        continue
                    }
                    let start = ContinuousClock.now
                    do throws(IotoError) {
                        if try await merge() { continue }
                    } catch {
                        // Whoever needs the items, or journals more, tries again.
                        if !Task.isCancelled { Log.warning("the journal can't be merged: \(error.message)") }
                    }
                    if self?.endsTask(since: start) ?? true { return }
                }
            }
        }
    }

    /// How long to wait still; nil when it is closed, and the task ends.
    private func pauseNeeded() -> Duration? {
        idle.withLock { idle in
            if !idle.isClosed { return max(.zero, pause - (ContinuousClock.now - idle.last)) }
            idle.task = nil
            return nil
        }
    }

    /// The task may end, if nothing was journaled since.
    private func endsTask(since start: ContinuousClock.Instant) -> Bool {
        idle.withLock { idle in
            guard idle.last <= start else { return false }
            idle.task = nil
            return true
        }
    }

    /// Whether there is a task that is going to merge.
    var isWaiting: Bool { idle.withLock { $0.task != nil } }

    func close() {
        idle.withLock { idle in
            idle.isClosed = true
            idle.task?.cancel()
        }
    }
}

extension SQLiteStore {
    // MARK: - Writing

    /// Stores a request's items in the journal, if all are new, of one stream or none, and nothing is to be kept beside them.
    ///
    /// - Returns: False, and nothing is done but that the journal may be merged, when they are not.
    func journal(_ changes: [StreamedChange], device: Text, _ arbiter: inout Arbiter, _ feed: inout FeedWriter) throws -> Bool {
        guard let stream = changes.first.map(\.stream), changes.allSatisfy({ $0.stream == stream }) else { return false }
        let isMany = changes.count >= Journal.itemsMin
        let isJournaled = try journal.own.withLock { own in
            let last = try SQLiteStore.lastJournalID(in: feed.db)
            guard isMany || last != nil else { return false }
            if last == nil || last != own.last || own.keys.count > Journal.keysMax {
                try SQLiteStore.merge(in: feed.db)
                own = Journal.Own()
            }
            while own.bytes > journal.bytesMax {
                let merged = try SQLiteStore.mergePiece(in: feed.db)
                own.bytes = merged > 0 ? own.bytes - merged : 0
            }
            guard try SQLiteStore.areNew(changes, in: feed.db), changes.allSatisfy({ own.keys.insert($0.change.key.hashValue).inserted })
            else { return false }

            var attempt = arbiter
            var (items, committed) = ([ItemState](), [UInt64]())
            items.reserveCapacity(changes.count)
            committed.reserveCapacity(changes.count)
            for entry in changes {
                guard case .store(let item) = attempt.decide(entry, over: nil, position: nil), item.isPlain else { return false }
                items.append(item)
                committed.append(attempt.clock.last)
            }
            arbiter = attempt

            let bytes = JournalCodec.bytes(of: items, committed: committed)
            let id = own.last.map { $0 + 1 } ?? Int64(SystemRandom.uint64() >> 2)
            let first = try stream.map { try feed.next(in: $0, count: Int64(items.count)) } ?? 0
            let statement = try ByteStatement(
                "INSERT INTO journal(id, owner, stream, first, last, items) VALUES(?, ?, ?, ?, ?, ?)", in: feed.db)
            try statement.bind(1, id)
            try statement.bind(2, device)
            try statement.bind(3, stream)
            try statement.bind(4, first)
            try statement.bind(5, first + Int64(items.count - 1))
            try statement.bind(6, blob: bytes)
            try statement.run()
            own.last = id
            own.bytes += bytes.count
            return true
        }
        // A few don't put the merging off.
        if isJournaled, isMany { journal.noteWork { [weak self] () async throws(IotoError) in try await self?.mergePiece() ?? false } }
        return isJournaled
    }

    private static func lastJournalID(in db: Database) throws -> Int64? {
        let statement = try ByteStatement("SELECT max(id) FROM journal", in: db)
        defer { statement.end() }
        guard try statement.step(), !statement.isNull(0) else { return nil }
        return statement.integer(0)
    }

    /// Whether the table has none of the items.
    private static func areNew(_ changes: [StreamedChange], in db: Database) throws -> Bool {
        let keys = changes.map(\.change.key)
        guard let first = keys.min(), let last = keys.max() else { return true }
        // Most often there is nothing between them at all.
        let range = try ByteStatement("SELECT 1 FROM item WHERE (hash, sort) >= (?, ?) AND (hash, sort) <= (?, ?) LIMIT 1", in: db)
        defer { range.end() }
        try range.bind(1, key: (first.hash, first.sort))
        try range.bind(3, key: (last.hash, last.sort))
        if try !range.step() { return true }
        let one = try ByteStatement("SELECT 1 FROM item WHERE hash = ? AND sort = ?", in: db)
        defer { one.end() }
        for key in keys {
            one.renew()
            try one.bind(1, key: (key.hash, key.sort))
            if try one.step() { return false }
        }
        return true
    }

    // MARK: - Merging

    static func isJournalEmpty(in db: Database) throws -> Bool {
        let statement = try ByteStatement("SELECT 1 FROM journal LIMIT 1", in: db)
        defer { statement.end() }
        return try !statement.step()
    }

    /// Moves what the journal has to the items' table.
    static func merge(in db: Database) throws {
        while try mergePiece(in: db) > 0 {}
    }

    /// - Returns: False when there is nothing left.
    private func mergePiece() async throws(IotoError) -> Bool {
        try await write(isTold: true, .kept) { [journal] db in
            if try SQLiteStore.mergePiece(in: db) > 0 { return true }
            journal.own.withLock { $0 = Journal.Own() }
            return false
        }
    }

    /// Merges the oldest rows: what stays in the journal stands behind them in its feed.
    ///
    /// - Returns: Their bytes; 0: there are none.
    private static func mergePiece(in db: Database) throws -> Int {
        var items: [(item: ItemState, position: Int64?, committed: UInt64)] = []
        var (bytes, last) = (0, Int64(0))
        let rows = try ByteStatement("SELECT owner, stream, first, last, items, id FROM journal ORDER BY id", in: db)
        defer { rows.end() }
        while items.count < Journal.pieceItems, try rows.step() {
            let (owner, stream) = (rows.text(0), rows.optionalText(1))
            var row = try JournalRow(rows, from: 2)
            while let (position, entry) = try row.next() {
                var item = ItemState(change: entry.change, stream: stream, owner: owner)
                item.own = entry.own
                items.append((item, stream == nil ? nil : position, entry.committed))
            }
            bytes += rows.size(4)
            last = rows.integer(5)
        }
        rows.end()
        if bytes == 0 { return 0 }

        // In the order of the larger indexes.
        items.sort { $0.item.change.key < $1.item.change.key }
        let insertion = try insertion(in: db)
        for (item, position, committed) in items {
            insertion.renew()
            guard try insert(item, at: position, committed: committed, insertion, in: db) else { throw JournalReader.damage }
        }
        let removal = try ByteStatement("DELETE FROM journal WHERE id <= ?", in: db)
        try removal.bind(1, last)
        try removal.run()
        return bytes
    }

    // MARK: - Reading

    /// Calls `visit` with a feed's entries that are in the journal behind a position, in order, until it returns false. All of
    /// them stand behind those that are not.
    static func journalEntries(
        of stream: Text, after position: Int64, in db: Database, _ visit: (FeedEntry) -> Bool
    ) throws {
        let rows = try ByteStatement(
            "SELECT first, last, items FROM journal WHERE stream = ? AND last > ? ORDER BY last", in: db)
        try rows.bind(1, stream)
        try rows.bind(2, position)
        defer { rows.end() }
        while try rows.step() {
            var row = try JournalRow(rows, from: 0)
            try row.skip(to: position)
            while let (position, entry) = try row.next() {
                var change = entry.change
                change.own = entry.own
                if !visit(FeedEntry(position: position, change: change)) { return }
            }
        }
    }
}

/// A row of the journal that is read.
private struct JournalRow {
    private var reader: JournalReader
    private var position: Int64
    private let last: Int64

    /// - Parameter column: The first of `first`, `last` and `items`.
    init(_ row: ByteStatement, from column: Int32) throws {
        (position, last) = (row.integer(column), row.integer(column + 1))
        guard position >= 0, position <= last, last < .max else { throw JournalReader.damage }
        reader = JournalReader(row.bytes(column + 2))
    }

    mutating func skip(to former: Int64) throws {
        guard former >= position else { return }
        try reader.skip(former - position + 1)
        position = former + 1
    }

    /// The next item and its position in its stream.
    mutating func next() throws -> (position: Int64, item: JournalItem)? {
        guard let item = try reader.next() else {
            guard position == last + 1 else { throw JournalReader.damage }
            return nil
        }
        guard position <= last else { throw JournalReader.damage }
        defer { position += 1 }
        return (position, item)
    }
}

extension ItemState {
    /// There is nothing to it that the journal has no room for.
    fileprivate var isPlain: Bool { !change.isRemoval && marks.isEmpty && trail.isEmpty && change.stamps.isEmpty }
}
