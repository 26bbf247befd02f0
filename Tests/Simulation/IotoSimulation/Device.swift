import CSQLite
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// A machine with a disk, a clock, an application, and the real store and replicator, with what the agent does around them.
final class Device: ClientOwner, StoreObserver, ConflictResolver {
    /// What the call that is under way is about to write.
    enum Attempt {
        case none
        /// Bodies by key; nil: removed.
        case local([ItemKey: [UInt8]?])
        case message(Message)
        /// A page that waited until the next one was asked for, and what came then.
        case messages(Message, Message)
    }

    struct Request {
        let number: Int
        var flush: FlushProgress?
        var catchUp: Int64?
        /// The versions that the cloud, or the device, has to have in the end.
        let expected: [(key: ItemKey, version: Version)]
    }

    /// Thrown by an application that changes its mind.
    static let changeOfMind = IotoError(.misuse, "the application changes its mind")

    let id: Text
    let account: Text
    /// Tells it from another machine that is the same device.
    let who: String
    unowned let world: World
    let judge: Judge
    let broker: Broker
    let link: Link
    let disk: Disk
    let wall: WallClock
    let durability: Durability
    let configuration: DeviceReplicator<Store>.Configuration

    private(set) var store: Store?
    private(set) var replicator: DeviceReplicator<Store>?
    private var reader: ImageReader?
    private var client: Client?
    private var bootTime: Int64 = 0
    private var connectAt: Int64?
    private var backoff = Backoff(first: 1_000, last: 120_000)
    private var jitter = JitterGenerator(seed: 0)
    private var inbox: [Message] = []
    private var parts = Parts()
    /// A page that the replicator applies with its next call.
    private var waitingPage: Message?
    private var changedBytes: Int?
    var requests: [Request] = []
    var requestCount = 0
    private var stepToken = 0
    /// An older state of the database, see Restores.swift.
    var backup: Backup?
    var isBackedUp = false
    /// It goes on from an older state, or as one of two, and not under another id yet.
    var isContested = false
    var hasRejoined = false
    /// See Clones.swift.
    var twin: Device?
    var isOff = false
    var isObeying = false
    /// Counts the processes.
    private(set) var incarnation = 0

    /// What the file holds, as far as was confirmed.
    var image = StoreImage()
    /// What it may hold after a loss of power: states that were confirmed and, with durability `.normal`, not synced.
    var unsynced: [StoreImage] = []
    /// Calls that failed since the last commit: they may have been committed all the same.
    var doubts: [Attempt] = []
    /// The last page that had more behind it: it may wait to be applied with what comes next.
    private var waiting: Message?
    private var attempt = Attempt.none
    private var events: [StoreEvent] = []
    var replica: UInt64 = 0

    private(set) var published = 0
    private var windowStart: Int64 = 0
    private var publishedInWindow = 0
    var valueCount = 0
    /// What the firmware made of two versions, with these.
    var resolutions: [[UInt8]: (mine: [UInt8]?, theirs: [UInt8]?)] = [:]
    /// Receipts that were given and not settled, and of the items under each the number of the write.
    var receipts: [(number: Int64, sequences: [ItemKey: Int])] = []

    init(
        _ world: World, id: Text, account: Text, wall: WallClock, link: Link, broker: Broker, judge: Judge,
        durability: Durability, refreshInterval: Int64, name: String? = nil
    ) {
        self.world = world
        self.id = id
        who = name ?? id.string
        self.account = account
        self.wall = wall
        self.link = link
        self.broker = broker
        self.judge = judge
        self.durability = durability
        // SQLite cannot live with syncs that lie unless every commit is synced.
        disk = Disk(world, who: who, forgetsOnFailedSync: durability == .full)
        var configuration = DeviceReplicator<Store>.Configuration(topics: Topics(device: id, account: account))
        configuration.syncDelay = world.random.pick([0, 100, 5_000])
        configuration.syncLimit = world.random.pick([200, 1_000, 10_240])
        configuration.refreshInterval = refreshInterval
        self.configuration = configuration
    }

    var isRunning: Bool { store != nil }
    /// Whether it is going to do something by itself before the time of silence is over.
    var hasPlans: Bool { (replicator?.deadline ?? .max) <= monotonic + Simulation.silence + 5_000 }
    var isConnected: Bool { replicator?.isConnected ?? false }

    // MARK: Life

    func boot() {
        guard store == nil, !isOff else { return }
        incarnation += 1
        bootTime = world.now
        disk.boot()
        var options = StoreOptions()
        options.forgottenAfter = Simulation.forgottenAfter
        options.durability = durability
        options.vfs = Text(disk.name)
        let wall = wall
        options.wallClock = { wall.time }
        let newReplica = world.random.bits()
        options.random = { newReplica }
        disk.hasFailed = false
        do throws(IotoError) {
            let store = try Store(path: Text(Disk.path), schema: Models.schema, options: options)
            self.store = store
            try store.assign(to: id)
        } catch {
            if disk.isDead { return powerIsGone() }
            world.tell(who, "can't open its database: \(error.message.string)")
            if !disk.hasFailed { world.fail(.opening, "\(who): \(error.message.string)") }
            disk.kill()
            store = nil
            world.after(world.random.integer(1_000...10_000)) { self.boot() }
            return
        }
        let former = replica
        replica = store!.replica
        reader = ImageReader(disk)
        guard let found = reader?.read(replica: replica) else {
            if disk.isDead { return powerIsGone() }
            return world.fail(.opening, "\(who): the file can't be read")
        }
        world.tell(
            who,
            "starts with \(found.keys.count) rows, \(found.outbox.count) pending, replica "
                + "\(String(replica & 0xFFFF, radix: 16)), durability \(durability)")
        if former != 0, former != replica {
            judge.became(self, found, writer: former)
            (unsynced, receipts, hasRejoined, isContested) = ([], [], true, false)
        } else {
            judge.reopened(self, found)
        }
        image = found
        if backup == nil, isBackedUp { backup = Backup(of: self) }
        // What a killed process wrote may still wait to be synced.
        unsynced = wasPowerCut ? [found] : unsynced + [found]
        // What was lost may have been under one, and its number given again.
        if wasPowerCut, durability == .normal { receipts = [] }
        wasPowerCut = false
        doubts = []
        disk.hasFailed = false
        store!.setObserver(self)
        store!.resolver = self
        jitter = JitterGenerator(seed: world.random.bits())
        replicator = DeviceReplicator(
            storage: store!, schema: Models.schema, configuration: configuration, seed: jitter.next())
        replicator!.recallEpoch()
        let farewell = DeviceReplicator<Store>.farewell(configuration.topics)
        client = Client(
            world, id: id, filters: configuration.topics.subscriptions, cleanSession: false,
            will: Message(topic: farewell.topic, payload: farewell.payload), link: link, broker: broker, owner: self)
        backoff.reset()
        connectAt = monotonic
        scheduleStep(after: 1)
    }

    /// The process is killed: the files stay as they are.
    func kill() {
        guard store != nil else { return }
        world.tell(who, "is killed")
        disk.kill()
        end()
        reboot()
    }

    func cutPower() {
        guard store != nil else { return }
        world.tell(who, "loses power")
        powerIsGone()
    }

    func powerIsGone() {
        world.count(fault: "power cut")
        disk.cutPower(seed: world.random.bits())
        wasPowerCut = true
        end()
        reboot()
    }

    /// Whether the last end was one that syncing matters for.
    var wasPowerCut = false

    /// An orderly stop, and a start.
    ///
    /// - Parameter pause: Between them; nil: as chance has it.
    func restart(after pause: Int64? = nil) {
        guard let store, let replicator, let client else { return }
        world.tell(who, "stops in good order")
        replicator.disconnected(now)
        let farewell = DeviceReplicator<Store>.farewell(configuration.topics)
        client.publish(Message(topic: farewell.topic, payload: farewell.payload, qos: 0))
        client.sayGoodbye()
        reader?.close()
        store.close()
        if disk.isDead { return powerIsGone() }
        disk.kill()
        end()
        reboot(after: pause)
    }

    func leaveBroker() {
        client?.sayGoodbye()
        connectAt = nil
    }

    func end() {
        client?.die()
        client = nil
        replicator = nil
        reader?.close()
        reader = nil
        store?.setObserver(nil)
        store?.resolver = nil
        store = nil
        inbox = []
        waitingPage = nil
        events = []
        requests = []
        changedBytes = nil
        connectAt = nil
        isObeying = false
        waiting = nil
        stepToken += 1
    }

    func reboot(after pause: Int64? = nil) {
        world.after(pause ?? world.random.span(100...30_000)) { self.boot() }
    }

    /// The end of the simulation.
    func shutDown() {
        disk.kill()
        end()
    }

    // MARK: The network's faults

    func breakConnection() {
        client?.connection?.breakAtBroker()
    }

    func cutLink(for time: Int64) {
        guard !link.isCut else { return }
        link.isCut = true
        if let connection = client?.connection {
            world.after(world.random.integer(1_000...90_000)) { [link] in
                if link.isCut { connection.noticeAtClient() }
            }
            world.after(world.random.integer(1_000...90_000)) { [link] in
                if link.isCut { connection.breakAtBroker() }
            }
        }
        world.after(time) { [link] in link.restore() }
    }

    var monotonic: Int64 { world.now - bootTime + 1 }
    var now: Instant { Instant(monotonic: monotonic, wall: wall.time) }

    // MARK: Calls of the product

    /// Runs a call that may write, and has it judged.
    func call(_ attempt: Attempt, _ body: () -> Void) {
        guard store != nil else { return }
        var attempt = attempt
        if case .none = attempt, let page = waitingPage { attempt = .message(page) }
        events = []
        self.attempt = attempt
        disk.hasFailed = false
        body()
        if disk.isDead {
            doubt(attempt)
            return powerIsGone()
        }
        guard let after = reader?.read(replica: replica) else {
            return world.fail(.opening, "\(who): the file can't be read while it is open")
        }
        judge.called(self, attempt, from: image, to: after, events)
        if after != image {
            image = after
            doubts = []
            unsynced = disk.isSynced ? [after] : unsynced + [after]
            if unsynced.count > 500 { unsynced.removeFirst(100) }
        } else if disk.isSynced {
            unsynced = [after]
        }
        if disk.hasFailed { doubt(attempt) }
        if case .message(let message) = attempt, (try? JSON.parse(message.payload))?["more"]?.boolValue == true { waiting = message }
        publish()
    }

    private func doubt(_ attempt: Attempt) {
        doubts.append(attempt)
        guard let waiting else { return }
        doubts.append(.message(waiting))
        if case .message(let message) = attempt { doubts.append(.messages(waiting, message)) }
    }

    func storeDidCommit(_ events: [StoreEvent]) {
        self.events += events
        var bytes = 0
        for event in events where !event.isRemote && event.isChange && event.model.syncsUp {
            bytes += event.after?.body.count ?? event.key.sort.count
        }
        if bytes > 0 {
            changedBytes = bytes
            scheduleStep(after: 0)
        }
    }

    // MARK: The agent

    func clientConnected() {}

    func clientSubscribed() {
        guard replicator != nil else { return }
        backoff.reset()
        world.tell(who, "is connected")
        parts = Parts()
        call(.none) { replicator!.connected(now) }
        scheduleStep(after: 0)
    }

    func clientDisconnected() {
        guard replicator != nil else { return }
        world.tell(who, "is disconnected")
        call(.none) { replicator!.disconnected(now) }
        connectAt = monotonic + backoff.next(using: &jitter)
        scheduleStep(after: 0)
    }

    func clientReceived(_ message: Message) {
        guard replicator != nil else { return }
        inbox.append(message)
        scheduleStep(after: world.random.span(0...20))
    }

    func scheduleStep(after delay: Int64) {
        guard store != nil else { return }
        stepToken += 1
        let token = stepToken
        world.after(delay) {
            if token == self.stepToken { self.step() }
        }
    }

    private func step() {
        guard store != nil, !obeyFence() else { return }
        if let due = connectAt, monotonic >= due {
            connectAt = nil
            client?.connect()
        }
        while !inbox.isEmpty, store != nil {
            if waitingPage != nil {
                applyWaiting()
                continue
            }
            let arrived = inbox.removeFirst()
            let whole = parts.take(arrived)
            world.tell(who, "receives \(describe(whole ?? arrived))")
            call(whole.map { .message($0) } ?? .none) { replicator!.received(arrived.topic, arrived.payload, now) }
            guard let message = whole else { continue }
            if replicator?.deadline == 0 {
                waitingPage = message
                // The application may write in between, and the power go.
                if world.random.chance(500) { return scheduleStep(after: world.random.span(0...20)) }
            }
            if message.topic.hasSuffix("/SYNC") {
                if !disk.hasFailed { judge.deviceHeard(self, message) }
                checkReceipts()
            }
        }
        if let bytes = changedBytes {
            changedBytes = nil
            call(.none) { replicator!.changed(bytes: bytes, now) }
        }
        applyWaiting()
        finishRequests()
        guard let replicator, !obeyFence() else { return }
        var deadline = connectAt
        if let due = replicator.deadline { deadline = min(deadline ?? due, due) }
        if let deadline { scheduleStep(after: max(1, deadline - monotonic)) }
    }

    private func applyWaiting() {
        call(.none) { replicator!.tick(now) }
        waitingPage = nil
    }

    private func publish() {
        guard let replicator, let client else { return }
        let publications = replicator.takePublications()
        world.require(publications.count <= 100, .bounds, "\(who) wants to send \(publications.count) messages at once")
        for publication in publications where replicator.isConnected {
            published += 1
            publishedInWindow += 1
            let message = Message(topic: publication.topic, payload: publication.payload)
            world.mark(message.payload)
            world.tell(who, "sends \(describe(message))")
            judge.devicePublishes(self, message)
            client.publish(message)
        }
        if world.now - windowStart > 10_000 {
            windowStart = world.now
            publishedInWindow = 0
        }
        world.require(publishedInWindow < 1000, .activity, "\(who) sends more than 100 messages a second")
        world.require(client.pendingCount < 1000, .bounds, "\(who): \(client.pendingCount) messages wait")
    }
}
