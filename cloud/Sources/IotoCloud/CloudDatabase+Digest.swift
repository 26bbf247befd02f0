import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

extension CloudDatabase {
    /// What the store holds of a stream, to be compared with a device's, see `StreamDigest`. Items that have expired don't count.
    ///
    /// - Parameter visit: Called for each item, model by model in the schema's order, then by key.
    /// - Returns: The digest, with the stream's end; and whether that has moved meanwhile, so that the digest may be of no state
    ///   that there ever was.
    /// - Complexity: O(items of the models that travel).
    public func digest(
        of stream: Text, _ visit: (Model, ItemKey, ContentHash) throws(IotoError) -> Void = { _, _, _ in }
    ) async throws(IotoError) -> (digest: StreamDigest, hasMoved: Bool) {
        var digest = StreamDigest(of: stream)
        digest.cursor = try await end(of: stream)
        for model in schema.models where model.syncsUp || model.syncsDown {
            var last: ItemKey?
            while true {
                let page = try await store.items(model: model.name, after: last, limit: CloudDatabase.pageItems)
                guard let end = page.last else { break }
                last = end.key
                let now = Instant.now.wall
                for change in page {
                    if let expiry = change.body.withUnsafeBytes({ model.expiry(ofBody: $0) }), expiry <= now { continue }
                    let hash = try digest.add(model, change.key, change.body)
                    if let hash { try visit(model, change.key, hash) }
                }
            }
        }
        return (digest, try await end(of: stream) != digest.cursor)
    }

    /// Where a stream's feed ends.
    private func end(of stream: Text) async throws(IotoError) -> StreamCursor {
        switch await store.answer(.readFeed(stream: stream, after: .max - 1, bytesMax: 1, itemsMax: 1)) {
        case .page(let page): return StreamCursor(stream: stream, history: page.history, position: page.cursor)
        case .failed(let error): throw error
        default: throw IotoError(.storage, "the store's answer does not match the request")
        }
    }
}
