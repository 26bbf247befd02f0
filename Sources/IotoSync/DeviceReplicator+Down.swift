import IotoBase
import IotoJSON
import IotoSchema

/// Where the way down stands.
struct DownState {
    struct Follow {
        let name: Text
        var backoff: Backoff
        /// When to ask the hub (again) for this stream, on the monotonic clock; nil: no need to.
        var askAt: Int64?
        /// Number of the question that is out; nil: none is.
        var asked: Int64?
        /// Where the stream stood then: pages that come meanwhile move on.
        var askedFrom: StreamCursor?
        /// When it went out, on the monotonic clock.
        var askedAt: Int64 = 0
        /// The furthest page that was passed over, behind a gap that the question will close.
        var passedOver: Int64 = 0
        /// Generation of the last request to catch up that has been answered to the end.
        var caughtUpGeneration: Int64 = 0
        /// A snapshot has begun and not come to its end; nil: not asked of the storage yet.
        var isInSnapshot: Bool?
        /// Only answers move the cursor: the device's own stream, until it has been followed to its end with the device's own
        /// changes in it by this connection. The process may have begun with an older state of the database, put in place of the
        /// one that wrote them, or a copy of it have been connected since, and pages that come unasked leave them out.
        var isWhole = false
        /// It may never have been followed.
        var isUnknown = true
        /// Where the stream stood when everything was asked for last, where it stands, and where the hub says that it ends.
        var countedGeneration: Int64 = 0
        var start: Int64 = 0
        var reached: Int64 = 0
        var end: Int64 = 0
    }

    var streams: [Follow]
    /// Counts the requests to catch up with everything.
    var generation: Int64 = 1
    /// Counts the questions, so that an answer can be told from the pages that come unasked.
    var question: Int64
    /// When to ask for everything though there is no sign of anything, on the monotonic clock.
    var refreshAt: Int64 = .max
    /// An answer that is applied with the next input, once the question for the page behind it has gone out; not a snapshot's.
    var waiting: PageMessage?
    /// The device's own changes that were answered since the question for its own stream went out: the page may have been read
    /// before the hub had them. More than the limit are not kept, but for one.
    var settled: [ItemKey] = []

    init(topics: Topics, seed: UInt64, timeout: (first: Int64, last: Int64)) {
        // Anywhere: the broker keeps the answers to a process that is gone for the next one, which must not take them
        // for answers to its own questions.
        question = Int64(seed % (1 << 31))
        var names = [Stream.device(topics.device), Stream.all]
        if !topics.account.isEmpty { names.append(Stream.account(topics.account)) }
        streams = names.map { Follow(name: $0, backoff: Backoff(first: timeout.first, last: timeout.last)) }
        streams[0].isWhole = true
    }

    mutating func forgetAnswers() {
        waiting = nil
        streams[0].isWhole = true
        for index in streams.indices {
            streams[index].askAt = nil
            streams[index].asked = nil
            streams[index].backoff.reset()
        }
    }
}

extension DeviceReplicator {
    /// Longest time that a device waits when the hub asks all of them to come, in milliseconds.
    private static var askSpread: UInt64 { 1_000 }
    /// Longest wait before what could not be stored is tried again, in milliseconds: room may return at any time.
    static var storageRetryMax: Int64 { 60_000 }
    /// How long a page that nobody has room for is put off, in milliseconds.
    private static var crowdedWait: Int64 { 50 }
    /// Own changes that are remembered while a question is out: with more, the end of a snapshot is asked for again.
    static var settledMax: Int { 256 }

    func askForEverything(_ now: Instant) {
        down.generation += 1
        ask(Array(down.streams.indices), now)
    }

    func askIfDue(_ now: Instant) {
        #if IOTO_MUTANTS
            if Mutant.isActive(.questionForgotten) {
                for index in down.streams.indices { down.streams[index].askAt = nil }
            }
        #endif
        if now.monotonic >= down.refreshAt { return ask(Array(down.streams.indices), now) }
        let due = down.streams.indices.filter { down.streams[$0].askAt.map { $0 <= now.monotonic } ?? false }
        if due.isEmpty { return }
        guard !holdsPages else {
            for index in due { down.streams[index].askAt = now.monotonic + DeviceReplicator.crowdedWait }
            return
        }
        ask(due, now)
    }

    /// A trigger that waits for the cloud must not be what keeps the cloud waiting.
    private var holdsPages: Bool { isCrowded && up.flush == nil }

    /// Asks for a stream unless it is asked for already.
    func ask(_ index: Int, _ now: Instant) {
        if down.streams[index].asked == nil { ask([index], now) }
    }

    /// - Parameter ahead: Where the stream will stand; nil: as it is stored.
    private func ask(_ indices: [Int], from ahead: StreamCursor? = nil, _ now: Instant) {
        guard isConnected else { return }
        if indices.count == down.streams.count {
            // Not in step with the rest of the fleet.
            let spread = UInt64(max(1, configuration.refreshInterval / 2))
            down.refreshAt = now.monotonic + configuration.refreshInterval - Int64(random.next() % spread)
        }
        down.question += 1
        var request = CatchUpRequest(
            number: down.question, replica: storage.replica, account: configuration.topics.account, cursors: [], epoch: epoch)
        request.inflates = compresses
        for index in indices {
            down.streams[index].askAt = now.monotonic + down.streams[index].backoff.next(using: &random)
            do throws(IotoError) {
                let stored = try storedCursor(down.streams[index].name)
                let cursor = ahead ?? stored
                request.cursors.append(cursor)
                if down.streams[index].countedGeneration < down.generation {
                    down.streams[index].countedGeneration = down.generation
                    down.streams[index].start = cursor.position
                    down.streams[index].reached = cursor.position
                    down.streams[index].end = 0
                }
                let floor = try storage.snapshotFloor(of: down.streams[index].name)
                down.streams[index].isInSnapshot = floor != nil
                if let floor {
                    request.snapshots[down.streams[index].name] = floor
                    request.seen[down.streams[index].name] = try storage.snapshotSeen(of: down.streams[index].name)
                }
                if down.streams[index].isWhole { request.whole = down.streams[index].name }
                down.streams[index].asked = down.question
                down.streams[index].askedFrom = cursor
                down.streams[index].askedAt = now.monotonic
                down.streams[index].passedOver = 0
                if index == 0 { down.settled = [] }
            } catch {
                note(error)
            }
        }
        guard !request.cursors.isEmpty else { return }
        do throws(IotoError) {
            publish(.syncDown, codec.encode(request, timestamp: try version1Time()))
        } catch {
            note(error)
        }
    }

    func storedCursor(_ stream: Text) throws(IotoError) -> StreamCursor {
        try storage.cursor(of: stream) ?? StreamCursor(stream: stream, history: 0, position: 0)
    }

    /// A hub has the device's changes before the device has followed the stream that shows which one it was, and whether that has
    /// lost them: then whichever comes is another one, of which the stream begins anew.
    func followUnknown(_ time: UInt64) throws(IotoError) {
        guard down.streams[0].isUnknown else { return }
        if try storage.cursor(of: down.streams[0].name) == nil {
            let unknown = StreamCursor(stream: down.streams[0].name, history: 1, position: 0)
            _ = try storage.apply([], cursor: unknown, hubTime: time)
        }
        down.streams[0].isUnknown = false
    }

    func isInSnapshot(_ index: Int) throws(IotoError) -> Bool {
        if let known = down.streams[index].isInSnapshot { return known }
        let isInSnapshot = try storage.snapshotFloor(of: down.streams[index].name) != nil
        down.streams[index].isInSnapshot = isInSnapshot
        return isInSnapshot
    }

    func receivedPage(_ message: WireMessage, _ now: Instant) throws(IotoError) {
        if let retry = codec.decodeRetry(message.json) { return heed(retry, now) }
        guard let page = try codec.decodePage(message, context: context) else { return hubBeganAnew(now) }
        guard let index = down.streams.firstIndex(where: { $0.name == page.stream }) else { return }
        try settleGathered()
        let stored = try storedCursor(page.stream)
        let isAnswer = page.answers != nil && page.answers == down.streams[index].asked
        if isAnswer {
            peer = .version2
            learnTime(page.time, since: down.streams[index].askedAt, now)
            if renewEpoch() {
                ask([0], now)
                if index == 0 { return }
            }
        }
        let startsAnew = isAnswer && page.isReset && page.previous == 0
        // A page may begin before the cursor: what is applied already has the same version and is passed over.
        // In a snapshot, only one that leaves nothing out.
        let isInSnapshot = try isInSnapshot(index)
        let isPart = startsAnew || isInSnapshot
        // Where not the versions decide, a change that is applied already would take the place of what was made after it.
        let repeats = !isPart && page.previous < stored.position
            && page.changes.contains { (codec.schema.model($0.model)?.conflictWinner ?? .later) != .later }
        guard !repeats, startsAnew || follows(page, stored), !isPart || page.isWhole && isAnswer,
            isAnswer || !page.isReset && !page.isWhole && !down.streams[index].isWhole
                && page.without ?? storage.replica == storage.replica
        else { return leave(page, index, isAnswerToRepeat: repeats && isAnswer, now) }
        if isAnswer, page.hasMore, !isPart, page.cursor > stored.position, down.streams[index].backoff.attempt < 2,
            !holdsPages
        {
            // The hub reads and sends the next page while this one is stored. If that fails, the next one is a gap, and from
            // then on a page is asked for when the one before it is stored, until one is.
            down.waiting = page
            return ask([index], from: cursor(of: page), now)
        }
        if isPart || page.cursor > stored.position || stored.history != page.history {
            var part: SnapshotPart?
            if isPart {
                part = try snapshotPart(page, index, stored, begins: startsAnew, isInSnapshot: isInSnapshot)
                guard part != nil else { return ask([index], now) }
            }
            do throws(IotoError) {
                try apply(page, part, now)
                down.streams[index].isInSnapshot = isPart && page.hasMore
            } catch {
                failed(index, isAnswer: isAnswer, now)
                throw error
            }
        }
        if isAnswer { answered(page, index, startsAnew: startsAnew, now) }
    }

    /// The hub wants to be asked later.
    private func heed(_ retry: (sequence: Int64, milliseconds: Int64, refusal: IotoError?), _ now: Instant) {
        let askAt = now.monotonic + pause(retry.milliseconds)
        var isAsked = false
        for index in down.streams.indices where down.streams[index].asked == retry.sequence {
            down.streams[index].askAt = askAt
            isAsked = true
        }
        if isAsked, let refusal = retry.refusal { heed(refusal) }
    }

    /// The hub has started anew. What waits for an answer of the one before need not wait for its own time.
    private func hubBeganAnew(_ now: Instant) {
        #if IOTO_MUTANTS
            if Mutant.isActive(.pleaIgnored) { return }
        #endif
        let soon = now.monotonic + Int64(random.next() % DeviceReplicator.askSpread)
        for index in down.streams.indices {
            down.streams[index].askAt = soon
            // The answer to a question that is out may have been written before what the hub pleads for.
            down.streams[index].asked = nil
        }
        up.backoff.reset()
        if let batch = up.inFlight { up.inFlight?.deadline = min(batch.deadline, soon) }
    }

    /// Whether a page leaves out nothing behind what is stored.
    private func follows(_ page: PageMessage, _ stored: StreamCursor) -> Bool {
        guard stored.history == page.history || stored.history == 0 else { return false }
        #if IOTO_MUTANTS
            if Mutant.isActive(.gapIgnored) { return true }
        #endif
        return page.previous <= stored.position
    }

    /// A gap, or another history, or not what was asked for: a snapshot for another process, without what was removed. One
    /// question is enough, however many pages follow the gap.
    private func leave(_ page: PageMessage, _ index: Int, isAnswerToRepeat: Bool, _ now: Instant) {
        if isAnswerToRepeat {
            down.streams[index].asked = nil
            down.streams[index].askAt = nil
        }
        if down.streams[index].asked != nil {
            down.streams[index].passedOver = max(down.streams[index].passedOver, page.cursor)
        }
        // Behind a page that could not be stored it is asked in its time.
        if down.streams[index].askAt == nil { ask(index, now) }
    }

    /// What a page is of the snapshot that the hub sends; nil: what has been settled meanwhile is more than fits, and it is to be asked for again.
    private func snapshotPart(
        _ page: PageMessage, _ index: Int, _ stored: StreamCursor, begins: Bool, isInSnapshot: Bool
    ) throws(IotoError) -> SnapshotPart? {
        // The hub begins anew for what was asked. Of what it has lost, or of what the device has missed?
        let asked = down.streams[index].askedFrom ?? stored
        let isLost = asked.history != page.history || asked.position >= page.floor
        var part = SnapshotPart(
            begins: begins, ends: !page.hasMore, floor: page.floor, resends: asked.history != 0 && isLost,
            passedOver: page.refusedKeys)
        // The position before the snapshot began is kept with it.
        if stored.history == page.history, !part.resends { part.seen = stored.position }
        if index == 0, part.ends {
            guard down.settled.count <= DeviceReplicator.settledMax else { return nil }
            part.passedOver += down.settled
        }
        let before = isInSnapshot ? try storage.snapshotSeen(of: page.stream) : 0
        part.isKnown = page.cursor <= max(part.seen, before)
        #if IOTO_MUTANTS
            if Mutant.isActive(.snapshotEndsEarly) { part.ends = true }
        #endif
        return part
    }

    /// The page that was asked for is stored.
    private func answered(_ page: PageMessage, _ index: Int, startsAnew: Bool, _ now: Instant) {
        if index == 0 { release(now) }
        if startsAnew { down.streams[index].start = 0 }
        reached(page, index, now)
        down.streams[index].backoff.reset()
        down.streams[index].asked = nil
        down.streams[index].askAt = nil
        // A page that overtook this answer shows that there is more.
        if page.hasMore || down.streams[index].passedOver > page.cursor {
            down.streams[index].askAt = now.monotonic
            askIfDue(now)
        } else {
            down.streams[index].caughtUpGeneration = down.generation
            down.streams[index].isWhole = false
        }
    }

    /// What awaited the page is sent.
    private func release(_ now: Instant) {
        guard !up.held.isEmpty else { return }
        up.held = []
        up.isUrgent = true
        up.inFlight?.deadline = now.monotonic
    }

    private func cursor(of page: PageMessage) -> StreamCursor {
        StreamCursor(stream: page.stream, history: page.history, position: page.cursor)
    }

    /// An answer is applied.
    private func reached(_ page: PageMessage, _ index: Int, _ now: Instant) {
        heed(nil)
        confirmEpoch()
        down.streams[index].reached = page.cursor
        down.streams[index].end = max(down.streams[index].end, page.end)
    }

    /// Disk full, for one: nothing of the page is taken, and the question is asked again later.
    private func failed(_ index: Int, isAnswer: Bool, _ now: Instant) {
        if isAnswer { down.streams[index].asked = nil }
        guard down.streams[index].asked == nil else { return }
        let due = down.streams[index].askAt ?? now.monotonic + down.streams[index].backoff.next(using: &random)
        down.streams[index].askAt = min(due, now.monotonic + DeviceReplicator.storageRetryMax)
    }

    /// Applies the page that waits.
    func applyWaiting(_ now: Instant) {
        guard let page = down.waiting, let index = down.streams.firstIndex(where: { $0.name == page.stream }) else { return }
        down.waiting = nil
        do throws(IotoError) {
            try apply(page, nil, now)
            reached(page, index, now)
            down.streams[index].backoff.reset()
        } catch {
            // The answer to the question behind it begins where nothing is.
            failed(index, isAnswer: true, now)
            note(error)
        }
    }

    private func apply(_ page: PageMessage, _ part: SnapshotPart?, _ now: Instant) throws(IotoError) {
        let cursor = cursor(of: page)
        let applied: Int
        if let part {
            applied = try storage.apply(page.changes, part: part, cursor: cursor, hubTime: page.time)
        } else {
            applied = try storage.apply(page.changes, cursor: cursor, hubTime: page.time)
        }
        // What the hub has lost or forgotten waits in the outbox again.
        if part != nil || applied < page.changes.count, try storage.pendingRange() != nil { up.isUrgent = true }
        if page.stream == down.streams[0].name { release(now) }
        statistics.receivedItems += Int64(applied)
        statistics.lastDown = storage.timeOfDay()
        // A change that the schema refuses is passed over: to wait for it would block those behind it for ever.
        for error in page.refused { note(error) }
    }
}
