import IotoBase
import IotoSchema
import IotoSync

/// What a cloud's store forgets, and what it loses.
extension Cloud {
    /// Forgets removals, as the store does with old ones: devices that have not heard of them have to begin anew.
    ///
    /// - Parameter isOld: By the item and how long ago it was removed.
    /// - Returns: The items.
    func purge(_ now: Int64, _ isOld: (ItemKey, Int64) -> Bool) -> [ItemKey] {
        let keys = state.keys.filter { key in state.removals[key].map { isOld(key, now - $0) } ?? false }
        guard !keys.isEmpty else { return [] }
        let gone = Set(keys)
        for (stream, entries) in state.feeds {
            let last = entries.last { gone.contains($0.key) }
            guard let last else { continue }
            state.floors[stream] = max(state.floors[stream] ?? 0, last.position)
            state.feeds[stream] = entries.filter { !gone.contains($0.key) }
        }
        for key in keys {
            state.forgotten = max(state.forgotten, state.items[key]?.change.version.time ?? 0)
            state.items[key] = nil
            state.removals[key] = nil
        }
        state.keys.removeAll { gone.contains($0) }
        return keys
    }

    /// An older state is put in place of the latest: whoever does that gives it another history.
    ///
    /// - Parameter backup: nil: there was none.
    func lose(to backup: State?, history: UInt64, writer: UInt64) {
        var older = backup ?? State(history: 0, writer: 0)
        older.history = history
        older.writer = writer
        for index in older.devices.indices { (older.devices[index].epoch, older.devices[index].nonce) = (0, 0) }
        // No time is given twice: devices may still have changes under those that were given since.
        older.clock.observe(HybridClock.time(wall.time + Limits.clockDriftMax + 1))
        state = older
        losses += 1
    }
}
