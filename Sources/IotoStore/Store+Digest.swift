import IotoBase
import IotoSchema
import IotoSync

extension Store {
    /// What the database holds of a stream, in one snapshot: to be compared with the cloud's, see `StreamDigest`. Items that
    /// have expired don't count. Others write meanwhile; the log grows until it ends.
    ///
    /// - Parameter visit: Called for each item, model by model in the schema's order, then by key; returns false to stop.
    /// - Complexity: O(size of the items of models that travel). Memory: one item.
    public func digest(
        of stream: Text, _ visit: (Model, ItemKey, ContentHash) -> Bool
    ) throws(IotoError) -> StreamDigest {
        try flushDelayed()
        var digest = StreamDigest(of: stream)
        try read { (connection) throws(IotoError) in
            // The snapshot that is kept between reads, or else one of its own.
            let isOwn = !connection.isInTransaction
            if isOwn { try connection.run(.beginRead) }
            defer { if isOwn { StoreFormat.rollBack(connection) } }
            var isStopped = false
            for model in schema.models where model.isReplicated && !isStopped {
                try scan(Scan(model, range: KeyRange(hash: nil)), connection) { (row) throws(IotoError) in
                    let key = try row.key()
                    if let hash = try digest.add(model, key, row.body) { isStopped = !visit(model, key, hash) }
                    return !isStopped
                }
            }
            digest.cursor = try readCursor(stream, connection)
        }
        digest.pending = try pendingCount()
        return digest
    }
}
