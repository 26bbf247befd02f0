import IotoBase
import IotoSchema
import IotoSync

/// The way up: the outbox, and what the hub answers.
extension Store {
    public func pendingChanges(
        after start: Int64, held: [UInt8] = [], bytesMax: Int, itemsMax: Int
    ) throws(IotoError) -> [PendingChange] {
        var changes: [PendingChange] = []
        var unreadable: [Int64] = []
        var newest: UInt64 = 0
        // After a write that has failed, or one of another process, it is not sent once more either.
        if isSettledLate { return [] }
        if !isInTransaction { guard try settleLate() else { return [] } }
        // Before the snapshot, so that an edit which it does not have counts as one since.
        let edits = isInTransaction ? -1 : lock.withLock { self.edits }
        try read { (connection) throws(IotoError) in
            // A file that is open for reading only may be older than trails.
            let statement = try connection.statement(writer == nil ? .pending : .pendingTrailed)
            defer { statement.end() }
            try statement.bind(1, start)
            var size = 0
            var previous: Int64? = start
            while changes.count < itemsMax, try statement.step() {
                let position = try statement.integer(3)
                let behind = previous
                previous = nil
                guard let row = try readPending(statement, connection) else {
                    unreadable.append(position)
                    continue
                }
                // Another process, with another schema, may have queued it.
                guard let model = models.model(row.state.model), model.syncsUp else { continue }
                if !held.isEmpty, held[model.ordinal] != 0 {
                    // A lane of nothing but what is held back is not read to its end.
                    guard lanes.isHeld(position, held) else { continue }
                    statement.end()
                    try statement.bind(1, SendLanes.end(of: position))
                    continue
                }
                guard changes.isEmpty || row.state.body.count <= bytesMax - size else { break }
                size += row.state.body.count
                newest = max(newest, row.state.version.time)
                var change = Change(
                    model: model.name, key: row.key, version: row.state.version, isRemoval: row.isRemoval,
                    body: row.state.body)
                if model.mergesFields, !row.isRemoval { change.stamps = try stamps(row.key, connection) }
                if !statement.isNull(9), isOld(row.state.version) {
                    change.isKnown = try wasKnown(row.key, try statement.bytes(9), before: position, connection)
                }
                var pending = PendingChange(position: position, change: change, previous: behind)
                pending.edits = edits
                changes.append(pending)
                previous = position
            }
        }
        if !unreadable.isEmpty { try drop(unreadable) }
        #if IOTO_MUTANTS
            if Mutant.isActive(.sentBeforeDurable) { return changes }
        #endif
        // A version that is sent and then lost with the power could be given to another change.
        if options.durability == .normal, newest > 0 { try makeDurable(upTo: newest) }
        return changes
    }

    /// Whether the cloud may have forgotten by now what it removed since; a clock that was not set says that of all.
    private func isOld(_ version: Version) -> Bool {
        let now = timeOfDay()
        return now < Instant.earliestPlausible || version.milliseconds < now - options.forgottenAfter
    }

    /// Whether an item's trail shows that the cloud has had it before it entered the queue, and since it last lost what it had.
    private func wasKnown(
        _ key: ItemKey, _ trail: [UInt8], before position: Int64, _ connection: Connection
    ) throws(IotoError) -> Bool {
        let entered = UInt64(bitPattern: PendingChange.time(of: position))
        let lost = try StoreFormat.findMeta(connection, StoreFormat.metaLost)
        let isKnown = Trail.entries(trail).contains {
            $0.fate != .unsent && $0.fate != .restamped && $0.version.time > lost
                && ($0.version.writer != replica || $0.version.time < entered)
        }
        guard isKnown else { return false }
        // It may have refused all that there was before.
        let statement = try connection.statement(.wasRejected)
        defer { statement.end() }
        return try !statement.step(key: key)
    }

    public func pendingCount() throws(IotoError) -> Int64 {
        isSettledLate ? 0 : try count(.countPending)
    }

    public func pendingRange() throws(IotoError) -> ClosedRange<Int64>? {
        if isSettledLate { return nil }
        return try read { (connection) throws(IotoError) in
            let statement = try connection.statement(.pendingRange)
            defer { statement.end() }
            guard try statement.step(), let first = try statement.optionalInteger(0),
                let last = try statement.optionalInteger(1), first <= last
            else { return nil }
            return first...last
        }
    }

    public func settle(_ settlement: Settlement) throws(IotoError) {
        try write { (transaction) throws(IotoError) in try transaction.take(settlement) }
    }

    /// Number of changes that the cloud refused and that are kept, as `rejectedChanges` tells them.
    public func rejectedCount() throws(IotoError) -> Int64 {
        try read { (connection) throws(IotoError) in try rejectedCount(connection) }
    }

    /// - Complexity: In the number of changes, of which there are at most the last 1000.
    func rejectedCount(_ connection: Connection) throws(IotoError) -> Int64 {
        let statement = try connection.statement(.countRejected)
        defer { statement.end() }
        var count: Int64 = 0
        while try statement.step() {
            if models.model(try statement.integer(0)) != nil { count += 1 }
        }
        return count
    }

    /// Changes that the cloud refused, in the order in which they entered the outbox.
    ///
    /// - Parameter position: Of the last one known; 0 for the first.
    public func rejectedChanges(after position: Int64, itemsMax: Int) throws(IotoError) -> [RejectedChange] {
        try read { (connection) throws(IotoError) in
            let statement = try connection.statement(.readRejected)
            defer { statement.end() }
            try statement.bind(1, position)
            var changes: [RejectedChange] = []
            while changes.count < itemsMax, try statement.step() {
                let row = try StoredRow(statement, connection, replica: replica)
                // Of models that the schema has no more there is nothing to be told.
                guard let model = models.model(row.model) else { continue }
                changes.append(
                    RejectedChange(
                        position: try statement.integer(3),
                        change: Change(
                            model: model.name,
                            key: ItemKey(hash: try statement.text(5), sort: try statement.text(6)),
                            version: row.version, isRemoval: try statement.integer(7) != 0, body: row.body),
                        code: Int32(truncatingIfNeeded: try statement.integer(8)),
                        reason: try statement.text(9), time: try statement.integer(10)))
            }
            return changes
        }
    }

    func count(_ sql: SQL) throws(IotoError) -> Int64 {
        try read { (connection) throws(IotoError) in
            let statement = try connection.statement(sql)
            defer { statement.end() }
            guard try statement.step() else { return 0 }
            return try statement.integer(0)
        }
    }

    private struct PendingRow {
        let key: ItemKey
        let state: StoredRow
        let isRemoval: Bool
    }

    /// Nil when the row leads to nothing that could be sent.
    private func readPending(
        _ statement: Statement, _ connection: Connection
    ) throws(IotoError) -> PendingRow? {
        do throws(IotoError) {
            guard try statement.integer(8) == 0 else { return nil }
            return PendingRow(
                key: ItemKey(hash: try statement.text(5), sort: try statement.text(6)),
                state: try StoredRow(statement, connection, replica: replica),
                isRemoval: try statement.integer(7) != 0)
        } catch {
            // Memory that is short is no reason to give a change up.
            guard error.code == .corrupt else { throw error }
            Log.error(error.message)
            return nil
        }
    }

    /// Takes rows out of the outbox that lead to no item: only a file that was edited has them, and they would block
    /// the queue for ever.
    private func drop(_ positions: [Int64]) throws(IotoError) {
        guard writer != nil else { return }
        Log.error("\(path): rows of the outbox that lead to no item are dropped: \(positions.count)")
        try write { (transaction) throws(IotoError) in
            gauge = nil
            for position in positions { try transaction.dequeue(position) }
        }
    }
}

/// A change that the cloud refused.
public struct RejectedChange: Sendable, Equatable {
    /// Place that it had in the outbox.
    public let position: Int64
    public let change: Change
    public let code: Int32
    public let reason: Text
    /// When the answer came, Unix milliseconds.
    public let time: Int64
}

extension StoreTransaction {
    /// Takes over the hub's answer to a batch.
    func take(_ settlement: Settlement) throws(IotoError) {
        try observe(hubTime: settlement.hubTime)
        try settle(settlement.entries)
        if !settlement.entries.isEmpty { try trimReceipts() }
        if let advance = settlement.advance {
            let stored = try store.readCursor(advance.stream, connection)
            if let cursor = advance.applied(to: stored, of: advance.stream) { try writeCursor(cursor) }
        }
        try store.clock.raise(connection)
    }

    /// Takes over the hub's answers.
    func settle(_ entries: [Settlement.Entry]) throws(IotoError) {
        var next = 0
        while next < entries.count {
            let end = try endOfRun(entries, from: next)
            if end > next + 1 {
                let left = try clear(entries, from: next, to: end)
                while next < end {
                    if left.contains(entries[next].pending.position) { try settle(entries[next]) }
                    next += 1
                }
                continue
            }
            try settle(entries[next])
            next += 1
        }
    }

    /// Where the entries end, counted from `start`, that are acknowledged and stood one behind the other in the outbox, of items
    /// that had not changed while they waited. Within a lane nothing can have come between them since.
    private func endOfRun(_ entries: [Settlement.Entry], from start: Int) throws(IotoError) -> Int {
        if try mayHaveReceipts() { return start }
        var end = start
        var plain: Text?
        while end < entries.count {
            let pending = entries[end].pending
            guard case .acknowledged = entries[end].answer, !pending.change.isRemoval,
                pending.change.version.writer == store.replica,
                Int64(bitPattern: pending.change.version.time) == pending.time
            else { break }
            if pending.change.model != plain {
                guard let model = store.schema.model(pending.change.model), !model.mergesFields, model.ttlField == nil else { break }
                plain = model.name
            }
            if end > start {
                let last = entries[end - 1].pending.position
                guard pending.previous == last, SendLanes.end(of: last) == SendLanes.end(of: pending.position) else { break }
            }
            end += 1
        }
        return end
    }

    /// Takes the rows of a run out of the outbox, but for those whose items have changed since.
    ///
    /// - Returns: The places of these.
    private func clear(_ entries: [Settlement.Entry], from start: Int, to end: Int) throws(IotoError) -> [Int64] {
        try modify { () throws(IotoError) in
            let (first, last) = (entries[start].pending.position, entries[end - 1].pending.position)
            let edits = hasEdited ? -2 : store.lock.withLock { store.edits }
            let isSame = !(start..<end).contains { entries[$0].pending.edits != edits }
            let statement = try connection.statement(isSame ? .dequeueAll : .dequeueRun)
            defer { statement.end() }
            try statement.bind(1, first)
            try statement.bind(2, last)
            try statement.run()
            let cleared = Int(connection.changes)
            var left: [Int64] = []
            if cleared < end - start {
                let rest = try connection.statement(.readRun)
                defer { rest.end() }
                try rest.bind(1, first)
                try rest.bind(2, last)
                while try rest.step() { left.append(try rest.integer(0)) }
            }
            // What was settled before is not weighed any more.
            if cleared + left.count != end - start { store.gauge = nil }
            guard store.gauge != nil else { return left }
            var place = start
            while place < end {
                let name = entries[place].pending.change.model
                var (items, bytes) = (Int64(0), Int64(0))
                while place < end, entries[place].pending.change.model == name {
                    if !left.contains(entries[place].pending.position) {
                        items += 1
                        bytes += Int64(entries[place].pending.change.body.count)
                    }
                    place += 1
                }
                if let model = store.schema.model(name) { store.gauge?.add(store.models.number(model), items: -items, bytes: -bytes) }
            }
            return left
        }
    }

    /// Takes over the hub's answer to one change.
    func settle(_ entry: Settlement.Entry) throws(IotoError) {
        let sent = entry.pending.change
        let key = sent.key
        try modify { () throws(IotoError) in
            let item = try current(key)
            switch entry.answer {
            // Of what has changed since, the next answer decides.
            case .acknowledged: try close(key, upTo: sent.version.time, .durable)
            case .won(let other):
                try close(key, upTo: sent.version.time, .durable)
                if let model = store.schema.model(sent.model) {
                    noteConflict(
                        winner: StoredItem(model: model, key: key, body: sent.body, version: sent.version),
                        loser: StoredItem(model: model, key: key, body: other.body, version: other.version),
                        isRemoval: sent.isRemoval, isRemote: false)
                }
            case .rejected, .overruled, .again: break
            }
            guard let row = item == nil ? try tombstone(key) : item else {
                store.gauge = nil
                if try queuedKey(entry.pending.position) == key { try dequeue(entry.pending.position) }
                return
            }
            // The answer to an earlier try may have moved the item to the queue's end since this one was sent.
            var position = entry.pending.position
            if let place = row.position, row.version == sent.version { position = place }
            #if IOTO_MUTANTS
                if Mutant.isActive(.ackOfLaterTryIgnored) { position = entry.pending.position }
            #endif
            // A row that is gone was settled before, or gave way to a newer change of the cloud.
            if case .acknowledged = entry.answer, row.version == sent.version {
                guard try dequeue(position, key) else { return }
                store.gauge?.add(row.model, items: -1, bytes: -Int64(row.body.count))
                try forgetStamps(key, store.models.model(row.model))
                if item != nil { try settleExpiry(key) }
                return
            }
            guard try queuedKey(position) == key else { return }
            #if IOTO_MUTANTS
                if Mutant.isActive(.ackClearsNewer) { return try dequeue(position) }
            #endif
            guard row.version == sent.version else {
                return try requeue(key, from: position, isRemoval: item == nil)
            }
            if case .again(let version) = entry.answer {
                try moveReceipts(key, from: sent.version.time, to: version.time)
                try lowerStamps(sent, version)
                return try restamp(
                    key, version, isRemoval: item == nil, trace(row, .restamped, isRemoval: item == nil, under: version))
            }
            try dequeue(position, row)
            try forgetStamps(key, store.models.model(row.model))
            switch entry.answer {
            case .acknowledged, .won, .again: break
            case .rejected(let code, let reason):
                try reject(key, row, position, code, reason, isRemoval: item == nil)
            case .overruled(let winner):
                guard try !yield(to: winner, row, item) else { break }
                try reject(
                    key, row, position, ErrorCode.limit.rawValue, "what the cloud has instead can't be taken",
                    isRemoval: item == nil)
            }
            if item != nil { try settleExpiry(key) }
        }
    }

    /// - Returns: Whether the row was there, and of this item.
    private func dequeue(_ position: Int64, _ key: ItemKey) throws(IotoError) -> Bool {
        let statement = try connection.statement(.dequeueKey)
        defer { statement.end() }
        try statement.bind(3, position)
        _ = try statement.step(key: key)
        return connection.changes > 0
    }

    private func queuedKey(_ position: Int64) throws(IotoError) -> ItemKey? {
        let statement = try connection.statement(.readOutbox)
        defer { statement.end() }
        try statement.bind(1, position)
        guard try statement.step() else { return nil }
        return ItemKey(hash: try statement.text(0), sort: try statement.text(1))
    }

    /// Moves the row of an item that has changed since it was sent to the end of the queue.
    private func requeue(_ key: ItemKey, from position: Int64, isRemoval: Bool) throws(IotoError) {
        try dequeue(position)
        try requeue(key, isRemoval: isRemoval)
    }

    /// Puts an item that does not wait at the end of the queue.
    func requeue(_ key: ItemKey, isRemoval: Bool) throws(IotoError) {
        let row = isRemoval ? try tombstone(key) : try current(key)
        let end = store.lanes.position(
            try store.clock.next(connection), row.flatMap { store.models.model($0.model) }?.ordinal)
        try append(key, at: end)
        let statement = try connection.statement(isRemoval ? .setTombstonePosition : .setItemPosition)
        defer { statement.end() }
        hasEdited = true
        try statement.bind(3, end)
        _ = try statement.step(key: key)
        didWrite(key, nil)
    }

    /// The hub keeps what it has.
    ///
    /// - Returns: false when that can't be taken.
    private func yield(to winner: Change, _ row: StoredRow, _ item: StoredRow?) throws(IotoError) -> Bool {
        guard let model = store.schema.model(winner.model), row.model == store.models.number(model),
            winner.body.count <= Limits.itemBytesMax, winner.version.time < HybridClock.timeMax
        else { return false }
        let mine = StoredItem(model: model, key: winner.key, body: row.body, version: row.version)
        let theirs = StoredItem(model: model, key: winner.key, body: winner.body, version: winner.version)
        let isOver = winner.isRemoval || store.isExpired(model, winner.body)
        store.clock.observe(winner.version.time)
        try close(winner.key, upTo: row.version.time, .overtaken)
        noteConflict(winner: theirs, loser: mine, isRemoval: isOver, isRemote: true)
        try take(winner, model, item, row, .lost, position: nil, isOver)
        return true
    }

    /// - Parameter trace: For the trail, if it is not in it.
    func restamp(_ key: ItemKey, _ version: Version, isRemoval: Bool, _ trace: [UInt8]) throws(IotoError) {
        store.clock.observe(version.time)
        // A version below those that are known to be on the disk is not there for that.
        store.durableTime = 0
        let statement = try connection.statement(isRemoval ? .setTombstoneVersion : .setItemVersion)
        defer { statement.end() }
        hasEdited = true
        try statement.bind(3, Int64(bitPattern: version.time))
        try statement.bind(4, version.writer == store.replica ? nil : Int64(bitPattern: version.writer))
        try statement.bind(5, trace)
        _ = try statement.step(key: key)
        didWrite(key, nil)
    }

    private func reject(
        _ key: ItemKey, _ row: StoredRow, _ position: Int64, _ code: Int32, _ reason: Text, isRemoval: Bool
    ) throws(IotoError) {
        try close(key, upTo: row.version.time, .rejected, code: code, reason: reason)
        let statement = try connection.statement(.writeRejected)
        defer { statement.end() }
        try statement.bind(4, PendingChange.time(of: position))
        try statement.bind(5, row.model)
        try statement.bind(6, bits: row.version.time)
        let isOwn = row.version.writer == store.replica || row.version == .zero
        try statement.bind(7, isOwn ? nil : Int64(bitPattern: row.version.writer))
        try statement.bind(8, isRemoval ? 1 : 0)
        try statement.bind(9, Int64(code))
        try statement.bind(10, reason)
        try statement.bind(11, store.timeOfDay())
        try statement.run(key: key, body: row.body)

        let trim = try connection.statement(.trimRejected)
        defer { trim.end() }
        try trim.bind(1, StoreLimits.rejectedMax)
        try trim.run()

        guard let model = store.models.model(row.model), let item = store.item(row, key, model) else { return }
        note(.rejected, before: item, after: isRemoval ? nil : item, reason: reason)
    }

    func writeCursor(_ cursor: StreamCursor) throws(IotoError) {
        let statement = try connection.statement(.writeCursor)
        defer { statement.end() }
        try statement.bind(1, cursor.stream)
        try statement.bind(2, bits: cursor.history)
        try statement.bind(3, cursor.position)
        try statement.run()
    }
}
