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
        // A peer may have chosen many names: none is searched for among all others.
        let (mine, other, times) = (JSONIndex(mine), JSONIndex(theirs), JSONIndex(theirStamps))
        for (name, stamp) in stamps {
            guard let time = stamp.stringValue else { continue }
            if let theirTime = times.value(name)?.stringValue, theirTime >= time {
                if theirTime != time, mine.value(name) != other.value(name) { hasLost = true }
            } else {
                won.append(name, stamp)
            }
        }
        var fields = JSONObject()
        for (name, _) in won { if let value = mine.value(name) { fields.append(name, value) } }
        body = FieldMerge.join(theirs, without: won, and: fields)
    }

    /// The members of one object, without those that another has, and those of a third one.
    static func join(_ object: JSONObject, without others: JSONObject, and new: JSONObject) -> JSONObject {
        if others.isEmpty { return object }
        let index = JSONIndex(others)
        var joined = JSONObject()
        for (name, value) in object where index.value(name) == nil { joined.append(name, value) }
        for (name, value) in new { joined.append(name, value) }
        return joined
    }

    /// Most properties of an item, and most stamps with it: those of fields that it has, and of fields that it had.
    public static var propertiesMax: Int { Limits.fieldsMax }
    static var stampsMax: Int { 4 * Limits.fieldsMax }

    /// Stamps the fields that differ.
    public static func stamp(
        _ stamps: inout JSONObject, from old: JSONObject, to new: JSONObject, at time: UInt64
    ) {
        let stamp = JSON.string(.hexadecimal(time))
        let (before, after) = (JSONIndex(old), JSONIndex(new))
        var changed = JSONObject()
        for (name, value) in new where before.value(name) != value { changed.append(name, stamp) }
        for (name, _) in old where after.value(name) == nil { changed.append(name, stamp) }
        stamps = join(stamps, without: changed, and: changed)
    }

    /// Stamps of fields that the item does not have, in bytes, beyond which the oldest are forgotten: an earlier change of these
    /// then takes the place of their removal.
    private static let removedBytesMax = 32 * 1024

    /// Stamps as they are kept with an item.
    public static func bounded(_ stamps: JSONObject, of body: JSONObject) -> JSONObject {
        let index = JSONIndex(body)
        var kept = JSONObject()
        var removed: [JSONObject.Element] = []
        var bytes = 0
        for entry in stamps {
            if index.value(entry.key) != nil {
                kept.append(entry.key, entry.value)
            } else {
                bytes += entry.key.count + 24
                removed.append(entry)
            }
        }
        guard bytes > removedBytesMax else { return stamps }
        removed.sort { ($0.value.stringValue ?? "") < ($1.value.stringValue ?? "") }
        for entry in removed {
            if bytes <= removedBytesMax { kept.append(entry.key, entry.value) }
            bytes -= entry.key.count + 24
        }
        return kept
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
            guard let time = stamp.stringValue.flatMap({ $0.hexadecimal }) else { continue }
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
            change.stamps = change.isRemoval ? JSONObject() : FieldMerge.bounded(change.stamps, of: FieldMerge.object(change.body))
            return change
        }
        guard change.version != stored.version else { return nil }
        let (mine, theirs) = (FieldMerge.object(change.body), FieldMerge.object(stored.body))
        #if IOTO_MUTANTS
            if Mutant.isActive(.wholeItemWins) { change.stamps = [:] }
        #endif
        let merge = FieldMerge(mine, change.stamps, over: theirs, stored.stamps)
        let joined = merge.body.text
        if change.stamps.isEmpty || merge.body.count > FieldMerge.propertiesMax || joined.count > Limits.itemBytesMax {
            // Of a device that does not tell its fields, and where both together would be no item, the whole item counts.
            guard change.version > stored.version else { return nil }
            change.stamps = stored.stamps
            FieldMerge.stamp(&change.stamps, from: theirs, to: mine, at: change.version.time)
            change.stamps = FieldMerge.bounded(change.stamps, of: mine)
            return change
        }
        change.stamps = FieldMerge.join(stored.stamps, without: merge.won, and: merge.won)
        change.stamps = FieldMerge.bounded(change.stamps, of: merge.body)
        if merge.body == mine, change.version > stored.version { return change }
        if merge.won.isEmpty, change.version < stored.version { return nil }
        clock.observe(max(stored.version.time, change.version.time))
        change.version = Version(time: clock.next(wall: wall), writer: writer)
        change.body = joined
        return change
    }
}
