import GRDB
import IotoBase
import Synchronization

/// Notices the commits that move feeds, of this process and of others, on a connection of its own.
///
/// SQLite has no notification between processes, but `PRAGMA data_version` tells a connection whether others have
/// committed since it asked last (sqlite.org/pragma.html#pragma_data_version), at the price of reading a word of
/// shared memory.
final class FeedWatcher: Sendable {
    /// How often other processes' commits are looked for, in milliseconds.
    static let interval = 100

    /// Nil once stopped; the connection closes when the reading that has taken it is done.
    private let queue: Mutex<DatabaseQueue?>
    private let reader: FeedReader
    private let ticks: AsyncStream<Void>
    private let tick: AsyncStream<Void>.Continuation
    private let timer: Task<Void, Never>

    /// Starts to watch: what is committed from now on is told.
    init(path: String) throws {
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(Double(Limits.busyTimeout) / 1000)
        configuration.label = "ioto-cloud.watcher"
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        reader = FeedReader()
        // One tick waits at most: however late the reader comes, it finds all that has moved.
        (ticks, tick) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        _ = try queue.read { [reader] db in try reader.moved(in: db) }
        self.queue = Mutex(queue)
        timer = Task { [tick] in
            while !Task.isCancelled {
                try? await Task.sleep(for: .milliseconds(FeedWatcher.interval))
                tick.yield()
            }
        }
    }

    deinit {
        stop()
    }

    /// Looks at once, since this process has committed.
    func look() {
        tick.yield()
    }

    /// Ends `next()` and closes the connection. May be called again.
    func stop() {
        timer.cancel()
        tick.finish()
        queue.withLock { $0 = nil }
    }

    /// The streams that moved since the last call, at least one; nil after `stop`.
    func next() async -> [Text]? {
        for await _ in ticks {
            guard let queue = queue.withLock({ $0 }) else { return nil }
            do {
                let streams = try await queue.read { [reader] db in try reader.moved(in: db) }
                if !streams.isEmpty { return streams }
            } catch {
                // The next tick asks again, and finds these moves too.
                Log.warning("the feeds can't be watched: \(error)")
            }
        }
        return nil
    }
}

/// Where the watcher stands; used on its connection's queue alone.
private final class FeedReader: @unchecked Sendable {
    private var version: Int64 = -1
    private var moved: Int64 = -1

    func moved(in db: Database) throws -> [Text] {
        let version = try Int64.fetchOne(db.cachedStatement(sql: "PRAGMA data_version")) ?? 0
        if version == self.version { return [] }
        guard moved >= 0 else {
            moved = try Int64.fetchOne(db, sql: "SELECT max(moved) FROM head") ?? 0
            self.version = version
            return []
        }
        let statement = try db.cachedStatement(
            sql: "SELECT stream, moved FROM head WHERE moved > ? ORDER BY moved")
        let rows = try Row.fetchAll(statement, arguments: [moved])
        if let last = rows.last { moved = last[1] }
        self.version = version
        return rows.map { Text($0[0] as String) }
    }
}
