import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// Removes the items whose `ttl` is over, as DynamoDB does by itself with those of a table.
///
/// Nobody has written such a removal. Its version is therefore the next above the state that has expired: whatever was made of
/// that state meanwhile, on a device that was away for one, is newer and stays.
struct CloudExpiry: Sendable {
    /// Items looked at, and removed at most, in one transaction.
    static let stepItems = 500
    /// Shortest pause between two sweeps.
    static let pause = Duration.seconds(5)
    /// A pause is as many times as long as the sweep before it, since a sweep reads every item of the models with a ttl.
    static let pauseShare = 100
    /// 2020-01-01 in Unix milliseconds: nothing expires by a clock that has not been set, as on the device.
    static let clockPlausible: Int64 = 1_577_836_800_000

    let store: any CloudStore
    let models: [Model]

    init(store: any CloudStore, schema: Schema) {
        self.store = store
        models = schema.models.filter { $0.ttlField != nil && $0.existsInCloud }
    }

    /// Sweeps until the task is cancelled.
    func run() async {
        while !models.isEmpty, !Task.isCancelled {
            let start = ContinuousClock.now
            do throws(IotoError) {
                let removed = try await sweep(now: Instant.now.wall)
                if removed > 0 { Log.debug("\(removed) expired items are removed") }
            } catch {
                Log.warning("expired items can't be removed: \(error.message)")
            }
            let pause = (ContinuousClock.now - start) * CloudExpiry.pauseShare
            try? await Task.sleep(for: max(pause, CloudExpiry.pause))
        }
    }

    /// Removes what has expired, step by step; others write between the steps.
    ///
    /// - Parameter now: Unix milliseconds.
    /// - Returns: The number of items removed.
    func sweep(now: Int64) async throws(IotoError) -> Int {
        guard now >= CloudExpiry.clockPlausible else { return 0 }
        var removed = 0
        for model in models {
            var last: ItemKey?
            while !Task.isCancelled {
                let step = try await store.items(model: model.name, after: last, limit: CloudExpiry.stepItems)
                guard let end = step.last else { break }
                last = end.key
                let removals = step.compactMap { removal(of: $0, model, now) }
                if !removals.isEmpty { removed += try await store.expire(removals) }
            }
        }
        return removed
    }

    private func removal(of change: Change, _ model: Model, _ now: Int64) -> LocalWrite? {
        guard let expiry = change.body.withUnsafeBytes({ model.expiry(ofBody: $0) }), expiry <= now,
            // What can't be read stays for whoever lists the items, and is told there.
            case .object(let body)? = try? JSON.parse(change.body)
        else { return nil }
        return LocalWrite(
            model: model.name, key: change.key, isRemoval: true, body: model.keyProperties(of: body).text,
            stream: IotoSync.Stream.of(body, model: model), owner: IotoSync.Stream.owner(of: body) ?? Text(),
            expected: change.version)
    }
}
