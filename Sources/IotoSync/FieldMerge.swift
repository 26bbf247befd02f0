import IotoBase
import IotoJSON
import IotoSchema

/// An item of a model with `merge: 'fields'` in two states, each made without knowledge of the other: of every field the
/// later change counts. Stamps are the times of changes by field, as sixteen hexadecimal digits, which compare as texts do.
/// What has no stamp was not changed, as far as is known.
public struct FieldMerge {
    public private(set) var body: JSONObject
    /// The stamps of the fields that `mine` has won.
    public private(set) var won = JSONObject()
    /// Another value than that of `mine` has won somewhere.
    public private(set) var hasLost = false

    /// At the same time `theirs` wins, which is the hub's.
    public init(_ mine: JSONObject, _ stamps: JSONObject, over theirs: JSONObject, _ theirStamps: JSONObject) {
        body = theirs
        for (name, stamp) in stamps {
            guard let time = stamp.stringValue else { continue }
            if let other = theirStamps[name]?.stringValue, other >= time {
                if other != time, mine[name] != theirs[name] { hasLost = true }
            } else {
                body[name] = mine[name]
                won[name] = stamp
            }
        }
    }

    /// Stamps the fields that differ.
    public static func stamp(
        _ stamps: inout JSONObject, from old: JSONObject, to new: JSONObject, at time: UInt64
    ) {
        let stamp = JSON.string(.hexadecimal(time))
        for (name, value) in new where old[name] != value { stamps[name] = stamp }
        for (name, _) in old where new[name] == nil { stamps[name] = stamp }
    }

    public static func object(_ body: [UInt8]) -> JSONObject {
        (try? JSON.parse(body))?.objectValue ?? JSONObject()
    }
}

extension Change {
    /// Takes stamps from a message: none is later than the version.
    public mutating func take(stamps: JSONObject?) {
        self.stamps = JSONObject()
        for (name, stamp) in stamps ?? JSONObject() {
            guard let time = stamp.stringValue.flatMap({ parseHexadecimal($0.bytes) }) else { continue }
            self.stamps.append(name, .string(.hexadecimal(min(time, version.time))))
        }
    }
}

extension StreamedChange {
    /// What a cloud's store stores of a change to a model with `merge: 'fields'`; nil: nothing, since it has it all.
    ///
    /// - Parameters:
    ///   - stored: The item's state, with its stamps.
    ///   - clock: The store's; it has seen both versions then.
    ///   - writer: The store's own, of a version that is neither the device's nor the stored one.
    public func merged(over stored: Change?, clock: inout HybridClock, wall: Int64, writer: UInt64) -> Change? {
        var change = change
        guard let stored, !stored.isRemoval, !change.isRemoval else {
            guard change.version > stored?.version ?? .zero else { return nil }
            if change.isRemoval { change.stamps = JSONObject() }
            return change
        }
        guard change.version != stored.version else { return nil }
        let (mine, theirs) = (FieldMerge.object(change.body), FieldMerge.object(stored.body))
        #if IOTO_MUTANTS
            if Mutant.isActive(.wholeItemWins) { change.stamps = [:] }
        #endif
        if change.stamps.isEmpty {
            // Of a device that does not tell its fields, the whole item counts.
            guard change.version > stored.version else { return nil }
            change.stamps = stored.stamps
            FieldMerge.stamp(&change.stamps, from: theirs, to: mine, at: change.version.time)
            return change
        }
        let merge = FieldMerge(mine, change.stamps, over: theirs, stored.stamps)
        change.stamps = stored.stamps
        for (name, stamp) in merge.won { change.stamps[name] = stamp }
        if merge.body == mine, change.version > stored.version { return change }
        if merge.won.isEmpty, change.version < stored.version { return nil }
        clock.observe(max(stored.version.time, change.version.time))
        change.version = Version(time: clock.next(wall: wall), writer: writer)
        change.body = merge.body.text
        return change
    }
}
