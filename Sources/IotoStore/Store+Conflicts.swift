import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// Makes one item of two that were changed without knowledge of each other, for models with `resolve: 'callback'`.
public protocol ConflictResolver: AnyObject {
    /// Called with nothing locked.
    ///
    /// - Parameters:
    ///   - mine: The item as it is here; nil when it was removed.
    ///   - theirs: The item as it is in the cloud; nil when it was removed.
    /// - Returns: The item's body; nil: the later one wins.
    func resolve(_ model: Model, _ key: ItemKey, mine: StoredItem?, theirs: StoredItem?) -> [UInt8]?
}

/// What the resolver made of two versions of an item.
struct Resolution {
    let key: ItemKey
    let mine: Version
    let theirs: Version
    /// nil: the later one wins.
    let body: [UInt8]?
}

extension Store {
    /// How often a page is taken up anew because items changed while the resolver was asked for them.
    private static var triesMax: Int { 4 }

    public func apply(_ changes: [Change], cursor: StreamCursor, hubTime: UInt64) throws(IotoError) -> Int {
        try apply(changes, nil, cursor, hubTime)
    }

    /// Applies changes and moves the cursor, as a part of a snapshot or not.
    func apply(
        _ changes: [Change], _ part: SnapshotPart?, _ cursor: StreamCursor, _ hubTime: UInt64
    ) throws(IotoError) -> Int {
        var tries = 1
        while true {
            // The resolver is asked of what the disk has.
            try flushDelayed()
            let resolutions = tries < Store.triesMax ? try resolve(changes, isKnown: part?.isKnown ?? false) : nil
            do throws(IotoError) {
                return try applyOnce(changes, part, cursor, hubTime, resolutions)
            } catch {
                guard error.code == .conflict, resolutions != nil else { throw error }
                tries += 1
            }
        }
    }

    private func applyOnce(
        _ changes: [Change], _ part: SnapshotPart?, _ cursor: StreamCursor, _ hubTime: UInt64,
        _ resolutions: [Resolution]?
    ) throws(IotoError) -> Int {
        #if IOTO_MUTANTS
            if Mutant.isActive(.cursorBeforeItems) {
                try write { (transaction) throws(IotoError) in try transaction.writeCursor(cursor) }
            }
        #endif
        var applied = 0
        try write { (transaction) throws(IotoError) in
            transaction.resolutions = resolutions
            try transaction.observe(hubTime: hubTime)
            // What comes down is compared with what has been changed here.
            try transaction.writeGathered()
            if let part, part.begins { try transaction.beginSnapshot(cursor.stream, part) }
            transaction.isKnown = part?.isKnown ?? false
            if part != nil { transaction.isSetBack = try transaction.isOfLoss(cursor.stream) }
            for change in changes {
                if part != nil { try transaction.name(change.key, in: cursor.stream) }
                if try transaction.apply(change, hubTime: hubTime) {
                    applied += 1
                } else {
                    try transaction.resendIfNewer(change, isPart: part != nil, hubTime)
                }
            }
            for key in part?.passedOver ?? [] { try transaction.name(key, in: cursor.stream) }
            try transaction.writeCursor(cursor)
            if let part, part.ends { try transaction.endSnapshot(cursor.stream) }
            try clock.raise(transaction.connection)
        }
        return applied
    }

    /// Asks the resolver for what waits here and comes from the cloud.
    ///
    /// - Returns: nil when there is nobody to ask.
    private func resolve(_ changes: [Change], isKnown: Bool) throws(IotoError) -> [Resolution]? {
        guard let resolver else { return nil }
        var resolutions: [Resolution] = []
        for change in changes {
            guard !isKnown, let model = schema.model(change.model), model.process.resolve == .callback, model.syncsUp else { continue }
            var mine: (row: StoredRow, isRemoval: Bool)?
            try read { (connection) throws(IotoError) in
                let item = try row(.readItem, change.key, connection)
                let found = item == nil ? try row(.readTombstone, change.key, connection) : item
                guard let found, try isConflict(found, change, model, connection) else { return }
                mine = (found, item == nil)
            }
            guard let mine else { continue }
            let body = resolver.resolve(
                model, change.key,
                mine: mine.isRemoval ? nil : StoredItem(model: model, key: change.key, body: mine.row.body, version: mine.row.version),
                theirs: change.isRemoval ? nil : StoredItem(model: model, key: change.key, body: change.body, version: change.version))
            resolutions.append(
                Resolution(key: change.key, mine: mine.row.version, theirs: change.version, body: body))
        }
        return resolutions
    }

    /// Whether a change waits here that the cloud's was made without knowledge of.
    func isConflict(
        _ known: StoredRow, _ change: Change, _ model: Model, _ connection: Connection
    ) throws(IotoError) -> Bool {
        guard let position = known.position, model.syncsUp, known.model == models.number(model),
            known.version != change.version, change.version.writer != replica,
            change.own == 0 || change.own < known.version.time
        else { return false }
        let statement = try connection.statement(.isPending)
        defer { statement.end() }
        try statement.bind(1, position)
        return try statement.step()
    }

    func stamps(_ key: ItemKey, _ connection: Connection) throws(IotoError) -> JSONObject {
        let statement = try connection.statement(.readStamps)
        defer { statement.end() }
        return try statement.step(key: key) ? FieldMerge.object(try statement.bytes(0)) : JSONObject()
    }
}

extension StoreTransaction {
    /// Notes which fields a change changes.
    ///
    /// - Parameters:
    ///   - isWaiting: What is known of the item waits in the outbox.
    ///   - isOfGrave: It was removed, which the cloud may never hear of. So it has no stamps, and counts whole until it is sent.
    func stampFields(
        _ item: StoredItem, over before: StoredRow?, isWaiting: Bool, isOfGrave: Bool = false
    ) throws(IotoError) {
        var stamps = isWaiting ? try store.stamps(item.key, connection) : JSONObject()
        if isOfGrave || isWaiting && stamps.isEmpty { return }
        FieldMerge.stamp(
            &stamps, from: FieldMerge.object(before?.body ?? []), to: FieldMerge.object(item.body), at: item.version.time)
        try write(stamps.isEmpty ? noField(item.version) : stamps, of: item.key)
    }

    /// Says that no field has changed: without any stamp, the whole item would count.
    private func noField(_ version: Version) -> JSONObject { [Text(): .string(.hexadecimal(version.time))] }

    private func write(_ stamps: JSONObject, of key: ItemKey) throws(IotoError) {
        let statement = try connection.statement(.writeStamps)
        defer { statement.end() }
        try statement.run(key: key, body: stamps.text)
    }

    /// None of them is later than the version that the change has now.
    func lowerStamps(_ sent: Change, _ version: Version) throws(IotoError) {
        guard let model = store.schema.model(sent.model), model.mergesFields, !sent.isRemoval else { return }
        var change = sent
        change.version = version
        change.take(stamps: try store.stamps(sent.key, connection))
        try write(change.stamps, of: sent.key)
    }

    func forgetStamps(_ key: ItemKey, _ model: Model?) throws(IotoError) {
        if let model, model.mergesFields { try run(.deleteStamps, key) }
    }

    /// Joins a change of the cloud and one that waits here, with stamps.
    ///
    /// - Returns: Whether the item has changed.
    func join(
        _ change: Change, _ model: Model, _ before: StoredRow, _ stamps: JSONObject, position: Int64
    ) throws(IotoError) -> Bool {
        let mine = FieldMerge.object(before.body)
        let merge = FieldMerge(mine, stamps, over: FieldMerge.object(change.body), change.stamps)
        if merge.hasLost {
            noteConflict(
                winner: StoredItem(model: model, key: change.key, body: change.body, version: change.version),
                loser: StoredItem(model: model, key: change.key, body: before.body, version: before.version),
                isRemoval: false, isRemote: true)
        }
        if merge.won.isEmpty, change.version > before.version {
            // The cloud has all of it. Where what waits is later, it may have been sent: then the cloud gets to say so.
            if !merge.hasLost { try modify { () throws(IotoError) in try close(change.key, upTo: .max >> 1, .durable) } }
            try take(change, model, before, before, merge.hasLost ? .lost : .overwritten, position: position, false)
            return true
        }
        let isChanged = merge.body != mine || before.version < change.version
        let left = merge.won.isEmpty ? noField(before.version) : merge.won
        try modify { () throws(IotoError) in try write(left, of: change.key) }
        if isChanged { try replace(change, model, before, isRemoved: false, merge.body.text) }
        return isChanged
    }

    /// Puts what two versions have become in the place of the one here. It goes on waiting.
    private func replace(
        _ change: Change, _ model: Model, _ known: StoredRow, isRemoved: Bool, _ body: [UInt8]
    ) throws(IotoError) {
        let key = change.key
        let before = isRemoved ? nil : known
        try modify { () throws(IotoError) in
            #if IOTO_MUTANTS
                var (version, position) = try enqueue(model, key, body.count, known)
                if Mutant.isActive(.resolutionUnversioned), !model.mergesFields { version = known.version }
            #else
                let (version, position) = try enqueue(model, key, body.count, known)
            #endif
            let item = StoredItem(model: model, key: key, body: body, version: version)
            try write(
                .writeItem, item, position: position,
                trace(known, .merged, isRemoval: isRemoved, under: version)
                    + Trail.entry(change.version, .joined, isRemoval: change.isRemoval))
            if isRemoved { try run(.deleteTombstone, key) }
            try reindex(key, from: before, to: item)
            noteRemote(before, item, model, key, hasExpired: false)
        }
    }

    /// Decides between a change that waits and one of the cloud as the firmware does.
    ///
    /// - Returns: Whether the item has changed; nil: the later one wins.
    func resolve(
        _ change: Change, _ model: Model, _ known: StoredRow, _ before: StoredRow?, position: Int64
    ) throws(IotoError) -> Bool? {
        guard let resolutions else { return nil }
        guard let found = resolutions.first(where: {
            $0.key == change.key && $0.mine == known.version && $0.theirs == change.version
        }) else { throw IotoError(.conflict, "an item has changed again") }
        guard let body = found.body else { return nil }
        let theirs = StoredItem(model: model, key: change.key, body: change.body, version: change.version)
        let mine = StoredItem(model: model, key: change.key, body: known.body, version: known.version)
        if body == change.body, !change.isRemoval {
            noteConflict(winner: theirs, loser: mine, isRemoval: false, isRemote: true)
            try take(change, model, before, known, .lost, position: position, store.isExpired(model, body))
            return true
        }
        let merged = StoredItem(model: model, key: change.key, body: body, version: known.version)
        noteConflict(winner: merged, loser: theirs, isRemoval: false, isRemote: false)
        try replace(change, model, known, isRemoved: before == nil, body)
        return true
    }

    func noteConflict(winner: StoredItem, loser: StoredItem, isRemoval: Bool, isRemote: Bool) {
        let event = StoreEvent(
            .conflict, before: nil, after: winner, isRemote: isRemote, loser: loser, isRemoval: isRemoval)
        if let event { events.append(event) }
    }
}
