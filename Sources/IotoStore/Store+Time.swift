import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Synchronization

/// The time of day, which many a device learns from the cloud alone. It is for people: what orders changes is the hybrid
/// clock, whatever the time of day is said to be.
extension Store {
    private static var correctionStep: Int { 200 }

    /// The clock's time, or, where the cloud has shown that to be wrong, the cloud's as it has gone on since.
    public func timeOfDay() -> Int64 {
        let wall = options.wallClock()
        let offset = cloudOffset.load(ordering: .relaxed)
        guard offset != 0 else { return wall }
        let known = options.monotonicClock() + offset
        return abs(known - wall) > Limits.clockDriftMax ? known : wall
    }

    public var isTimeKnown: Bool { cloudOffset.load(ordering: .relaxed) != 0 }

    /// How long items that seem to have expired are not removed for good, in milliseconds, if it is above 0: the clock may be
    /// years ahead, and the cloud, which has been heard of before, will tell.
    public func removalHold() -> Int64 { isTimeKnown ? 0 : holdUntil - options.monotonicClock() }

    /// Takes the cloud's time of day at this moment. The first time, what waits in the outbox with times of a clock that
    /// was wrong gets the right ones.
    public func learnTime(_ time: Int64) {
        let isFirst = cloudOffset.exchange(time - options.monotonicClock(), ordering: .relaxed) == 0
        guard isFirst, writer != nil else { return }
        do throws(IotoError) {
            try correctTimes(time)
        } catch {
            Log.warning("times are not corrected: \(error.message)")
        }
    }

    private func correctTimes(_ cloud: Int64) throws(IotoError) {
        let limit = Limits.clockDriftMax
        // How far the clock is behind, and how far it was when the file was opened.
        let behind = cloud - options.wallClock()
        let wasBehind = cloud - options.monotonicClock() - openedOffset
        guard abs(behind) > limit || abs(wasBehind) > limit else { return }
        let isSteady = abs(behind - wasBehind) <= limit
        var position = Int64.min
        while true {
            let page = try pendingChanges(after: position, bytesMax: 1 << 20, itemsMax: Store.correctionStep)
            guard let last = page.last else { return }
            position = last.position
            try write { (transaction) throws(IotoError) in
                for entry in page where !entry.change.isRemoval {
                    let isOfThisRun = isSteady && entry.change.version.time > openedTime
                    try transaction.correct(entry.change) { time in
                        if time < Instant.earliestPlausible { return min(max(time &+ wasBehind, 0), cloud) }
                        if time > cloud + limit || isOfThisRun { return min(time &+ behind, cloud) }
                        return time
                    }
                }
            }
        }
    }
}

extension StoreTransaction {
    public func timeOfDay() -> Int64 { store.timeOfDay() }

    fileprivate func correct(_ change: Change, _ correct: (Int64) -> Int64) throws(IotoError) {
        guard let model = store.schema.model(change.model), let item = try get(change.key, model: model),
            item.version == change.version, let body = model.corrected(try item.properties(), correct)
        else { return }
        _ = try put(model, change.key, body: body.text)
    }
}
