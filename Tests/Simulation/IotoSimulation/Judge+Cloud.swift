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
        world.require(
            stored.insert(AppliedVersion(key: change.key, version: change.version)).inserted, .once,
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
        if let number = sequences[AppliedVersion(key: change.key, version: change.version)] { lastStored[change.key] = max(lastStored[change.key] ?? -1, number) }
        guard let device else {
            contents[change.version] = content
            return
        }
        world.require(model.syncsUp, .direction, "\(who) has sent \(change.key.story) up")
        let item = try? JSON.parse(change.body)
        world.require(item?["deviceId"]?.stringValue == device, .tenancy, "\(who) has stored \(change.key.story)")
        // Where the device wins, it says again what it has when it hears of a change that it did not know.
        if !change.isRemoval, model.process.resolve != .device, let value = item?["value"]?.stringValue, value.count > 3 {
            if let known = values[value], known.writer == change.version.writer, !resent.contains(value) {
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
            let isThere =
                stamped.contains(key)
                || cloud.items[key].map {
                    $0.change.version >= version
                        || device.hasRejoined && $0.change.version.time == version.time && isSame(device.image.row(key), $0)
                } ?? false
            world.require(
                isThere || rejections.contains(version) || key.sort.hasPrefix("Lamp"), .flush,
                "\(device.who): \(key.story) at \(version.story) is not in the cloud")
        }
    }

    func caughtUp(_ device: Device, _ expected: [(key: ItemKey, version: Version)]) {
        for (key, version) in expected {
            // Of its own changes it hears by their answers.
            world.require(
                device.image.version(key) >= version || version.writer == device.replica
                    || device.hasRejoined && device.image.version(key).time == version.time, .catchUp,
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
