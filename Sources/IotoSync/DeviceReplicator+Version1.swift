import IotoBase
import IotoJSON
import IotoSchema

/// What the service at the other end speaks.
enum Peer {
    case unknown, version1, version2
}

/// What a service of version 1 says, as the last level of the topic.
enum Version1Verb {
    case item, removal, answer, caughtUp

    init?(_ text: Text) {
        switch text {
        case "INSERT", "UPSERT", "MODIFY": self = .item
        case "REMOVE": self = .removal
        case "SYNC": self = .answer
        case "SYNCDOWN": self = .caughtUp
        default: return nil
        }
    }
}

/// A service that speaks only protocol version 1.
///
/// The device's first messages after a connection are of both versions at once. A service that knows version 2 answers in
/// it, and nothing of version 1 is heeded from then on. One that answers them in version 1 is taken for a service of
/// version 1: it gets changes in its own form, and what it says of items is applied, under the schema's rules.
extension DeviceReplicator {
    /// How far ahead of the device's clock a service may tell that the device is caught up, in milliseconds, if that clock
    /// has ever been set.
    private static var leadMax: Int64 { 86_400_000 }

    /// The time that the service has told last, for its answer to say what is newer.
    func version1Time() throws(IotoError) -> Int64 { try storage.cursor(of: Version1.stream)?.position ?? 0 }

    func receivedVersion1(_ verb: Text, _ json: JSON, _ now: Instant) throws(IotoError) {
        guard peer != .version2, let verb = Version1Verb(verb) else { return }
        switch verb {
        case .answer: try receivedVersion1Answer(json, now)
        case .caughtUp: try receivedVersion1CaughtUp(json, now)
        case .item, .removal:
            // What came before the service was known comes again: it is asked from the time that it told last.
            guard peer == .version1 else { return }
            let change = try codec.unversioned(json, isRemoval: verb == .removal, context: context)
            guard change.model.existsOnDevice, change.model.syncsDown else {
                throw IotoError(.denied, "model \"\(change.model.name)\" does not come down")
            }
            if try storage.apply(change) { statistics.receivedItems += 1 }
            statistics.lastDown = storage.timeOfDay()
        }
    }

    /// The answer names keys: what was sent of them under that number is stored. Its time is not heeded, since nothing
    /// says that what others wrote before it has come.
    private func receivedVersion1Answer(_ json: JSON, _ now: Instant) throws(IotoError) {
        guard let sequence = json["seq"]?.integerValue, let keys = json["keys"]?.arrayValue else {
            throw IotoError(.protocolViolation, "a SYNC of version 1 without valid seq or keys")
        }
        guard let message = up.messages.first(where: { $0.sequence == sequence }) else { return }
        foundVersion1(now)
        var named: Set<Text> = []
        for key in keys { if let key = key.stringValue { named.insert(key) } }
        let entries = message.changes.filter { named.contains(codec.wireKey(of: $0.change)) }
        guard !entries.isEmpty else { return }
        try settle(
            Settlement(entries: entries.map { .init(pending: $0, answer: .acknowledged) }, hubTime: 0), 0, now)
    }

    private func receivedVersion1CaughtUp(_ json: JSON, _ now: Instant) throws(IotoError) {
        guard let time = json["updated"]?.stringValue.flatMap({ ISODate.parse($0) }), time >= 0 else {
            throw IotoError(.protocolViolation, "a SYNCDOWN of version 1 without a valid time")
        }
        guard peer == .version1 else {
            foundVersion1(now)
            return
        }
        guard now.wall < Instant.earliestPlausible || time <= now.wall &+ DeviceReplicator.leadMax else {
            throw IotoError(.protocolViolation, "a SYNCDOWN of version 1 with a time in the future")
        }
        if time > (try version1Time()) {
            _ = try storage.apply([], cursor: StreamCursor(stream: Version1.stream, history: 1, position: time), hubTime: 0)
        }
        statistics.lastDown = storage.timeOfDay()
        for index in down.streams.indices {
            down.streams[index].backoff.reset()
            down.streams[index].asked = nil
            down.streams[index].askAt = nil
            down.streams[index].caughtUpGeneration = down.generation
        }
    }

    private func foundVersion1(_ now: Instant) {
        guard peer == .unknown else { return }
        peer = .version1
        up.holdUntil = Int64.min
        Log.info("the service speaks protocol version 1")
        askForEverything(now)
    }
}

extension WireCodec {
    /// Changes for a service of version 1: whole items that say whose they are and when they were changed.
    func version1Up(_ message: UpMessage, _ context: Context) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: #"{"seq":"#)
        output.append(decimal: message.sequence)
        output.append(literal: #","changes":["#)
        for (index, change) in message.changes.enumerated() {
            if index > 0 { output.append(literal: ",") }
            append(change, isVersion1: true, context, to: &output)
        }
        output.append(literal: "]}")
        return output
    }

    /// Adds the members that version 1 wants and an item lacks.
    func complete(_ item: inout JSONObject, _ change: Change, _ context: Context) {
        for entry in context.entries where item[entry.name] == nil { item[entry.name] = .string(entry.value) }
        if item[schema.updatedField] == nil {
            item[schema.updatedField] = .string(ISODate.text(change.version.milliseconds))
        }
    }

    /// Reads an item, or the removal of one, that a service of version 1 has sent to this device.
    func unversioned(
        _ json: JSON, isRemoval: Bool, context: Context
    ) throws(IotoError) -> UnversionedChange {
        guard var item = json.objectValue, let name = item[schema.typeField]?.stringValue,
            let model = schema.model(name)
        else { throw IotoError(.model, "an item of an unknown model") }
        if isRemoval {
            var hash: Text?
            if case .exact(let key) = try model.key(item, context: context) {
                return UnversionedChange(model: model, hash: key.hash, sort: key.sort, body: nil, updated: nil)
            } else if case .prefix(let known, _) = try model.key(item, context: context) {
                hash = known
            }
            guard let attribute = schema.primary.sort, let sort = item[attribute]?.stringValue, !sort.isEmpty else {
                throw IotoError(.key, "a removal that names no item of model \"\(name)\"")
            }
            return UnversionedChange(model: model, hash: hash, sort: sort, body: nil, updated: nil)
        }
        let updated = self.updated(of: json)
        // As agents of version 1 do: whatever comes to a device is the device's. What the model lacks was added on the way up.
        for entry in context.entries { item[entry.name] = nil }
        if model.field(at: schema.updatedField) == nil { item[schema.updatedField] = nil }
        let prepared = try model.makeReplica(item, context: context)
        return UnversionedChange(
            model: model, hash: prepared.key.hash, sort: prepared.key.sort, body: prepared.text, updated: updated)
    }
}
