import IotoBase
import IotoJSON
import IotoSchema

/// The work on one device's messages, one after the other.
extension HubReplicator {
    func work(on session: DeviceSession) {
        defer { if !session.isBusy { session.release() } }
        while !session.isBusy, let next = session.queue.first {
            session.release()
            do throws(IotoError) {
                let message = try message(next)
                session.inflates = message.json["z"]?.integerValue == 1 && Compression.isAvailable
                session.joins = message.json["p"]?.integerValue == 1
                switch (next.verb, message.isVersion1) {
                case (.syncToDynamo, false): try receivedChanges(next, message, session)
                case (.syncDown, false): try receivedCatchUp(message.json, session)
                case (.syncToDynamo, true): try receivedVersion1Changes(message.json, session)
                case (.syncDown, true): try receivedVersion1CatchUp(message.json, session)
                case (.offline, _): session.dequeue()
                }
            } catch {
                // It will not get better by being sent again, but only the device can do something about it.
                let waiting = session.dequeue()
                log(.warning, "\(session.id): \(error.message.prefix(bytesMax: HubReplicator.reasonBytesMax))")
                haveRetried(session.id, waiting, after: HubReplicator.refusalWait, error)
            }
        }
    }

    private func message(_ waiting: WaitingMessage) throws(IotoError) -> WireMessage {
        if let message = waiting.message { return message }
        return try codec.parse(waiting.payload)
    }

    /// Reads changes that wait for the store, which meanwhile works on those before.
    func readAhead(_ session: DeviceSession) {
        guard let waiting = session.queue.last, waiting.verb == .syncToDynamo, let record = session.record, !record.isVersion1,
            let message = try? codec.parse(waiting.payload), !message.isVersion1,
            let read = try? read(message, session.context)
        else { return }
        var ahead = waiting
        (ahead.message, ahead.read, ahead.record) = (message, read, record)
        // A compressed one may be a thousand times as large when it is read.
        let more = ahead.bytes - waiting.bytes
        if session.queueBytes + more <= DeviceSession.queueBytesMax, hasRoom(more, session) { session.replaceLast(by: ahead) }
    }

    private func read(_ message: WireMessage, _ context: Context) throws(IotoError) -> UpRead {
        let up = try codec.decodeUp(message.json)
        return UpRead(message: up, changes: try codec.changes(of: message, replica: up.replica, context: context))
    }

    /// Sees to it that the store's record of the device is at hand.
    ///
    /// - Returns: nil when it had to be asked for: the message at hand stays in the queue until the answer.
    private func record(
        _ session: DeviceSession, replica: UInt64, account: Text, _ epoch: Epoch
    ) throws(IotoError) -> DeviceRecord? {
        if let record = session.record, record.replica == replica,
            epoch.number == 0 || record.epoch == epoch.number && record.nonce == epoch.nonce
        {
            guard record.account == account else {
                throw IotoError(.denied, "the device belongs to another account than \"\(account)\"")
            }
            return record
        }
        guard account.isEmpty || Topics.isValidID(account) else {
            throw IotoError(.protocolViolation, "an invalid account id")
        }
        var record = DeviceRecord(id: session.id, account: account, replica: replica)
        (record.epoch, record.nonce) = (epoch.number, epoch.nonce)
        open(session, record)
        return nil
    }

    func open(_ session: DeviceSession, _ record: DeviceRecord) {
        session.isBusy = true
        request(.openDevice(record), .open(device: session.id), isRepeated: record.isVersion1)
    }

    // MARK: Up

    private func receivedChanges(
        _ waiting: WaitingMessage, _ message: WireMessage, _ session: DeviceSession
    ) throws(IotoError) {
        let up = try codec.decodeUp(message.json)
        guard let record = try record(session, replica: up.replica, account: up.account, up.epoch) else { return }
        var read = try read(waiting, message, record, session)
        session.dequeue()

        var ack = AckMessage(
            sequence: up.sequence, keys: [], versions: [], rejections: [], time: 0,
            replica: message.json["b"]?.integerValue == 1 ? up.replica : nil)
        var accepted: [StreamedChange] = []
        while true {
            for change in read.changes {
                admit(change, record, session, read.message.seen, into: &accepted, &ack)
            }
            // What the device has sent together is stored in one transaction and has one answer.
            guard accepted.count + ack.rejections.count < HubReplicator.togetherMax, let next = session.queue.first, next.verb == .syncToDynamo,
                let following = self.following(next, record, session), following.message.replica == up.replica,
                following.message.account == up.account, following.message.epoch == up.epoch
            else { break }
            session.dequeue()
            read = following
            ack.sequence = read.message.sequence
        }
        guard !accepted.isEmpty else {
            sendAck(ack, session)
            return
        }
        #if IOTO_MUTANTS
            if Mutant.isActive(.hubAcksBeforeStoring) { sendAck(ack, session) }
        #endif
        session.isBusy = true
        session.keep(accepted)
        request(.apply(accepted, device: session.id, by: record), .apply(device: session.id, ack))
    }

    /// The changes, from what was read ahead if that was for this record.
    private func read(
        _ waiting: WaitingMessage, _ message: WireMessage, _ record: DeviceRecord, _ session: DeviceSession
    ) throws(IotoError) -> UpRead {
        if waiting.record == record, let read = waiting.read { return read }
        return try read(message, session.context)
    }

    /// A message that follows; nil when it is not one of changes in version 2.
    private func following(_ waiting: WaitingMessage, _ record: DeviceRecord, _ session: DeviceSession) -> UpRead? {
        guard let message = try? message(waiting), !message.isVersion1 else { return nil }
        return try? read(waiting, message, record, session)
    }

    /// Changes after which no further message is taken into a transaction: the device works on the next messages meanwhile.
    private static var togetherMax: Int { 500 }

    /// Checks one change of a device. The hub does not believe the device: the item has to fit the schema, its model has to
    /// go up, and it has to be the device's own.
    private func admit(
        _ entry: WireChange, _ record: DeviceRecord, _ session: DeviceSession, _ seen: StreamCursor?,
        into accepted: inout [StreamedChange], _ ack: inout AckMessage
    ) {
        do throws(IotoError) {
            #if IOTO_MUTANTS
                let trustsOwner = Mutant.isActive(.hubTrustsOwner)
                let trustsDirection = Mutant.isActive(.hubTrustsDirection)
                let context = trustsOwner ? Context() : session.context
            #else
                let (trustsOwner, trustsDirection) = (false, false)
                let context = session.context
            #endif
            let change: Change, model: Model, stream: Text?, isOwn: Bool
            switch entry {
            case .plain(let read, let of, let isOfDevice):
                (change, model, isOwn) = (read, of, isOfDevice)
                stream = model.syncsDown ? session.stream : nil
            case .whole(let json):
                let body: JSONObject
                (change, model, body) = try codec.change(json, replica: record.replica, context: context)
                isOwn = Stream.owner(of: body) == record.id
                stream = Stream.of(body, model: model)
            }
            guard trustsDirection || model.existsInCloud && model.syncsUp else {
                throw IotoError(.denied, "model \"\(model.name)\" does not go up")
            }
            guard trustsOwner || isOwn else {
                throw IotoError(.denied, "an item of model \"\(model.name)\" that is no device's own")
            }
            let rule = model.conflictWinner.map { winner in
                ConflictRule(winner: winner, seen: seen)
            }
            ack.versions.append(change.version)
            if ack.replica == nil { ack.keys.append(codec.wireKey(of: change)) }
            var streamed = StreamedChange(change: change, stream: stream, rule: rule)
            // A version ahead of every honest clock would win for ever.
            streamed.timeMax = HybridClock.time(now.wall &+ Limits.clockDriftMax)
            streamed.merges = model.mergesFields
            if change.isKnown, !change.isRemoval, let seen { streamed.known = (seen.history, model) }
            accepted.append(streamed)
        } catch {
            let version: Version?
            switch entry {
            case .plain(let change, _, _): version = change.version
            case .whole(let json):
                version = codec.version(json["ver"], record.replica) ?? json["ver"]?.stringValue.flatMap({ Version($0) })
            }
            if let version { refuse(version, error, record.id, &ack) }
        }
    }

    // MARK: Down

    private func receivedCatchUp(_ json: JSON, _ session: DeviceSession) throws(IotoError) {
        let catchUp = try codec.decodeCatchUp(json)
        guard let record = try record(session, replica: catchUp.replica, account: catchUp.account, catchUp.epoch) else { return }
        session.dequeue()
        answerNext(catchUp, session, record)
    }

    /// Reads the page for the request's first stream that the device may have; the others follow, one after the other.
    private func answerNext(_ catchUp: CatchUpRequest, _ session: DeviceSession, _ record: DeviceRecord) {
        var catchUp = catchUp
        while let cursor = catchUp.cursors.first {
            let own = Stream.device(record.id)
            let isAllowed =
                cursor.stream == own || cursor.stream == Stream.all
                || !record.account.isEmpty && cursor.stream == Stream.account(record.account)
            if isAllowed {
                if cursor.stream == own {
                    session.feed = nil
                    (session.hasMoved, session.isUnread) = (false, false)
                }
                read(catchUp, after: cursor.position, isReset: false, session)
                return
            }
            log(.warning, "\(record.id): stream \"\(cursor.stream)\" is not for this device")
            catchUp.cursors.removeFirst()
        }
    }

    private func read(_ catchUp: CatchUpRequest, after position: Int64, isReset: Bool, _ session: DeviceSession) {
        guard let cursor = catchUp.cursors.first else { return }
        session.isBusy = true
        request(
            .readFeed(
                stream: cursor.stream, after: position, bytesMax: HubReplicator.pageBytesMax,
                itemsMax: HubReplicator.pageItemsMax),
            .answer(device: session.id, catchUp, isReset: isReset))
    }

    // MARK: The store's answers

    func complete(_ ticket: Ticket, _ answer: HubAnswer, _ session: DeviceSession) {
        switch (ticket, answer) {
        case (_, .failed(let error)):
            log(.error, "\(session.id): \(error.message)")
            // The device asks again. A message that waits for the record is dropped with it, or it would ask for ever.
            let wait = HubReplicator.failureWait
            switch ticket {
            case .open:
                guard !session.queue.isEmpty else { return }
                let waiting = session.dequeue()
                if error.code == .fenced, let nonce = codec.nonce(of: waiting.payload) {
                    publish(
                        Topics.down(device: session.id, waiting.verb == .syncDown ? "BATCH" : "SYNC"),
                        codec.encodeFence(nonce))
                    return
                }
                haveRetried(session.id, waiting, after: wait)
            case .apply where error.code == .fenced:
                // Another process of the hub has heard the database that has gone on.
                publish(Topics.down(device: session.id, "SYNC"), codec.encodeFence(session.record?.nonce ?? 0))
                session.record = nil
            case .apply(_, let ack): haveRetried(session.id, .syncToDynamo, ack.sequence, after: wait)
            case .answer(_, let catchUp, _):
                haveRetried(session.id, .syncDown, catchUp.number, after: wait)
                guard catchUp.cursors.first?.stream == session.stream else { return }
                session.isUnread = true
                if session.hasMoved { moved(session.stream) }
            default: break
            }
        case (.open, .device(let record)):
            // What is late, of a connection before, has changed nothing of this one.
            session.feed = nil
            if record.replica != session.record?.replica { session.agent = nil }
            session.record = record
            if record.isVersion1 { agents.insert(record.id) } else { agents.remove(record.id) }
            session.agent?.follow(account: record.account)
        case (.arrive(_, let ack), .applied(_, let refused, let advances, let met, _)):
            arrived(ack, refused, met, advances, session)
        case (.apply(_, var ack), .applied(_, let refused, let advances, let met, let again)):
            for entry in again { clock.observe(entry.newVersion.time) }
            ack.again = again
            applied(ack, refused, advances, met, session)
        case (.answer(_, let catchUp, let isReset), .page(let page)):
            answerCatchUp(catchUp, with: page, isReset: isReset, session)
        default:
            log(.error, "\(session.id): the store's answer does not match the request")
        }
    }

    private func applied(
        _ ack: AckMessage, _ refused: [Version], _ advances: [FeedAdvance], _ met: [MetChange],
        _ session: DeviceSession
    ) {
        var ack = ack
        var bytes = 0
        // They are not simply acknowledged.
        var others = Set(ack.again.map { $0.version })
        for entry in met {
            if !canCarry(entry.other, session) {
                // Nothing could tell the device of it; what has taken its place is stored.
                if entry.taken == nil {
                    others.insert(entry.version)
                    refuse(entry.version, HubReplicator.tooLarge, session.id, &ack)
                }
                continue
            }
            bytes += entry.other.body.count + codec.overhead(of: entry.other)
            let fits = ack.met.isEmpty || bytes <= Limits.messageBytesMax
            // What gave way and no answer can carry is answered when it comes again.
            if fits || entry.taken == nil { others.insert(entry.version) }
            if fits { ack.met.append(entry) }
        }
        for version in refused {
            others.insert(version)
            refuse(version, IotoError(.denied, "the item is another device's"), session.id, &ack)
        }
        if !others.isEmpty { ack.versions.removeAll { others.contains($0) } }
        let own = Stream.device(session.id)
        for advance in advances {
            #if IOTO_MUTANTS
                var advance = advance
                if Mutant.isActive(.joinedSteppedOver) { advance.isAsSent = true }
            #endif
            if advance.stream == own, advance.isAsSent, var feed = session.feed, !feed.isReading, feed.sent == advance.previous {
                // The device wrote these itself: its cursor steps over them without a page.
                feed.sent = advance.cursor
                session.feed = feed
                ack.advance = advance
            }
        }
        for version in ack.versions { clock.observe(version.time) }
        sendAck(ack, session)
        for advance in advances where advance != ack.advance { moved(advance.stream) }
    }

    private func answerCatchUp(
        _ catchUp: CatchUpRequest, with page: FeedPage, isReset: Bool, _ session: DeviceSession
    ) {
        guard let record = session.record, let cursor = catchUp.cursors.first else { return }
        // What was removed below the floor is not in the feed any more.
        var page = page
        #if IOTO_MUTANTS
            if Mutant.isActive(.floorIgnored) { page.floor = 0 }
        #endif
        let isForeign =
            max(cursor.position, catchUp.snapshots[cursor.stream] ?? 0) < page.floor
            || cursor.position > page.cursor || (cursor.position > 0 || cursor.history != 0) && cursor.history != page.history
        if isForeign && !isReset {
            read(catchUp, after: 0, isReset: true, session)
            return
        }
        let isWhole = isReset || catchUp.snapshots[cursor.stream] != nil
        if isWhole, cursor.history == page.history {
            page.end(at: isReset && catchUp.snapshots[cursor.stream] == nil ? cursor.position : catchUp.seen[cursor.stream] ?? 0)
        }
        let payload = fit(&page, session, Topics.down(device: session.id, "BATCH")) { page in
            message(
                page, for: record, answers: catchUp.number, isReset: isReset, isWhole: isWhole,
                hasOwn: catchUp.whole == cursor.stream)
        }
        if let payload { publish(to: session, "BATCH", payload) }
        if cursor.stream == Stream.device(session.id), !page.hasMore {
            session.feed = LiveFeed(sent: page.cursor)
            // What was stored while the page was read may not be in it.
            #if IOTO_MUTANTS
                if Mutant.isActive(.moveMissed) { session.hasMoved = false }
            #endif
            if session.hasMoved { moved(cursor.stream) }
        }
        var rest = catchUp
        rest.cursors.removeFirst()
        answerNext(rest, session, record)
    }

    /// The page as a message, without what the device itself wrote, unless it is whole or asked for that.
    func message(
        _ page: FeedPage, for record: DeviceRecord?, answers: Int64? = nil, isReset: Bool = false, isWhole: Bool = false,
        hasOwn: Bool = false
    ) -> PageMessage {
        #if IOTO_MUTANTS
            let hasOwn = hasOwn && !Mutant.isActive(.ownLeftOut)
        #endif
        // Cloud applications stamp on clocks of their own: what devices have seen of them, the hub has to have seen, too.
        for entry in page.entries { clock.observe(entry.change.version.time) }
        // Removals below the floor are in no page: whoever has not come there has to ask, and is told to begin anew.
        let previous = answers == nil ? max(page.previous, page.floor) : page.previous
        var message = PageMessage(
            answers: answers, stream: page.stream, history: page.history, previous: previous,
            cursor: page.cursor, hasMore: page.hasMore, isReset: isReset, isWhole: isWhole, floor: page.floor, time: time,
            changes: page.entries.map { $0.change }.filter { isWhole || hasOwn || $0.version.writer != record?.replica })
        if message.changes.count < page.entries.count { message.without = record?.replica }
        if answers != nil { message.end = page.end }
        return message
    }
}
