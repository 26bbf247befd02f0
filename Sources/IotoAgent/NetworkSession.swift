import CPlatform
import IotoBase
import IotoMQTT
import IotoStore
import IotoSync

/// What runs on the agent's network thread: connects and reconnects, hands messages from the broker to the replicator and
/// the replicator's to the broker, and sleeps until one of them, or another thread, has something to do.
final class NetworkSession: MQTTDelegate {
    /// First and longest wait before connecting again, in milliseconds.
    private static let reconnectWait = (first: Int64(1_000), last: Int64(120_000))
    /// How long a connection lasts that was worth something, in milliseconds: after a shorter one the waits go on growing, so that
    /// a broker that takes everybody and keeps nobody, or another client of the same id, is not met every second.
    private static let connectionMin: Int64 = 10_000
    /// How long an orderly stop waits for the broker to take the goodbye, in milliseconds.
    private static let farewellWait: Int64 = 1_000

    /// The agent keeps its session, and joins the thread that runs it before it goes.
    private unowned(unsafe) let agent: Agent
    private let client: any MQTTConnection
    private let replicator: DeviceReplicator<Store>
    private var random: JitterGenerator
    private var backoff = Backoff(first: reconnectWait.first, last: reconnectWait.last)
    /// When to connect, on the monotonic clock; nil: connected or connecting.
    private var connectAt: Int64? = 0
    /// When the waits may begin anew, on the monotonic clock.
    private var provenAt = Int64.max
    private var isEnded = false
    private var lastError: IotoError?
    private var connections: Int64 = 0
    /// Somebody waits for what has happened since the last report, perhaps.
    private var hasNews = false

    /// - Parameter shared: The firmware's own session; nil: the library has one.
    init(_ agent: Agent, _ shared: SharedSession?) throws(IotoError) {
        self.agent = agent
        let configuration = agent.configuration
        if let shared {
            client = shared
        } else {
            client = try MQTTClient(configuration.mqtt)
        }
        var sync = DeviceReplicator<Store>.Configuration(topics: configuration.topics)
        sync.syncDelay = configuration.syncDelay
        sync.syncLimit = configuration.syncLimit
        (sync.dailyBytes, sync.window) = (configuration.dailyBytes, configuration.window)
        sync.compresses = configuration.compresses
        random = JitterGenerator(seed: SystemRandom.uint64())
        replicator = DeviceReplicator(
            storage: agent.database.store, schema: agent.database.schema, configuration: sync, seed: random.next())
        client.delegate = self
    }

    /// Runs until the agent is stopped.
    func run() {
        begin()
        while !agent.lock.withLock({ agent.isStopping }) {
            let now = Instant.now
            obeyFence()
            connectIfDue(now)
            takeLocalChanges(now)
            beginRequests(now)
            replicator.isCrowded = agent.database.triggers.isFull
            replicator.tick(now)
            publish()
            report()
            agent.tellStatus()
            client.step(wake: agent.wake, timeout: timeout(Instant.now))
        }
        sayGoodbye()
        failRequests()
        lastError = nil
        report(link: .stopped)
        agent.tellStatus()
    }

    /// Frees the client, and with it the cycle of the two: the client holds its delegate strongly. The last call.
    func close() {
        client.close()
    }

    // MARK: Connection

    func begin() {
        backoff.reset()
        replicator.recallEpoch()
        connectAt = 0
    }

    /// A database that another one has followed keeps away from the broker, which would throw the other one out.
    func obeyFence() {
        let hasRejoined = agent.lock.withLock {
            defer { agent.hasRejoined = false }
            return agent.hasRejoined
        }
        if hasRejoined { begin() }
        guard hasRejoined || replicator.isFenced else { return }
        if client.isConnected || hasRejoined { client.disconnect() }
        if replicator.isFenced { connectAt = nil }
    }

    private func connectIfDue(_ now: Instant) {
        guard let connectAt, now.monotonic >= connectAt else { return }
        self.connectAt = nil
        report(link: .connecting)
        do throws(IotoError) {
            try client.connect()
        } catch {
            mqttDisconnected(error)
        }
    }

    func mqttConnected(sessionPresent: Bool) {
        do throws(IotoError) {
            _ = try client.subscribe(agent.configuration.topics.subscriptions)
        } catch {
            fail(error)
        }
    }

    func mqttSubscribed(_ id: Int32, accepted: Bool) {
        guard accepted else {
            fail(IotoError(.offline, "the broker refuses the subscription to the device's topics"))
            return
        }
        replicator.messageBytesMax = agent.configuration.mqtt.payloadBytesMax
        if let bytes = client.packetBytesMax {
            guard let payloadBytesMax = agent.configuration.topics.payloadBytesMax(inPacketsOf: bytes) else {
                fail(IotoError(.limit, "the broker takes packets of \(bytes) bytes, which are too small"))
                return
            }
            replicator.messageBytesMax = min(replicator.messageBytesMax, payloadBytesMax)
        }
        connections += 1
        lastError = nil
        let now = Instant.now
        provenAt = now.monotonic + NetworkSession.connectionMin
        replicator.connected(now)
    }

    func mqttDisconnected(_ error: IotoError?) {
        let now = Instant.now
        replicator.disconnected(now)
        if let error {
            lastError = error
            Log.warning(error.message)
        }
        if now.monotonic >= provenAt { backoff.reset() }
        provenAt = Int64.max
        connectAt = now.monotonic + backoff.next(using: &random)
        isEnded = true
    }

    func mqttPublished(_ id: Int32, _ error: IotoError?) {
        // The connection stays: what comes down is not concerned, and the replicator tries again in its own time.
        if let error, lastError?.code != error.code { Log.warning(error.message) }
        if error != nil || lastError?.code == .denied { lastError = error }
    }

    func mqttReceived(_ topic: Text, _ payload: [UInt8]) {
        replicator.isCrowded = agent.database.triggers.isFull
        replicator.received(topic, payload, .now)
        // What it asks for goes out before what has come is stored.
        publish()
        report()
    }

    /// Gives up a connection that is of no use; the next try comes after a wait.
    private func fail(_ error: IotoError) {
        lastError = error
        Log.warning(error.message)
        client.disconnect()
    }

    private func publish() {
        let publications = replicator.takePublications()
        defer { if !publications.isEmpty { client.flush() } }
        for publication in publications where replicator.isConnected {
            do throws(IotoError) {
                _ = try client.publish(MQTTMessage(topic: publication.topic, payload: publication.payload), qos: 1)
            } catch {
                // The replicator sends it again: at the next connection, or when its answer does not come.
                lastError = error
                Log.warning(error.message)
            }
        }
    }

    private func timeout(_ now: Instant) -> Int64 {
        var deadline = connectAt
        if let due = replicator.deadline { deadline = min(deadline ?? due, due) }
        guard let deadline else { return -1 }
        return max(0, deadline - now.monotonic)
    }

    /// Tells the hub that the device is gone, so that it sends nothing into the void; the last will says it otherwise.
    private func sayGoodbye() {
        guard client.isConnected else { return }
        let now = Instant.now
        let farewell = DeviceReplicator<Store>.farewell(agent.configuration.topics)
        replicator.disconnected(now)
        isEnded = false
        // Where it can't be said, the hub finds out by itself.
        _ = try? client.publish(MQTTMessage(topic: farewell.topic, payload: farewell.payload), qos: 0)
        client.disconnect()
        let deadline = now.monotonic + NetworkSession.farewellWait
        while !isEnded, Instant.now.monotonic < deadline {
            client.step(wake: agent.wake, timeout: deadline - Instant.now.monotonic)
        }
    }

    // MARK: Other threads

    private func takeLocalChanges(_ now: Instant) {
        let bytes: Int? = agent.lock.withLock {
            defer { agent.changedBytes = nil }
            return agent.changedBytes
        }
        if let bytes { replicator.changed(bytes: bytes, now) }
    }

    private func beginRequests(_ now: Instant) {
        let (asked, fresh) = agent.lock.withLock {
            defer { agent.asked = (false, false) }
            return (agent.asked, agent.requests.filter { $0.target == nil && $0.outcome == nil })
        }
        // Who does not wait is not told either; what fails is tried again in the replicator's own time.
        if asked.up { _ = try? replicator.flush(now) }
        if asked.down { _ = replicator.catchUp(now) }
        for request in fresh {
            do throws(IotoError) {
                switch request.kind {
                case .up:
                    request.flush = try replicator.flush(now)
                    request.target = 0
                case .down: request.target = replicator.catchUp(now)
                }
            } catch {
                finish(request, .failure(error))
            }
        }
    }

    private func finishRequests() {
        let open = agent.lock.withLock { agent.requests.filter { $0.outcome == nil } }
        for request in open {
            guard let target = request.target else { continue }
            do throws(IotoError) {
                let isDone =
                    switch request.kind {
                    case .up: try isFlushed(request)
                    case .down: replicator.isConnected && replicator.isCaughtUp(since: target)
                    }
                // A new identity is seen to before the next round.
                if !isDone, replicator.isFenced, !agent.lock.withLock({ agent.hasRejoined }), let error = replicator.lastError { throw error }
                if isDone { finish(request, .success(())) }
            } catch {
                finish(request, .failure(error))
            }
        }
    }

    private func isFlushed(_ request: Agent.Request) throws(IotoError) -> Bool {
        guard var flush = request.flush else { return true }
        defer { request.flush = flush }
        return try replicator.isFlushed(&flush)
    }

    private func failRequests() {
        for request in agent.lock.withLock({ agent.requests }) where request.outcome == nil {
            finish(request, .failure(IotoError(.offline, "the agent has been stopped")))
        }
    }

    private func finish(_ request: Agent.Request, _ outcome: Result<Void, IotoError>) {
        hasNews = true
        agent.lock.withLock {
            request.outcome = outcome
            agent.requests.removeAll { $0 === request }
        }
    }

    /// Notes how things stand, which is there before any request is done. Who waits is woken once, when nothing is locked that he
    /// needs.
    func report(link: Agent.Link? = nil) {
        defer {
            finishRequests()
            if hasNews { agent.condition.broadcast() }
            hasNews = false
        }
        agent.lock.withLock {
            agent.status.link =
                link
                ?? (replicator.isFenced && !agent.hasRejoined
                    ? .fenced : replicator.isConnected ? .connected : connectAt == nil ? .connecting : .waiting)
            agent.status.isCaughtUp = replicator.isCaughtUp
            let former = agent.status.statistics
            agent.status.statistics = replicator.statistics
            agent.sent = replicator.sent
            // Those who wait for receipts look again.
            if former.sentItems != replicator.statistics.sentItems
                || former.refusedItems != replicator.statistics.refusedItems
                || former.receivedItems != replicator.statistics.receivedItems || agent.status.link == .stopped
                || agent.status.link == .fenced {
                hasNews = true
            }
            agent.status.sentBytes = client.bytesOut
            agent.status.receivedBytes = client.bytesIn
            agent.status.connections = connections
            agent.status.isHolding = replicator.isHolding
            agent.status.catchUp = replicator.catchUpProgress
            agent.status.lastError = replicator.isFenced ? replicator.lastError : lastError ?? replicator.lastError
        }
    }
}
