import IotoBase
import IotoJSON
import IotoSchema

/// Which keys an agent's message is answered with once the store has the changes.
struct Version1Ack {
    var sequence: Int64
    /// By the number that stands for the change in the request.
    var keys: [(number: UInt64, key: Text)]
}

/// What goes down to an agent of version 1: item by item, each when the broker has acknowledged the one before, since such
/// agents don't bear bursts. The next page is read when the last is out, so that little waits here.
final class AgentFeed {
    struct Follow {
        let stream: Text
        /// Up to where it is sent; nil: from `since` on.
        var position: Int64?
        /// There may be entries behind the position.
        var isBehind = true
        /// It has been read to its end since the agent asked.
        var isCaughtUp = false
    }

    /// Counts the agent's questions over all sessions, so that answers to earlier ones are told apart.
    let round: Int64
    /// Time from which on the agent wants the changes.
    let since: UInt64
    var streams: [Follow]
    var outgoing: [Publication] = []
    var isSending = false
    var isReading = false
    /// It moved while it was read.
    var hasMoved: Set<Text> = []
    /// What the agent will be told that it is caught up to; nil once it was told.
    var catchUpTime: UInt64? = .max
    /// Up to when the broker has taken all for it, Unix milliseconds.
    var synced: Int64 = 0
    /// It has asked since the hub came to the broker, which may have lost what it had for the agent before: only then may it be told
    /// a time, since it asks next for what is newer than that.
    var hasAsked = false

    init(round: Int64, since: UInt64, streams: [Text]) {
        self.round = round
        self.since = since
        self.streams = streams.map { Follow(stream: $0) }
    }

    /// The device's account has become known: of its stream nothing was sent yet.
    func follow(account: Text) {
        let stream = Stream.account(account)
        guard !account.isEmpty, !streams.isEmpty, !streams.contains(where: { $0.stream == stream }) else { return }
        streams.append(Follow(stream: stream, position: 0))
    }
}

/// Agents that speak protocol version 1.
extension HubReplicator {
    /// Largest answer to changes, in bytes, but for one with a single key that takes more.
    static let version1AckBytesMax = 4096

    /// What is read for all agents at once, in bytes, but for one item of each.
    private static let agentsBytesMax = 32 * 1024 * 1024

    // MARK: Up

    func receivedVersion1Changes(_ json: JSON, _ session: DeviceSession) throws(IotoError) {
        guard let sequence = json["seq"]?.integerValue, let entries = json["changes"]?.arrayValue,
            entries.count <= Version1.changesMax
        else { throw IotoError(.protocolViolation, "a syncToDynamo of version 1 without valid seq or changes") }
        let account = entries.first?["item"]?["accountId"]?.stringValue ?? ""
        guard let record = version1Record(session, account: account) else { return }
        session.dequeue()

        var ack = Version1Ack(sequence: sequence, keys: [])
        var accepted: [StreamedChange] = []
        for (number, entry) in entries.enumerated() {
            do throws(IotoError) {
                let tag = Version(time: UInt64(number), writer: record.replica)
                var (change, model, body) = try codec.change(entry, tag, context: session.context)
                guard model.existsInCloud, model.syncsUp else {
                    throw IotoError(.denied, "model \"\(model.name)\" does not go up")
                }
                guard Stream.owner(of: body) == record.id else {
                    throw IotoError(.denied, "an item of model \"\(model.name)\" that is no device's own")
                }
                ack.keys.append((tag.time, codec.wireKey(of: change)))
                change.stamps = [:]
                var streamed = StreamedChange(
                    change: change, stream: Stream.of(body, model: model),
                    arrival: Arrival(updated: codec.updated(of: entry["item"])))
                streamed.merges = model.mergesFields
                accepted.append(streamed)
            } catch {
                // There is no word for a refusal in version 1: it is not acknowledged, and keeps nothing else waiting.
                log(.warning, "\(record.id): a change is refused: \(error.message)")
            }
        }
        guard !accepted.isEmpty else { return }
        session.isBusy = true
        session.keep(accepted)
        request(.apply(accepted, device: session.id), .arrive(device: session.id, ack), isRepeated: true)
    }

    func arrived(
        _ ack: Version1Ack, _ refused: [Version], _ met: [MetChange], _ advances: [FeedAdvance],
        _ session: DeviceSession
    ) {
        for _ in refused { log(.warning, "\(session.id): a change is refused: the item is another device's") }
        let keys = ack.keys.filter { entry in !refused.contains { $0.time == entry.number } }.map { $0.key }
        let agent = session.agent ?? AgentFeed(round: 0, since: 0, streams: [])
        session.agent = agent
        // The time is not for an answer to say: the broker may have lost what the agent has asked for again behind its changes.
        let topic = Topics.down(device: session.id, "SYNC")
        let bytesMax = min(HubReplicator.version1AckBytesMax, payloadBytesMax(topic) ?? .max)
        let answers = codec.version1Acks(ack.sequence, keys, bytesMax: bytesMax)
        agent.outgoing.insert(contentsOf: answers.map { Publication(topic: topic, payload: $0) }, at: 0)
        for entry in met { append(entry.other, session, agent) }
        step(session, agent)
        for advance in advances { moved(advance.stream) }
    }

    /// The store's record of the agent; nil when it had to be asked for.
    private func version1Record(_ session: DeviceSession, account: Text) -> DeviceRecord? {
        let account = Topics.isValidID(account) ? account : ""
        if let record = session.record, record.isVersion1, account.isEmpty || !record.account.isEmpty { return record }
        open(session, DeviceRecord(id: session.id, account: account, replica: Version1.replica(of: session.id)))
        return nil
    }

    // MARK: Down

    func receivedVersion1CatchUp(_ json: JSON, _ session: DeviceSession) throws(IotoError) {
        guard let timestamp = json["timestamp"]?.stringValue.flatMap({ ISODate.parse($0) }) else {
            throw IotoError(.protocolViolation, "a syncDown of version 1 without a valid timestamp")
        }
        guard let record = version1Record(session, account: "") else { return }
        session.dequeue()
        // Of a time that it was not told by this store, the agent can't know what it has missed.
        follow(session, record, since: max(0, min(timestamp, max(record.synced, session.agent?.synced ?? 0))))
        session.agent?.hasAsked = true
    }

    /// Goes on with an agent after the hub has started anew: it asks only when it connects.
    func resume(_ record: DeviceRecord) {
        agents.insert(record.id)
        let session = sessions[record.id] ?? DeviceSession(id: record.id, load: load)
        session.agent?.hasAsked = false
        guard session.agent == nil else { return }
        session.record = record
        sessions[record.id] = session
        follow(session, record, since: record.synced)
    }

    private func follow(_ session: DeviceSession, _ record: DeviceRecord, since: Int64) {
        var streams = [Stream.device(record.id), Stream.all]
        if !record.account.isEmpty { streams.append(Stream.account(record.account)) }
        version1Rounds += 1
        let agent = AgentFeed(round: version1Rounds, since: HybridClock.time(since), streams: streams)
        // Acknowledgements still have to go; the rest is read again. One message may be on its way.
        if let former = session.agent {
            agent.outgoing = former.outgoing.filter { $0.topic == Topics.down(device: session.id, "SYNC") }
            agent.synced = min(former.synced, since)
        } else {
            agent.synced = since
        }
        session.agent = agent
        step(session, agent)
    }

    /// A stream that the agent follows has new entries.
    func moved(_ stream: Text, _ session: DeviceSession) {
        guard let agent = session.agent, let index = agent.streams.firstIndex(where: { $0.stream == stream }) else { return }
        agent.streams[index].isBehind = true
        agent.hasMoved.insert(stream)
        step(session, agent)
    }

    /// Sends the next message, or reads the next page.
    private func step(_ session: DeviceSession, _ agent: AgentFeed) {
        guard !agent.isSending else { return }
        if !agent.outgoing.isEmpty {
            agent.isSending = true
            send(agent.outgoing.removeFirst(), .send(device: session.id, round: agent.round))
            return
        }
        guard !agent.isReading else { return }
        let next = agent.streams.firstIndex { !$0.isCaughtUp } ?? agent.streams.firstIndex { $0.isBehind }
        guard let next else { return tellCaughtUp(session, agent) }
        let follow = agent.streams[next]
        if !agent.streams.contains(where: { !$0.isCaughtUp }), agent.catchUpTime != nil {
            return tellCaughtUp(session, agent)
        }
        agent.isReading = true
        agent.hasMoved.remove(follow.stream)
        let ticket = Ticket.follow(device: session.id, stream: follow.stream, round: agent.round)
        // They all may be read to at once.
        let share = HubReplicator.agentsBytesMax / max(1, agents.count)
        let (bytes, items) = (min(HubReplicator.pageBytesMax, share), HubReplicator.pageItemsMax)
        let read: HubRequest =
            if let position = follow.position {
                .readFeed(stream: follow.stream, after: position, bytesMax: bytes, itemsMax: items)
            } else {
                .readFeedSince(stream: follow.stream, time: agent.since, bytesMax: bytes, itemsMax: items)
            }
        request(read, ticket, isRepeated: true)
    }

    func followed(_ stream: Text, _ answer: HubAnswer, _ session: DeviceSession, _ agent: AgentFeed) {
        agent.isReading = false
        guard case .page(let page) = answer, let index = agent.streams.firstIndex(where: { $0.stream == stream }) else {
            log(.error, "\(session.id): the store's answer does not match the request")
            return
        }
        agent.streams[index].position = page.cursor
        agent.streams[index].isBehind = page.hasMore || agent.hasMoved.contains(stream)
        if !page.hasMore, !agent.streams[index].isCaughtUp {
            agent.streams[index].isCaughtUp = true
            if let time = agent.catchUpTime { agent.catchUpTime = min(time, page.time) }
        }
        for entry in page.entries {
            clock.observe(entry.change.version.time)
            // Its own changes are of use to an agent only that begins with nothing.
            if entry.change.version.writer == session.record?.replica, agent.since > 0 || agent.catchUpTime == nil { continue }
            append(entry.change, session, agent)
        }
        step(session, agent)
    }

    private func tellCaughtUp(_ session: DeviceSession, _ agent: AgentFeed) {
        guard let time = agent.catchUpTime, !agent.streams.isEmpty else { return }
        agent.catchUpTime = nil
        agent.synced = max(agent.synced, Int64(time >> 16))
        agent.outgoing.append(
            Publication(
                topic: Topics.down(device: session.id, "SYNCDOWN"), payload: codec.version1CaughtUp(agent.hasAsked ? agent.synced : 0)))
        step(session, agent)
    }

    private func append(_ change: Change, _ session: DeviceSession, _ agent: AgentFeed) {
        guard let payload = codec.version1Item(change, now: now.wall) else { return }
        let topic = Topics.down(device: session.id, change.isRemoval ? "REMOVE" : "UPSERT")
        guard payload.count <= payloadBytesMax(topic) ?? .max else { return logLeftOut(change, session) }
        agent.outgoing.append(Publication(topic: topic, payload: payload))
    }

    func published(_ device: Text, _ round: Int64, _ isSent: Bool) {
        guard let session = sessions[device], let agent = session.agent, agent.round == round else { return }
        agent.isSending = false
        guard isSent else {
            // Something is missing there now: nothing more, and above all no time, until the agent asks again.
            log(.warning, "\(device): the broker takes no messages for it")
            session.agent = nil
            return
        }
        if agent.outgoing.isEmpty, agent.catchUpTime == nil, let record = session.record, record.synced < agent.synced {
            // For the next hub, to go on from there.
            session.record?.synced = agent.synced
            var record = record
            record.synced = agent.synced
            request(.openDevice(record), .note(device: device))
        }
        step(session, agent)
    }
}

/// The messages of version 1.
extension WireCodec {
    /// How long what only comes down may wait at the broker: a year, in milliseconds.
    private static var version1Lead: Int64 { 365 * 86_400_000 }

    /// The time that an item's `updated` says, Unix milliseconds.
    func updated(of item: JSON?) -> Int64? {
        guard let value = item?[schema.updatedField] else { return nil }
        if let text = value.stringValue { return ISODate.parse(text) }
        return value.integerValue
    }

    func version1Ack(_ sequence: Int64, _ keys: [Text]) -> [UInt8] {
        JSON.object([
            "seq": .integer(sequence), "keys": .array(keys.map { .string($0) }),
            "updated": .string(ISODate.text(0)),
        ]).text
    }

    /// The answer to changes as several: each settles the keys that it names.
    func version1Acks(_ sequence: Int64, _ keys: [Text], bytesMax: Int) -> [[UInt8]] {
        var answers: [[UInt8]] = []
        let empty = version1Ack(sequence, []).count
        var (named, bytes): ([Text], Int) = ([], empty)
        for key in keys {
            let size = written(key)
            if !named.isEmpty, bytes + size > bytesMax {
                answers.append(version1Ack(sequence, named))
                (named, bytes) = ([], empty)
            }
            named.append(key)
            bytes += size
        }
        answers.append(version1Ack(sequence, named))
        return answers
    }

    func version1CaughtUp(_ time: Int64) -> [UInt8] {
        JSON.object(["updated": .string(ISODate.text(time))]).text
    }

    /// An item as agents take it, or what names one that is removed; nil when it is none of the schema's.
    ///
    /// - Parameter now: An agent does not take what looks older than its own copy, which has the time of its arrival
    ///   there: so the item says that it is of now. Where only the cloud changes the model it says a later time, since it may wait at
    ///   the broker with another, and that is of its arrival then.
    func version1Item(_ change: Change, now: Int64) -> [UInt8]? {
        guard let model = schema.model(change.model) else { return nil }
        var item: JSONObject = [schema.typeField: .string(model.name)]
        if let attribute = keyAttribute { item[attribute] = .string(wireKey(of: change)) }
        guard !change.isRemoval else { return JSON.object(item).text }
        guard let body = (try? JSON.parse(change.body))?.objectValue else { return nil }
        for (name, value) in model.wireItem(body: body, key: change.key, includeHash: schema.primary.sort == nil) {
            item[name] = value
        }
        let now = model.syncsUp ? now : now &+ WireCodec.version1Lead
        if let updated = item[schema.updatedField] {
            item[schema.updatedField] =
                updated.stringValue == nil ? .integer(now) : .string(ISODate.text(now))
        }
        return JSON.object(item).text
    }
}
