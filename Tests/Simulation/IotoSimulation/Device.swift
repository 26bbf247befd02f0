import CSQLite
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// A machine with a disk, a clock, an application, and the real store and replicator, with what the agent does around them.
final class Device: ClientOwner, StoreObserver {
    /// What the call that is under way is about to write.
    enum Attempt {
        case none
        /// Bodies by key; nil: removed.
        case local([ItemKey: [UInt8]?])
        case message(Message)
    }

    private struct Request {
        let number: Int
        var flush: FlushProgress?
        var catchUp: Int64?
        /// The versions that the cloud, or the device, has to have in the end.
        let expected: [(key: ItemKey, version: Version)]
    }

    /// Thrown by an application that changes its mind.
    private static let changeOfMind = IotoError(.misuse, "the application changes its mind")

    let id: Text
    let account: Text
    var who: String { id.string }
    private unowned let world: World
    private let judge: Judge
    private let broker: Broker
    let link: Link
    let disk: Disk
    let wall: WallClock
    let durability: Durability
    private let configuration: DeviceReplicator<Store>.Configuration

    private(set) var store: Store?
    private(set) var replicator: DeviceReplicator<Store>?
    private var reader: ImageReader?
    private var client: Client?
    private var bootTime: Int64 = 0
    private var connectAt: Int64?
    private var backoff = Backoff(first: 1_000, last: 120_000)
    private var jitter = JitterGenerator(seed: 0)
    private var inbox: [Message] = []
    private var changedBytes: Int?
    private var requests: [Request] = []
    private var requestCount = 0
    private var stepToken = 0
    /// Counts the processes.
    private(set) var incarnation = 0

    /// What the file holds, as far as was confirmed.
    private(set) var image = StoreImage()
    /// What it may hold after a loss of power: states that were confirmed and, with durability `.normal`, not synced.
    private(set) var unsynced: [StoreImage] = []
    /// Calls that failed since the last commit: they may have been committed all the same.
    private(set) var doubts: [Attempt] = []
    private var attempt = Attempt.none
    private var events: [StoreEvent] = []
    private(set) var replica: UInt64 = 0

    private(set) var published = 0
    private var windowStart: Int64 = 0
    private var publishedInWindow = 0
    private var valueCount = 0
    /// Receipts that were given and not settled, and of the items under each the number of the write.
    private var receipts: [(number: Int64, sequences: [ItemKey: Int])] = []

    init(
        _ world: World, id: Text, account: Text, wall: WallClock, link: Link, broker: Broker, judge: Judge,
        durability: Durability, refreshInterval: Int64
    ) {
        self.world = world
        self.id = id
        self.account = account
        self.wall = wall
        self.link = link
        self.broker = broker
        self.judge = judge
        self.durability = durability
        // SQLite cannot live with syncs that lie unless every commit is synced.
        disk = Disk(world, who: id.string, forgetsOnFailedSync: durability == .full)
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
        guard store == nil else { return }
        incarnation += 1
        bootTime = world.now
        disk.boot()
        var options = StoreOptions()
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
        } catch {
            if disk.isDead { return powerIsGone() }
            world.tell(who, "can't open its database: \(error.message.string)")
            if !disk.hasFailed { world.fail(.opening, "\(who): \(error.message.string)") }
            disk.kill()
            world.after(world.random.integer(1_000...10_000)) { self.boot() }
            return
        }
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
        judge.reopened(self, found)
        image = found
        // What a killed process wrote may still wait to be synced.
        unsynced = wasPowerCut ? [found] : unsynced + [found]
        // What was lost may have been under one, and its number given again.
        if wasPowerCut, durability == .normal { receipts = [] }
        wasPowerCut = false
        doubts = []
        disk.hasFailed = false
        store!.setObserver(self)
        jitter = JitterGenerator(seed: world.random.bits())
        replicator = DeviceReplicator(
            storage: store!, schema: Models.schema, configuration: configuration, seed: jitter.next())
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

    private func powerIsGone() {
        world.count(fault: "power cut")
        disk.cutPower(seed: world.random.bits())
        wasPowerCut = true
        end()
        reboot()
    }

    /// Whether the last end was one that syncing matters for.
    private(set) var wasPowerCut = false

    /// An orderly stop, and a start.
    func restart() {
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
        reboot()
    }

    private func end() {
        client?.die()
        client = nil
        replicator = nil
        reader?.close()
        reader = nil
        store?.setObserver(nil)
        store = nil
        inbox = []
        events = []
        requests = []
        changedBytes = nil
        connectAt = nil
        stepToken += 1
    }

    private func reboot() {
        world.after(world.random.span(100...30_000)) { self.boot() }
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

    private var monotonic: Int64 { world.now - bootTime + 1 }
    private var now: Instant { Instant(monotonic: monotonic, wall: wall.time) }

    // MARK: Calls of the product

    /// Runs a call that may write, and has it judged.
    private func call(_ attempt: Attempt, _ body: () -> Void) {
        guard store != nil else { return }
        events = []
        self.attempt = attempt
        disk.hasFailed = false
        body()
        if disk.isDead {
            doubts.append(attempt)
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
        if disk.hasFailed { doubts.append(attempt) }
        publish()
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

    // MARK: The application

    private func properties(_ model: Model, _ id: Int64) -> JSONObject {
        var properties: JSONObject = ["id": .string(Text(decimal: id))]
        if model.field(at: "deviceId") != nil { properties["deviceId"] = .string(self.id) }
        if model.field(at: "accountId") != nil { properties["accountId"] = .string(account) }
        return properties
    }

    private func newValue() -> JSON {
        valueCount += 1
        var value = "\(who).\(incarnation).\(valueCount)"
        if world.random.chance(100) { value += String(repeating: "+", count: world.random.index(1500)) }
        return .string(Text(value))
    }

    /// Writes, or removes, one item or several in a transaction; sometimes takes it all back.
    func write(ids: Int64) {
        guard let store else { return }
        let count = world.random.chance(150) ? world.random.index(4) + 1 : 1
        let isTakenBack = world.random.chance(50)
        var attempts: [ItemKey: [UInt8]?] = [:]
        var steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)] = []
        for _ in 0..<count {
            let name: Text = world.random.pick(
                [
                    "Reading", "Reading", "Reading", "Note", "Note", "Note", "Note", "Lamp", "Valve", "Secret", "Setting",
                    "Notice",
                ])
            let model = Models.model(name)
            if !model.syncsUp, model.syncsDown, world.random.chance(600) { continue }
            var item = properties(model, world.random.integer(1...ids))
            item["value"] = newValue()
            guard let prepared = try? model.makeItem(item, context: Context(), now: wall.time) else { continue }
            steps.append((model, prepared, world.random.chance(250)))
            attempts[prepared.key] = .some(steps.last!.isRemoval ? nil : prepared.text)
        }
        guard !steps.isEmpty else { return }
        let isWanted = world.random.chance(300)
        let former = judge.writes
        var receipt: Int64 = 0
        func receipted(
            _ store: Store, _ isWanted: Bool, _ body: (StoreTransaction) throws(IotoError) -> Void
        ) throws(IotoError) {
            guard isWanted else { return try store.write(body) }
            receipt = try store.withReceipt { () throws(IotoError) in try store.write(body) }
        }
        call(.local(attempts)) {
            do throws(IotoError) {
                receipt = 0
                try receipted(store, isWanted) { (transaction) throws(IotoError) in
                    for step in steps {
                        let existing = try transaction.get(step.prepared.key, model: step.model)
                        if step.isRemoval {
                            if let existing { try transaction.remove(existing) }
                        } else {
                            _ = try transaction.put(step.model, step.prepared.key, body: step.prepared.text)
                        }
                    }
                    if isTakenBack { throw Device.changeOfMind }
                }
                world.tell(who, "writes \(story(steps))\(receipt == 0 ? "" : ", receipt \(receipt & 0xFFFF_FFFF)")")
            } catch {
                receipt = 0
                world.tell(who, "fails to write \(story(steps)): \(error.message.string)")
            }
        }
        if receipt != 0, self.store === store {
            let waiting = Set(image.outbox.values)
            receipts.append(
                (receipt, judge.sequences(of: attempts.keys.filter { waiting.contains($0) }, in: image, from: former)))
        }
    }

    private func story(_ steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)]) -> String {
        steps.map { step in
            let version = store.flatMap { try? $0.get(step.prepared.key, model: step.model)?.version.story } ?? "-"
            return step.isRemoval
                ? "no \(step.prepared.key.sort.string)"
                : "\(step.prepared.key.sort.string) = \(storyValue(step.prepared.text).prefix(12)) at \(version)"
        }.joined(separator: ", ")
    }

    /// Looks whether a receipt lies.
    ///
    /// - Parameter isOver: Nothing waits any more.
    func checkReceipts(isOver: Bool = false) {
        guard let store else { return }
        receipts.removeAll { entry in
            do throws(IotoError) {
                let receipt = try store.receipt(entry.number)
                judge.check(self, receipt, entry.sequences, isOver: isOver)
                return receipt?.state != .stored
            } catch { return false }
        }
    }

    /// Asks for everything to be sent, as `ioSyncUp`.
    func flush() {
        guard store != nil, replicator != nil, requests.count < 4 else { return }
        let expected = image.outbox.values.map { (key: $0, version: image.version($0)) }.sorted { $0.key < $1.key }
        call(.none) {
            do throws(IotoError) {
                guard let progress = try replicator!.flush(now) else { return }
                requestCount += 1
                world.tell(who, "asks for a flush (\(requestCount)) of \(expected.count)")
                requests.append(Request(number: requestCount, flush: progress, catchUp: nil, expected: expected))
            } catch {}
        }
        scheduleStep(after: 0)
    }

    /// Asks for everything that is new, as `ioSyncDown`.
    func catchUp() {
        guard store != nil, replicator != nil, requests.count < 4 else { return }
        let expected = judge.versionsInCloud(for: self)
        requestCount += 1
        world.tell(who, "asks to catch up (\(requestCount))")
        call(.none) {
            requests.append(
                Request(number: requestCount, flush: nil, catchUp: replicator!.catchUp(now), expected: expected))
        }
        scheduleStep(after: 0)
    }

    private func finishRequests() {
        var open: [Request] = []
        for var request in requests {
            guard let replicator else { return }
            var isDone = false
            if request.flush != nil {
                isDone = (try? replicator.isFlushed(&request.flush!)) ?? false
                if isDone { judge.flushed(self, request.expected) }
            } else if let generation = request.catchUp {
                isDone = replicator.isConnected && replicator.isCaughtUp(since: generation)
                if isDone { judge.caughtUp(self, request.expected) }
            }
            if isDone {
                world.tell(who, "its request (\(request.number)) is done")
            } else {
                open.append(request)
            }
        }
        requests = open
    }

    // MARK: The agent

    func clientConnected() {}

    func clientSubscribed() {
        guard replicator != nil else { return }
        backoff.reset()
        world.tell(who, "is connected")
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

    private func scheduleStep(after delay: Int64) {
        guard store != nil else { return }
        stepToken += 1
        let token = stepToken
        world.after(delay) {
            if token == self.stepToken { self.step() }
        }
    }

    private func step() {
        guard store != nil else { return }
        if let due = connectAt, monotonic >= due {
            connectAt = nil
            client?.connect()
        }
        while !inbox.isEmpty, store != nil {
            let message = inbox.removeFirst()
            world.tell(who, "receives \(describe(message))")
            call(.message(message)) { replicator!.received(message.topic, message.payload, now) }
            if message.topic.hasSuffix("/SYNC") {
                if !disk.hasFailed { judge.deviceHeard(self, message) }
                checkReceipts()
            }
        }
        if let bytes = changedBytes {
            changedBytes = nil
            call(.none) { replicator!.changed(bytes: bytes, now) }
        }
        call(.none) { replicator!.tick(now) }
        finishRequests()
        guard let replicator else { return }
        var deadline = connectAt
        if let due = replicator.deadline { deadline = min(deadline ?? due, due) }
        if let deadline { scheduleStep(after: max(1, deadline - monotonic)) }
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

/// A message in a few words.
func describe(_ message: Message) -> String {
    let verb = message.topic.string.split(separator: "/").last ?? ""
    guard let json = try? JSON.parse(message.payload) else { return "\(verb), not JSON" }
    func changes() -> String {
        (json["changes"]?.arrayValue ?? []).map { change in
            let version = change.wireVersion(in: json)?.story ?? "?"
            let key = change.wireKey?.string ?? "?"
            let value = change["item"]?["value"]?.stringValue?.string.prefix(12) ?? ""
            return change["cmd"]?.stringValue == "remove" ? "no \(key) at \(version)" : "\(key) = \(value) at \(version)"
        }.joined(separator: ", ")
    }
    switch verb {
    case "syncToDynamo": return "changes #\(json["seq"]?.integerValue ?? 0): \(changes())"
    case "syncDown":
        let cursors = json["cursors"]?.objectValue.map { object in
            object.members.map { "\($0.key.string) from \($0.value["cursor"]?.integerValue ?? 0)" }
                .joined(separator: ", ")
        }
        return "question #\(json["seq"]?.integerValue ?? 0): \(cursors ?? "")"
    case "SYNC":
        func versions(_ name: Text, _ member: Text? = nil) -> String {
            (json[name]?.arrayValue ?? []).map { entry in
                let text = member.map { entry[$0] } ?? entry
                return text?.stringValue.flatMap { Version($0) }?.story ?? "?"
            }.joined(separator: ", ")
        }
        let feed = json["feed"].map { ", feed \($0["prev"]?.integerValue ?? 0) to \($0["cursor"]?.integerValue ?? 0)" }
        return "ack #\(json["seq"]?.integerValue ?? 0): \(versions("vers"))"
            + (json["rejected"] == nil ? "" : ", refused \(versions("rejected", "ver"))")
            + (json["again"] == nil ? "" : ", again \(versions("again", "ver")) as \(versions("again", "to"))")
            + (feed ?? "")
    case "BATCH":
        if json["ask"] != nil { return "plea to ask" }
        let answers = json["seq"]?.integerValue.map { " (answer to #\($0))" } ?? ""
        return "page of \(json["stream"]?.stringValue?.string ?? "?") \(json["prev"]?.integerValue ?? 0) to "
            + "\(json["cursor"]?.integerValue ?? 0)\(answers)\(json["more"]?.boolValue == true ? ", more" : "")"
            + "\(json["reset"] == nil ? "" : ", reset"): \(changes())"
    default: return String(verb)
    }
}
