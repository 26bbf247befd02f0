import IotoBase
import IotoSchema

/// The changes that were sent and are not answered yet, over all tries: a late answer to an earlier try counts too. The
/// replicator changes it, and any thread may ask.
public final class SentChanges: @unchecked Sendable {
    private let lock = Lock()
    private var changes: [Version: PendingChange] = [:]
    /// What is answered, and not settled yet.
    private var answers: [Settlement.Entry] = []
    /// Of the items' bodies. The replicator's own to ask.
    private(set) var bytes = 0

    public init() {}

    /// The replicator's own to ask.
    public var count: Int { changes.count }

    /// Whether a state of the item, of this time or a later one, is on its way.
    public func holds(_ key: ItemKey, from time: UInt64) -> Bool {
        lock.withLock {
            for (version, pending) in changes where pending.change.key == key && version.time >= time { return true }
            return answers.contains { $0.pending.change.key == key && $0.pending.change.version.time >= time }
        }
    }

    func find(_ version: Version) -> PendingChange? { changes[version] }

    func add(_ entries: [PendingChange]) {
        lock.withLock {
            for entry in entries {
                bytes += entry.change.body.count - (changes[entry.change.version]?.change.body.count ?? 0)
                changes[entry.change.version] = entry
            }
        }
    }

    /// These are answered; until they are settled they count as on their way.
    func answered(_ entries: [Settlement.Entry]) {
        remove(entries)
        lock.withLock { answers += entries }
    }

    /// All that is answered is settled.
    func settled() {
        lock.withLock { answers = [] }
    }

    func remove(_ entries: [Settlement.Entry]) {
        lock.withLock {
            for entry in entries {
                bytes -= changes.removeValue(forKey: entry.pending.change.version)?.change.body.count ?? 0
            }
        }
    }

    func removeAll() {
        lock.withLock {
            changes.removeAll()
            bytes = 0
        }
    }
}
