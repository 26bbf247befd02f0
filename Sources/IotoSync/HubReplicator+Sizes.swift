import IotoBase
import IotoJSON
import IotoSchema

/// What the broker's packets can't carry as it is.
///
/// To a device that joins them, messages go in parts. For another one, pages are cut until they fit, and of an entry that fits none it
/// hears no more than that there is one: what is behind it comes.
extension HubReplicator {
    /// What a message has beside its entries, in bytes.
    private static let headBytes = 1024
    /// What remains for a message in the smallest packets, in bytes.
    private static let messageBytesMin = 256

    static var tooLarge: IotoError { IotoError(.limit, "the cloud's item is larger than the broker's packets") }

    /// The largest payload to a topic: beside it there are the topic, the header, an id and a length of properties (MQTT 5.0, 3.3).
    /// Nil: it is not known.
    func payloadBytesMax(_ topic: Text) -> Int? {
        packetBytesMax.map { max($0 - topic.count - 16, HubReplicator.messageBytesMin) }
    }

    /// Bytes of entries in one message of an answer.
    func entryBytesMax(_ session: DeviceSession) -> Int {
        let most = HubReplicator.pageBytesMax
        guard !session.joins, let room = payloadBytesMax(Topics.down(device: session.id, "SYNC")) else { return most }
        return min(most, max(room - HubReplicator.headBytes, 1))
    }

    /// Whether an answer to the device may have a change in it.
    func canCarry(_ change: Change, _ session: DeviceSession) -> Bool {
        guard !session.joins, let room = payloadBytesMax(Topics.down(device: session.id, "SYNC")) else { return true }
        return change.body.count + codec.overhead(of: change) + HubReplicator.headBytes <= room
    }

    /// Publishes to one device.
    func publish(to session: DeviceSession, _ verb: Text, _ payload: [UInt8]) {
        let topic = Topics.down(device: session.id, verb)
        let payload = session.inflates ? Compression.deflate(payload) : payload
        let room = payloadBytesMax(topic) ?? Limits.publishBytesMax
        guard session.joins, payload.count > room else { return publish(topic, payload) }
        partedMessages &+= 1
        // Of no other message of this hub, nor of another one or an earlier one, as far as clocks tell.
        let number = HybridClock.time(now.wall) &+ partedMessages & 0xFFFF
        for part in MessageParts.split(payload, number, bytesMax: room) { publish(topic, part) }
    }

    /// The page as a message that its taker can have, cut if need be.
    ///
    /// - Parameter session: Of the device; nil when it goes to many.
    /// - Returns: Nil when nothing of it can go to many.
    func fit(
        _ page: inout FeedPage, _ session: DeviceSession?, _ topic: Text, _ make: (FeedPage) -> PageMessage
    ) -> [UInt8]? {
        while true {
            var message = make(page)
            let payload = codec.encode(message)
            if session?.joins == true || isSmall(payload, session, topic) { return payload }
            let count = page.entries.count
            if count > 1 { page.end(at: page.entries[(count - 1) / 2].position) }
            if page.entries.count < count { continue }
            guard let session else { return nil }
            for change in message.changes { logLeftOut(change, session) }
            message.changes = message.changes.map { mention($0) }
            return codec.encode(message)
        }
    }

    func logLeftOut(_ change: Change, _ session: DeviceSession) {
        log(.warning, "\(session.id): \(change.model) \(codec.wireKey(of: change)) is left out: \(HubReplicator.tooLarge.message)")
    }

    private func isSmall(_ payload: [UInt8], _ session: DeviceSession?, _ topic: Text) -> Bool {
        guard let room = payloadBytesMax(topic) ?? (session == nil ? Limits.publishBytesMax : nil), payload.count > room else { return true }
        return session?.inflates == true && Compression.deflate(payload).count <= room
    }

    /// What stands for a change that can't come: its version is none, so that every device says so and passes it over, and keeps what
    /// it has of the item.
    private func mention(_ change: Change) -> Change {
        var mention = change
        mention.version = Version(time: .max, writer: change.version.writer)
        (mention.isRemoval, mention.own, mention.stamps) = (true, 0, [:])
        if !change.isRemoval, let model = schema.model(change.model), let body = (try? JSON.parse(change.body))?.objectValue {
            mention.body = JSON.object(model.keyProperties(of: body)).text
        }
        return mention
    }
}
