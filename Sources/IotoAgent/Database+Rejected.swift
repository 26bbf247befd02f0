import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// The dead letters.
extension Database {
    /// Runs a change under a receipt.
    ///
    /// - Returns: The receipt; 0 when nothing goes to the cloud.
    public func withReceipt(_ body: () throws(IotoError) -> Void) throws(IotoError) -> Int64 {
        let receipt = try store.withReceipt(body)
        waitForTriggers()
        return receipt
    }

    /// Sends a refused change again: the item as it is now, with the properties given changed.
    ///
    /// - Throws: `.notFound` when there is no such change, or its item is gone; `.exists` when a removal was refused and the item
    ///   has been made again; what the schema finds wrong.
    public func retryRejected(
        _ number: Int64, _ changes: (Model) throws(IotoError) -> JSONObject
    ) throws(IotoError) {
        guard let rejected = try store.rejectedChange(number) else {
            throw IotoError(.notFound, "no rejected change \(number)")
        }
        let model = try deviceModel(rejected.change.model)
        let properties = try changes(model)
        let key = rejected.change.key
        let context = context
        try store.write { (transaction) throws(IotoError) in
            if rejected.change.isRemoval {
                guard properties.isEmpty else {
                    throw IotoError(.misuse, "a removal has no properties that could be changed")
                }
                try transaction.sendRemovalAgain(key, model: model)
            } else {
                guard let existing = try transaction.get(key, model: model) else {
                    throw IotoError(.notFound, "the item of the rejected change \(number) is gone")
                }
                let prepared = try model.makeUpdate(
                    of: try existing.properties(), properties, context: context, now: store.timeOfDay())
                _ = try transaction.put(model, key, body: prepared.text)
            }
            try transaction.discardRejected(number)
        }
        waitForTriggers()
    }
}
