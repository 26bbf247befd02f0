import IotoBase
import IotoSync

/// The process that joins store and broker: the real hub, with what `ioto-cloud` does around it.
final class Hub: ClientOwner {
    private enum Event {
        case subscribed
        case message(Message)
        case answer(Int64, HubAnswer)
        case moved([Text])
        case published(Int64)
    }

    /// What the ids of all its processes begin with.
    static let name: Text = "ioto-cloud"

    private unowned let world: World
    private let cloud: Cloud
    private let broker: Broker
    private let link: Link
    private let judge: Judge
    private var client: Client?
    private var replicator: HubReplicator?
    private var inbox: [Event] = []
    private var parts = Parts()
    private var isReading = false
    private var isWorking = false
    /// Counts the processes.
    private var incarnation = 0
    private var backoff = Backoff(first: 500, last: 10_000)
    private var jitter: JitterGenerator
    /// Requests in 1000 that fail: half of them were carried out all the same.
    var failures = 0
    /// Requests to the store so far, and the one at which the process dies, when it is done or before.
    private(set) var requests: Int64 = 0
    var diesAt: (request: Int64, isDone: Bool)?
    /// How long the store takes.
    var storeDelay: ClosedRange<Int64> = 0...5

    private let id: Text
    private let who: String

    init(_ world: World, number: Int, cloud: Cloud, broker: Broker, link: Link, judge: Judge) {
        self.world = world
        self.cloud = cloud
        self.broker = broker
        self.link = link
        self.judge = judge
        id = Hub.name + Text("-\(number)")
        who = number == 1 ? "hub" : "hub\(number)"
        jitter = JitterGenerator(seed: world.random.bits())
    }

    var isRunning: Bool { replicator != nil }

    func start() {
        guard replicator == nil else { return }
        world.tell(who, "starts")
        let replicator = HubReplicator(schema: Models.schema, clock: cloud.clock)
        replicator.packetBytesMax = broker.packetBytesMax
        self.replicator = replicator
        let client = Client(
            world, id: id, filters: HubReplicator.subscriptions, cleanSession: false, will: nil, link: link,
            broker: broker, owner: self)
        self.client = client
        backoff.reset()
        client.connect()
    }

    func crash() {
        guard replicator != nil else { return }
        world.tell(who, "dies")
        incarnation += 1
        replicator = nil
        inbox = []
        isReading = false
        client?.die()
        client = nil
    }

    /// The store tells of streams that moved.
    func moved(_ streams: [Text]) {
        let process = incarnation
        world.after(world.random.span(0...100)) {
            if process == self.incarnation { self.put(.moved(streams)) }
        }
    }

    // MARK: ClientOwner

    func clientConnected() {}
    func clientSubscribed() {
        backoff.reset()
        put(.subscribed)
    }
    func clientReceived(_ message: Message) { put(.message(message)) }
    func clientPublished(_ ticket: Int64) { put(.published(ticket)) }

    func clientDisconnected() {
        let process = incarnation
        world.after(backoff.next(using: &jitter)) {
            if process == self.incarnation { self.client?.connect() }
        }
    }

    // MARK: Work

    private func put(_ event: Event) {
        guard replicator != nil else { return }
        inbox.append(event)
        work()
    }

    private func work() {
        guard !isWorking else { return }
        isWorking = true
        defer { isWorking = false }
        while !isReading, !inbox.isEmpty, let replicator {
            let input: HubInput
            switch inbox.removeFirst() {
            case .subscribed:
                readStart()
                continue
            case .message(let message):
                world.tell(who, "receives \(describe(message)) of \(sender(of: message))")
                input = .message(topic: message.topic, payload: message.payload)
            case .answer(let ticket, let answer): input = .answer(ticket: ticket, answer)
            case .moved(let streams): input = .feedsMoved(streams)
            case .published(let ticket): input = .published(ticket: ticket, isSent: true)
            }
            carryOut(replicator.handle(input, now: now))
            let bytes = replicator.waitingBytes
            world.require((0...HubReplicator.loadBytesMax).contains(bytes), .bounds, "\(who) keeps \(bytes) bytes of messages")
        }
    }

    private func receiver(of message: Message) -> String {
        let levels = message.topic.string.split(separator: "/")
        return levels.count > 2 ? String(levels[2]) : "?"
    }

    private func sender(of message: Message) -> String {
        let levels = message.topic.string.split(separator: "/")
        return levels.count > 2 ? String(levels[levels.count - 3]) : "?"
    }

    private var now: Instant { Instant(monotonic: world.now, wall: cloud.wall.time) }

    private func readStart() {
        isReading = true
        let process = incarnation
        world.after(world.random.span(storeDelay)) {
            guard process == self.incarnation else { return }
            let input = HubInput.connected(devices: self.cloud.devices, feeds: self.cloud.broadcastFeeds)
            self.world.after(self.world.random.span(self.storeDelay)) {
                guard process == self.incarnation, let replicator = self.replicator else { return }
                self.isReading = false
                self.carryOut(replicator.handle(input, now: self.now))
                self.work()
            }
        }
    }

    private func carryOut(_ effects: [HubEffect]) {
        for effect in effects {
            switch effect {
            case .publish(let publication):
                let message = Message(topic: publication.topic, payload: publication.payload, ticket: publication.ticket)
                world.mark(message.payload)
                world.tell(who, "sends \(describe(message)) to \(receiver(of: message))")
                if let whole = parts.take(message) { judge.hubPublishes(whole) }
                if let most = broker.packetBytesMax {
                    world.require(message.payload.count <= most, .bounds, "\(who) sends \(message.payload.count) bytes, and the broker takes \(most)")
                }
                client?.publish(message)
            case .request(let ticket, let request): carryOut(ticket, request)
            case .requestLater(let ticket, let request, let wait):
                let process = incarnation
                world.after(wait) { if process == self.incarnation { self.carryOut(ticket, request) } }
            case .log(let level, let text):
                if level.rawValue <= LogLevel.warning.rawValue { world.tell(who, "notes: \(text.string)") }
            }
        }
    }

    private func carryOut(_ ticket: Int64, _ request: HubRequest) {
        requests += 1
        if let death = diesAt, death.request == requests {
            if death.isDone { _ = cloud.answer(request) }
            crash()
            world.after(2_000) { self.start() }
            return
        }
        let process = incarnation
        let losses = cloud.losses
        let fails = failures > 0 && world.random.chance(failures)
        let isDone = !fails || world.random.chance(500)
        world.after(world.random.span(storeDelay)) {
            // What a process has asked for is done though the process is gone, or it is not.
            guard process == self.incarnation || self.world.random.chance(500), losses == self.cloud.losses else { return }
            var answer = isDone ? self.cloud.answer(request) : .failed(IotoError(.busy, "the store is busy"))
            if fails {
                answer = .failed(IotoError(.io, "the store does not answer"))
                self.world.count(fault: "request to the store failed")
            }
            self.world.after(self.world.random.span(self.storeDelay)) {
                if process == self.incarnation { self.put(.answer(ticket, answer)) }
            }
        }
    }
}
