import IotoBase

struct Message {
    var topic: Text
    var payload: [UInt8]
    var qos = 1
    /// Of the sender: to be told when the broker has it.
    var ticket: Int64?
}

/// What passes over a connection.
enum Packet {
    case connect
    case accepted(sessionPresent: Bool)
    case subscribe
    case subscribed
    case publish(Int, Message)
    case acknowledge(Int)
    case goodbye

    var bytes: Int64 {
        if case .publish(_, let message) = self { return Int64(message.payload.count + message.topic.count + 10) }
        return 20
    }
}

/// The way between one client and the broker: its delays, and whether anything passes at all.
final class Link {
    var latency: ClosedRange<Int64>
    /// 0: as many as there are.
    var bytesPerSecond: Int64
    var isCut = false
    private var held: [() -> Void] = []

    init(latency: ClosedRange<Int64>, bytesPerSecond: Int64) {
        self.latency = latency
        self.bytesPerSecond = bytesPerSecond
    }

    /// Keeps what is sent while the link is cut: it is sent again once it is not.
    func hold(_ body: @escaping () -> Void) { held.append(body) }

    func restore() {
        isCut = false
        let held = held
        self.held = []
        for body in held { body() }
    }
}

/// One TCP connection. In order in each direction; what is on its way when it breaks is lost.
final class Connection {
    private unowned let world: World
    let client: Client
    let broker: Broker
    private(set) var isOpenAtClient = true
    private(set) var isOpenAtBroker = true
    private var upReady: Int64 = 0
    private var downReady: Int64 = 0

    init(_ world: World, _ client: Client, _ broker: Broker) {
        self.world = world
        self.client = client
        self.broker = broker
    }

    func sendUp(_ packet: Packet) {
        guard isOpenAtClient else { return }
        let link = client.link
        if link.isCut { return link.hold { self.sendUp(packet) } }
        upReady = arrival(packet, after: upReady)
        world.after(upReady - world.now) {
            if self.isOpenAtBroker { self.broker.receive(packet, self) }
        }
    }

    func sendDown(_ packet: Packet) {
        guard isOpenAtBroker else { return }
        let link = client.link
        if link.isCut { return link.hold { self.sendDown(packet) } }
        downReady = arrival(packet, after: downReady)
        world.after(downReady - world.now) {
            if self.isOpenAtClient { self.client.receive(packet, self) }
        }
    }

    private func arrival(_ packet: Packet, after ready: Int64) -> Int64 {
        let link = client.link
        let delay = world.random.span(link.latency)
        let transfer = link.bytesPerSecond == 0 ? 0 : packet.bytes * 1000 / link.bytesPerSecond
        return max(ready, world.now + delay) + transfer
    }

    /// The client's end goes: the broker hears of it when the link lets it, or by its keepalive.
    func breakAtClient(goodbye: Bool = false) {
        guard isOpenAtClient else { return }
        isOpenAtClient = false
        let wait = client.link.isCut ? world.random.integer(1_000...90_000) : client.link.latency.lowerBound
        world.after(wait) { self.breakAtBroker() }
    }

    /// The broker's end goes.
    func breakAtBroker() {
        guard isOpenAtBroker else { return }
        isOpenAtBroker = false
        broker.lost(self)
        let wait = client.link.isCut ? world.random.integer(1_000...90_000) : client.link.latency.lowerBound
        world.after(wait) { self.noticeAtClient() }
    }

    func noticeAtClient() {
        guard isOpenAtClient else { return }
        isOpenAtClient = false
        client.lost(self)
    }
}

protocol ClientOwner: AnyObject {
    func clientConnected()
    func clientSubscribed()
    func clientDisconnected()
    func clientReceived(_ message: Message)
    func clientPublished(_ ticket: Int64)
}

extension ClientOwner {
    func clientPublished(_ ticket: Int64) {}
}

/// An MQTT client: what libmosquitto does for the product.
final class Client {
    private static let inflightMax = 20
    private static let connectTimeout: Int64 = 10_000

    let id: Text
    let filters: [Text]
    let cleanSession: Bool
    let will: Message?
    let link: Link
    private unowned let world: World
    private let broker: Broker
    unowned let owner: any ClientOwner
    private(set) var connection: Connection?
    private var isConnected = false
    private var lastNumber = 0
    private var unacknowledged: [(number: Int, message: Message)] = []
    private var queue: [(number: Int, message: Message)] = []

    init(
        _ world: World, id: Text, filters: [Text], cleanSession: Bool, will: Message?, link: Link, broker: Broker,
        owner: any ClientOwner
    ) {
        self.world = world
        self.id = id
        self.filters = filters
        self.cleanSession = cleanSession
        self.will = will
        self.link = link
        self.broker = broker
        self.owner = owner
    }

    var pendingCount: Int { unacknowledged.count + queue.count }

    func connect() {
        let connection = Connection(world, self, broker)
        self.connection = connection
        isConnected = false
        world.after(Client.connectTimeout) { [weak self, weak connection] in
            guard let self, let connection, self.connection === connection, !self.isConnected else { return }
            connection.breakAtClient()
            self.lost(connection)
        }
        if broker.isRunning { connection.sendUp(.connect) }
    }

    func publish(_ message: Message) {
        if message.qos == 0 {
            connection?.sendUp(.publish(0, message))
            return
        }
        lastNumber += 1
        queue.append((lastNumber, message))
        pump()
    }

    func sayGoodbye() {
        connection?.sendUp(.goodbye)
        connection?.breakAtClient(goodbye: true)
        connection = nil
        isConnected = false
    }

    /// The process is gone, and with it everything that it had.
    func die() {
        connection?.breakAtClient()
        connection = nil
        isConnected = false
        queue = []
        unacknowledged = []
    }

    private func pump() {
        while isConnected, unacknowledged.count < Client.inflightMax, !queue.isEmpty {
            let entry = queue.removeFirst()
            unacknowledged.append(entry)
            connection?.sendUp(.publish(entry.number, entry.message))
        }
    }

    func receive(_ packet: Packet, _ connection: Connection) {
        guard connection === self.connection else { return }
        switch packet {
        case .accepted:
            isConnected = true
            owner.clientConnected()
            connection.sendUp(.subscribe)
            // What the broker has not acknowledged goes out again.
            for entry in unacknowledged { connection.sendUp(.publish(entry.number, entry.message)) }
            pump()
        case .subscribed: owner.clientSubscribed()
        case .publish(let number, let message):
            if message.qos == 1 { connection.sendUp(.acknowledge(number)) }
            owner.clientReceived(message)
        case .acknowledge(let number):
            let ticket = unacknowledged.first { $0.number == number }?.message.ticket
            unacknowledged.removeAll { $0.number == number }
            pump()
            if let ticket { owner.clientPublished(ticket) }
        case .connect, .subscribe, .goodbye: break
        }
    }

    func lost(_ connection: Connection) {
        guard connection === self.connection else { return }
        self.connection = nil
        isConnected = false
        owner.clientDisconnected()
    }
}

/// An MQTT broker: at least once within a session, and a session outlives connections.
final class Broker {
    private static let inflightMax = 20

    private final class Session {
        let client: Text
        var filters: [Text] = []
        var isPersistent = false
        var will: Message?
        var queue: [Message] = []
        var inflight: [(number: Int, message: Message)] = []
        var lastNumber = 0
        var connection: Connection?
        var isSubscribed: Bool { !filters.isEmpty }

        init(client: Text) { self.client = client }
    }

    private unowned let world: World
    private var sessions: [Session] = []
    private(set) var isRunning = true
    /// A cluster rather than one machine: messages of a session overtake each other, and come twice.
    var isLoose = false
    var isFaulty = true
    /// The processes of the hub share their subscription; else each of them hears everything.
    var isShared = false
    /// Messages that wait for one client; those beyond are dropped, as brokers do.
    var queueMax = 1000
    /// The largest message that it takes, in bytes; nil: any.
    var packetBytesMax: Int?
    private(set) var dropped = 0

    init(_ world: World) {
        self.world = world
    }

    var longestQueue: Int { sessions.map { $0.queue.count }.max() ?? 0 }

    func restart(losingSessions: Bool, downtime: Int64) {
        guard isRunning else { return }
        isRunning = false
        world.tell("broker", losingSessions ? "dies, and forgets its sessions" : "dies")
        for session in sessions {
            let connection = session.connection
            // A broker that dies sends no wills.
            session.will = nil
            session.connection = nil
            connection?.breakAtBroker()
        }
        if losingSessions { sessions = [] }
        for session in sessions where !session.isPersistent { drop(session) }
        world.after(downtime) {
            self.isRunning = true
            self.world.tell("broker", "is back")
        }
    }

    func end() {
        isRunning = false
        for session in sessions { session.connection = nil }
        sessions = []
    }

    func receive(_ packet: Packet, _ connection: Connection) {
        guard isRunning else { return }
        switch packet {
        case .connect: accept(connection)
        case .subscribe:
            session(of: connection)?.filters = connection.client.filters
            connection.sendDown(.subscribed)
        case .publish(let number, let message):
            if message.qos == 1 { connection.sendDown(.acknowledge(number)) }
            route(message)
        case .acknowledge(let number):
            guard let session = session(of: connection) else { return }
            session.inflight.removeAll { $0.number == number }
            pump(session)
        case .goodbye:
            session(of: connection)?.will = nil
            connection.breakAtBroker()
        case .accepted, .subscribed: break
        }
    }

    private func session(of connection: Connection) -> Session? {
        sessions.first { $0.connection === connection }
    }

    private func accept(_ connection: Connection) {
        let client = connection.client
        var session = sessions.first { $0.client == client.id }
        if let former = session?.connection, former !== connection { former.breakAtBroker() }
        if client.cleanSession, let known = session {
            drop(known)
            session = nil
        }
        let isPresent = session != nil
        let current = session ?? Session(client: client.id)
        if !isPresent { sessions.append(current) }
        current.isPersistent = !client.cleanSession
        current.will = client.will
        current.connection = connection
        connection.sendDown(.accepted(sessionPresent: isPresent))
        for entry in current.inflight { connection.sendDown(.publish(entry.number, entry.message)) }
        pump(current)
    }

    private func drop(_ session: Session) {
        sessions.removeAll { $0 === session }
    }

    func lost(_ connection: Connection) {
        guard let session = session(of: connection) else { return }
        session.connection = nil
        if let will = session.will {
            session.will = nil
            route(will)
        }
        if !session.isPersistent { drop(session) }
    }

    /// Takes a message as if a client of no name had published it.
    func route(_ message: Message) {
        var takers = sessions.filter { $0.filters.contains { Broker.matches(message.topic, $0) } }
        if isShared {
            // Of the processes that share a subscription one gets it, most often one that is there (MQTT 5.0, 4.8.2).
            let sharers = takers.filter { $0.client.hasPrefix(Hub.name) }
            let present = sharers.filter { $0.connection != nil }
            if sharers.count > 1 {
                let taker = world.random.pick(present.isEmpty ? sharers : present)
                takers.removeAll { $0.client.hasPrefix(Hub.name) && $0 !== taker }
            }
        }
        for session in takers {
            if isLoose, isFaulty {
                let copies = world.random.chance(30) ? 2 : 1
                for _ in 0..<copies {
                    let delay = world.random.chance(50) ? world.random.integer(0...5_000) : world.random.integer(0...50)
                    world.after(delay) { [weak session] in
                        if let session { self.enqueue(message, session) }
                    }
                }
            } else {
                enqueue(message, session)
            }
        }
    }

    private func enqueue(_ message: Message, _ session: Session) {
        guard isRunning, session.queue.count < queueMax else {
            dropped += 1
            world.tell("broker", "drops a message for \(session.client.string)")
            world.count(fault: "message dropped by the broker")
            return
        }
        session.queue.append(message)
        pump(session)
    }

    private func pump(_ session: Session) {
        guard let connection = session.connection else { return }
        while session.inflight.count < Broker.inflightMax, !session.queue.isEmpty {
            session.lastNumber += 1
            let entry = (session.lastNumber, session.queue.removeFirst())
            if entry.1.qos == 0 {
                connection.sendDown(.publish(0, entry.1))
                continue
            }
            session.inflight.append(entry)
            connection.sendDown(.publish(entry.0, entry.1))
        }
    }

    /// `+` stands for one level (MQTT 3.1.1, 4.7.1.3).
    static func matches(_ topic: Text, _ filter: Text) -> Bool {
        let topic = topic.bytes
        let filter = filter.bytes
        var at = 0
        for byte in filter {
            if byte == UInt8(ascii: "+") {
                while at < topic.count, topic[at] != UInt8(ascii: "/") { at += 1 }
            } else {
                guard at < topic.count, topic[at] == byte else { return false }
                at += 1
            }
        }
        return at == topic.count
    }
}
