import IotoBase
import IotoSchema
import IotoSync

/// The dead letters: changes that the cloud has refused.
extension Store {
    /// One of them; nil when there is none of that number.
    public func rejectedChange(_ number: Int64) throws(IotoError) -> RejectedChange? {
        guard number > 0, let change = try rejectedChanges(after: number - 1, itemsMax: 1).first,
            change.position == number
        else { return nil }
        return change
    }

    /// Forgets one, also of a model that the schema has no more; the item stays as it is.
    ///
    /// - Throws: `.notFound`.
    public func discardRejected(_ number: Int64) throws(IotoError) {
        try write { (transaction) throws(IotoError) in try transaction.discardRejected(number) }
    }
}

extension StoreTransaction {
    /// - Throws: `.notFound`.
    public func discardRejected(_ number: Int64) throws(IotoError) {
        let statement = try connection.statement(.deleteRejected)
        defer { statement.end() }
        try statement.bind(1, number)
        try statement.run()
        guard connection.changes > 0 else { throw IotoError(.notFound, "no rejected change \(number)") }
        changes += 1
    }

    /// Sends a removal once more that was refused, under a new version.
    ///
    /// - Throws: `.exists` when the item has been made again since; `.notFound` when nothing is known of it any more.
    public func sendRemovalAgain(_ key: ItemKey, model: Model) throws(IotoError) {
        guard try current(key) == nil else {
            throw IotoError(.exists, "model \"\(model.name)\": the item has been made again since its removal was refused")
        }
        guard var row = try tombstone(key), row.model == store.models.number(model), model.syncsUp else {
            throw IotoError(.notFound, "model \"\(model.name)\": nothing is known of the item any more")
        }
        try modify { () throws(IotoError) in
            let before = row
            if row.isOfExpiry { row.position = nil }
            let (version, position) = try enqueue(model, key, row.body.count, row)
            let tombstone = StoredItem(model: model, key: key, body: row.body, version: version)
            try write(
                .writeTombstone, tombstone, position: position, trace(before, .overwritten, isRemoval: true, under: version))
        }
    }
}
