import IotoBase

/// When what the hub has acknowledged leaves the outbox: each transaction waits for the disk, and wears it.
extension DeviceReplicator {
    /// How long the next change, or the next answer, is waited for, to take an acknowledgement to the disk with it, in milliseconds.
    static var settleDelay: Int64 { 100 }
    /// Most acknowledged changes that wait for others, and most bytes of their items.
    private static var gatheredMax: (items: Int, bytes: Int) { (2_000, 512 << 10) }

    /// Puts an answer by that others of the same backlog will follow, and that says nothing but that the hub has the changes: they
    /// leave the outbox together. If the process dies before, they are sent once more.
    ///
    /// - Returns: False when it has to be settled now.
    @inline(never)
    func gather(_ settlement: Settlement, _ now: Instant) -> Bool {
        guard let batch = up.inFlight, batch.open.count > settlement.entries.count else { return false }
        var bytes = 0
        for entry in settlement.entries {
            guard case .acknowledged = entry.answer, batch.open.contains(entry.pending.change.version) else { return false }
            bytes += entry.pending.change.body.count
        }
        let (items, most) = DeviceReplicator.gatheredMax
        guard let gathered = Settlement.joined(up.gathered, settlement), gathered.entries.count <= items,
            up.gatheredBodies + bytes <= most
        else { return false }
        up.gathered = gathered
        up.gatheredBodies += bytes
        up.sent.answered(settlement.entries)
        if up.settleAt == nil { up.settleAt = now.monotonic + DeviceReplicator.settleDelay }
        return true
    }

    /// Settles what waits for that. If it can't be stored, it goes on waiting.
    @inline(never)
    func settleGathered() throws(IotoError) {
        guard let gathered = up.gathered else { return }
        try storage.settle(gathered)
        up.gathered = nil
        up.gatheredBodies = 0
        up.sent.settled()
        settled(gathered.entries, 0)
    }

    @inline(never)
    func settleNow(_ settlement: Settlement, _ refused: Int, _ now: Instant) throws(IotoError) {
        if refused == 0, let gathered = up.gathered, let all = Settlement.joined(gathered, settlement) {
            do throws(IotoError) {
                up.gathered = all
                return try settleGathered()
            } catch {
                up.gathered = gathered
                throw error
            }
        }
        try settleGathered()
        if try storage.settleLater(settlement) {
            up.settleAt = now.monotonic + DeviceReplicator.settleDelay
        } else {
            try storage.settle(settlement)
        }
        settled(settlement.entries, refused)
    }

    /// - Parameter refused: How many of them.
    private func settled(_ entries: [Settlement.Entry], _ refused: Int) {
        statistics.lastUp = storage.timeOfDay()
        statistics.sentItems += Int64(entries.count - refused)
        statistics.refusedItems += Int64(refused)
        guard down.streams[0].asked != nil, down.settled.count <= DeviceReplicator.settledMax else { return }
        for entry in entries { down.settled.append(entry.pending.change.key) }
    }

    func settleLate(_ now: Instant) {
        guard up.settleAt != nil else { return }
        up.settleAt = nil
        do throws(IotoError) {
            try settleGathered()
            guard try storage.settleLate() else {
                up.settleAt = now.monotonic + DeviceReplicator.settleDelay
                return
            }
        } catch {
            note(error)
            up.settleAt = now.monotonic + DeviceReplicator.storageRetryMax
            return
        }
        // If it has come to nothing, the change waits again.
        if up.sendAt == nil, up.inFlight == nil { up.sendAt = isPending ? now.monotonic + configuration.syncDelay : nil }
    }

    private var isPending: Bool {
        do throws(IotoError) { return try storage.pendingRange() != nil } catch { return true }
    }
}

extension Settlement {
    /// Two answers as one; nil: where the second moves the feed the first has not ended.
    static func joined(_ first: Settlement?, _ second: Settlement) -> Settlement? {
        guard var joined = first else { return second }
        joined.entries += second.entries
        joined.hubTime = max(joined.hubTime, second.hubTime)
        guard let next = second.advance else { return joined }
        if let advance = joined.advance {
            guard advance.stream == next.stream, advance.history == next.history, advance.cursor == next.previous else { return nil }
            joined.advance?.cursor = next.cursor
        } else {
            joined.advance = next
        }
        return joined
    }
}
