import CPlatform
import IotoBase
import IotoSchema
import IotoStore

/// Removes expired items in the background: when the first is due, a bounded number in each transaction. Nothing is read
/// or written, and the thread does not wake, while none is due.
///
/// The time of day may be set, or learned, meanwhile: the thread looks at it every quarter of an hour, if there is anything that
/// can expire at all.
final class ExpiryWorker: @unchecked Sendable {
    private unowned(unsafe) let store: Store
    private unowned(unsafe) let triggers: TriggerDispatcher
    private let lock = Lock()
    private let condition = IotoBase.Condition()
    private var thread: Thread?
    private var isStopping = false
    /// When the next item expires, Unix milliseconds, as far as is known; nil: none does.
    private var due: Int64? = 0

    /// Least and longest wait between two looks, and the wait after a failure, in milliseconds.
    private static let waitMin: Int64 = 1_000
    private static let waitMax: Int64 = 900_000
    private static let waitAfterFailure: Int64 = 60_000
    /// Wait between two looks whether the cloud has told the time of day, in milliseconds.
    private static let waitForTime: Int64 = 5_000

    init(_ store: Store, _ triggers: TriggerDispatcher) throws(IotoError) {
        self.store = store
        self.triggers = triggers
        thread = try Thread(name: "ioto-expiry") { [unowned(unsafe) self] in self.run() }
    }

    /// Ends the thread, after the transaction that it may be in.
    func stop() {
        let thread: Thread? = lock.withLock {
            isStopping = true
            condition.broadcast()
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    /// Takes notice of changes. Called with the store's writer locked.
    func notice(_ events: [StoreEvent]) {
        for event in events {
            guard event.model.ttlField != nil, let body = event.after?.body,
                let time = body.withUnsafeBytes({ event.model.expiry(ofBody: $0) })
            else { continue }
            lock.withLock {
                if let due, due <= time { return }
                due = time
                condition.broadcast()
            }
        }
    }

    private func run() {
        var isFailing = false
        while true {
            let isEnding = lock.withLock {
                // What is committed from here on is noticed, and what was committed before is read.
                due = nil
                return isStopping
            }
            if isEnding { return }
            var next: Int64?
            do throws(IotoError) {
                while store.removalHold() <= 0, try store.removeExpired().hasMore {
                    triggers.waitForRoom()
                    if lock.withLock({ isStopping }) { return }
                }
                next = try store.nextExpiry()
                isFailing = false
            } catch {
                if !isFailing { Log.warning("expired items can't be removed, which is tried again: \(error.message)") }
                isFailing = true
            }
            guard sleep(until: next, isFailing) else { return }
        }
    }

    /// - Returns: Whether to go on.
    private func sleep(until next: Int64?, _ isFailing: Bool) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        if let next { due = min(due ?? next, next) }
        // Many items that expire one after the other are removed together.
        if !isStopping { _ = condition.wait(lock, timeout: isFailing ? ExpiryWorker.waitAfterFailure : ExpiryWorker.waitMin) }
        while !isStopping {
            guard let due else {
                condition.wait(lock)
                continue
            }
            let left = due - store.timeOfDay()
            if left <= 0, store.removalHold() <= 0 { return true }
            _ = condition.wait(lock, timeout: left <= 0 ? ExpiryWorker.waitForTime : min(left, ExpiryWorker.waitMax))
        }
        return false
    }
}
