import CPlatform
import IotoBase
import IotoSchema

/// Changes of models with a `delay`, which wait in memory to be committed together: the last one of each item.
///
/// A change is the item as it shall be; without a body it is removed. Only the thread that writes adds and takes, so that a transaction sees one state of it; any thread looks.
final class Gathering: @unchecked Sendable {
    private let lock = Lock()
    private let condition = Condition()
    private var changes: [StoredItem] = []
    private var bytes = 0
    /// When they are to be committed, on the monotonic clock.
    private var due: Int64?
    private var isStopping = false
    private var thread: Thread?

    /// Pause after a commit that failed, in milliseconds.
    private static let pauseAfterFailure: Int64 = 1_000

    /// Starts the thread that commits them in time.
    func start(_ flush: @escaping () -> Void) throws(IotoError) {
        thread = try Thread(name: "ioto-delay") { [unowned(unsafe) self] in self.run(flush) }
    }

    func stop() {
        let thread: Thread? = lock.withLock {
            isStopping = true
            condition.broadcast()
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    private func run(_ flush: () -> Void) {
        lock.lock()
        defer { lock.unlock() }
        while !isStopping {
            guard let due else {
                condition.wait(lock)
                continue
            }
            let left = due - platform_monotonic_ms()
            if left > 0 {
                _ = condition.wait(lock, timeout: left)
                continue
            }
            lock.unlock()
            flush()
            lock.lock()
            if !changes.isEmpty { self.due = platform_monotonic_ms() + Gathering.pauseAfterFailure }
        }
    }

    var isEmpty: Bool { lock.withLock { changes.isEmpty } }
    var all: [StoredItem] { lock.withLock { changes } }

    func change(of key: ItemKey) -> StoredItem? {
        lock.withLock { changes.last(of: key) }
    }

    /// Whether there is room for further changes of so many bytes.
    func hasRoom(_ count: Int, _ size: Int) -> Bool {
        lock.withLock {
            changes.count + count < StoreLimits.gatheredMax && bytes + size <= StoreLimits.gatheredBytesMax
        }
    }

    func add(_ staged: [StoredItem]) {
        guard !staged.isEmpty else { return }
        lock.lock()
        defer { lock.unlock() }
        for change in staged {
            bytes += change.body.count
            if let place = changes.place(of: change.key) {
                bytes -= changes[place].body.count
                changes[place] = change
            } else {
                changes.append(change)
            }
            due = min(due ?? .max, platform_monotonic_ms() + change.model.process.delay)
        }
        condition.broadcast()
    }

    func clear() {
        lock.withLock {
            changes = []
            bytes = 0
            due = nil
        }
    }
}

extension [StoredItem] {
    @inline(never)
    func place(of key: ItemKey) -> Int? {
        for place in indices.reversed() where self[place].key == key { return place }
        return nil
    }

    func last(of key: ItemKey) -> StoredItem? { place(of: key).map { self[$0] } }
}

extension Model {
    /// Whether changes gather in memory. A unique value has to be looked up on the disk, and is decided there.
    var isDelayed: Bool { process.delay > 0 && !process.isMemory && uniqueFields.isEmpty }
}

extension Store {
    /// Commits the changes that have gathered in memory. Within a transaction it does nothing: `begin` has done so.
    @inline(never)
    public func flushDelayed() throws(IotoError) {
        guard !gathering.isEmpty, !isInTransaction else { return }
        try write { (transaction) throws(IotoError) in try transaction.writeGathered() }
    }
}

extension StoreTransaction {
    /// Writes what has gathered in memory, as if it were changed now; later changes of the transaction are not gathered.
    ///
    /// A change that meets a ceiling by now, or another model's item, is refused as a call would have been, and told.
    public func writeGathered() throws(IotoError) {
        guard !isThrough else { return }
        isThrough = true
        let changes = store.gathering.all + staged
        staged = []
        for item in changes {
            do throws(IotoError) {
                if !item.body.isEmpty {
                    _ = try put(item.model, item.key, body: item.body)
                } else if let stored = try get(item.key, model: item.model) {
                    try remove(stored)
                }
            } catch {
                guard failure == nil, error.detail == 0, error.code == .full || error.code == .exists else { throw error }
                refusal = nil
                refused += 1
                note(.full, before: nil, after: item, reason: "refused: " + error.message)
            }
        }
    }

    /// Sees to it that a scan of the store finds what has gathered.
    @inline(never)
    public func prepareToScan(_ model: Model) throws(IotoError) {
        if model.isDelayed { try writeGathered() }
    }

    /// The change of an item that has not been written yet; nil when there is none.
    func gathered(_ key: ItemKey) -> StoredItem? {
        staged.last(of: key) ?? store.gathering.change(of: key)
    }

    /// Whether a change of so many bytes is to be gathered.
    func gathers(_ model: Model, _ size: Int) throws(IotoError) -> Bool {
        guard model.isDelayed, !isThrough else { return false }
        stagedBytes += size
        if store.gathering.hasRoom(staged.count, stagedBytes) { return true }
        try writeGathered()
        return false
    }
}
