import Dispatch
import IotoBase
import IotoSchema
import IotoSync
import Logging
import Synchronization

/// The cloud at work: it joins the store and the broker by the hub's protocol, until it is told to stop.
///
/// Every input of the hub's state machine passes through one inbox to one owner at a time: the hub's thread, or the broker's
/// for a small message that comes alone. Requests to the store run beside it, and so may be many at once; when there is
/// nothing else to do, the owner carries a small one out itself, since each change of threads takes as long as that. Nothing
/// is acknowledged before the store has it.
public final class CloudService: Sendable {
    fileprivate let store: any CloudStore
    private let schema: Schema
    private let broker: BrokerAddress
    private let prefix: Text
    fileprivate let packetBytesMax: Int?
    fileprivate let inbox = HubInbox()

    /// - Parameters:
    ///   - prefix: Stands before `ioto/service/...` in one more subscription, for devices that are configured so.
    ///   - packetBytesMax: The largest packet that the broker takes, in bytes, if it does not tell; nil: not known.
    public init(store: any CloudStore, schema: Schema, broker: BrokerAddress, prefix: String = "", packetBytesMax: Int? = nil) {
        self.packetBytesMax = packetBytesMax
        self.store = store
        self.schema = schema
        self.broker = broker
        self.prefix = Text(prefix)
    }

    /// Serves until `stop()`; then running transactions are finished, their acknowledgements sent, and the broker is told
    /// goodbye. To be called once.
    ///
    /// - Parameter ready: Called when the broker has taken the subscriptions for the first time.
    /// - Throws: What keeps it from starting. A broker that can't be reached does not: it is tried for ever.
    public func run(ready: @escaping @Sendable () -> Void) async throws(IotoError) {
        let moved = try store.movedStreams()
        let hub = HubReplicator(schema: schema, clock: try await store.clock())
        let session = try BrokerSession(
            broker: broker, clientID: clientID, filters: subscriptions, inbox: inbox)
        let work = HubWork(service: self, hub: hub, session: session, ready: ready)
        try session.start { work.runSmall() }
        let watch = Task { [inbox] in
            for await streams in moved { inbox.put(moved: streams) }
        }

        let purge = Task { [store] in
            while !Task.isCancelled {
                await CloudService.purge(store)
                try? await Task.sleep(for: .seconds(3600))
            }
        }
        let expiry = Task { [store, schema] in await CloudExpiry(store: store, schema: schema).run() }

        let failure = await work.runOnThread()
        watch.cancel()
        for task in [purge, expiry] {
            task.cancel()
            await task.value
        }
        await session.stop()
        if let failure { throw failure }
    }

    private static func purge(_ store: any CloudStore) async {
        do throws(IotoError) {
            let limit = Instant.now.wall - Limits.tombstoneRetention
            while try await store.purgeTombstones(before: limit) > 0, !Task.isCancelled {}
        } catch {
            Log.warning("tombstones can't be purged: \(error.message)")
        }
    }

    /// Has `run` finish. From any thread.
    public func stop() {
        inbox.drain()
    }

    private var subscriptions: [Text] {
        let filters = HubReplicator.subscriptions
        return prefix.isEmpty ? filters : filters + [prefix + "ioto/service/+/db/+"]
    }

    /// The same for the same store, so that the broker knows its session again.
    private var clientID: Text {
        var id: Text = "ioto-cloud-"
        id.appendHexadecimal(store.writer)
        return id
    }

}

/// The hub and its thread. Whoever is the inbox's owner has the hub.
private final class HubWork: @unchecked Sendable {
    /// Changes that the hub's owner stores itself at most, while messages come in that it would else read.
    private static let smallMax = 16

    private let store: any CloudStore
    private let inbox: HubInbox
    private let hub: HubReplicator
    private let session: BrokerSession
    private let packetBytesMax: Int?
    private let ready: @Sendable () -> Void
    private var isReady = false

    init(service: CloudService, hub: HubReplicator, session: BrokerSession, ready: @escaping @Sendable () -> Void) {
        store = service.store
        inbox = service.inbox
        self.hub = hub
        self.session = session
        packetBytesMax = service.packetBytesMax
        self.ready = ready
    }

    /// Runs until the inbox is drained.
    ///
    /// - Returns: Why it could not.
    func runOnThread() async -> IotoError? {
        var thread: IotoBase.Thread?
        let failure: IotoError? = await withCheckedContinuation { continuation in
            do throws(IotoError) {
                thread = try IotoBase.Thread(name: "ioto-hub") {
                    self.run()
                    continuation.resume(returning: nil)
                }
            } catch {
                continuation.resume(returning: error)
            }
        }
        thread?.join()
        return failure
    }

    private func run() {
        while let events = inbox.next() {
            for (place, event) in events.enumerated() { work(on: event, isLast: place == events.count - 1) }
        }
    }

    /// Sees to a small message on the thread that has read it, if nothing else is under way.
    func runSmall() {
        guard let event = inbox.takeSmall() else { return }
        work(on: event, isLast: true)
        inbox.release()
    }

    private func work(on event: HubInbox.Event, isLast: Bool) {
        var inputs = [input(event)].compactMap { $0 }
        while !inputs.isEmpty {
            let input = inputs.removeFirst()
            for effect in hub.handle(input, now: .now) {
                if let answer = carryOut(effect, isLast && inputs.isEmpty) { inputs.append(answer) }
            }
            guard case .connected = input, !isReady else { continue }
            isReady = true
            ready()
        }
    }

    /// What the hub is told of an event; nil when the service is stopped meanwhile.
    private func input(_ event: HubInbox.Event) -> HubInput? {
        switch event {
        case .message(let topic, let payload): return .message(topic: topic, payload: payload)
        case .answer(let ticket, let answer): return .answer(ticket: ticket, answer)
        case .moved(let streams): return .feedsMoved(streams)
        case .published(let ticket, let isSent): return .published(ticket: ticket, isSent: isSent)
        case .subscribed:
            hub.packetBytesMax = [packetBytesMax, session.packetBytesMax].compactMap { $0 }.min()
            return wait { [self] in await connected() }
        }
    }

    private func connected() async -> HubInput? {
        while !inbox.isStopping {
            do throws(IotoError) {
                return .connected(devices: try await store.devices(), feeds: try await store.broadcastFeeds())
            } catch {
                // Without it the hub can't begin; messages wait meanwhile.
                Log.error("the store can't be read: \(error.message)")
                try? await Task.sleep(for: .seconds(1))
            }
        }
        return nil
    }

    private final class Box: Sendable {
        let input = Mutex<HubInput?>(nil)
    }

    /// Has the thread wait for a task.
    private func wait(_ body: @escaping @Sendable () async -> HubInput?) -> HubInput? {
        let result = Box()
        let isDone = DispatchSemaphore(value: 0)
        Task.detached {
            let input = await body()
            result.input.withLock { $0 = input }
            isDone.signal()
        }
        isDone.wait()
        return result.input.withLock { $0 }
    }

    /// - Parameter isLast: Nothing else is to be done before the next event.
    /// - Returns: The answer to a request that was carried out at once.
    private func carryOut(_ effect: HubEffect, _ isLast: Bool) -> HubInput? {
        switch effect {
        case .publish(let publication):
            session.publish(publication)
        case .request(let ticket, let request):
            if isLast, isSmall(request), inbox.isIdle, !inbox.isStopping, let answer = store.answerNow(request) {
                return .answer(ticket: ticket, answer)
            }
            guard inbox.beginRequest() else { return nil }
            Task { [store, inbox] in
                inbox.endRequest(ticket: ticket, await store.answer(request))
            }
        case .requestLater(let ticket, let request, let wait):
            Task { [store, inbox] in
                try? await Task.sleep(for: .milliseconds(wait))
                guard inbox.beginRequest() else { return }
                inbox.endRequest(ticket: ticket, await store.answer(request))
            }
        case .log(let level, let message):
            switch level {
            case .error: Log.error(message)
            case .warning: Log.warning(message)
            case .info: Log.info(message)
            case .debug: Log.debug(message)
            }
        }
        return nil
    }

    private func isSmall(_ request: HubRequest) -> Bool {
        if case .apply(let changes, _, _) = request { return changes.count <= HubWork.smallMax }
        return true
    }
}

/// Sends the log lines of this module, and of those that it stands on, to `logger`.
public func bootstrapLog(_ logger: Logger) {
    let level: LogLevel =
        switch logger.logLevel {
        case .trace, .debug: .debug
        case .info, .notice: .info
        case .warning: .warning
        case .error, .critical: .error
        }
    Log.set(
        { level, message in
            switch level {
            case .error: logger.error("\(message)")
            case .warning: logger.warning("\(message)")
            case .info: logger.info("\(message)")
            case .debug: logger.debug("\(message)")
            }
        }, level: level)
}
