import IotoBase
import IotoSchema

/// What may be sent when: budgets of bytes a day, and windows of the day, in UTC. The total ones are for models of priority 0
/// and below: what is more urgent goes out in spite of them.
struct SendMeter {
    /// Days since 1970; -1: nothing is counted yet.
    var day: Int64 = -1
    /// Bytes sent on that day, by the model's ordinal, and at last those of all.
    var spent: [Int64] = []
    /// When more may be sent, on the monotonic clock; nil: nothing is held back, or the time is not known.
    var resumeAt: Int64?
    var isHolding = false
}

extension DeviceReplicator {
    private static var dayLength: Int64 { 86_400_000 }

    /// The models that may send nothing now, a byte for each, 1: held back; empty when none is.
    func heldModels(_ now: Instant) throws(IotoError) -> [UInt8] {
        up.meter.resumeAt = nil
        up.meter.isHolding = false
        guard isMetered else { return [] }
        let wall = storage.timeOfDay()
        let isKnown = wall >= Instant.earliestPlausible
        if isKnown { try count(on: wall / DeviceReplicator.dayLength) }
        var wait = Int64.max
        /// Whether it is closed, until when.
        func isClosed(_ window: SendWindow?, _ budget: Int64?, _ spent: Int) -> Bool {
            guard window != nil || budget != nil else { return false }
            guard isKnown else { return true }
            let time = wall % DeviceReplicator.dayLength
            if let budget, up.meter.spent[spent] >= budget {
                wait = min(wait, DeviceReplicator.dayLength - time)
                return true
            }
            guard let window, !window.contains(time) else { return false }
            let opens = Int64(window.from) * 60_000
            wait = min(wait, opens > time ? opens - time : opens + DeviceReplicator.dayLength - time)
            return true
        }
        let models = codec.schema.models
        var held = [UInt8](repeating: 0, count: models.count)
        for model in models where model.syncsUp {
            let options = model.process
            let isHeld = isClosed(options.window, options.dailyBytes, model.ordinal)
                || options.priority <= 0 && isClosed(configuration.window, configuration.dailyBytes, models.count)
            guard isHeld else { continue }
            held[model.ordinal] = 1
            up.meter.isHolding = true
        }
        if wait < .max { up.meter.resumeAt = now.monotonic + wait }
        return up.meter.isHolding ? held : []
    }

    /// Begins to count a day, with what the storage has of it.
    private func count(on day: Int64) throws(IotoError) {
        guard day != up.meter.day else { return }
        var spent: [Int64] = []
        for place in 0...codec.schema.models.count {
            let bits = isCounted(place) ? try storage.counter(counterName(place)) : 0
            spent.append(Int64(bits >> 44) == day ? Int64(bits & (1 << 44 - 1)) : 0)
        }
        up.meter.spent = spent
        up.meter.day = day
    }

    private func counterName(_ place: Int) -> Text {
        place < codec.schema.models.count ? codec.schema.models[place].name : ""
    }

    private func isCounted(_ place: Int) -> Bool {
        let models = codec.schema.models
        return (place < models.count ? models[place].process.dailyBytes : configuration.dailyBytes) != nil
    }

    /// Whether a budget has no room for so many bytes more; it is closed then for the rest of the day. The first change of a day
    /// goes whatever its size, or it would never go.
    func exceedsBudget(_ change: Change, _ bytes: Int) -> Bool {
        guard isMetered, let model = codec.schema.model(change.model), up.meter.day >= 0 else { return false }
        let total = codec.schema.models.count
        func exceeds(_ budget: Int64?, _ place: Int) -> Bool {
            guard let budget, up.meter.spent[place] > 0, up.meter.spent[place] + Int64(bytes) > budget else { return false }
            up.meter.spent[place] = max(up.meter.spent[place], budget)
            return true
        }
        if exceeds(model.process.dailyBytes, model.ordinal) { return true }
        if model.process.priority <= 0, exceeds(configuration.dailyBytes, total) { return true }
        up.meter.spent[model.ordinal] += Int64(bytes)
        up.meter.spent[total] += Int64(bytes)
        return false
    }

    /// Keeps the counts, before what they count is sent.
    func keepCounts() {
        guard isMetered, up.meter.day >= 0 else { return }
        do throws(IotoError) {
            for (place, bytes) in up.meter.spent.enumerated() where isCounted(place) {
                let bits = UInt64(up.meter.day) << 44 | UInt64(min(bytes, 1 << 44 - 1))
                if try storage.counter(counterName(place)) != bits { try storage.setCounter(counterName(place), bits) }
            }
        } catch {
            // More may then be sent after a restart: better than nothing at all.
            note(error)
        }
    }
}
