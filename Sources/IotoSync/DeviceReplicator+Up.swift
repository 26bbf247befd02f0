import IotoBase
import IotoJSON
import IotoSchema

/// Where the way up stands.
struct UpState {
    /// The messages that are on their way together.
    struct Batch {
        /// Versions not answered yet.
        var open: Set<Version>
        /// When it is sent again, on the monotonic clock.
        var deadline: Int64
        /// When the last of them went out.
        var sentAt: Int64
        /// The outbox has been sent up to here, and the window is filled again from there; nil: something may have come before
        /// that, which goes out when all of these are answered.
        var position: Int64?
        /// How many messages more may go out.
        var room: Int
    }

    var sequence: Int64
    /// Of the message before the first one.
    let start: Int64
    var backoff: Backoff
    var inFlight: Batch?
    /// How many messages of a backlog are on their way: twice as many after each time that their answers came soon, and one
    /// after silence, so that a link that is slow, or a hub that is, has one to carry at a time. When half of them are
    /// answered others follow.
    var window = 1
    let sent = SentChanges()
    /// When the changes gathered so far are due, on the monotonic clock; nil: there are none.
    var sendAt: Int64?
    var gatheredBytes = 0
    /// Send the next batch at once: after connecting, and while a backlog is worked off.
    var isUrgent = false
    /// Nothing is sent before, on the monotonic clock: first the cloud tells the time of day.
    var holdUntil = Int64.min
    /// Changes that the firmware has to decide over, when a page has come. Until then they rest, and the others go on: the page
    /// may have to await their answers.
    var held: Set<Version> = []
    /// For a service of version 1, whose answers name no versions: what the last messages held.
    var messages: [(sequence: Int64, changes: [PendingChange])] = []
    var meter = SendMeter()
    /// When the storage has to have on its disk what it took at leisure, on the monotonic clock.
    var settleAt: Int64?
    /// Acknowledgements that are settled together, and the bytes of their items.
    var gathered: Settlement?
    var gatheredBodies = 0
    /// What all calls of `flush` together want; nil: nothing.
    var flush: FlushProgress?

    init(seed: UInt64, timeout: (first: Int64, last: Int64)) {
        // As existing agents do: sequence numbers start anywhere, so that those of two runs don't meet.
        sequence = Int64(seed % (1 << 31))
        start = sequence
        backoff = Backoff(first: timeout.first, last: timeout.last)
    }

    /// More of a backlog may go out, before an answer comes.
    var hasRoom: Bool {
        guard let batch = inFlight, batch.position != nil, batch.room > 0 else { return false }
        return isUrgent && batch.open.count <= 3 * Limits.batchItemsMax
    }

    mutating func remember(_ sequence: Int64, _ changes: [PendingChange]) {
        if messages.count == 4 { messages.removeFirst() }
        messages.append((sequence, changes))
    }

    mutating func gather(bytes: Int, now: Instant, delay: Int64) {
        gatheredBytes = gatheredBytes.addingReportingOverflow(bytes).partialValue
        sendAt = sendAt ?? now.monotonic + delay
    }
}

extension DeviceReplicator {
    /// Most sent changes that are remembered for late answers, and most bytes of their items.
    private static var sentMax: (items: Int, bytes: Int) { (4 * Limits.batchItemsMax, 4 << 20) }
    /// Most messages that are on their way together: half a megabyte, and no more than the hub keeps of one device.
    private var windowMax: Int { min(max((512 << 10) / max(configuration.syncLimit, 1), 4), 48) }

    /// Messages that are read and written before the first of them goes out: the hub works on these while the next are written.
    private static var stepMax: Int { 4 }

    func sendIfDue(_ now: Instant) {
        guard isConnected, now.monotonic >= up.holdUntil else { return }
        up.holdUntil = Int64.min
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
            up.window = 1
        }
        let isDue = up.sendAt.map { now.monotonic >= $0 } ?? false || up.meter.resumeAt.map { now.monotonic >= $0 } ?? false
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
            up.meter.resumeAt = nil
        }
    }

    private func sendBatch(_ now: Instant) throws(IotoError) {
        try settleGathered()
        up.gatheredBytes = 0
        up.sendAt = nil
        up.isUrgent = true
        up.inFlight = UpState.Batch(
            open: [], deadline: 0, sentAt: now.monotonic, position: .min, room: peer == .version2 ? up.window : 1)
        defer {
            if var batch = up.inFlight, !batch.open.isEmpty {
                batch.deadline = now.monotonic + up.backoff.next(using: &random)
                up.inFlight = batch
            } else {
                up.inFlight = nil
            }
        }
        try sendMessages(now)
        if up.inFlight?.open.isEmpty == true { up.flush = nil }
    }

    /// Sends as many of the messages that the window has room for as a step may take.
    @inline(never)
    private func sendMessages(_ now: Instant) throws(IotoError) {
        guard var position = up.inFlight?.position else { return }
        defer {
            up.inFlight?.sentAt = now.monotonic
            up.inFlight?.position = position
        }
        for _ in 0..<DeviceReplicator.stepMax where up.hasRoom {
            up.inFlight?.room -= 1
            try sendMessage(after: &position, now)
        }
    }

    /// Goes on with what the step before has left.
    func sendRest(_ now: Instant) {
        guard up.hasRoom else { return }
        do throws(IotoError) {
            try sendMessages(now)
        } catch {
            note(error)
            up.inFlight?.position = nil
        }
    }

    /// Answers have come up to a message: others follow the backlog's last one.
    private func fillWindow(_ answered: Int64, _ now: Instant) throws(IotoError) {
        guard var batch = up.inFlight, batch.position != nil, up.isUrgent, peer == .version2 else { return }
        let messages = up.sequence &- answered
        // A window that can't grow is kept full.
        let most = up.window < windowMax ? up.window / 2 : up.window * 3 / 4
        guard messages >= 0, messages + Int64(batch.room) <= Int64(most) else { return }
        guard isSoon(batch, now) else {
            up.inFlight?.position = nil
            return
        }
        widen(batch, now)
        batch.room = up.window - Int(messages)
        up.inFlight = batch
        try sendMessages(now)
    }

    private func isSoon(_ batch: UpState.Batch, _ now: Instant) -> Bool { now.monotonic - batch.sentAt < 1_000 }

    /// An answer came soon: twice as many messages next time, four times as many where it came at once.
    @inline(never)
    private func widen(_ batch: UpState.Batch, _ now: Instant) {
        up.window = min(up.window * (now.monotonic - batch.sentAt < 100 ? 4 : 2), windowMax)
    }

    /// Sends one message of what waits behind `position`.
    private func sendMessage(after position: inout Int64, _ now: Instant) throws(IotoError) {
        let limit = min(max(configuration.syncLimit, 1), messageBytesMax)
        let isBrief = peer == .version2
        let head = 160 + configuration.topics.account.count * 6
        var size = head
        var batch: [PendingChange] = []
        var tooLarge: [PendingChange] = []
        repeat {
            let pending = try storage.pendingChanges(
                after: position, held: try heldModels(now), bytesMax: limit, itemsMax: Limits.batchItemsMax)
            guard let last = pending.last else { break }
            position = last.position
            for entry in pending where !up.held.contains(entry.change.version) {
                let bytes =
                    entry.change.body.count + codec.overhead(of: entry.change, isBrief: isBrief)
                    + (peer == .version1 ? 192 : 0)
                if bytes + head > messageBytesMax {
                    tooLarge.append(entry)
                } else if batch.isEmpty || size + bytes <= limit {
                    if exceedsBudget(entry.change, bytes) { continue }
                    batch.append(entry)
                    size += bytes
                } else {
                    break
                }
            }
        } while batch.isEmpty

        if !tooLarge.isEmpty { try refuseTooLarge(tooLarge) }
        up.isUrgent = false
        guard let last = batch.last else { return }
        position = last.position
        keepCounts()
        // What waits behind this batch goes out as soon as this one is answered.
        up.isUrgent = (try storage.pendingRange()?.upperBound ?? .min) > last.position
        up.sequence &+= 1
        let isFull = up.sent.count + batch.count > DeviceReplicator.sentMax.items || up.sent.bytes > DeviceReplicator.sentMax.bytes
        if isFull { up.sent.removeAll() }
        up.sent.add(batch)
        for entry in batch { up.inFlight?.open.insert(entry.change.version) }
        var message = UpMessage(
            sequence: up.sequence, replica: storage.replica, account: configuration.topics.account,
            changes: batch.map { $0.change }, epoch: epoch)
        message.isBrief = isBrief
        message.inflates = compresses
        if batch.contains(where: { $0.change.isKnown || codec.schema.model($0.change.model)?.conflictWinner != nil }) {
            message.seen = try ownCursor()
        }
        publish(.syncToDynamo, peer == .version1 ? codec.version1Up(message, context) : codec.encode(message))
        if peer != .version2 { up.remember(up.sequence, batch) }
    }

    /// How far the device knows its own stream: in a snapshot, what it had applied before that too.
    private func ownCursor() throws(IotoError) -> StreamCursor {
        let stream = Stream.device(configuration.topics.device)
        var cursor = try storedCursor(stream)
        if let moved = up.gathered?.advance?.applied(to: cursor, of: stream) { cursor = moved }
        if try isInSnapshot(0) { cursor.position = max(cursor.position, try storage.snapshotSeen(of: stream)) }
        return cursor
    }

    /// Longest time that the first changes wait for the cloud to tell the time of day, in milliseconds: they say when they
    /// were made. The second is of a clock that was never set.
    private static var holdMax: (set: Int64, unset: Int64) { (2_000, 10_000) }

    func holdForTime(_ now: Instant) {
        guard !storage.isTimeKnown, peer != .version1 else { return }
        let isSet = now.wall >= Instant.earliestPlausible
        up.holdUntil = now.monotonic + (isSet ? DeviceReplicator.holdMax.set : DeviceReplicator.holdMax.unset)
    }

    /// Takes the cloud's time of day from an answer that has not been under way for long.
    func learnTime(_ time: UInt64, since asked: Int64, _ now: Instant) {
        if now.monotonic - asked <= Limits.clockDriftMax / 2 {
            // What may be sent when may be another thing by it.
            if isMetered, !storage.isTimeKnown { up.isUrgent = true }
            storage.learnTime(Int64(time >> 16))
        }
        up.holdUntil = Int64.min
    }

    /// What no message can carry must not block the queue.
    private func refuseTooLarge(_ entries: [PendingChange]) throws(IotoError) {
        let reason: Text = "the item is larger than a message of \(messageBytesMax) bytes may carry"
        statistics.refusedItems += Int64(entries.count)
        try storage.settle(
            Settlement(
                entries: entries.map {
                    .init(pending: $0, answer: .rejected(code: ErrorCode.limit.rawValue, reason: reason))
                }, hubTime: 0))
    }

    /// Longest time that the hub may have a device wait, in milliseconds.
    static var retryMax: Int64 { 3_600_000 }

    /// How long to wait when the hub asks for it, so that devices don't come back in step.
    func pause(_ milliseconds: Int64) -> Int64 {
        let wait = min(max(milliseconds, 100), DeviceReplicator.retryMax)
        return wait + Int64(random.next() % UInt64(max(1, wait / 4)))
    }

    func receivedAck(_ json: JSON, _ now: Instant) throws(IotoError) {
        if let retry = codec.decodeRetry(json) {
            // Until then it counts as unanswered, and nothing else is sent.
            let isLate = up.sequence &- retry.sequence >= Int64(up.window)
            if !isLate {
                up.inFlight?.deadline = now.monotonic + pause(retry.milliseconds)
                if let refusal = retry.refusal { heed(refusal) }
            }
            up.inFlight?.position = nil
            return
        }
        guard let time = json.hubTime else {
            throw IotoError(.protocolViolation, "a SYNC without a valid time")
        }
        let answered = json["seq"]?.integerValue
        // For a process that is gone, or for a copy of the database, which may have given a version to another change.
        if let answered, answered <= up.start || answered > up.sequence { return }
        let replica = json.hexadecimal("replica") ?? 0
        var entries: [Settlement.Entry] = []
        var refused = 0
        var again: Int64 = 0
        // For a database that was the device before, or that is the device as well.
        var isForeign = false
        for kind in AckKind.allCases {
            for entry in json[kind.name]?.arrayValue ?? [] {
                guard let version = codec.version(kind == .stored ? entry : entry["ver"], replica) else { continue }
                guard let pending = up.sent.find(version) else {
                    if version.writer != storage.replica { isForeign = true }
                    continue
                }
                if kind == .overruled, codec.schema.model(pending.change.model)?.process.resolve == .callback {
                    // The firmware decides, once the page with the other version is here.
                    up.held.insert(version)
                    #if IOTO_MUTANTS
                        if Mutant.isActive(.heldBlocksQueue) { up.held = [] }
                    #endif
                    continue
                }
                guard var answer = codec.decodeAnswer(kind, entry, to: pending.change, context: context)
                else { continue }
                // A page has brought it meanwhile, and the firmware knows.
                if case .won = answer, try entry["cursor"]?.integerValue ?? 0 <= ownCursor().position { answer = .acknowledged }
                entries.append(.init(pending: pending, answer: answer))
                if kind == .rejected { refused += 1 }
                if kind == .again { again += 1 }
            }
        }
        var advance = isForeign ? nil : codec.decodeAdvance(json["feed"])
        // In a snapshot the device's own changes are named as well, and have to be; and so at the beginning.
        if let stream = advance?.stream,
            !down.streams.contains(where: { $0.name == stream && $0.isInSnapshot == false && !$0.isWhole })
        {
            advance = nil
        }
        if !up.held.isEmpty { ask(0, now) }
        guard !entries.isEmpty || advance != nil else { return }
        if !entries.isEmpty {
            peer = .version2
            heed(nil)
            try followUnknown(time)
        }
        if again > 0 {
            statistics.sentItems -= again
            // What has a new version now goes out under it, and a page that waited for that can be applied.
            up.isUrgent = true
            up.inFlight?.position = nil
            for index in down.streams.indices where down.streams[index].askAt != nil && down.streams[index].asked == nil {
                down.streams[index].askAt = now.monotonic
            }
        }
        try settle(
            Settlement(entries: entries, hubTime: time, advance: advance), refused, answered: answered, now)
    }

    /// - Parameter answered: The last message that is answered, if that is known.
    func settle(_ settlement: Settlement, _ refused: Int, answered: Int64? = nil, _ now: Instant) throws(IotoError) {
        let entries = settlement.entries
        if refused > 0 || !gather(settlement, now) {
            try settleNow(settlement, refused, now)
            up.sent.remove(entries)
        }
        for entry in entries { up.inFlight?.open.remove(entry.pending.change.version) }
        guard let batch = up.inFlight else { return }
        guard batch.open.isEmpty else {
            // It goes on, if slowly.
            if !entries.isEmpty {
                up.inFlight?.deadline = max(batch.deadline, now.monotonic + configuration.answerTimeout.first)
                if let answered { try fillWindow(answered, now) }
            }
            return
        }
        up.inFlight = nil
        up.backoff.reset()
        if isSoon(batch, now) { widen(batch, now) } else { up.window = max(up.window / 2, 1) }
        if var flush = up.flush { up.flush = try isFlushed(&flush) ? nil : flush }
        // What has won over the cloud's waits under another version, and nobody has told of it.
        if up.sendAt == nil, try storage.pendingRange() != nil { up.sendAt = now.monotonic + configuration.syncDelay }
        sendIfDue(now)
    }
}
