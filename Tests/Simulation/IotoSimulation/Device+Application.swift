import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// The application on the device: what it writes, and what it asks for.
extension Device {
    private func properties(_ model: Model, _ id: Int64) -> JSONObject {
        var properties: JSONObject = ["id": .string(Text(decimal: id))]
        if model.field(at: "deviceId") != nil { properties["deviceId"] = .string(self.id) }
        if model.field(at: "accountId") != nil { properties["accountId"] = .string(account) }
        return properties
    }

    private func newValue() -> JSON {
        valueCount += 1
        var value = "\(who).\(incarnation).\(valueCount)"
        if world.random.chance(100) { value += String(repeating: "+", count: world.random.index(1500)) }
        return .string(Text(value))
    }

    /// Gives the item a new value; of one whose fields are merged, as the device has it, to one of the fields.
    private func change(_ item: inout JSONObject, of model: Model, _ attempts: [ItemKey: [UInt8]?]) {
        guard model.mergesFields else {
            item["value"] = newValue()
            return
        }
        if let key = try? model.itemKey(of: item), let known = attempts[key] ?? image.item(key)?.body {
            item = FieldMerge.object(known)
        }
        item[world.random.pick(Models.changedFields(of: model))] = newValue()
    }

    /// What the firmware makes of two versions of an item that were made without knowledge of each other.
    func resolve(_ model: Model, _ key: ItemKey, mine: StoredItem?, theirs: StoredItem?) -> [UInt8]? {
        guard let known = mine ?? theirs else { return nil }
        let result: [UInt8]?
        switch world.random.index(4) {
        case 0: result = nil
        case 1: result = mine?.body
        case 2: result = theirs?.body
        default:
            var item = FieldMerge.object(known.body)
            item["value"] = newValue()
            result = JSON.object(item).text
        }
        if let result { resolutions[result] = (mine?.body, theirs?.body) }
        world.tell(who, "makes \(result.map { storyValue($0) } ?? "nothing") of two versions of \(key.sort.string)")
        return result
    }

    /// Writes items anew that the cloud has changed though they only go up.
    func rewrite(_ items: [(model: Model, key: ItemKey, body: [UInt8])]) {
        guard let store else { return }
        for (model, key, body) in items {
            var item = FieldMerge.object(body)
            item["value"] = newValue()
            let text = JSON.object(item).text
            world.tell(who, "writes \(key.sort.string) anew")
            call(.local([key: .some(text)])) {
                do throws(IotoError) {
                    try store.write { (transaction) throws(IotoError) in _ = try transaction.put(model, key, body: text) }
                } catch {
                    world.fail(.durability, "\(who) can't write though nothing fails: \(error.message.string)")
                }
            }
        }
    }

    /// Writes, or removes, one item or several in a transaction; sometimes takes it all back.
    func write(ids: Int64) {
        guard store != nil else { return }
        let count = world.random.chance(150) ? world.random.index(4) + 1 : 1
        let isTakenBack = world.random.chance(50)
        var attempts: [ItemKey: [UInt8]?] = [:]
        var steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)] = []
        for _ in 0..<count {
            let name: Text = world.random.pick(
                [
                    "Reading", "Reading", "Reading", "Note", "Note", "Note", "Note", "Lamp", "Valve", "Secret", "Setting",
                    "Notice", "Recipe", "Profile", "Profile",
                ])
            let model = Models.model(name)
            if !model.syncsUp, model.syncsDown, world.random.chance(600) { continue }
            var item = properties(model, world.random.integer(1...ids))
            change(&item, of: model, attempts)
            guard let prepared = try? model.makeItem(item, context: Context(), now: wall.time) else { continue }
            steps.append((model, prepared, world.random.chance(model.mergesFields ? 20 : 250)))
            attempts[prepared.key] = .some(steps.last!.isRemoval ? nil : prepared.text)
        }
        guard !steps.isEmpty else { return }
        perform(steps, attempts, isTakenBack: isTakenBack, isWanted: world.random.chance(300))
    }

    /// Writes or removes one item, as a script says.
    func write(_ name: Text, _ id: Int64, isRemoval: Bool = false) {
        let model = Models.model(name)
        var item = properties(model, id)
        change(&item, of: model, [:])
        guard let prepared = try? model.makeItem(item, context: Context(), now: wall.time) else { return }
        let attempts: [ItemKey: [UInt8]?] = [prepared.key: isRemoval ? nil : prepared.text]
        perform([(model, prepared, isRemoval)], attempts, isTakenBack: false, isWanted: true)
    }

    private func perform(
        _ steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)], _ attempts: [ItemKey: [UInt8]?],
        isTakenBack: Bool, isWanted: Bool
    ) {
        guard let store else { return }
        // A removal is of the whole item, and so is what is made anew behind it.
        judge.taint(steps.filter { $0.isRemoval && $0.model.mergesFields }.map { $0.prepared.key })
        if isTakenBack { judge.takenBack.formUnion(steps.filter { !$0.isRemoval }.map { $0.prepared.text }) }
        let former = judge.writes
        var receipt: Int64 = 0
        func receipted(
            _ store: Store, _ isWanted: Bool, _ body: (StoreTransaction) throws(IotoError) -> Void
        ) throws(IotoError) {
            guard isWanted else { return try store.write(body) }
            receipt = try store.withReceipt { () throws(IotoError) in try store.write(body) }
        }
        call(.local(attempts)) {
            do throws(IotoError) {
                receipt = 0
                try receipted(store, isWanted) { (transaction) throws(IotoError) in
                    for step in steps {
                        let existing = try transaction.get(step.prepared.key, model: step.model)
                        if step.isRemoval {
                            if let existing { try transaction.remove(existing) }
                        } else {
                            _ = try transaction.put(step.model, step.prepared.key, body: step.prepared.text)
                        }
                    }
                    if isTakenBack { throw Device.changeOfMind }
                }
                world.tell(who, "writes \(story(steps))\(receipt == 0 ? "" : ", receipt \(receipt & 0xFFFF_FFFF)")")
            } catch {
                receipt = 0
                world.tell(who, "fails to write \(story(steps)): \(error.message.string)")
            }
        }
        if receipt != 0, self.store === store {
            let waiting = Set(image.outbox.values)
            receipts.append(
                (receipt, judge.sequences(of: attempts.keys.filter { waiting.contains($0) }, in: image, from: former)))
        }
    }

    private func story(_ steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)]) -> String {
        steps.map { step in
            let version = store.flatMap { try? $0.get(step.prepared.key, model: step.model)?.version.story } ?? "-"
            return step.isRemoval
                ? "no \(step.prepared.key.sort.string)"
                : "\(step.prepared.key.sort.string) = \(storyValue(step.prepared.text).prefix(12)) at \(version)"
        }.joined(separator: ", ")
    }

    /// Looks whether a receipt lies.
    ///
    /// - Parameter isOver: Nothing waits any more.
    func checkReceipts(isOver: Bool = false) {
        guard let store else { return }
        receipts.removeAll { entry in
            do throws(IotoError) {
                let receipt = try store.receipt(entry.number)
                judge.check(self, receipt, entry.sequences, isOver: isOver)
                return receipt?.state != .stored
            } catch { return false }
        }
    }

    /// Asks for everything to be sent, as `ioSyncUp`.
    func flush() {
        guard store != nil, replicator != nil, requests.count < 4 else { return }
        let expected = image.outbox.values.map { (key: $0, version: image.version($0)) }.sorted { $0.key < $1.key }
        call(.none) {
            do throws(IotoError) {
                guard let progress = try replicator!.flush(now) else { return }
                requestCount += 1
                world.tell(who, "asks for a flush (\(requestCount)) of \(expected.count)")
                requests.append(Request(number: requestCount, flush: progress, catchUp: nil, expected: expected))
            } catch {}
        }
        scheduleStep(after: 0)
    }

    /// Asks for everything that is new, as `ioSyncDown`.
    func catchUp() {
        guard store != nil, replicator != nil, requests.count < 4 else { return }
        let expected = judge.versionsInCloud(for: self)
        requestCount += 1
        world.tell(who, "asks to catch up (\(requestCount))")
        call(.none) {
            requests.append(
                Request(number: requestCount, flush: nil, catchUp: replicator!.catchUp(now), expected: expected))
        }
        scheduleStep(after: 0)
    }

    func finishRequests() {
        var open: [Request] = []
        for var request in requests {
            guard let replicator else { return }
            var isDone = false
            if request.flush != nil {
                isDone = (try? replicator.isFlushed(&request.flush!)) ?? false
                if isDone { judge.flushed(self, request.expected) }
            } else if let generation = request.catchUp {
                isDone = replicator.isConnected && replicator.isCaughtUp(since: generation)
                if isDone { judge.caughtUp(self, request.expected) }
            }
            if isDone {
                world.tell(who, "its request (\(request.number)) is done")
            } else {
                open.append(request)
            }
        }
        requests = open
    }
}
