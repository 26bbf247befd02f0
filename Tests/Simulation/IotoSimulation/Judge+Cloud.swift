import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// What the cloud stores, and whether both sides agree.
extension Judge {
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
        // Of a removal that it has forgotten it is told again where it has an older change of the item since.
        let applied = AppliedVersion(key: change.key, version: change.version)
        let isToldAgain = change.isRemoval && before?.change.isRemoval == false && forgotten.remove(applied) != nil
        world.require(
            stored.insert(applied).inserted || isToldAgain, .once,
            "the cloud stores \(change.key.story) at \(change.version.story) again")
        let content = Content(key: change.key, isRemoval: change.isRemoval, body: change.body)
        if device != nil { storedContents[change.version] = content }
        if let device, contested.contains(device) {
            contents[change.version] = content
        } else if let known = contents[change.version] {
            world.require(
                known.key == change.key && known.isRemoval == change.isRemoval, .identity,
                "the cloud stores \(change.key.story) at \(change.version.story), which is \(known.key.story)")
        }
        guard let model = Models.schema.model(change.model) else { return }
        world.require(model.existsInCloud, .direction, "the cloud stores \(change.key.story)")
        if model.syncsUp, !model.syncsDown {
            if device == nil {
                changedThere.insert(change.key)
                everChangedThere.insert(change.key)
            } else {
                changedThere.remove(change.key)
            }
        }
        if let number = sequences[AppliedVersion(key: change.key, version: change.version)] { lastStored[change.key] = max(lastStored[change.key] ?? -1, number) }
        guard let device else {
            contents[change.version] = content
            if let before, !before.change.isRemoval {
                wrote(change.key, model, over: before.change.body, change.isRemoval ? nil : change.body)
            }
            return
        }
        world.require(model.syncsUp, .direction, "\(who) has sent \(change.key.story) up")
        let item = try? JSON.parse(change.body)
        world.require(item?["deviceId"]?.stringValue == device, .tenancy, "\(who) has stored \(change.key.story)")
        // Where the device wins, it says again what it has when it hears of a change that it did not know.
        // Of what is merged each part is stored again with the others.
        if !change.isRemoval, model.process.resolve != .device, !model.mergesFields, let value = item?["value"]?.stringValue, value.count > 3 {
            // A late copy of a change that the hub has had stamped anew counts, once its time is not ahead any more.
            if let known = values[value], known.version.writer == change.version.writer, !resent.contains(value),
                !isRestamp(change.version, known.version),
                !agents.contains(device) || !value.hasPrefix("c") && agentValues[change.key, default: []].contains(value)
            {
                world.fail(
                    .once,
                    "the cloud stores \(change.key.story) = \(value.string.prefix(12)) at \(change.version.story), "
                        + "which it has stored at \(known.version.story)")
            }
            values[value] = AppliedVersion(key: change.key, version: change.version)
        }
        if agents.contains(device) {
            let value = change.isRemoval ? "" : item?["value"]?.stringValue ?? ""
            agentValues[change.key] = (agentValues[change.key, default: []] + [value]).suffix(Arrival.marksMax)
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

    /// Whether the device's change may give way to one of the cloud that is earlier.
    func cloudMayWin(_ key: ItemKey) -> Bool { key.sort.hasPrefix("Lamp") || key.sort.hasPrefix("Recipe") }

    /// Whether the item is one of those that the device holds.
    func isShared(_ key: ItemKey, with device: Device) -> Bool {
        guard let item = cloud.items[key] else { return false }
        return item.stream.map { follows(device, $0) } ?? (item.owner == device.id)
    }

    private func follows(_ device: Device, _ stream: Text) -> Bool {
        stream == Stream.all || stream == Stream.device(device.id)
            || !device.account.isEmpty && stream == Stream.account(device.account)
    }

    func flushed(_ device: Device, _ expected: [(key: ItemKey, version: Version)]) {
        for (key, version) in expected {
            let isThere =
                stamped.contains(key)
                || cloud.items[key].map {
                    $0.change.version >= version
                        || device.hasRejoined && $0.change.version.time == version.time && isSame(device.image.row(key), $0)
                } ?? false
            world.require(
                isThere || rejections.contains(version) || cloudMayWin(key), .flush,
                "\(device.who): \(key.story) at \(version.story) is not in the cloud")
        }
    }

    func caughtUp(_ device: Device, _ expected: [(key: ItemKey, version: Version)]) {
        for (key, version) in expected {
            // Of its own changes it hears by their answers.
            world.require(
                device.image.version(key) >= version || version.writer == device.replica
                    || device.hasRejoined && device.image.version(key).time == version.time || cloud.items[key] == nil
                    || cloudMayWin(key) || tainted.contains(key), .catchUp,
                "\(device.who): has \(key.story) at \(device.image.version(key).story), the cloud had it at "
                    + version.story)
        }
    }

    // MARK: What is lost

    /// The cloud's store forgets removals.
    func cloudPurged(_ keys: [ItemKey]) {
        taint(keys)
        forgotten.formUnion(stored.filter { keys.contains($0.key) })
        guard cloud.losses > 0 else { return }
        // To a cloud that has lost something, a device that comes late tells once more what it removed.
        let gone = Set(keys)
        stored = stored.filter { !gone.contains($0.key) }
    }

    /// An older state has taken the place of the cloud's store.
    func cloudLost(_ former: Cloud.State) {
        for key in Set(former.keys).union(cloud.keys) where former.items[key]?.change != cloud.items[key]?.change {
            setBack.insert(key)
        }
        taint(setBack)
        // Which of the cloud's changes a device knew is not known either.
        taint(former.keys.filter { cloudMayWin($0) })
        changedThere = everChangedThere
        stored = stored.filter { cloud.items[$0.key].map { $0.change.version }  ?? .zero >= $0.version }
        values = values.filter { stored.contains($0.value) }
        storedContents = storedContents.filter { entry in stored.contains(AppliedVersion(key: entry.value.key, version: entry.key)) }
        lastStored = [:]
        for (entry, number) in sequences where stored.contains(entry) {
            lastStored[entry.key] = max(lastStored[entry.key] ?? -1, number)
        }
    }

    /// A snapshot of a cloud that has lost what it had: what the device holds of models that go both ways stays, and waits to be sent
    /// again unless the cloud has it.
    func checkReturn(_ device: Device, _ attempt: Device.Attempt, _ before: StoreImage, _ after: StoreImage) {
        guard case .message(let message) = attempt, message.topic.hasSuffix("BATCH"), let page = try? JSON.parse(message.payload),
            page["snapshot"]?.boolValue == true, let stream = page["stream"]?.stringValue, stream == Stream.device(device.id),
            let former = before.cursor(stream), former.history != 0, before.cursors != after.cursors
        else { return }
        let isLost = page["reset"] != nil && page["history"]?.stringValue != .hexadecimal(former.history)
        guard isLost || before.cursor("snapshot/" + stream).map({ $0.position & 1 == 1 }) ?? false else { return }
        let own = "device#" + device.id
        func goesBothWays(_ row: StoreImage.Row) -> Bool { Models.schema.model(row.model).map { $0.syncsUp && $0.syncsDown } ?? false }
        for key in before.keys where key.hash == own && before.item(key).map(goesBothWays) ?? false {
            world.require(after.row(key) != nil, .keeping, "\(device.who) has removed \(key.story), which the cloud has lost")
        }
        // A snapshot of one page has named all that it has in that.
        guard page["reset"] != nil, page["more"]?.boolValue != true else { return }
        let named = Set((page["changes"]?.arrayValue ?? []).compactMap { $0.wireKey })
        let waiting = Set(after.outbox.values)
        for key in after.keys where key.hash == own && !waiting.contains(key) && !named.contains(key.sort) {
            guard let row = after.row(key), goesBothWays(row) else { continue }
            world.require(
                cloud.items[key].map { $0.change.version >= row.version } ?? false, .keeping,
                "\(device.who) does not send \(row.isRemoval ? "the removal of " : "")\(key.story) again, which the cloud has lost")
        }
    }

    // MARK: The end

    /// What differs between a device and the cloud; nil when nothing does.
    func difference(_ device: Device) -> String? {
        let image = device.image
        if !device.isConnected { return "it is not connected" }
        if !image.outbox.isEmpty {
            let error = device.replicator?.lastError.map { ", " + $0.message.string } ?? ""
            return "\(image.outbox.count) changes are pending: \(image.outbox.values.sorted()[0].story)\(error)"
        }
        var keys = Set(image.keys)
        for key in cloud.keys where isShared(key, with: device) { keys.insert(key) }
        for key in keys.sorted() {
            let row = image.row(key)
            let item = cloud.items[key]
            // A copy that has become another device has items of the one that it was.
            if key.hash.hasPrefix("device#"), key.hash != "device#" + device.id { continue }
            guard let name = item?.change.model ?? row?.model, let model = Models.schema.model(name) else { continue }
            let here = row?.version ?? .zero
            let there = item?.change.version ?? .zero
            if rejections.contains(here) { continue }
            // What a database wrote itself bears its own id, the new one after it has joined again, at the same time.
            if device.hasRejoined, here.time == there.time, isSame(row, item) { continue }
            let isFine: Bool
            switch (model.syncsUp, model.syncsDown) {
            case (false, false): isFine = true
            case (true, false):
                // The other one of two databases of the device has removed it, which is forgotten.
                let isForgotten = item == nil && contested.contains(device.id)
                isFine = changedThere.contains(key) || isForgotten || isPurged(row, item)
                    || here <= there && (here < there || isSame(row, item))
            // The device may have made changes of its own, which the cloud's next one takes the place of.
            case (false, true):
                isFine = here == there || isPurged(row, item) || memories[device.who]?.changedHere.contains(key) ?? false
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

    func isSame(_ row: StoreImage.Row?, _ item: ItemState?) -> Bool {
        guard let row, let item else { return row == nil && item == nil }
        guard row.isRemoval == item.change.isRemoval else { return false }
        return row.isRemoval || (try? JSON.parse(row.body)) == (try? JSON.parse(item.change.body))
    }
}
