import IotoBase
import IotoSchema

@testable import IotoSync

/// One device and one hub, joined by queues in place of a broker: messages go through when the test says so.
final class Loopback {
    let replica: MemoryReplica
    let cloud = MemoryHubStore()
    var device: DeviceReplicator<MemoryReplica>
    var hub: HubReplicator
    var now = Instant(monotonic: 1_000, wall: 1_700_000_000_000)
    /// On their way up and down.
    var up: [Publication] = []
    var down: [Publication] = []
    /// Tickets of the hub's publications that the broker has not acknowledged.
    var unacknowledged: [Int64] = []
    var holdsAcknowledgements = false
    /// Every payload that the device ever published.
    var published: [[UInt8]] = []
    /// Keeps the store's answers from the hub, until `releaseAnswers()`.
    var holdsAnswers = false
    private(set) var heldAnswers: [(ticket: Int64, answer: HubAnswer)] = []
    private var requestsDue: [(at: Int64, ticket: Int64, request: HubRequest)] = []
    private let id: Text
    private var processes: UInt64 = 7

    private let schema: Schema

    /// Every payload that the hub ever published.
    var publishedDown: [[UInt8]] = []

    var logged: [(LogLevel, Text)] = []
    /// The device does not say that it joins parts.
    var isOld = false

    init(replica: UInt64 = 0xD1, id: Text = "d1", schema: Schema = TestSchema.schema, compresses: Bool = false) {
        self.schema = schema
        self.replica = MemoryReplica(replica: replica)
        self.id = id
        device = Loopback.makeDevice(self.replica, id, seed: processes, compresses: compresses)
        hub = HubReplicator(schema: schema, clock: HybridClock())
        self.replica.clocks = { [unowned self] in now }
        run(.connected(devices: [], feeds: []))
    }

    /// A device that is connected and caught up.
    static func connected() -> Loopback {
        let loop = Loopback()
        loop.connect()
        loop.settle()
        return loop
    }

    private static func makeDevice(
        _ storage: MemoryReplica, _ id: Text, seed: UInt64, compresses: Bool = false
    ) -> DeviceReplicator<MemoryReplica> {
        let topics = Topics(device: id, account: "a1")
        var configuration = DeviceReplicator<MemoryReplica>.Configuration(topics: topics)
        configuration.compresses = compresses
        return DeviceReplicator(storage: storage, schema: TestSchema.schema, configuration: configuration, seed: seed)
    }

    // MARK: What the test does

    func connect() {
        device.connected(now)
        collect()
    }

    func disconnect() {
        device.disconnected(now)
        up.removeAll()
        down.removeAll()
    }

    /// Connects again after what went on in the cloud meanwhile, of which nothing had reached the device.
    func comeBack() {
        down.removeAll()
        connect()
        settle()
    }

    /// A new process on the same database.
    func restartDevice() {
        processes += 1
        device = Loopback.makeDevice(replica, id, seed: processes)
        up.removeAll()
        down.removeAll()
    }

    /// A new hub process on the same store.
    func restartHub() {
        hub = HubReplicator(schema: schema, clock: HybridClock())
        let feeds = cloud.heads.filter { !$0.key.hasPrefix("device/") }
            .map { StreamCursor(stream: $0.key, history: cloud.history, position: $0.value) }
        run(.connected(devices: Array(cloud.devices.values), feeds: feeds))
    }

    func change(_ model: Text, _ id: Text, _ value: Text) throws {
        try replica.put(model, id, value: value)
        device.changed(bytes: 10, now)
        collect()
    }

    func remove(_ model: Text, _ id: Text) throws {
        try replica.remove(model, id)
        device.changed(bytes: 10, now)
        collect()
    }

    func cloudChange(_ model: Text, _ id: Text, _ value: Text, device: Text? = "d1", isRemoval: Bool = false) throws {
        run(.feedsMoved(try cloud.put(model, id, device: device, value: value, isRemoval: isRemoval)))
    }

    func setWall(_ wall: Int64) {
        now = Instant(monotonic: now.monotonic, wall: wall)
        replica.wall = wall
        cloud.wall = wall
    }

    func wait(_ milliseconds: Int64) {
        now = Instant(monotonic: now.monotonic + milliseconds, wall: now.wall + milliseconds)
        replica.wall = now.wall
        let due = requestsDue.filter { $0.at <= now.monotonic }
        requestsDue.removeAll { $0.at <= now.monotonic }
        for request in due { run(.answer(ticket: request.ticket, cloud.answer(request.request))) }
        device.tick(now)
        collect()
    }

    /// Sends what is pending without waiting for syncDelay.
    func flush() throws {
        _ = try device.flush(now)
        collect()
    }

    func deliverUp() {
        let messages = up
        up.removeAll()
        for message in messages { run(.message(topic: message.topic, payload: isOld ? old(message.payload) : message.payload)) }
    }

    private func old(_ payload: [UInt8]) -> [UInt8] {
        Array(String(decoding: payload, as: UTF8.self).replacing(#""p":1,"#, with: "").utf8)
    }

    func deliverDown() {
        let messages = down
        down.removeAll()
        for message in messages { device.received(message.topic, message.payload, now) }
        collect()
    }

    /// Lets everything through until both sides are silent.
    func settle() {
        for _ in 0..<100 where !up.isEmpty || !down.isEmpty {
            deliverUp()
            deliverDown()
        }
    }

    func receive(_ verb: Text, _ payload: String) {
        device.received(Topics.down(device: id, verb), Array(payload.utf8), now)
        collect()
    }

    // MARK: Wires

    private func collect() {
        while device.up.hasRoom { device.sendRest(now) }
        let publications = device.takePublications()
        published += publications.map { $0.payload }
        up += publications
    }

    func takeAcknowledgements(isSent: Bool = true) -> [HubInput] {
        defer { unacknowledged = [] }
        return unacknowledged.map { .published(ticket: $0, isSent: isSent) }
    }

    func run(_ input: HubInput) {
        var inputs = [input]
        while !inputs.isEmpty {
            for effect in hub.handle(inputs.removeFirst(), now: now) {
                switch effect {
                case .publish(let publication):
                    down.append(publication)
                    publishedDown.append(publication.payload)
                    if let ticket = publication.ticket { unacknowledged.append(ticket) }
                    if !holdsAcknowledgements { inputs += takeAcknowledgements() }
                case .request(let ticket, let request):
                    let answer = cloud.answer(request)
                    if holdsAnswers {
                        heldAnswers.append((ticket, answer))
                    } else {
                        inputs.append(.answer(ticket: ticket, answer))
                    }
                case .requestLater(let ticket, let request, let wait):
                    requestsDue.append((now.monotonic + wait, ticket, request))
                case .log(let level, let message): logged.append((level, message))
                }
            }
        }
    }

    func releaseAnswers() {
        let answers = heldAnswers
        heldAnswers.removeAll()
        for answer in answers { run(.answer(ticket: answer.ticket, answer.answer)) }
    }
}
