import CPlatform
import IotoBase
import IotoStore

/// Calls triggers in commit order, with no lock held: on a thread of its own, or on the firmware's loop.
///
/// The queue is bounded by making writers wait, behind their commit and with nothing locked; replication, which must not wait, asks
/// for no further page while it is full. Whoever calls triggers never
/// waits, so that a trigger may write; the loop's thread, which nobody would wake, calls them itself.
final class TriggerDispatcher: @unchecked Sendable {
    private let lock = Lock()
    private let condition = Condition()
    private var triggers: [Trigger] = []
    /// What waits: first the events of `batch`, its last one before the others, then those of `queue`.
    private var batch: [StoreEvent] = []
    private var queue: [StoreEvent] = []
    private var running: Trigger?
    /// The thread that calls triggers at this moment, or 0.
    private var deliverer: UInt = 0
    private var thread: Thread?
    private var isStopping = false
    private var isRoomGranted = false
    /// Of delivery by a loop: readable while something waits; else negative.
    private var event: Int32 = -1
    /// The loop's thread, as far as it is known.
    private var loop: UInt = 0

    deinit {
        platform_close(event)
    }

    /// Adds a trigger; the first one starts the thread.
    func add(_ trigger: Trigger) throws(IotoError) {
        try lock.withLock { () throws(IotoError) in
            if thread == nil && event < 0 && !isStopping {
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
            while let running, running.identity == identity, deliverer != Thread.currentIdentity {
                condition.wait(lock)
            }
            return before - triggers.count
        }
    }

    /// Queues what some trigger wants. Called before the next commit, which makes the order that of the commits.
    func enqueue(_ events: [StoreEvent]) {
        lock.withLock {
            guard !triggers.isEmpty, !isStopping else { return }
            let wanted = events.filter { event in triggers.contains { $0.wants(event) } }
            guard !wanted.isEmpty else { return }
            if event >= 0, count == 0 { platform_event_signal(event) }
            queue.append(contentsOf: wanted)
            condition.broadcast()
        }
    }

    /// Whether writers wait for room.
    var isFull: Bool { lock.withLock { count >= Limits.triggerQueueMax && !isRoomGranted } }

    /// Waits while the queue is full, unless called by a trigger.
    func waitForRoom() {
        lock.withLock {
            while count >= Limits.triggerQueueMax, deliverer != Thread.currentIdentity, !isRoomGranted {
                if event >= 0, deliverer == 0, loop == Thread.currentIdentity {
                    _ = deliverNext()
                } else {
                    condition.wait(lock)
                }
            }
        }
    }

    /// Ends the waits for room, for good.
    func stopWaiting() {
        lock.withLock {
            isRoomGranted = true
            condition.broadcast()
        }
    }

    /// Delivers what is queued, then ends the thread.
    func stop() {
        let thread: Thread? = lock.withLock {
            isStopping = true
            isRoomGranted = true
            condition.broadcast()
            while event >= 0, deliverNext() != nil {}
            defer { self.thread = nil }
            return self.thread
        }
        thread?.join()
    }

    // MARK: Delivery by the firmware's loop

    /// Hands delivery over to the firmware's loop. The thread ends with the trigger that it is calling.
    ///
    /// - Returns: A descriptor that is readable while something waits.
    func descriptor() throws(IotoError) -> Int32 {
        let current = Thread.currentIdentity
        let former: Thread? = try lock.withLock { () throws(IotoError) in
            guard event < 0 else {
                loop = current
                return nil
            }
            guard deliverer != current else {
                throw IotoError(.misuse, "a trigger can't end the thread that it runs on")
            }
            let made = platform_event_new()
            guard made >= 0 else { throw IotoError(.memory, "no file descriptor is left") }
            event = made
            loop = current
            if count > 0 { platform_event_signal(event) }
            condition.broadcast()
            defer { thread = nil }
            return thread
        }
        former?.join()
        return event
    }

    /// Calls triggers on the calling thread, for some time or until none waits.
    ///
    /// - Parameter timeMax: Milliseconds after which no further event is delivered; negative: no limit.
    /// - Returns: The number of calls; 0 when triggers are being called already.
    func dispatch(timeMax: Int64) throws(IotoError) -> Int {
        let deadline = platform_monotonic_ms() + max(0, timeMax)
        return try lock.withLock { () throws(IotoError) in
            guard event >= 0 else { throw IotoError(.misuse, "triggers have a thread of their own: dbGetFd gives them to the loop") }
            guard deliverer == 0 else { return 0 }
            loop = Thread.currentIdentity
            var calls = 0
            while let more = deliverNext() {
                calls += more
                if timeMax >= 0, platform_monotonic_ms() >= deadline { break }
            }
            return calls
        }
    }

    // MARK: Steps

    private var count: Int { batch.count + queue.count }

    private func run() {
        lock.lock()
        defer { lock.unlock() }
        // Until a loop takes over.
        while event < 0 {
            if deliverNext() != nil { continue }
            if isStopping { return }
            condition.wait(lock)
        }
    }

    /// Delivers the first event that waits. The lock is held on entry and on return, not while triggers are called.
    ///
    /// - Returns: The number of calls; nil when nothing waits.
    private func deliverNext() -> Int? {
        if batch.isEmpty {
            batch = queue.reversed()
            queue.removeAll()
        }
        guard let next = batch.popLast() else { return nil }
        if event >= 0, count == 0 { platform_event_clear(event) }
        deliverer = Thread.currentIdentity
        defer {
            deliverer = 0
            condition.broadcast()
        }
        return deliver(next)
    }

    /// Calls the triggers that want the event, and that are still there when their turn comes.
    private func deliver(_ event: StoreEvent) -> Int {
        var calls = 0
        for trigger in triggers where trigger.wants(event) {
            guard triggers.contains(where: { $0 === trigger }) else { continue }
            running = trigger
            lock.unlock()
            let context = TriggerContext(
                before: event.before.map { Item($0) }, isRemote: event.isRemote, reason: event.reason,
                loser: event.loser.map { Item($0) })
            trigger.body(
                TriggerCall(
                    model: event.model, item: Item(event.item, trigger: context), kind: event.kind,
                    isRemoval: event.isRemoval || event.after == nil, events: TriggerEvents(event)))
            lock.lock()
            running = nil
            calls += 1
            condition.broadcast()
        }
        return calls
    }
}
