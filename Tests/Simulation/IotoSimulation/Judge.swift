import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// Looks at every step, and says what must not be.
final class Judge {
    struct Content: Equatable {
        let key: ItemKey
        let isRemoval: Bool
        let body: [UInt8]

        var value: JSON? { (try? JSON.parse(body))?["value"] }
    }

    /// What the judge remembers of one device's database.
    struct Memory {
        /// The highest version that each item had, of the items and of the tombstones that are gone by now.
        var highest: [ItemKey: Version] = [:]
        var applied: Set<AppliedVersion> = []
        /// Versions that this process has sent, and those of them that it knows an answer to.
        var sent: [Version: Content] = [:]
        var answered: Set<Version> = []
        /// Of which the process has taken over an acknowledgement, also if it was to send them once more.
        var heard: Set<Version> = []
        /// Numbers of its messages: what answers others is for another process, or another machine.
        var numbers: Set<Int64> = []
        /// It was in a snapshot: what that names older, or not at all, is sent again though it was answered.
        var hadSnapshot = false
        /// Items of models that only come down which were changed here, and are not as the cloud has them.
        var changedHere: Set<ItemKey> = []
    }

    struct AppliedVersion: Hashable {
        let key: ItemKey
        let version: Version
    }

    unowned let world: World
    unowned var cloud: Cloud!
    var memories: [String: Memory] = [:]
    var contents: [Version: Content] = [:]
    /// Other contents that were sent under the version, by the other one of two databases with one id.
    var rivals: [Version: [Content]] = [:]
    var stored: Set<AppliedVersion> = []
    /// Removals that the cloud has forgotten.
    var forgotten: Set<AppliedVersion> = []
    /// What devices' changes were as the cloud stored them.
    var storedContents: [Version: Content] = [:]
    /// Devices of which there was an older state, or a second one: it may give a version again, and the hub heeds one of the two.
    var contested: Set<Text> = []
    /// Databases that there are two of.
    var copied: Set<UInt64> = []
    /// Values of devices' items that the cloud has stored: each is written once.
    var values: [Text: AppliedVersion] = [:]
    /// Those that wait in an older state of a database, which may have sent them before, or that an agent of version 1 says again.
    var resent: Set<Text> = []
    /// Versions that the hub stamped anew, and as what.
    var restamps: [Version: [Version]] = [:]
    /// Items that the hub stamped anew: their versions in the cloud say nothing about the device's.
    var stamped: Set<ItemKey> = []
    var rejections: Set<Version> = []
    /// Numbers of the devices' writes, by the versions that each went under, and these by the numbers.
    var sequences: [AppliedVersion: Int] = [:]
    var aliases: [(key: ItemKey, versions: [Version])] = []
    /// The last write of each item that the cloud has stored.
    var lastStored: [ItemKey: Int] = [:]
    /// What was written over, see `wrote`; and items of which that says nothing any more.
    var overwritten: Set<FieldValue> = []
    var tainted: Set<ItemKey> = []
    /// Items of models that only go up which the cloud has changed.
    var changedThere: Set<ItemKey> = []
    var everChangedThere: Set<ItemKey> = []
    /// When devices sent a change of an item last.
    var lastSent: [ItemKey: Int64] = [:]
    /// Items of which the cloud has lost a state.
    var setBack: Set<ItemKey> = []
    /// Bodies that were written in transactions which were taken back.
    var takenBack: Set<[UInt8]> = []
    /// The last write of each item on its device, by the number of the write.
    var lastWritten: [ItemKey: Int] = [:]
    /// What agents' last changes of each item were, as far as the cloud knows them again.
    var agentValues: [ItemKey: [Text]] = [:]
    /// Ids of agents of version 1.
    var agents: Set<Text> = []
    /// Whether what both the agents and the cloud change has to be the same by now.
    var judgesAgents = false
    /// Counts for the report.
    var applications = 0
    var storings = 0

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
        checkCursors(device, attempt, before, after)
        world.require(device.broker.longestQueue <= 1000, .bounds, "\(device.broker.longestQueue) messages wait for a client")
        world.require(
            device.replicator.map { $0.sent.count <= 4_000 } ?? true, .bounds, "\(device.who) keeps what it has sent")
        world.require(
            Set(after.outbox.values).count == after.outbox.count, .bounds, "\(device.who): an item stands in the outbox twice")
        for event in events where event.isRemote && event.isChange {
            world.require(event.model.syncsDown, .direction, "\(device.who): \(event.key.story) has come down")
            guard let version = event.after?.version else { continue }
            let isNew = memories[device.who, default: Memory()].applied
                .insert(AppliedVersion(key: event.key, version: version)).inserted
            // Where the cloud wins, it does so until the device's cursor shows that it has heard of the cloud's change.
            world.require(
                isNew || cloudMayWin(event.key) || setBack.contains(event.key), .once,
                "\(device.who): \(event.key.story) at \(version.story) is applied again")
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
        checkReturn(device, attempt, before, after)
        let isOfSnapshot = isSnapshot(attempt)
        if isOfSnapshot {
            memories[device.who, default: Memory()].hadSnapshot = true
            memories[device.who]!.answered = []
        }
        for key in before.keys where after.rows[key] == nil {
            let row = before.rows[key]!
            if isOfSnapshot { memories[device.who]?.highest[key] = nil }
            memories[device.who]?.changedHere.remove(key)
            if row.isRemoval {
                world.require(
                    !before.outbox.values.contains(key), .order, "\(device.who): the tombstone of \(key.story) was pending")
            }
        }
        for key in after.keys {
            guard let row = after.rows[key], before.rows[key] != row else { continue }
            world.require(
                row.isRemoval || !takenBack.contains(row.body), .atomicity, "\(device.who) has \(key.story), which was taken back")
            guard let model = Models.schema.model(row.model) else {
                world.fail(.direction, "\(device.who): \(key.story) of an unknown model")
                continue
            }
            world.require(model.existsOnDevice, .direction, "\(device.who): \(key.story) exists on the device")
            checkOwner(device, key, row.body)
            if case .local = attempt, model.syncsDown, !model.syncsUp {
                memories[device.who, default: Memory()].changedHere.insert(key)
            } else {
                memories[device.who]?.changedHere.remove(key)
            }
            guard model.syncsUp || model.syncsDown else { continue }
            noteWrite(device, attempt, model, key, before, row)
            let highest = max(before.version(key), memories[device.who]?.highest[key] ?? .zero)
            let isRestamp = isRestamp(before.version(key), row.version)
            if isRestamp || isCarried(attempt, key, before, after, model) { alias(key, before.version(key), row.version) }
            world.require(
                row.version >= highest || isRestamp || cloudMayWin(key) || isTakenBack(attempt, key), .order,
                "\(device.who): \(key.story) goes from \(highest.story) back to \(row.version.story)")
            memories[device.who, default: Memory()].highest[key] = row.version
        }
    }

    /// Whether what waits has become part of what waits now, under another version.
    private func isCarried(
        _ attempt: Device.Attempt, _ key: ItemKey, _ before: StoreImage, _ after: StoreImage, _ model: Model
    ) -> Bool {
        guard case .message = attempt, before.outbox.values.contains(key), after.outbox.values.contains(key) else { return false }
        return model.mergesFields || before.row(key)?.body == after.row(key)?.body
    }

    /// Of a write that was made here, the number; of it and of what the firmware has made of two, what it was written over.
    private func noteWrite(
        _ device: Device, _ attempt: Device.Attempt, _ model: Model, _ key: ItemKey, _ before: StoreImage,
        _ row: StoreImage.Row
    ) {
        guard model.syncsUp else { return }
        if case .local = attempt {
            number(row.version, key)
            lastWritten[key] = sequences[AppliedVersion(key: key, version: row.version)]
            // Where the cloud may win, the device knows what its cursor has passed.
            if !cloudMayWin(key) || cloud.isPassed(key, before.version(key), by: before.cursor(Stream.device(device.id))) {
                wrote(key, model, over: before.item(key)?.body, row.isRemoval ? nil : row.body)
            }
        } else if case .message(let message) = attempt, message.topic.hasSuffix("BATCH"),
            let (mine, theirs) = device.resolutions[row.body]
        {
            resolved(key, mine, to: row.body)
            resolved(key, theirs, to: row.body)
        }
    }

    /// Whether a snapshot may have taken the item back to what the cloud still has.
    private func isTakenBack(_ attempt: Device.Attempt, _ key: ItemKey) -> Bool {
        setBack.contains(key) && isSnapshot(attempt)
    }

    private func isSnapshot(_ attempt: Device.Attempt) -> Bool {
        guard case .message(let message) = attempt, message.topic.hasSuffix("BATCH") else { return false }
        return (try? JSON.parse(message.payload))?["snapshot"]?.boolValue == true
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

    private func checkCursors(
        _ device: Device, _ attempt: Device.Attempt, _ before: StoreImage, _ after: StoreImage
    ) {
        guard before.cursors != after.cursors else { return }
        var begun = ""
        if case .message(let message) = attempt, let json = try? JSON.parse(message.payload), json["reset"] != nil {
            begun = json["stream"]?.stringValue?.string ?? ""
        }
        for cursor in before.cursors where cursor.stream.string != begun && !cursor.stream.hasPrefix("snapshot/") {
            let now = after.cursor(cursor.stream)
            world.require(
                now != nil && (now!.history != cursor.history || now!.position >= cursor.position), .cursors,
                "\(device.who): \(cursor.stream.string) goes from \(cursor.position) to \(now?.position ?? -1)")
        }
    }

    /// A database was opened: it must hold what was confirmed, and of what was under way all or nothing.
    func reopened(_ device: Device, _ found: StoreImage) {
        let image = forgetting(device.image, found)
        let heard = memories[device.who]?.heard ?? []
        memories[device.who]?.sent = [:]
        memories[device.who]?.answered = []
        memories[device.who]?.heard = []
        memories[device.who]?.numbers = []
        if found == image || isSettled(image, found, heard) { return }
        let unsynced = device.durability == .normal && device.wasPowerCut ? device.unsynced.map { forgetting($0, found) } : []
        if unsynced.contains(found) {
            world.tell(device.who, "has lost its last moments")
            let lost = Set(image.keys).union(found.keys).filter { image.rows[$0] != found.rows[$0] }
            taint(lost)
            for key in lost { lastWritten[key] = nil }
            memories[device.who] = memory(of: found, memories[device.who])
            for key in lost where found.row(key)?.version == .zero { memories[device.who]!.changedHere.insert(key) }
            return
        }
        for state in unsynced + [image] {
            for doubt in device.doubts where explains(doubt, from: state, to: found) {
                memories[device.who] = memory(of: found, memories[device.who])
                for key in found.keys where found.row(key) != state.row(key) {
                    if let row = found.row(key), let model = Models.schema.model(row.model) {
                        if case .local = doubt, !model.syncsUp { memories[device.who]?.changedHere.insert(key) }
                        noteWrite(device, doubt, model, key, state, row)
                    }
                    if isRestamp(state.version(key), found.version(key)) { alias(key, state.version(key), found.version(key)) }
                }
                return
            }
        }
        world.fail(.durability, "\(device.who): \(difference(device.image, found))")
    }

    /// Whether the one state is the other after acknowledgements that had no transaction of their own.
    private func isSettled(_ state: StoreImage, _ found: StoreImage, _ heard: Set<Version>) -> Bool {
        guard found.outbox.allSatisfy({ state.outbox[$0.key] == $0.value }),
            state.outbox.allSatisfy({ found.outbox[$0.key] == $0.value || heard.contains(state.version($0.value)) }),
            state.cursors.allSatisfy({ (found.cursor($0.stream)?.position ?? -1) >= $0.position })
        else { return false }
        var settled = state
        settled.outbox = found.outbox
        settled.cursors = found.cursors
        return settled == found
    }

    /// The database is an older state, or has another id: what was known of the writer's versions that are not in the cloud
    /// counts no more.
    func became(_ device: Device, _ image: StoreImage, writer: UInt64) {
        var memory = memory(of: image, nil)
        memory.changedHere = memories[device.who]?.changedHere ?? []
        memories[device.who] = memory
        contested.insert(device.id)
        forget(device, image)
        // Another one goes on writing under it.
        guard !copied.contains(writer) else { return resends(image) }
        let known = Set(stored.map { $0.version } + image.rows.values.map { $0.version })
        contents = contents.filter { $0.key.writer != writer || known.contains($0.key) }
        sequences = sequences.filter { $0.key.version.writer != writer || known.contains($0.key.version) }
        resends(image)
    }

    /// What the database has of another state than before is not known any more; what has another writer alone is the same.
    private func forget(_ device: Device, _ image: StoreImage) {
        let former = device.image
        for key in Set(former.keys).union(image.keys) where key.hash == "device#" + device.id && former.rows[key] != image.rows[key] {
            if former.version(key).time == image.version(key).time, former.rows[key]?.body == image.rows[key]?.body {
                alias(key, former.version(key), image.version(key))
            } else {
                taint([key])
                lastWritten[key] = nil
            }
        }
    }

    /// What waits in a copy of a database, or an older state, may have been sent by the other one, or be.
    func resends(_ image: StoreImage) {
        // Where not the versions decide, it may win over what was made with knowledge of it.
        taint(image.outbox.values)
        // What it does not know to be in the cloud it sends again, under another version if the hub wants that.
        for key in image.outbox.values {
            if let body = image.item(key)?.body, let value = (try? JSON.parse(body))?["value"]?.stringValue { resent.insert(value) }
        }
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
        memory.changedHere = former?.changedHere ?? []
        memory.hadSnapshot = former?.hadSnapshot ?? false
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
            return changed.allSatisfy { carries(message, $0, before, after) } && reaches(message, after)
        case .messages(let first, let second):
            return changed.allSatisfy { carries(first, $0, before, after) || carries(second, $0, before, after) }
                && (reaches(first, after) || reaches(second, after))
        }
    }

    /// Whether the message makes of the item what it is.
    private func carries(_ message: Message, _ key: ItemKey, _ before: StoreImage, _ after: StoreImage) -> Bool {
        guard let json = try? JSON.parse(message.payload) else { return false }
        // An acknowledgement: rows may have new stamps, and that is all.
        if message.topic.hasSuffix("SYNC") {
            let winners = (json["overruled"]?.arrayValue ?? []).compactMap {
                $0["by"]?["ver"]?.stringValue.flatMap { Version($0) }
            }
            return winners.contains(after.version(key)) || isRestamp(before.version(key), after.version(key))
        }
        // Where the device wins, it raises its version above the page's.
        let isRaised =
            after.rows[key]?.body == before.rows[key]?.body && before.outbox.values.contains(key)
            && after.version(key) > before.version(key)
        let isLeftOut = json["snapshot"]?.boolValue == true && after.row(key) == nil
        return isRaised || isLeftOut || isJoined(key, before, after)
            || (json["changes"]?.arrayValue ?? []).contains { $0.wireVersion(in: json) == after.version(key) }
    }

    /// Whether the cursor stands where the message puts it, if it is a page.
    private func reaches(_ message: Message, _ state: StoreImage) -> Bool {
        guard !message.topic.hasSuffix("SYNC") else { return true }
        guard let json = try? JSON.parse(message.payload) else { return false }
        return state.cursor(json["stream"]?.stringValue ?? "")?.position == json["cursor"]?.integerValue
    }

    /// Whether a device may have made the item's version itself of a change that came and of its own.
    private func isJoined(_ key: ItemKey, _ before: StoreImage, _ after: StoreImage) -> Bool {
        guard let row = after.row(key), let model = Models.schema.model(row.model), after.version(key) > before.version(key)
        else { return false }
        return model.mergesFields || model.process.resolve == .callback
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
