import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// The way down: the cloud's changes, and how far its streams are followed.
extension Store {
    public func cursor(of stream: Text) throws(IotoError) -> StreamCursor? {
        let stored = try read { (connection) throws(IotoError) in try readCursor(stream, connection) }
        return lock.withLock { late }?.settlement.advance?.applied(to: stored, of: stream) ?? stored
    }

    func readCursor(_ stream: Text, _ connection: Connection) throws(IotoError) -> StreamCursor? {
        let statement = try connection.statement(.readCursor)
        defer { statement.end() }
        try statement.bind(1, stream)
        guard try statement.step() else { return nil }
        return StreamCursor(stream: stream, history: try statement.bits(0), position: try statement.integer(1))
    }

    /// Removes tombstones that are older than `Limits.tombstoneRetention` by the hub's clock, which alone tells how old a
    /// change in the cloud can be, and that the cloud knows of: a bounded number at a time. Opening does it once; while the store is
    /// open, messages of the cloud do it once a day.
    ///
    /// - Returns: The number removed.
    public func purgeTombstones() throws(IotoError) -> Int {
        let limit = tombstoneLimit(try lastHubTime())
        // Most often there is none, and then nothing is written.
        guard try !expiredTombstones(before: limit, StoreLimits.purgeStep).isEmpty else { return 0 }
        return try write { (transaction) throws(IotoError) in
            try transaction.purgeTombstones(before: limit, StoreLimits.purgeStep)
        }
    }

    /// Versions of tombstones below are forgotten.
    func tombstoneLimit(_ hubTime: UInt64) -> UInt64 {
        #if IOTO_MUTANTS
            let retention = Mutant.isActive(.purgedEarly) ? 0 : UInt64(Limits.tombstoneRetention) << 16
        #else
            let retention = UInt64(Limits.tombstoneRetention) << 16
        #endif
        return hubTime > retention ? hubTime - retention : 0
    }

    func expiredTombstones(before time: UInt64, _ count: Int64) throws(IotoError) -> [ItemKey] {
        try read { (connection) throws(IotoError) in
            let statement = try connection.statement(.readExpiredTombstones)
            defer { statement.end() }
            try statement.bind(1, bits: time)
            try statement.bind(2, count)
            var keys: [ItemKey] = []
            while try statement.step() {
                keys.append(ItemKey(hash: try statement.text(0), sort: try statement.text(1)))
            }
            return keys
        }
    }
}

extension StoreTransaction {
    /// Takes notice of the hub's clock.
    func observe(hubTime: UInt64) throws(IotoError) {
        store.clock.observe(hubTime)
        let day = UInt64(Instant.dayLength) << 16
        if hubTime < HybridClock.timeMax, hubTime > store.hubTime &+ day {
            // By the day before: whoever was away for long hears first of what the cloud has.
            store.purgeLimit = store.tombstoneLimit(store.hubTime)
            // Should this transaction fail, the file says an earlier day than there could be, and nothing is purged too soon.
            store.hubTime = hubTime
            try StoreFormat.writeMeta(connection, StoreFormat.metaHub, bits: hubTime)
        }
        guard store.purgeLimit > 0 else { return }
        let step = StoreLimits.purgeStepOfMessage
        if try purgeTombstones(before: store.purgeLimit, step) < step { store.purgeLimit = 0 }
    }

    func purgeTombstones(before time: UInt64, _ count: Int64) throws(IotoError) -> Int {
        let keys = try store.expiredTombstones(before: time, count)
        for key in keys { try run(.deleteTombstone, key) }
        return keys.count
    }

    /// Takes over a change of the cloud when it is newer than what is stored.
    ///
    /// - Returns: Whether it was.
    func apply(_ change: Change, hubTime: UInt64) throws(IotoError) -> Bool {
        guard let model = store.schema.model(change.model), model.existsOnDevice else { return false }
        // Neither would leave the hub; to throw for one would block the stream for ever.
        guard change.version.time < HybridClock.timeMax, change.body.count <= Limits.itemBytesMax,
            change.key.hash.count <= Limits.keyBytesMax, change.key.sort.count <= Limits.keyBytesMax
        else {
            Log.error("a change of model \"\(model.name)\" from the cloud exceeds a limit and is dropped")
            return false
        }
        store.clock.observe(change.version.time)
        if try insertNew(change, model) { return true }
        let before = try current(change.key)
        let grave = before == nil ? try tombstone(change.key) : nil
        #if IOTO_MUTANTS
            let known = Mutant.isActive(.versionIgnored) || Mutant.isActive(.tombstoneIgnored) && grave != nil ? nil : before ?? grave
        #else
            let known = before ?? grave
        #endif
        if before == nil, grave == nil { meetsNew = true }
        // A state that has expired is taken over as its removal.
        let isOver = change.isRemoval || store.isExpired(model, change.body)
        if let known, known.version >= change.version, known.version.time > hubTime &+ StoreLimits.clockTrust,
            let position = known.position, try isPending(position)
        {
            // A version that the hub is going to replace says nothing of which change is newer.
            throw IotoError(.busy, "a pending change of model \"\(model.name)\" awaits the cloud's time")
        }
        var fate = Trail.Fate.overwritten
        if !isKnown, let known, let position = known.position, try store.isConflict(known, change, model, connection) {
            if let before, model.mergesFields, !isOver {
                let stamps = try store.stamps(change.key, connection)
                // Without any, the whole item counts.
                if !stamps.isEmpty { return try join(change, model, before, stamps, position: position) }
            }
            if model.process.resolve == .callback,
                let isChanged = try resolve(change, model, known, before, position: position) {
                return isChanged
            }
            let mine = StoredItem(model: model, key: change.key, body: known.body, version: known.version)
            let theirs = StoredItem(model: model, key: change.key, body: change.body, version: change.version)
            let isMine = known.version > change.version
            if model.process.resolve == .device || isMine && model.process.resolve != .cloud {
                var trace = Trail.entry(change.version, .refused, isRemoval: change.isRemoval)
                var version = known.version
                if !isMine {
                    version = Version(time: try store.clock.next(connection), writer: store.replica)
                    trace += self.trace(known, .restamped, isRemoval: before == nil, under: version)
                }
                try modify { () throws(IotoError) in try restamp(change.key, version, isRemoval: before == nil, trace) }
                #if IOTO_MUTANTS
                    if Mutant.isActive(.outboxRowLost) { try dequeue(position) }
                #endif
                noteConflict(winner: mine, loser: theirs, isRemoval: before == nil, isRemote: false)
                return false
            }
            noteConflict(winner: theirs, loser: mine, isRemoval: isOver, isRemote: true)
            fate = .lost
        } else if let known, known.version >= change.version {
            // What the hub has lost and only comes down is lost; or the very state whose expiry was the clock's mistake, which
            // was ahead.
            let isLost = isSetBack && !model.syncsUp && known.version != change.version
            guard isLost || grave?.isOfExpiry ?? false && known.version == change.version && !isOver
            else { return false }
        }

        try take(change, model, before, before ?? grave, fate, position: known?.position, isOver)
        return true
    }

    /// Puts in an item of the cloud that is new here, as most of those are that a device catches up with: the insertion itself tells
    /// that there was none, and no tombstone.
    ///
    /// - Returns: False when there may be something of that key: then nothing is written.
    private func insertNew(_ change: Change, _ model: Model) throws(IotoError) -> Bool {
        guard meetsNew, !change.isRemoval, model.ttlField == nil, !model.mergesFields, model.uniqueFields.isEmpty
        else { return false }
        let item = StoredItem(model: model, key: change.key, body: change.body, version: change.version)
        try modify { () throws(IotoError) in
            try write(.insertItem, item, position: nil, nil)
            meetsNew = connection.changes > 0
            if meetsNew { try reindex(item.key, from: nil, to: item) }
        }
        if meetsNew { noteRemote(nil, item, model, item.key, hasExpired: false) }
        return meetsNew
    }

    /// Puts the cloud's state in the place of whatever is here.
    ///
    /// - Parameter known: The item's row or its tombstone's, which `fate` is of.
    func take(
        _ change: Change, _ model: Model, _ before: StoredRow?, _ known: StoredRow?, _ fate: Trail.Fate, position: Int64?,
        _ isOver: Bool
    ) throws(IotoError) {
        try modify { () throws(IotoError) in
            try forgetStamps(change.key, model)
            if let position, try isPending(position) {
                Log.info("a pending change of model \"\(model.name)\" gives way to the cloud's")
                store.gauge = nil
                try dequeue(position)
                try close(change.key, upTo: UInt64(Int64.max), .overtaken)
            }
            let item = StoredItem(model: model, key: change.key, body: change.body, version: change.version)
            let trace = known.map { self.trace($0, fate, isRemoval: before == nil, under: change.version) }
            if isOver {
                noteRemoval()
                #if IOTO_MUTANTS
                    let isTraceless = Mutant.isActive(.noTombstone)
                #else
                    let isTraceless = false
                #endif
                if !change.isRemoval {
                    try bury(item, trace)
                } else if !isTraceless {
                    try write(.writeTombstone, item, position: nil, trace)
                }
                if before != nil { try run(.deleteItem, change.key) }
            } else {
                try write(.writeItem, item, position: nil, trace)
                if before == nil, known != nil { try run(.deleteTombstone, change.key) }
            }
            try reindex(change.key, from: before, to: isOver ? nil : item)
            noteRemote(before, isOver ? nil : item, model, change.key, hasExpired: isOver && !change.isRemoval)
            if !isOver { try warnOfTwins(item) }
        }
    }

    /// The events of a change of the cloud, which may put an item of one model in the place of one of another.
    func noteRemote(
        _ row: StoredRow?, _ after: StoredItem?, _ model: Model, _ key: ItemKey, hasExpired: Bool
    ) {
        var before: StoredItem?
        if let row, let former = store.models.model(row.model) {
            before = store.live(row, key, former)
            if before == nil { noteExpired(row, key) }
            if former !== model || after == nil {
                note(hasExpired ? .expired : .remove, before: before, after: nil, isRemote: true)
                before = nil
            }
        }
        guard let after else { return }
        #if IOTO_MUTANTS
            if Mutant.isActive(.eventTwice) { note(.update, before: before, after: after, isRemote: true) }
        #endif
        note(before == nil ? .create : .update, before: before, after: after, isRemote: true)
    }
}
