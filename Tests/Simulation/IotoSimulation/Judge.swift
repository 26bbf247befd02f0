import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// Looks at every step, and says what must not be.
final class Judge {
    private struct Content: Equatable {
        let key: ItemKey
        let isRemoval: Bool
        let body: [UInt8]
    }

    /// What the judge remembers of one device's database.
    private struct Memory {
        /// The highest version that each item had, of the items and of the tombstones that are gone by now.
        var highest: [ItemKey: Version] = [:]
        var applied: Set<AppliedVersion> = []
        /// Versions that this process has sent, and those of them that it knows an answer to.
        var sent: Set<Version> = []
        var answered: Set<Version> = []
    }

    private struct AppliedVersion: Hashable {
        let key: ItemKey
        let version: Version
    }

    private unowned let world: World
    unowned var cloud: Cloud!
    private var memories: [Text: Memory] = [:]
    private var contents: [Version: Content] = [:]
    private var stored: Set<AppliedVersion> = []
    /// Values of devices' items that the cloud has stored: each is written once.
    private var values: [Text: Version] = [:]
    /// Versions that the hub stamped anew, and as what.
    private(set) var restamps: [Version: [Version]] = [:]
    /// Items that the hub stamped anew: their versions in the cloud say nothing about the device's.
    private var stamped: Set<ItemKey> = []
    private(set) var rejections: Set<Version> = []
    /// Numbers of the devices' writes, by the versions that each went under, and these by the numbers.
    private var sequences: [AppliedVersion: Int] = [:]
    private var aliases: [(key: ItemKey, versions: [Version])] = []
    /// The last write of each item that the cloud has stored.
    private var lastStored: [ItemKey: Int] = [:]
    /// Counts for the report.
    private(set) var applications = 0
    private(set) var storings = 0

    init(_ world: World) {
        self.world = world
    }

    // MARK: Devices

    /// A call of the product has returned: what has changed must be what was told, and allowed.
    func called(
        _ device: Device, _ attempt: Device.Attempt, from before: StoreImage, to after: StoreImage, _ events: [StoreEvent]
    ) {
        for event in events where event.isChange {
            if event.isRemote { applications += 1 }
        }
        if before == after, events.isEmpty { return }
        checkEvents(device, before, after, events)
        checkRows(device, attempt, before, after)
        checkCursors(device, before, after)
        world.require(
            Set(after.outbox.values).count == after.outbox.count, .bounds, "\(device.who): an item stands in the outbox twice")
        for event in events where event.isRemote && event.isChange {
            world.require(event.model.syncsDown, .direction, "\(device.who): \(event.key.story) has come down")
            guard let version = event.after?.version else { continue }
            let isNew = memories[device.id, default: Memory()].applied
                .insert(AppliedVersion(key: event.key, version: version)).inserted
            // Where the cloud wins, it does so until the device's cursor shows that it has heard of the cloud's change.
            world.require(isNew || event.model.process.resolve == .cloud, .once, "\(device.who): \(event.key.story) at \(version.story) is applied again")
        }
    }

    private func checkEvents(
        _ device: Device, _ before: StoreImage, _ after: StoreImage, _ events: [StoreEvent]
    ) {
        var state: [ItemKey: StoreImage.Row?] = [:]
        for event in events where event.isChange {
            let known = state[event.key] ?? before.item(event.key)
            let isExpected = event.kind == .create ? event.before == nil : event.before.map { $0.body } == known?.body
            world.require(
                isExpected, .triggers, "\(device.who): the event of \(event.key.story) tells of another state before")
            state[event.key] = .some(
                event.after.map {
                    StoreImage.Row(model: $0.model.name, version: $0.version, isRemoval: false, body: $0.body)
                })
        }
        for key in Set(before.keys).union(after.keys).sorted() {
            let told = state[key] ?? before.item(key)
            let found = after.item(key)
            // A new stamp of the hub changes the version, and is no change of the item.
            let isSame = told?.body == found?.body && (told?.version == found?.version || state[key] == nil)
            world.require(
                isSame, .triggers,
                "\(device.who): \(key.story) is \(found?.version.story ?? "gone"), and the events say "
                    + (told?.version.story ?? "gone"))
        }
    }

    private func checkRows(
        _ device: Device, _ attempt: Device.Attempt, _ before: StoreImage, _ after: StoreImage
    ) {
        for key in before.keys where after.rows[key] == nil {
            let row = before.rows[key]!
            if row.isRemoval {
                world.require(
                    !before.outbox.values.contains(key), .order, "\(device.who): the tombstone of \(key.story) was pending")
            }
        }
        for key in after.keys {
            guard let row = after.rows[key], before.rows[key] != row else { continue }
            guard let model = Models.schema.model(row.model) else {
                world.fail(.direction, "\(device.who): \(key.story) of an unknown model")
                continue
            }
            world.require(model.existsOnDevice, .direction, "\(device.who): \(key.story) exists on the device")
            checkOwner(device, key, row.body)
            guard model.syncsUp || model.syncsDown else { continue }
            if case .local = attempt { number(row.version, key) }
            let highest = max(before.version(key), memories[device.id]?.highest[key] ?? .zero)
            let isRestamp = isRestamp(before.version(key), row.version)
            if isRestamp { alias(key, before.version(key), row.version) }
            world.require(
                row.version >= highest || isRestamp || model.process.resolve == .cloud, .order,
                "\(device.who): \(key.story) goes from \(highest.story) back to \(row.version.story)")
            memories[device.id, default: Memory()].highest[key] = row.version
        }
    }

    private func checkOwner(_ device: Device, _ key: ItemKey, _ body: [UInt8]) {
        let item = try? JSON.parse(body)
        if let owner = item?["deviceId"]?.stringValue {
            world.require(owner == device.id, .tenancy, "\(device.who) has \(key.story)")
        }
        if let account = item?["accountId"]?.stringValue {
            world.require(account == device.account, .tenancy, "\(device.who) has \(key.story)")
        }
    }

    private func checkCursors(_ device: Device, _ before: StoreImage, _ after: StoreImage) {
        for cursor in before.cursors {
            let now = after.cursor(cursor.stream)
            world.require(
                now != nil && (now!.history != cursor.history || now!.position >= cursor.position), .cursors,
                "\(device.who): \(cursor.stream.string) goes from \(cursor.position) to \(now?.position ?? -1)")
        }
    }

    /// A database was opened: it must hold what was confirmed, and of what was under way all or nothing.
    func reopened(_ device: Device, _ found: StoreImage) {
        let image = forgetting(device.image, found)
        memories[device.id]?.sent = []
        memories[device.id]?.answered = []
        if found == image { return }
        let unsynced = device.durability == .normal && device.wasPowerCut ? device.unsynced.map { forgetting($0, found) } : []
        if unsynced.contains(found) {
            world.tell(device.who, "has lost its last moments")
            memories[device.id] = memory(of: found, memories[device.id])
            return
        }
        for state in unsynced + [image] {
            for doubt in device.doubts where explains(doubt, from: state, to: found) {
                memories[device.id] = memory(of: found, memories[device.id])
                for key in found.keys where found.version(key) != state.version(key) {
                    if case .local = doubt { number(found.version(key), key) }
                    if isRestamp(state.version(key), found.version(key)) { alias(key, state.version(key), found.version(key)) }
                }
                return
            }
        }
        world.fail(.durability, "\(device.who): \(difference(device.image, found))")
    }

    /// The state without the tombstones whose time is over by their versions: of those that a device wrote in 1970, which the
    /// cloud has, opening forgets.
    private func forgetting(_ state: StoreImage, _ found: StoreImage) -> StoreImage {
        var state = state
        let limit = HybridClock.time(world.trueTime - Limits.tombstoneRetention)
        for key in state.keys where found.rows[key] == nil {
            guard let row = state.rows[key], row.isRemoval, row.version.time < limit,
                !state.outbox.values.contains(key)
            else { continue }
            state.rows[key] = nil
            state.keys.removeAll { $0 == key }
        }
        return state
    }

    private func memory(of image: StoreImage, _ former: Memory?) -> Memory {
        var memory = Memory()
        for key in image.keys { memory.highest[key] = image.version(key) }
        for entry in former?.applied ?? [] where image.version(entry.key) >= entry.version { memory.applied.insert(entry) }
        return memory
    }

    /// Whether the call's changes, all of them, make the one state into the other.
    private func explains(_ attempt: Device.Attempt, from before: StoreImage, to after: StoreImage) -> Bool {
        let changed = Set(before.keys).union(after.keys).filter { before.rows[$0] != after.rows[$0] }
        switch attempt {
        case .none: return changed.isEmpty
        case .local(let writes):
            return changed.allSatisfy { writes[$0] != nil }
                && writes.allSatisfy { key, body in
                    guard let body else { return after.item(key) == nil }
                    return after.item(key)?.body == body
                }
        case .message(let message):
            guard let json = try? JSON.parse(message.payload) else { return false }
            // An acknowledgement: rows may have new stamps, and that is all.
            if message.topic.hasSuffix("SYNC") {
                let winners = (json["overruled"]?.arrayValue ?? []).compactMap {
                    $0["by"]?["ver"]?.stringValue.flatMap { Version($0) }
                }
                return changed.allSatisfy { key in
                    winners.contains(after.version(key)) || isRestamp(before.version(key), after.version(key))
                }
            }
            let carried = (json["changes"]?.arrayValue ?? []).compactMap { $0.wireVersion(in: json) }
            return changed.allSatisfy { carried.contains(after.version($0)) }
                && after.cursor(json["stream"]?.stringValue ?? "")?.position == json["cursor"]?.integerValue
        }
    }

    private func difference(_ before: StoreImage, _ after: StoreImage) -> String {
        var parts: [String] = []
        for key in Set(before.keys).union(after.keys).sorted() where before.rows[key] != after.rows[key] {
            func text(_ row: StoreImage.Row?) -> String {
                row.map { ($0.isRemoval ? "removed" : storyValue($0.body)) + " at " + $0.version.story } ?? "nothing"
            }
            parts.append("\(key.story) was \(text(before.rows[key])), is \(text(after.rows[key]))")
        }
        if before.outbox != after.outbox { parts.append("outbox \(before.outbox.count) rows, is \(after.outbox.count)") }
        if before.cursors != after.cursors {
            parts.append("cursors \(before.cursors.map { $0.position }), are \(after.cursors.map { $0.position })")
        }
        if before.rejected != after.rejected { parts.append("\(before.rejected) refused, is \(after.rejected)") }
        return parts.joined(separator: "; ")
    }

    // MARK: Messages

    func devicePublishes(_ device: Device, _ message: Message) {
        guard message.topic.hasSuffix("syncToDynamo"), let json = try? JSON.parse(message.payload) else { return }
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
                !(memories[device.id]?.answered.contains(version) ?? false), .once,
                "\(device.who) sends \(sort.string) at \(version.story), which was answered")
            memories[device.id, default: Memory()].sent.insert(version)
            let key = ItemKey(hash: "device#" + device.id, sort: sort)
            if let known = contents[version] {
                world.require(
                    known.key == key && known.isRemoval == (change["cmd"]?.stringValue == "remove"), .identity,
                    "\(device.who) sends \(key.story) at \(version.story), which is \(known.key.story)")
                let value = change["item"]?["value"]
                let knownValue = (try? JSON.parse(known.body))?["value"]
                world.require(
                    known.isRemoval || value == knownValue, .identity,
                    "\(device.who) sends \(key.story) at \(version.story) with two values")
            } else if let row = device.image.row(key), row.version == version {
                contents[version] = Content(key: key, isRemoval: row.isRemoval, body: row.body)
            }
        }
    }

    /// The device has taken over an answer.
    func deviceHeard(_ device: Device, _ message: Message) {
        guard let json = try? JSON.parse(message.payload), json["retryAfter"] == nil else { return }
        for entry in json["vers"]?.arrayValue ?? [] {
            guard let version = entry.stringValue.flatMap({ Version($0) }), memories[device.id]?.sent.contains(version) ?? false
            else { continue }
            memories[device.id]!.answered.insert(version)
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
                if let version = entry["ver"]?.stringValue.flatMap({ Version($0) }) { rejections.insert(version) }
            }
            for entry in json["vers"]?.arrayValue ?? [] {
                if let version = entry.stringValue.flatMap({ Version($0) }) { acknowledged(version) }
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
    private func isRestamp(_ from: Version, _ to: Version) -> Bool { restamps[from]?.contains(to) ?? false }

    /// A change goes under another version from now on.
    private func cloudStamped(_ sent: Version, _ stored: Version) {
        if !(restamps[sent]?.contains(stored) ?? false) { restamps[sent, default: []].append(stored) }
        guard let key = contents[sent]?.key else { return }
        alias(key, sent, stored)
    }

    private func alias(_ key: ItemKey, _ sent: Version, _ stored: Version) {
        let alias = AppliedVersion(key: key, version: stored)
        guard let number = sequences[AppliedVersion(key: key, version: sent)], sequences[alias] == nil else { return }
        sequences[alias] = number
        aliases[number].versions.append(stored)
    }

    private func number(_ version: Version, _ key: ItemKey) {
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
        let item = cloud.items[content.key]
        world.require(
            item != nil && item!.change.version >= version, .acknowledgement,
            "\(content.key.story) at \(version.story) is acknowledged, and the cloud has "
                + (item?.change.version.story ?? "nothing"))
    }

    // MARK: The cloud

    func cloudStored(_ change: Change, _ before: ItemState?, _ device: Text?) {
        storings += 1
        let who = device?.string ?? "cloud"
        world.tell(
            "store",
            "\(who)'s \(change.isRemoval ? "no " : "")\(change.key.story)"
                + "\(change.isRemoval ? "" : " = " + storyValue(change.body).prefix(12)) at \(change.version.story)")
        world.require(
            change.version > before?.change.version ?? .zero, .order,
            "the cloud's \(change.key.story) goes back to \(change.version.story)")
        world.require(
            stored.insert(AppliedVersion(key: change.key, version: change.version)).inserted, .once,
            "the cloud stores \(change.key.story) at \(change.version.story) again")
        if let known = contents[change.version] {
            world.require(
                known.key == change.key && known.isRemoval == change.isRemoval, .identity,
                "the cloud stores \(change.key.story) at \(change.version.story), which is \(known.key.story)")
        }
        guard let model = Models.schema.model(change.model) else { return }
        world.require(model.existsInCloud, .direction, "the cloud stores \(change.key.story)")
        if let number = sequences[AppliedVersion(key: change.key, version: change.version)] { lastStored[change.key] = max(lastStored[change.key] ?? -1, number) }
        guard let device else {
            contents[change.version] = Content(key: change.key, isRemoval: change.isRemoval, body: change.body)
            return
        }
        world.require(model.syncsUp, .direction, "\(who) has sent \(change.key.story) up")
        let item = try? JSON.parse(change.body)
        world.require(item?["deviceId"]?.stringValue == device, .tenancy, "\(who) has stored \(change.key.story)")
        // Where the device wins, it says again what it has when it hears of a change that it did not know.
        if !change.isRemoval, model.process.resolve != .device, let value = item?["value"]?.stringValue, value.count > 3 {
            if let known = values[value] {
                world.fail(
                    .once,
                    "the cloud stores \(change.key.story) = \(value.string.prefix(12)) at \(change.version.story), "
                        + "which it has stored at \(known.story)")
            }
            values[value] = change.version
        }
    }

    /// What a catch-up of the device has to bring.
    func versionsInCloud(for device: Device) -> [(key: ItemKey, version: Version)] {
        cloud.keys.compactMap { key in
            guard let item = cloud.items[key], let stream = item.stream, follows(device, stream),
                Models.schema.model(item.change.model)?.syncsDown == true
            else { return nil }
            return (key, item.change.version)
        }
    }

    private func follows(_ device: Device, _ stream: Text) -> Bool {
        stream == Stream.all || stream == Stream.device(device.id)
            || !device.account.isEmpty && stream == Stream.account(device.account)
    }

    func flushed(_ device: Device, _ expected: [(key: ItemKey, version: Version)]) {
        for (key, version) in expected {
            let isThere = stamped.contains(key) || cloud.items[key].map { $0.change.version >= version } ?? false
            world.require(
                isThere || rejections.contains(version) || key.sort.hasPrefix("Lamp"), .flush,
                "\(device.who): \(key.story) at \(version.story) is not in the cloud")
        }
    }

    func caughtUp(_ device: Device, _ expected: [(key: ItemKey, version: Version)]) {
        for (key, version) in expected {
            // Of its own changes it hears by their answers.
            world.require(
                device.image.version(key) >= version || version.writer == device.replica, .catchUp,
                "\(device.who): has \(key.story) at \(device.image.version(key).story), the cloud had it at "
                    + version.story)
        }
    }

    // MARK: The end

    /// What differs between a device and the cloud; nil when nothing does.
    func difference(_ device: Device) -> String? {
        let image = device.image
        if !device.isConnected { return "it is not connected" }
        if !image.outbox.isEmpty {
            return "\(image.outbox.count) changes are pending: \(image.outbox.values.sorted()[0].story)"
        }
        var keys = Set(image.keys)
        for key in cloud.keys where cloud.items[key]?.stream.map({ follows(device, $0) }) ?? (cloud.items[key]?.owner == device.id) {
            keys.insert(key)
        }
        for key in keys.sorted() {
            let row = image.row(key)
            let item = cloud.items[key]
            guard let name = item?.change.model ?? row?.model, let model = Models.schema.model(name) else { continue }
            let here = row?.version ?? .zero
            let there = item?.change.version ?? .zero
            if rejections.contains(here) { continue }
            let isFine: Bool
            switch (model.syncsUp, model.syncsDown) {
            case (false, false): isFine = true
            case (true, false): isFine = here <= there && (here < there || isSame(row, item))
            // The device may have made changes of its own, which the cloud's next one takes the place of.
            case (false, true): isFine = here == there || isPurged(row, item)
            case (true, true): isFine = here == there ? isSame(row, item) : isPurged(row, item)
            }
            if !isFine {
                func text(_ version: Version, _ isRemoval: Bool) -> String {
                    version == .zero ? "nothing" : (isRemoval ? "removed at " : "") + version.story
                }
                return "\(key.story) is \(text(here, row?.isRemoval ?? false)) on the device and "
                    + "\(text(there, item?.change.isRemoval ?? false)) in the cloud"
            }
        }
        return nil
    }

    /// A removal that one side never heard of, or has forgotten.
    private func isPurged(_ row: StoreImage.Row?, _ item: ItemState?) -> Bool {
        row == nil && item?.change.isRemoval == true || item == nil && row?.isRemoval == true
    }

    private func isSame(_ row: StoreImage.Row?, _ item: ItemState?) -> Bool {
        guard let row, let item else { return row == nil && item == nil }
        guard row.isRemoval == item.change.isRemoval else { return false }
        return row.isRemoval || (try? JSON.parse(row.body)) == (try? JSON.parse(item.change.body))
    }
}

extension StoreEvent {
    /// Tells of a change of an item, rather than of what becomes of one.
    var isChange: Bool { kind.isChange || kind == .expired }
}

extension Text {
    func hasSuffix(_ suffix: Text) -> Bool {
        count >= suffix.count && Text(bytes.suffix(suffix.count)) == suffix
    }
}
