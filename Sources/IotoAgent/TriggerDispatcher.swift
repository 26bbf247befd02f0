import IotoBase
import IotoStore

/// Calls triggers on a thread of its own, in commit order, with no lock held.
///
/// The queue is bounded by making writers wait, behind their commit and with nothing locked; the dispatcher's own thread
/// never waits, so that a trigger may write.
final class TriggerDispatcher: @unchecked Sendable {
    private let lock = Lock()
    private let condition = Condition()
    private var triggers: [Trigger] = []
    private var queue: [StoreEvent] = []
    private var running: Trigger?
    private var thread: Thread?
    private var threadIdentity: UInt = 0
    private var isStopping = false

    /// Adds a trigger; the first one starts the thread.
    func add(_ trigger: Trigger) throws(IotoError) {
        try lock.withLock { () throws(IotoError) in
            if thread == nil && !isStopping {
                thread = try Thread(name: "ioto-trigger") { [unowned(unsafe) self] in self.run() }
            }
            triggers.append(trigger)
        }
    }

    func remove(_ identity: TriggerIdentity) -> Int {
        lock.withLock {
            let before = triggers.count
            triggers.removeAll { $0.identity == identity }
            // Within the trigger itself there is nothing to wait for.
            while let running, running.identity == identity, threadIdentity != Thread.currentIdentity {
                condition.wait(lock)
            }
            return before - triggers.count
        }
    }

    /// Queues what some trigger wants. Called with the store's writer locked, which makes the order that of the commits.
    func enqueue(_ events: [StoreEvent]) {
        lock.withLock {
            guard !triggers.isEmpty, !isStopping else { return }
            let wanted = events.filter { event in triggers.contains { $0.wants(event) } }
            guard !wanted.isEmpty else { return }
            queue.append(contentsOf: wanted)
            condition.broadcast()
        }
    }

    /// Waits while the queue is full, unless called by a trigger.
    func waitForRoom() {
        lock.withLock {
            while queue.count >= Limits.triggerQueueMax, threadIdentity != Thread.currentIdentity, !isStopping {
                condition.wait(lock)
            }
        }
    }

    /// Delivers what is queued, then ends the thread.
    func stop() {
        let thread: Thread? = lock.withLock {
            isStopping = true
            condition.broadcast()
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    private func run() {
        lock.lock()
        defer { lock.unlock() }
        threadIdentity = Thread.currentIdentity
        while true {
            if queue.isEmpty {
                if isStopping { return }
                condition.wait(lock)
                continue
            }
            let events = queue
            queue.removeAll()
            condition.broadcast()
            for event in events { deliver(event) }
        }
    }

    /// Calls the triggers that want the event, and that are still there when their turn comes. The lock is held on entry
    /// and on return, not during the calls.
    private func deliver(_ event: StoreEvent) {
        for trigger in triggers where trigger.wants(event) {
            guard let stored = event.after ?? event.before, triggers.contains(where: { $0 === trigger }) else {
                continue
            }
            running = trigger
            lock.unlock()
            let context = TriggerContext(
                before: event.before.map { Item($0) }, isRemote: event.isRemote, reason: event.reason)
            trigger.body(
                TriggerCall(
                    model: event.model, item: Item(stored, trigger: context), kind: event.kind,
                    events: TriggerEvents(event)))
            lock.lock()
            running = nil
            condition.broadcast()
        }
    }
}
