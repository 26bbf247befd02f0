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

    /// Writes, or removes, one item or several in a transaction; sometimes takes it all back.
    func write(ids: Int64) {
        guard let store else { return }
        let count = world.random.chance(150) ? world.random.index(4) + 1 : 1
        let isTakenBack = world.random.chance(50)
        var attempts: [ItemKey: [UInt8]?] = [:]
        var steps: [(model: Model, prepared: PreparedItem, isRemoval: Bool)] = []
        for _ in 0..<count {
            let name: Text = world.random.pick(
                [
                    "Reading", "Reading", "Reading", "Note", "Note", "Note", "Note", "Lamp", "Valve", "Secret", "Setting",
                    "Notice",
                ])
            let model = Models.model(name)
            if !model.syncsUp, model.syncsDown, world.random.chance(600) { continue }
            var item = properties(model, world.random.integer(1...ids))
            item["value"] = newValue()
            guard let prepared = try? model.makeItem(item, context: Context(), now: wall.time) else { continue }
            steps.append((model, prepared, world.random.chance(250)))
            attempts[prepared.key] = .some(steps.last!.isRemoval ? nil : prepared.text)
        }
        guard !steps.isEmpty else { return }
        let isWanted = world.random.chance(300)
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
