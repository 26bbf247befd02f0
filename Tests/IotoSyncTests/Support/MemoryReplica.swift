import IotoBase
import IotoJSON
import IotoSchema

@testable import IotoSync

/// The device's storage as its protocol describes it, in memory: what the SQLite store has to do, in a few lines.
final class MemoryReplica: DeviceStorage {
    struct Row {
        var change: Change
        var position: Int64?
    }

    var replica: UInt64
    /// As kept on the disk.
    var keptEpoch = Epoch()
    private var clock = HybridClock()
    var wall: Int64 = 1_700_000_000_000
    /// The machine's clocks, for the time of day.
    var clocks = { Instant(monotonic: 1_000, wall: 1_700_000_000_000) }
    private var cloudOffset: Int64 = 0
    var isTimeKnown = true {
        didSet { if !isTimeKnown { cloudOffset = 0 } }
    }
    var rows: [ItemKey: Row] = [:]
    var cursors: [Text: StreamCursor] = [:]
    var rejected: [(change: Change, code: Int32, reason: Text)] = []
    var applied: [Change] = []
    /// Calls of `settle` that were not in vain.
    private(set) var settlements = 0
    var conflicts: [(winner: Change, loser: Change)] = []
    var schema = TestSchema.schema
    /// What the next changing call throws, once.
    var failure: IotoError?
    /// Every changing call throws it.
    var fault: IotoError?

    init(replica: UInt64) {
        self.replica = replica
    }

    func timeOfDay() -> Int64 { cloudOffset == 0 ? clocks().wall : clocks().monotonic + cloudOffset }

    func learnTime(_ time: Int64) {
        cloudOffset = time - clocks().monotonic
        isTimeKnown = true
    }

    // MARK: The application's side

    @discardableResult
    func put(_ model: Text, _ id: Text, device: Text = "d1", value: Text) throws(IotoError) -> Version {
        let item = try TestSchema.model(model).makeReplica(
            ["id": .string(id), "deviceId": .string(device), "value": .string(value)], context: Context())
        return write(model, item.key, body: item.text, isRemoval: false)
    }

    func remove(_ model: Text, _ id: Text, device: Text = "d1") throws(IotoError) {
        let item = try TestSchema.model(model).makeReplica(
            ["id": .string(id), "deviceId": .string(device)], context: Context())
        _ = write(model, item.key, body: item.text, isRemoval: true)
    }

    private func write(_ model: Text, _ key: ItemKey, body: [UInt8], isRemoval: Bool) -> Version {
        let version = Version(time: clock.next(wall: wall), writer: replica)
        let isSynced = TestSchema.model(model).syncsUp
        let position = isSynced ? rows[key]?.position ?? Int64(version.time) : nil
        rows[key] = Row(
            change: Change(model: model, key: key, version: version, isRemoval: isRemoval, body: body),
            position: position)
        return version
    }

    /// Value of the item with that id; nil when there is none.
    func value(_ model: Text, _ id: Text) -> Text? {
        for row in rows.values where row.change.model == model && !row.change.isRemoval {
            let body = try? JSON.parse(row.change.body)
            if body?["id"]?.stringValue == id { return body?["value"]?.stringValue }
        }
        return nil
    }

    // MARK: DeviceStorage

    func epoch() -> Epoch { keptEpoch }

    func setEpoch(_ epoch: Epoch) throws(IotoError) {
        try failIfTold()
        keptEpoch = epoch
    }

    private var pending: [PendingChange] {
        rows.values.compactMap { row in row.position.map { PendingChange(position: $0, change: row.change) } }
            .sorted { $0.position < $1.position }
    }

    var counters: [Text: UInt64] = [:]

    func counter(_ name: Text) -> UInt64 { counters[name] ?? 0 }

    func setCounter(_ name: Text, _ bits: UInt64) throws(IotoError) {
        try failIfTold()
        counters[name] = bits
    }

    func pendingChanges(
        after position: Int64, held: [UInt8] = [], bytesMax: Int, itemsMax: Int
    ) throws(IotoError) -> [PendingChange] {
        var bytes = 0
        var result: [PendingChange] = []
        for entry in pending where entry.position > position && result.count < itemsMax {
            if let model = schema.model(entry.change.model), held.count > model.ordinal, held[model.ordinal] == 1 { continue }
            bytes += entry.change.body.count
            if bytes > bytesMax && !result.isEmpty { break }
            result.append(entry)
        }
        return result
    }

    func pendingCount() -> Int64 { Int64(pending.count) }

    func pendingRange() -> ClosedRange<Int64>? {
        guard let first = pending.first, let last = pending.last else { return nil }
        return first.position...last.position
    }

    func settle(_ settlement: Settlement) throws(IotoError) {
        try failIfTold()
        settlements += 1
        for entry in settlement.entries {
            let key = entry.pending.change.key
            guard let row = rows[key], let position = row.position else { continue }
            guard row.change.version == entry.pending.change.version else {
                if position == entry.pending.position { rows[key]?.position = Int64(clock.next(wall: wall)) }
                continue
            }
            if case .again(let version) = entry.answer {
                rows[key]?.change.version = version
                continue
            }
            rows[key]?.position = nil
            switch entry.answer {
            case .acknowledged, .again: break
            case .won(let loser): conflicts.append((winner: entry.pending.change, loser: loser))
            case .rejected(let code, let reason): rejected.append((row.change, code, reason))
            case .overruled(let winner):
                conflicts.append((winner: winner, loser: row.change))
                rows[key] = Row(change: winner, position: nil)
            }
        }
        clock.observe(settlement.hubTime)
        if let advance = settlement.advance, (cursors[advance.stream]?.position ?? 0) == advance.previous {
            cursors[advance.stream] = StreamCursor(
                stream: advance.stream, history: advance.history, position: advance.cursor)
        }
    }

    func cursor(of stream: Text) -> StreamCursor? { cursors[stream] }

    func apply(_ changes: [Change], cursor: StreamCursor, hubTime: UInt64) throws(IotoError) -> Int {
        try failIfTold()
        for change in changes {
            if let row = rows[change.key], row.position != nil, row.change.version >= change.version,
                row.change.version.time > hubTime + UInt64(Limits.clockDriftMax / 2) << 16
            { throw IotoError(.busy, "a pending change awaits the cloud's time") }
        }
        var count = 0
        for change in changes {
            let row = rows[change.key]
            if let row, row.position != nil, row.change.version != change.version, change.version.writer != replica,
                change.own == 0 || change.own < row.change.version.time {
                clock.observe(change.version.time)
                let resolve = schema.model(change.model)?.process.resolve ?? .latest
                let isMine = row.change.version > change.version
                if resolve == .device || isMine && resolve != .cloud {
                    conflicts.append((winner: row.change, loser: change))
                    if !isMine { rows[change.key]?.change.version = Version(time: clock.next(wall: wall), writer: replica) }
                    continue
                }
                conflicts.append((winner: change, loser: row.change))
            } else if change.version <= row?.change.version ?? .zero {
                continue
            }
            rows[change.key] = Row(change: change, position: nil)
            applied.append(change)
            clock.observe(change.version.time)
            count += 1
        }
        cursors[cursor.stream] = cursor
        clock.observe(hubTime)
        return count
    }

    /// What a snapshot has named so far, by stream.
    var snapshots: [Text: (floor: Int64, named: Set<ItemKey>, resends: Bool, seen: Int64)] = [:]

    func snapshotFloor(of stream: Text) -> Int64? { snapshots[stream]?.floor }
    func snapshotSeen(of stream: Text) -> Int64 { snapshots[stream]?.seen ?? 0 }

    func apply(
        _ changes: [Change], part: SnapshotPart, cursor: StreamCursor, hubTime: UInt64
    ) throws(IotoError) -> Int {
        try failIfTold()
        let stream = cursor.stream
        if part.begins {
            let former = snapshots[stream]
            snapshots[stream] = (
                part.floor, [], part.resends || former?.resends ?? false, part.resends ? 0 : max(part.seen, former?.seen ?? 0)
            )
        }
        for change in changes {
            snapshots[stream]?.named.insert(change.key)
            guard let row = rows[change.key], row.change.version > change.version, row.position == nil,
                row.change.version.writer == replica
            else { continue }
            rows[change.key]?.position = Int64(clock.next(wall: wall))
        }
        for key in part.passedOver { snapshots[stream]?.named.insert(key) }
        let count = try apply(changes, cursor: cursor, hubTime: hubTime)
        guard part.ends, let (_, named, resends, _) = snapshots.removeValue(forKey: stream) else { return count }
        for (key, row) in rows where !row.change.isRemoval && row.position == nil && !named.contains(key) {
            let model = TestSchema.model(row.change.model)
            let body = (try? JSON.parse(row.change.body))?.objectValue ?? [:]
            guard model.existsOnDevice, Stream.of(body, model: model) == stream else { continue }
            if resends, model.syncsUp, row.change.version.writer == replica {
                rows[key]?.position = Int64(clock.next(wall: wall))
            } else {
                rows[key] = nil
            }
        }
        return count
    }

    func apply(_ change: UnversionedChange) throws(IotoError) -> Bool {
        try failIfTold()
        let found = rows.keys.filter { key in
            key.sort == change.sort && rows[key]?.change.model == change.model.name
                && (change.hash == nil ? rows[key]?.change.isRemoval == false : key.hash == change.hash)
        }
        guard found.count <= 1 else { return false }
        let key = found.first ?? ItemKey(hash: change.hash ?? "", sort: change.sort)
        let row = rows[key]
        guard change.body != nil || row?.change.isRemoval == false else { return false }
        if let row, row.position != nil {
            guard let updated = change.updated, updated >= row.change.version.milliseconds else { return false }
        }
        guard row == nil || row?.change.isRemoval == true || row?.change.body != change.body else { return false }
        let stored = Change(
            model: change.model.name, key: key, version: Version(time: clock.next(wall: wall), writer: Version1.service),
            isRemoval: change.body == nil, body: change.body ?? row?.change.body ?? [])
        rows[key] = Row(change: stored, position: nil)
        applied.append(stored)
        return true
    }

    private func failIfTold() throws(IotoError) {
        if let fault { throw fault }
        if let failure {
            self.failure = nil
            throw failure
        }
    }
}
