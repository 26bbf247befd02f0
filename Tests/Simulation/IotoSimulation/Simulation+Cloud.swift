import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// The cloud's store forgets, or is lost.
extension Simulation {
    /// How long a message of a device may be under way, in milliseconds: what is older than the removal of its item must not come
    /// when that is forgotten, as none comes a month late.
    private static let messageAgeMax: Int64 = 400_000

    /// Age from which devices take a removal for one that the cloud may have forgotten, and what keeps them from being right: how far
    /// ahead versions may be.
    static let forgottenAfter: Int64 = 30_000
    private static let aheadMax: Int64 = 65_000

    /// The time for which removals are kept is over for some of them.
    func purgeRemovals() {
        forgetRemovals(olderThan: Simulation.forgottenAfter + Simulation.aheadMax + world.random.integer(0...60_000))
    }

    func forgetRemovals(olderThan age: Int64 = 0) {
        let now = world.now
        let waiting = waitingAtTwins().union(heldOverALoss())
        let keys = cloud.purge(now) { key, removed in
            removed >= age && !waiting.contains(key) && (self.judge.lastSent[key].map { now - $0 > Simulation.messageAgeMax } ?? true)
        }
        guard !keys.isEmpty else { return }
        judge.cloudPurged(keys)
        world.tell("store", "forgets the removals of " + keys.map { $0.story }.joined(separator: ", "))
    }

    /// What devices hold that have not got over a loss of the cloud: they give it back, and only a removal that is remembered
    /// tells what was removed since.
    private func heldOverALoss() -> Set<ItemKey> {
        guard cloud.losses > 0 else { return [] }
        var keys: Set<ItemKey> = []
        for image in devices.flatMap({ [$0.image] + ($0.backup.map { [$0.image] } ?? []) }) where !isOverLosses(image.cursors) {
            keys.formUnion(image.keys.filter { image.item($0) != nil })
        }
        return keys
    }

    private func isOverLosses(_ cursors: [StreamCursor]) -> Bool {
        !cursors.contains { $0.stream.hasPrefix("snapshot/") }
            && cursors.contains { $0.stream.hasPrefix("device/") && $0.history == cloud.state.history }
    }

    /// What one of two machines that are the same device has not sent: the other one may have heard of a removal, which a change
    /// that is older must not take the place of.
    private func waitingAtTwins() -> Set<ItemKey> {
        var keys: Set<ItemKey> = []
        for device in devices where device.twin != nil {
            keys.formUnion(device.image.outbox.values)
            if let backup = device.backup { keys.formUnion(backup.image.outbox.values) }
        }
        return keys
    }

    func backUpCloud() {
        if mixture.faults.contains(.loseCloud), world.random.chance(30) { backUp() }
    }

    func backUp() {
        world.tell("store", "is backed up")
        backups.append(cloud.state)
    }

    /// The cloud's store is lost. A backup takes its place, or an empty one, under another history; the broker has nothing of the
    /// time before.
    func loseCloud(downtime: Int64? = nil) {
        world.tell("store", "is lost, and set back")
        for hub in hubs { hub.crash() }
        broker.restart(losingSessions: true, downtime: downtime ?? world.random.span(500...30_000))
        let former = cloud.state
        let backup = backups.isEmpty || downtime == nil && world.random.chance(200) ? nil : world.random.pick(backups)
        cloud.lose(to: backup, history: world.random.bits(), writer: world.random.bits())
        judge.cloudLost(former)
        for device in devices {
            device.receipts = []
            device.requests = []
        }
        for hub in hubs { world.after(downtime ?? world.random.span(100...30_000)) { hub.start() } }
    }

    /// Has both sides write anew what the other holds another state of, since it must not hear of the change.
    func mend() {
        defer { judge.judgesAgents = true }
        for _ in 0..<3 where world.violation == nil {
            var isMended = true
            for device in devices {
                let items = judge.oneSided(device)
                if items.isEmpty { continue }
                isMended = false
                device.rewrite(items.filter { $0.model.syncsUp })
                for (model, _, body) in items where model.syncsDown { writeAnew(model, body) }
            }
            for agent in agents {
                for (model, _, body) in judge.crossed(agent) {
                    isMended = false
                    writeAnew(model, body)
                }
            }
            if isMended { break }
            awaitConvergence()
        }
    }
}
