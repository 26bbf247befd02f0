import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// What goes over the wire, and which versions a write goes under.
extension Judge {
    func devicePublishes(_ device: Device, _ message: Message) {
        guard message.topic.hasSuffix("syncToDynamo"), let json = try? JSON.parse(message.payload) else { return }
        if let number = json["seq"]?.integerValue { memories[device.who, default: Memory()].numbers.insert(number) }
        for change in json["changes"]?.arrayValue ?? [] {
            guard let version = change.wireVersion(in: json),
                let name = change["item"]?["_type"]?.stringValue, let model = Models.schema.model(name),
                let sort = change.wireKey
            else {
                world.fail(.identity, "\(device.who) sends a change that is none")
                continue
            }
            world.require(model.syncsUp, .direction, "\(device.who) sends \(sort.string)")
            world.require(
                !(memories[device.who]?.answered.contains(version) ?? false), .once,
                "\(device.who) sends \(sort.string) at \(version.story), which was answered")
            // A copy that has become another device sends what waited in it, which the hub refuses.
            let key = ItemKey(hash: "device#" + (change["item"]?["deviceId"]?.stringValue ?? device.id), sort: sort)
            lastSent[key] = world.now
            let isRemoval = change["cmd"]?.stringValue == "remove"
            let value = change["item"]?["value"]
            if let row = device.image.row(key), row.version == version {
                memories[device.who, default: Memory()].sent[version] = Content(key: key, isRemoval: row.isRemoval, body: row.body)
            } else {
                memories[device.who, default: Memory()].sent[version] = contents[version]
            }
            if contested.contains(device.id) {
                // Whether the hub heeds it is seen in `deviceHeard`.
                guard let sent = memories[device.who]!.sent[version] else { continue }
                if contents[version] == nil { contents[version] = sent }
                // Of two databases with one id each may have given it.
                if contents[version] != sent, !(rivals[version]?.contains(sent) ?? false) { rivals[version, default: []].append(sent) }
            } else if let known = contents[version] {
                world.require(
                    known.key == key && known.isRemoval == isRemoval, .identity,
                    "\(device.who) sends \(key.story) at \(version.story), which is \(known.key.story)")
                world.require(
                    known.isRemoval || value == known.value, .identity,
                    "\(device.who) sends \(key.story) at \(version.story) with two values")
            } else if let row = device.image.row(key), row.version == version {
                contents[version] = Content(key: key, isRemoval: row.isRemoval, body: row.body)
            }
        }
    }

    /// The device has taken over an answer.
    func deviceHeard(_ device: Device, _ message: Message) {
        guard let json = try? JSON.parse(message.payload), json["retryAfter"] == nil,
            let number = json["seq"]?.integerValue, memories[device.who]?.numbers.contains(number) ?? false
        else { return }
        for version in storedVersions(json) {
            guard let version, let sent = memories[device.who]?.sent[version] else { continue }
            if let there = storedContents[version] {
                world.require(
                    there.key == sent.key && there.isRemoval == sent.isRemoval && (sent.isRemoval || there.value == sent.value), .identity,
                    "\(device.who)'s \(sent.key.story) at \(version.story) is acknowledged, and the cloud has \(there.key.story) under it")
            }
            memories[device.who]!.heard.insert(version)
            if memories[device.who]!.hadSnapshot, device.image.outbox.values.contains(where: { device.image.version($0) == version }) { continue }
            memories[device.who]!.answered.insert(version)
        }
    }

    func hubPublishes(_ message: Message) {
        guard let json = try? JSON.parse(message.payload) else { return }
        if message.topic.hasSuffix("/SYNC") {
            let lists: [Text] = ["vers", "rejected", "again", "overruled", "won"]
            world.require(
                json["retryAfter"] != nil || json["fenced"] != nil || json["v"] == nil
                    || lists.contains { !(json[$0]?.arrayValue ?? []).isEmpty }, .acknowledgement, "an empty ack")
            for entry in json["again"]?.arrayValue ?? [] {
                guard let from = entry["ver"]?.stringValue.flatMap({ Version($0) }),
                    let to = entry["to"]?.stringValue.flatMap({ Version($0) })
                else { continue }
                world.require(
                    contents[to] == nil || restamps[from]?.contains(to) ?? false, .identity,
                    "\(from.story) is to go as \(to.story), which is another change")
                cloudStamped(from, to)
                if let content = contents[from] { stamped.insert(content.key) }
            }
            for entry in json["overruled"]?.arrayValue ?? [] {
                guard let version = entry["ver"]?.stringValue.flatMap({ Version($0) }),
                    let content = contents[version]
                else { continue }
                // Under a lower version, by the model's word.
                let by = entry["by"]?["ver"]?.stringValue.flatMap { Version($0) } ?? .zero
                if by < version { stamped.insert(content.key) }
            }
            for entry in json["rejected"]?.arrayValue ?? [] {
                guard let version = entry["ver"]?.stringValue.flatMap({ Version($0) }) else { continue }
                rejections.insert(version)
                if let content = contents[version] { tainted.insert(content.key) }
            }
            for version in storedVersions(json) {
                if let version { acknowledged(version) }
            }
            for entry in json["won"]?.arrayValue ?? [] {
                if let version = entry["ver"]?.stringValue.flatMap({ Version($0) }) { acknowledged(version) }
            }
        } else if message.topic.hasSuffix("/BATCH"), message.topic.hasPrefix("ioto/device/") {
            let device = message.topic.string.split(separator: "/")[2]
            let stream = json["stream"]?.stringValue?.string ?? ""
            for change in json["changes"]?.arrayValue ?? [] {
                if let owner = change["item"]?["deviceId"]?.stringValue?.string {
                    world.require(owner == device, .tenancy, "a page of \(stream) for \(device) has an item of \(owner)")
                }
            }
        }
    }

    /// Whether the one version takes the other's place as the hub has said.
    func isRestamp(_ from: Version, _ to: Version) -> Bool { restamps[from]?.contains(to) ?? false }

    /// A change goes under another version from now on.
    private func cloudStamped(_ sent: Version, _ stored: Version) {
        if !(restamps[sent]?.contains(stored) ?? false) { restamps[sent, default: []].append(stored) }
        guard let key = contents[sent]?.key else { return }
        alias(key, sent, stored)
    }

    func alias(_ key: ItemKey, _ sent: Version, _ stored: Version) {
        let alias = AppliedVersion(key: key, version: stored)
        guard let number = sequences[AppliedVersion(key: key, version: sent)], sequences[alias] == nil else { return }
        sequences[alias] = number
        aliases[number].versions.append(stored)
    }

    func number(_ version: Version, _ key: ItemKey) {
        guard sequences[AppliedVersion(key: key, version: version)] == nil else { return }
        sequences[AppliedVersion(key: key, version: version)] = aliases.count
        aliases.append((key, [version]))
    }

    // MARK: Receipts

    /// How many writes there were.
    var writes: Int { aliases.count }

    /// The numbers of the writes of the items, from the one given on.
    func sequences(of keys: [ItemKey], in image: StoreImage, from first: Int) -> [ItemKey: Int] {
        var found: [ItemKey: Int] = [:]
        for key in keys {
            if let number = sequences[AppliedVersion(key: key, version: image.version(key))], number >= first { found[key] = number }
        }
        return found
    }

    func check(_ device: Device, _ receipt: Receipt?, _ writes: [ItemKey: Int], isOver: Bool) {
        guard let receipt else { return world.fail(.receipts, "\(device.who) has forgotten a receipt") }
        world.require(!isOver || receipt.state != .stored, .receipts, "\(device.who): a receipt is never settled")
        guard receipt.state == .durable else { return }
        for (key, number) in writes.sorted(by: { $0.key < $1.key }) {
            let there = cloud.items[key]?.change.version ?? .zero
            world.require(
                lastStored[key] ?? -1 >= number
                    || aliases[number...].contains { $0.key == key && $0.versions.contains { there >= $0 } }, .receipts,
                "\(device.who): \(key.story) is said to be durable, and the cloud has \(there.story)")
        }
    }

    private func acknowledged(_ version: Version) {
        guard let content = contents[version] else { return }
        world.require(
            ([content] + (rivals[version] ?? [])).contains { isKept($0, version) }, .acknowledgement,
            "\(content.key.story) at \(version.story) is acknowledged, and the cloud has "
                + (cloud.items[content.key]?.change.version.story ?? "nothing"))
    }

    /// Whether the cloud has the change, or a later one.
    private func isKept(_ content: Content, _ version: Version) -> Bool {
        guard let item = cloud.items[content.key] else { return false }
        // A database that has joined again sends what it wrote before under its new id, at the same time: the cloud has it.
        let isSame = item.change.version.time == version.time && item.change.isRemoval == content.isRemoval && item.change.body == content.body
        return item.change.version >= version || isSame
    }
}
