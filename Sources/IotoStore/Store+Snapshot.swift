import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// Snapshots of streams: what the hub has of one, from its beginning to its end, over any number of pages and restarts.
extension Store {
    public func snapshotFloor(of stream: Text) throws(IotoError) -> Int64? {
        guard let cursor = try cursor(of: Store.snapshotName(stream)) else { return nil }
        return Int64(bitPattern: cursor.history)
    }

    public func snapshotSeen(of stream: Text) throws(IotoError) -> Int64 {
        (try cursor(of: Store.snapshotName(stream))?.position ?? 0) >> 1
    }

    public func apply(
        _ changes: [Change], part: SnapshotPart, cursor: StreamCursor, hubTime: UInt64
    ) throws(IotoError) -> Int {
        try apply(changes, part, cursor, hubTime)
    }

    static func snapshotName(_ stream: Text) -> Text { "snapshot/" + stream }
}

extension StoreTransaction {
    func beginSnapshot(_ stream: Text, _ part: SnapshotPart) throws(IotoError) {
        // One that begins anew before its end still is to send again what was lost before.
        let name = Store.snapshotName(stream)
        let before = try store.readCursor(name, connection)
        try forgetSnapshot(stream)
        let former = before?.position ?? 0
        // Both in one number, which files have had for the second alone.
        let seen = part.resends ? 0 : max(part.seen, former >> 1)
        let resends: Int64 = part.resends ? 1 : former & 1
        // Of an item that it has not it can't be said any more that it has removed it.
        if part.resends { try StoreFormat.writeMeta(connection, StoreFormat.metaLost, bits: store.clock.last) }
        try writeCursor(
            StreamCursor(stream: name, history: UInt64(bitPattern: part.floor), position: seen << 1 | resends))
    }

    func name(_ key: ItemKey, in stream: Text) throws(IotoError) {
        let statement = try connection.statement(.nameInSnapshot)
        defer { statement.end() }
        try statement.bind(3, stream)
        _ = try statement.step(key: key)
    }

    /// What the hub names is older than a removal, which it has forgotten, as it does with none that is young; or, in a snapshot,
    /// than a change that it has acknowledged once, or has made itself and lost.
    func resendIfNewer(_ change: Change, isPart: Bool, _ hubTime: UInt64) throws(IotoError) {
        let item = try current(change.key)
        guard let row = item == nil ? try tombstone(change.key) : item, row.version > change.version,
            item == nil && row.version.time > change.version.time
                && row.version.time &+ UInt64(store.options.forgottenAfter) << 16 < hubTime
                || isPart && (isSetBack || row.version.writer == store.replica),
            !row.isOfExpiry, let model = store.models.model(row.model), model.syncsUp
        else { return }
        if let position = row.position, try isPending(position) { return }
        try modify { () throws(IotoError) in try requeue(change.key, isRemoval: item == nil) }
    }

    /// Whether the stream's snapshot is one of a hub that has lost what it had.
    func isOfLoss(_ stream: Text) throws(IotoError) -> Bool {
        (try store.readCursor(Store.snapshotName(stream), connection)?.position ?? 0) & 1 != 0
    }

    /// Removes what was not named; of a hub that has lost it, sends it again, with all that no snapshot names.
    func endSnapshot(_ stream: Text) throws(IotoError) {
        let resends = try isOfLoss(stream)
        #if IOTO_MUTANTS
            let forgets = Mutant.isActive(.unnamedForgotten)
        #else
            let forgets = false
        #endif
        if resends, !forgets, stream.hasPrefix("device/") { try resendUnnamed(stream) }
        #if IOTO_MUTANTS
            if Mutant.isActive(.snapshotKeepsMissing) { return try forgetSnapshot(stream) }
        #endif
        for model in store.schema.models where model.existsOnDevice && model.syncsDown {
            var last: ItemKey?
            repeat {
                let missing = try unnamed(model, in: stream, after: last)
                for item in missing { try remove(missing: item, resends: resends && model.syncsUp) }
                last = missing.last?.key
            } while last != nil
        }
        try forgetSnapshot(stream)
    }

    /// The next items of the stream that the snapshot has not named, some at a time.
    private func unnamed(_ model: Model, in stream: Text, after last: ItemKey?) throws(IotoError) -> [StoredItem] {
        var missing: [StoredItem] = []
        var bytes = 0
        try scan(
            model, hash: nil, sortPrefix: Text(), after: last, isReversed: false
        ) { (item) throws(IotoError) -> Bool in
            // An item without a version never was the cloud's.
            guard item.version != .zero, item.body.withUnsafeBytes({ Stream.home(of: $0, model: model) }) == stream,
                try !isNamed(item.key, in: stream)
            else { return true }
            missing.append(item)
            bytes += item.body.count
            return bytes < StoreLimits.snapshotStepBytes
        }
        return missing
    }

    private func remove(missing item: StoredItem, resends: Bool) throws(IotoError) {
        guard let row = try current(item.key) else { return }
        if let position = row.position {
            #if IOTO_MUTANTS
                let isTaken = Mutant.isActive(.snapshotTakesPending)
            #else
                let isTaken = false
            #endif
            if !isTaken, try isPending(position) { return }
            let parked = try connection.statement(.isParked)
            defer { parked.end() }
            try parked.bind(1, position)
            if try parked.step() { return }
        }
        try modify { () throws(IotoError) in
            #if IOTO_MUTANTS
                let resends = resends && !Mutant.isActive(.lossTakenForRemoval)
            #endif
            if resends {
                try requeue(item.key, isRemoval: false)
            } else {
                try run(.deleteItem, item.key)
                try reindex(item.key, from: row, to: nil)
                note(.remove, before: item, after: nil, isRemote: true)
            }
        }
    }

    /// What only goes up is in no stream: the hub may have lost any of it. Of models that come down as well it may have lost removals,
    /// and a copy of this database may give back what was removed.
    private func resendUnnamed(_ stream: Text) throws(IotoError) {
        for model in store.schema.models where model.existsOnDevice && model.syncsUp {
            #if IOTO_MUTANTS
                if Mutant.isActive(.removalsUnsent), model.syncsDown { continue }
            #endif
            while true {
                let lost = try settled(model, stream)
                for key in lost {
                    let grave = try tombstone(key)
                    if model.syncsDown, let grave, grave.body.withUnsafeBytes({ Stream.home(of: $0, model: model) }) != stream {
                        // The next step passes it over.
                        try name(key, in: stream)
                    } else {
                        // What is in the queue is settled no more.
                        try modify { () throws(IotoError) in try requeue(key, isRemoval: grave != nil) }
                    }
                }
                if lost.count < StoreLimits.snapshotStep { break }
            }
        }
    }

    /// Items and tombstones that don't wait in the outbox, some of them; of a model that comes down, tombstones alone, and of these what
    /// the snapshot has not named.
    private func settled(_ model: Model, _ stream: Text) throws(IotoError) -> [ItemKey] {
        var found: [ItemKey] = []
        let statement = try connection.statement(.readSettled)
        defer { statement.end() }
        try statement.bind(1, store.models.number(model))
        try statement.bind(2, Int64(StoreLimits.snapshotStep))
        try statement.bind(3, model.syncsDown ? stream : Text())
        while try statement.step() { found.append(ItemKey(hash: try statement.text(0), sort: try statement.text(1))) }
        return found
    }

    private func isNamed(_ key: ItemKey, in stream: Text) throws(IotoError) -> Bool {
        let statement = try connection.statement(.isNamedInSnapshot)
        defer { statement.end() }
        try statement.bind(3, stream)
        return try statement.step(key: key)
    }

    private func forgetSnapshot(_ stream: Text) throws(IotoError) {
        let clear = try connection.statement(.clearSnapshot)
        defer { clear.end() }
        try clear.bind(1, stream)
        try clear.run()
        let delete = try connection.statement(.deleteCursor)
        defer { delete.end() }
        try delete.bind(1, Store.snapshotName(stream))
        try delete.run()
    }
}
