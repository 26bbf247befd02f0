import IotoBase
import IotoJSON
import IotoSchema

/// What the hub is told.
public enum HubInput: Sendable {
    /// The broker session is up: the first input, and again after every reconnection. `devices` are those that the store
    /// knows; `feeds` tells where the feeds that are broadcast (`all`, `account/<id>`) end.
    case connected(devices: [DeviceRecord], feeds: [StreamCursor])
    case message(topic: Text, payload: [UInt8])
    case answer(ticket: Int64, HubAnswer)
    /// What became of a publication that has a ticket: the broker has acknowledged it, or it was given up.
    case published(ticket: Int64, isSent: Bool)
    /// Feeds have new entries, whoever wrote them.
    case feedsMoved([Text])
}

/// What the hub wants done, in order.
public enum HubEffect: Sendable {
    case publish(Publication)
    /// To be answered with `.answer` under the same ticket, whenever that may be; answers may come in any order.
    case request(ticket: Int64, HubRequest)
    /// The same after a wait, in milliseconds.
    case requestLater(ticket: Int64, HubRequest, after: Int64)
    case log(LogLevel, Text)
}

/// The cloud's half of replication, a state machine without I/O: it is told what happened, and answers with what is to be
/// done. One thread or task at a time owns it.
///
/// It keeps nothing that matters: what is durable stands in the store, and a hub that starts anew asks the devices to
/// come, from their own cursors. Each device's messages are worked on one after the other; nothing is acknowledged before
/// the store has it.
public final class HubReplicator {
    let schema: Schema
    let codec: WireCodec
    var clock: HybridClock
    var sessions: [Text: DeviceSession] = [:]
    /// The feeds that go to many devices at once, and how far they are published.
    var broadcasts: [Text: LiveFeed] = [:]
    var tickets: [Int64: Outstanding] = [:]
    /// Counts the questions of agents of version 1.
    var version1Rounds: Int64 = 0
    /// Ids of the devices that were last heard as agents of version 1.
    var agents: Set<Text> = []
    /// Devices that are still to be asked to come, and how many were asked without the broker's acknowledgement.
    private var pleas: [Text] = []
    private var pleading = 0
    private var lastTicket: Int64 = 0
    var effects: [HubEffect] = []
    var now = Instant(monotonic: 0, wall: 0)

    /// - Parameter clock: The store's clock, so that the hub's stamps go on above it.
    public init(schema: Schema, clock: HybridClock) {
        self.schema = schema
        self.codec = WireCodec(schema: schema)
        self.clock = clock
    }

    /// What the hub subscribes to.
    public static var subscriptions: [Text] { Topics.hubSubscriptions() }

    public func handle(_ input: HubInput, now: Instant) -> [HubEffect] {
        self.now = now
        switch input {
        case .connected(let devices, let feeds): connected(devices, feeds)
        case .message(let topic, let payload): received(topic, payload)
        case .answer(let ticket, let answer): answered(ticket, answer)
        case .published(let ticket, let isSent): published(ticket, isSent)
        case .feedsMoved(let streams): for stream in streams { moved(stream) }
        }
        defer { effects.removeAll() }
        return effects
    }

    /// Has every device that is connected ask, when the broker has kept nothing for the hub: those that the hub has never heard
    /// of asked when nobody listened, and would wait for their own time.
    public static var announcement: Publication {
        Publication(topic: Topics.down(account: Stream.all, "BATCH"), payload: plea)
    }

    /// Has a device ask for all that is new.
    static var plea: [UInt8] { Text(#"{"v":2,"ask":true}"#).bytes }

    // MARK: Inputs

    private func connected(_ devices: [DeviceRecord], _ feeds: [StreamCursor]) {
        // An agent of version 1 can't be asked to come: what the hub knows of it outlives the connection.
        // Nor will it send again what waits here.
        let waiting = Set(tickets.values.compactMap { $0.again == nil ? nil : $0.ticket.device })
        sessions = sessions.filter { $0.value.agent != nil || waiting.contains($0.key) }
        tickets = tickets.filter { ticket in ticket.value.ticket.device.map { sessions[$0] != nil } ?? false }
        broadcasts.removeAll()
        pleas.removeAll()
        pleading = 0
        for feed in feeds {
            broadcasts[feed.stream] = LiveFeed(sent: feed.position)
        }
        for device in devices {
            if device.isVersion1 {
                resume(device)
                continue
            }
            // What was committed and not published before the hub stopped is behind some device's cursor: they all ask.
            pleas.append(device.id)
        }
        plead()
    }

    /// Asks the next devices to come: so many at once that neither the broker's queue nor the store is overrun.
    private func plead(_ most: Int = HubReplicator.pleadingMax) {
        while pleading < most, let device = pleas.popLast() {
            pleading += 1
            send(Publication(topic: Topics.down(device: device, "BATCH"), payload: HubReplicator.plea), .plea(device: device))
        }
    }

    private func published(_ number: Int64, _ isSent: Bool) {
        switch tickets.removeValue(forKey: number)?.ticket {
        case .plea(let device):
            pleading -= 1
            // The broker's queue is full: with the next acknowledgement, then, or the next message.
            if isSent { plead() } else { pleas.append(device) }
        case .send(let device, let round): published(device, round, isSent)
        default: break
        }
    }

    private func received(_ topic: Text, _ payload: [UInt8]) {
        guard let (device, verb) = Topics.parseService(topic) else { return }
        if pleading == 0 { plead(1) }
        guard payload.count <= Limits.messageBytesMax else {
            log(.warning, "\(device): a message of \(payload.count) bytes is dropped")
            return
        }
        if verb == .offline {
            // The broker may tell late that a connection has ended, when the next one has begun.
            if let session = sessions[device], session.agent == nil, now.monotonic - session.heardAt < HubReplicator.lateMax {
                publish(Topics.down(device: device, "BATCH"), HubReplicator.plea)
            }
            sessions[device] = nil
            // The answers that it waited for are not those of the session that comes next.
            for (number, outstanding) in tickets where outstanding.ticket.device == device { tickets[number] = nil }
            return
        }
        let session = sessions[device] ?? DeviceSession(id: device)
        sessions[device] = session
        guard session.queue.isEmpty
            || session.queue.count < DeviceSession.queueMax && session.queueBytes + payload.count <= DeviceSession.queueBytesMax
        else {
            log(.warning, "\(device): too many messages at once, one is dropped and will come again")
            haveRetried(device, WaitingMessage(verb: verb, payload: payload), after: HubReplicator.busyWait)
            return
        }
        session.heardAt = now.monotonic
        session.queue.append(WaitingMessage(verb: verb, payload: payload))
        if session.isBusy { readAhead(session) }
        work(on: session)
    }

    private func answered(_ number: Int64, _ answer: HubAnswer) {
        // A ticket from before a reconnection has no taker: the device will ask again.
        guard let outstanding = tickets.removeValue(forKey: number) else { return }
        let ticket = outstanding.ticket
        if let again = outstanding.again, case .failed(let error) = answer {
            // Nobody else will: an agent of version 1 sends again, and asks again, when it connects.
            log(.error, "\(ticket.device ?? Text()): \(error.message)")
            request(again, ticket, isRepeated: true, after: HubReplicator.failureWait)
            return
        }
        switch ticket {
        case .open(let device), .apply(let device, _), .answer(let device, _, _), .arrive(let device, _):
            guard let session = sessions[device] else { return }
            session.isBusy = false
            complete(ticket, answer, session)
            work(on: session)
        case .push(let stream, let device):
            pushed(stream, device, answer)
        case .follow(let device, let stream, let round):
            guard let session = sessions[device], let agent = session.agent, agent.round == round else { return }
            followed(stream, answer, session, agent)
        case .note, .send, .plea: break
        }
    }

    // MARK: Outputs

    /// Most devices that are asked to come at a time.
    static let pleadingMax = 200

    /// How late a broker tells of the end of a connection, in milliseconds.
    private static let lateMax: Int64 = 60_000

    /// How long a device is to wait when the store has failed, when too much of its waits here, and when its message is refused
    /// as a whole, in milliseconds.
    static let failureWait: Int64 = 2_000
    static let busyWait: Int64 = 5_000
    static let refusalWait: Int64 = 300_000

    /// Has a device send a message again later, which does not get an answer now.
    ///
    /// - Parameter error: Why, if that is a matter of the device's.
    func haveRetried(_ device: Text, _ verb: ServiceVerb, _ sequence: Int64?, after wait: Int64, _ error: IotoError? = nil) {
        guard let sequence, verb != .offline else { return }
        publish(
            Topics.down(device: device, verb == .syncDown ? "BATCH" : "SYNC"),
            codec.encodeRetry(sequence, after: wait, error))
    }

    func haveRetried(_ device: Text, _ waiting: WaitingMessage, after wait: Int64, _ error: IotoError? = nil) {
        haveRetried(device, waiting.verb, codec.sequence(of: waiting.payload), after: wait, error)
    }

    /// - Parameter isRepeated: When it fails it is made again, until it does not; what waits for the answer goes on waiting.
    func request(_ request: HubRequest, _ ticket: Ticket, isRepeated: Bool = false, after wait: Int64 = 0) {
        lastTicket += 1
        tickets[lastTicket] = Outstanding(ticket: ticket, again: isRepeated ? request : nil)
        effects.append(
            wait > 0
                ? .requestLater(ticket: lastTicket, request, after: wait) : .request(ticket: lastTicket, request))
    }

    /// Publishes a message and has its outcome told.
    func send(_ publication: Publication, _ ticket: Ticket) {
        lastTicket += 1
        tickets[lastTicket] = Outstanding(ticket: ticket)
        effects.append(.publish(Publication(topic: publication.topic, payload: publication.payload, ticket: lastTicket)))
    }

    /// Publishes to one device.
    func publish(to session: DeviceSession, _ verb: Text, _ payload: [UInt8]) {
        publish(
            Topics.down(device: session.id, verb), session.inflates ? Compression.deflate(payload) : payload)
    }

    func publish(_ topic: Text, _ payload: [UInt8]) {
        effects.append(.publish(Publication(topic: topic, payload: payload)))
    }

    func log(_ level: LogLevel, _ message: Text) {
        effects.append(.log(level, message))
    }

    /// The hub's time: above all that it has seen or stamped.
    var time: UInt64 { max(clock.last, HybridClock.time(now.wall)) }
}

/// What a request to the store was made for.
enum Ticket {
    case open(device: Text)
    case apply(device: Text, AckMessage)
    /// A page that a device asked for: its cursor, and the streams still to be answered.
    case answer(device: Text, CatchUpRequest, isReset: Bool)
    /// A live page; `device` nil for a broadcast.
    case push(stream: Text, device: Text?)
    /// Changes of an agent of version 1.
    case arrive(device: Text, Version1Ack)
    /// A page for an agent of version 1.
    case follow(device: Text, stream: Text, round: Int64)
    /// A message to an agent of version 1, which is to be told when it is out.
    case send(device: Text, round: Int64)
    /// A device is asked to come.
    case plea(device: Text)
    /// How far an agent of version 1 was told that it is caught up.
    case note(device: Text)

    /// The device whose session waits for the answer; nil when it goes to many.
    var device: Text? {
        switch self {
        case .open(let device), .apply(let device, _), .answer(let device, _, _), .arrive(let device, _),
            .follow(let device, _, _), .send(let device, _), .note(let device):
            device
        case .push(_, let device): device
        case .plea: nil
        }
    }
}

/// What has a ticket.
struct Outstanding {
    let ticket: Ticket
    /// The request, when it is to be made again after a failure.
    var again: HubRequest?
}

/// A feed that is published as it moves.
struct LiveFeed {
    /// Position up to which it is published.
    var sent: Int64
    var isReading = false
    /// It moved while it was read.
    var hasMoved = false
}

/// What the hub remembers of a device that it has heard from.
final class DeviceSession {
    /// Messages of one device that wait, and the bytes that these take as they came and as they were read ahead; those
    /// beyond are dropped, and sent again by the device.
    static let queueMax = 64
    static let queueBytesMax = 8 * 1024 * 1024

    let id: Text
    var record: DeviceRecord? {
        didSet {
            context = Context()
            context.set("deviceId", id)
            if let record, !record.account.isEmpty { context.set("accountId", record.account) }
        }
    }
    /// What the device's items have to say.
    private(set) var context = Context()
    /// The device's own stream.
    let stream: Text
    var queue: [WaitingMessage] = []
    var queueBytes: Int {
        var bytes = 0
        for waiting in queue { bytes += waiting.bytes }
        return bytes
    }
    /// A request to the store is out.
    var isBusy = false
    /// The device's own feed, once the device has caught up with it.
    var feed: LiveFeed?
    /// Of an agent of version 1: what goes down to it.
    var agent: AgentFeed?
    /// The device reads compressed messages.
    var inflates = false
    /// When it was heard last, on the monotonic clock.
    var heardAt: Int64 = 0
    /// The device's own feed has moved since it was last read for the device's question.
    var hasMoved = false
    /// It could not be read. The question may have come twice, and the device waits for no answer to this one.
    var isUnread = false

    init(id: Text) {
        self.id = id
        stream = Stream.device(id)
    }
}

/// A message of a device that waits for its turn.
struct WaitingMessage {
    let verb: ServiceVerb
    let payload: [UInt8]
    /// What was read of it ahead, and as whose.
    var message: WireMessage?
    var read: UpRead?
    var record: DeviceRecord?

    init(verb: ServiceVerb, payload: [UInt8]) {
        self.verb = verb
        self.payload = payload
    }

    /// What it takes of memory, about: read, its text is there once more, and each change of it.
    var bytes: Int { payload.count + (message.map { 3 * $0.text.count } ?? 0) }
}

/// A message of changes, as it was read.
struct UpRead {
    var message: UpMessage
    var changes: [WireChange]
}
