import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// What a service of protocol version 1 says, which has no versions.
extension Store {
    public func apply(_ change: UnversionedChange) throws(IotoError) -> Bool {
        try write { (transaction) throws(IotoError) in
            try transaction.writeGathered()
            return try transaction.apply(change)
        }
    }
}

extension StoreTransaction {
    func apply(_ change: UnversionedChange) throws(IotoError) -> Bool {
        guard change.model.existsOnDevice, (change.body?.count ?? 0) <= Limits.itemBytesMax,
            change.sort.count <= Limits.keyBytesMax, (change.hash?.count ?? 0) <= Limits.keyBytesMax,
            let key = try key(of: change)
        else { return false }
        let before = try current(key)
        let known = before == nil ? try tombstone(key) : before
        if let known, let position = known.position, try isPending(position) {
            // The later one wins, as far as two clocks can tell; what stays goes up, and the service decides.
            guard let updated = change.updated, updated >= known.version.milliseconds else { return false }
        }
        var body = change.body
        if body == nil { body = try remains(before, key) }
        guard let body else { return false }
        if let before, change.body != nil, before.body == body, before.model == store.models.number(change.model) {
            return false
        }
        if let known { store.clock.observe(known.version.time) }
        let version = Version(time: try store.clock.next(connection), writer: Version1.service)
        return try apply(
            Change(model: change.model.name, key: key, version: version, isRemoval: change.body == nil, body: body),
            hubTime: version.time)
    }

    /// The key that the change names; nil when it names no item, or several.
    private func key(of change: UnversionedChange) throws(IotoError) -> ItemKey? {
        if let hash = change.hash { return ItemKey(hash: hash, sort: change.sort) }
        var found: ItemKey?
        var isAmbiguous = false
        try scan(
            change.model, hash: nil, sortPrefix: change.sort, after: nil, isReversed: false
        ) { (item) throws(IotoError) -> Bool in
            guard item.key.sort == change.sort else { return true }
            isAmbiguous = found != nil
            found = item.key
            return !isAmbiguous
        }
        return isAmbiguous ? nil : found
    }

    /// The body of a tombstone for the item; nil when there is no item.
    private func remains(_ row: StoredRow?, _ key: ItemKey) throws(IotoError) -> [UInt8]? {
        guard let row, let model = store.models.model(row.model), let item = store.item(row, key, model) else {
            return nil
        }
        return JSON.object(model.keyProperties(of: try item.properties())).text
    }
}
