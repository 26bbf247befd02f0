import IotoBase

/// Where the way up stands.
struct UpState {
    struct Batch {
        /// Versions not answered yet.
        var open: Set<Version>
        /// When it is sent again, on the monotonic clock.
        var deadline: Int64
    }

    var sequence: Int64
    var backoff: Backoff
    var inFlight: Batch?
    /// What was sent and not answered yet, over all tries: a late answer to an earlier try counts too.
    var sent: [Version: PendingChange] = [:]
    /// When the changes gathered so far are due, on the monotonic clock; nil: there are none.
    var sendAt: Int64?
    var gatheredBytes = 0
    /// Send the next batch at once: after connecting, and while a backlog is worked off.
    var isUrgent = false
    /// What all calls of `flush` together want; nil: nothing.
    var flush: FlushProgress?

    init(seed: UInt64, timeout: (first: Int64, last: Int64)) {
        // As existing agents do: sequence numbers start anywhere, so that those of two runs don't meet.
        sequence = Int64(seed % (1 << 31))
        backoff = Backoff(first: timeout.first, last: timeout.last)
    }

    mutating func gather(bytes: Int, now: Instant, delay: Int64) {
        gatheredBytes = gatheredBytes.addingReportingOverflow(bytes).partialValue
        sendAt = sendAt ?? now.monotonic + delay
    }
}

extension DeviceReplicator {
    /// Most sent changes that are remembered for late answers.
    private static var sentMax: Int { 4 * Limits.batchItemsMax }

    func sendIfDue(_ now: Instant) {
        guard isConnected else { return }
        if let batch = up.inFlight {
            guard now.monotonic >= batch.deadline else { return }
            #if IOTO_MUTANTS
                if Mutant.isActive(.neverResent) {
                    up.inFlight?.deadline = .max
                    return
                }
            #endif
            // No answer: the outbox is read again, so that what has changed meanwhile goes out in its latest state.
            up.inFlight = nil
            up.isUrgent = true
        }
        let isDue = up.sendAt.map { now.monotonic >= $0 } ?? false
        guard isDue || up.isUrgent || up.flush != nil || up.gatheredBytes >= configuration.syncLimit else {
            return
        }
        do throws(IotoError) {
            try sendBatch(now)
        } catch {
            note(error)
            up.sendAt = now.monotonic + up.backoff.next(using: &random)
            up.isUrgent = false
            up.gatheredBytes = 0
        }
    }

    private func sendBatch(_ now: Instant) throws(IotoError) {
        let limit = min(max(configuration.syncLimit, 1), Limits.publishBytesMax)
        var size = 0
        var batch: [PendingChange] = []
        var tooLarge: [PendingChange] = []
        var position: Int64 = 0
        repeat {
            let pending = try storage.pendingChanges(
                after: position, bytesMax: limit, itemsMax: Limits.batchItemsMax)
            guard let last = pending.last else { break }
            position = last.position
            for entry in pending {
                let bytes = entry.change.body.count + codec.overhead(of: entry.change)
                if bytes > Limits.publishBytesMax {
                    tooLarge.append(entry)
                } else if batch.isEmpty || size + bytes <= limit {
                    batch.append(entry)
                    size += bytes
                } else {
                    break
                }
            }
        } while batch.isEmpty

        if !tooLarge.isEmpty { try refuseTooLarge(tooLarge) }
        up.gatheredBytes = 0
        up.sendAt = nil
        up.isUrgent = false
        guard let last = batch.last else {
            up.flush = nil
            return
        }
        // What waits behind this batch goes out as soon as this one is answered.
        up.isUrgent = (try storage.pendingRange()?.upperBound ?? 0) > last.position
        up.sequence &+= 1
        if up.sent.count + batch.count > DeviceReplicator.sentMax { up.sent.removeAll() }
        for entry in batch { up.sent[entry.change.version] = entry }
        up.inFlight = UpState.Batch(
            open: Set(batch.map { $0.change.version }),
            deadline: now.monotonic + up.backoff.next(using: &random))
        let message = UpMessage(
            sequence: up.sequence, replica: storage.replica, account: configuration.topics.account,
            changes: batch.map { $0.change })
        publish(.syncToDynamo, codec.encode(message))
    }

    /// What no message can carry must not block the queue.
    private func refuseTooLarge(_ entries: [PendingChange]) throws(IotoError) {
        let reason: Text = "the item is larger than a message may be"
        statistics.refusedItems += Int64(entries.count)
        try storage.settle(
            Settlement(
                entries: entries.map {
                    .init(pending: $0, answer: .rejected(code: ErrorCode.limit.rawValue, reason: reason))
                }, hubTime: 0))
    }

    func receivedAck(_ payload: [UInt8], _ now: Instant) throws(IotoError) {
        let ack = try codec.decodeAck(payload)
        var entries: [Settlement.Entry] = []
        for rejection in ack.rejections {
            guard let pending = up.sent[rejection.version] else { continue }
            entries.append(
                .init(pending: pending, answer: .rejected(code: rejection.code, reason: rejection.reason)))
        }
        let refused = entries.count
        for restamp in ack.restamps {
            guard let pending = up.sent[restamp.version] else { continue }
            entries.append(.init(pending: pending, answer: .restamped(restamp.newVersion)))
        }
        let open = entries.count
        for version in ack.versions {
            guard let pending = up.sent[version] else { continue }
            entries.append(.init(pending: pending, answer: .acknowledged))
        }
        let advance = ack.advance.flatMap { advance in
            down.streams.contains { $0.name == advance.stream }
                ? (
                    previous: advance.previous,
                    cursor: StreamCursor(stream: advance.stream, history: advance.history, position: advance.cursor)
                ) : nil
        }
        guard !entries.isEmpty || advance != nil else { return }
        try storage.settle(Settlement(entries: entries, hubTime: ack.time, advance: advance))

        statistics.lastUp = now.wall
        statistics.sentItems += Int64(entries.count - open)
        statistics.refusedItems += Int64(refused)
        for entry in entries {
            up.sent[entry.pending.change.version] = nil
            up.inFlight?.open.remove(entry.pending.change.version)
        }
        if !ack.restamps.isEmpty {
            // What has a new version now goes out under it, and a page that waited for that can be applied.
            up.isUrgent = true
            for index in down.streams.indices where down.streams[index].askAt != nil && down.streams[index].asked == nil {
                down.streams[index].askAt = now.monotonic
            }
        }
        guard let batch = up.inFlight, batch.open.isEmpty else { return }
        up.inFlight = nil
        up.backoff.reset()
        if var flush = up.flush { up.flush = try isFlushed(&flush) ? nil : flush }
        sendIfDue(now)
    }
}
