import IotoBase
import IotoJSON
import IotoSchema

@testable import IotoSync

/// The cloud's store as the hub's requests describe it, in memory.
final class MemoryHubStore {
    struct Row {
        var change: Change
        var owner: Text?
        var marks: [Int64] = []
        var own: UInt64 = 0
    }

    var schema = TestSchema.schema
    var history: UInt64 = 0xAAAA
    var devices: [Text: DeviceRecord] = [:]
    var rows: [ItemKey: Row] = [:]
    var feeds: [Text: [FeedEntry]] = [:]
    var heads: [Text: Int64] = [:]
    var floors: [Text: Int64] = [:]
    /// Changes stored, each time one is.
    var stored: [Change] = []
    var wall: Int64 = 1_700_000_100_000
    /// The clock's time when a change was committed.
    private var times: [Version: UInt64] = [:]
    /// What the next request gets for an answer, once.
    var failure: IotoError?
    private var clock = HybridClock()
    private let writer: UInt64 = 0xC10D

    func answer(_ request: HubRequest) -> HubAnswer {
        if let failure {
            self.failure = nil
            return .failed(failure)
        }
        switch request {
        case .openDevice(let record):
            var known = devices[record.id] ?? record
            known.replica = record.replica
            known.synced = max(known.synced, record.synced)
            if known.account.isEmpty, !record.account.isEmpty {
                known.account = record.account
                known.synced = 0
            }
            devices[record.id] = known
            return .device(known)
        case .apply(let changes, let device):
            return apply(changes, device)
        case .readFeed(let stream, let position, _, let itemsMax):
            return .page(page(stream, after: position, itemsMax: itemsMax))
        case .readFeedSince(let stream, let time, _, let itemsMax):
            let last = (feeds[stream] ?? []).last { times[$0.change.version] ?? 0 < time }
            return .page(page(stream, after: last?.position ?? 0, itemsMax: itemsMax))
        }
    }

    private func apply(_ changes: [StreamedChange], _ device: Text?) -> HubAnswer {
        var advances: [Text: FeedAdvance] = [:]
        var refused: [Version] = []
        var overruled: [OverruledChange] = []
        var count = 0
        for entry in changes {
            var change = entry.change
            let row = rows[change.key]
            if let device, let owner = row?.owner, owner != device {
                refused.append(change.version)
                continue
            }
            var marks = row?.marks ?? []
            if let arrival = entry.arrival {
                let ruling = arrival.ruling(change, stored: row?.change, marks: marks)
                marks = arrival.marks(after: change, marks)
                rows[change.key]?.marks = marks
                if ruling == .overruled, let winner = row?.change {
                    overruled.append(OverruledChange(version: change.version, winner: winner))
                }
                guard ruling == .store else { continue }
                if let row { clock.observe(row.change.version.time) }
                change.version = Version(time: clock.next(wall: wall), writer: change.version.writer)
            }
            if let rule = entry.rule, let row {
                let position = entry.stream.flatMap { feeds[$0]?.first { $0.change.key == change.key }?.position }
                let sent = change.version
                switch rule.ruling(change, stored: row.change, position: position, history: history, own: row.own) {
                case .compare: break
                case .known: continue
                case .overruled:
                    overruled.append(OverruledChange(version: sent, winner: row.change))
                    continue
                case .stamp:
                    if sent <= row.change.version {
                        clock.observe(row.change.version.time)
                        change.version = Version(time: clock.next(wall: wall), writer: sent.writer)
                        overruled.append(OverruledChange(version: sent, winner: change))
                    }
                }
            }
            if entry.merges {
                var entry = entry
                entry.change = change
                guard let merged = entry.merged(over: row?.change, clock: &clock, wall: wall, writer: writer) else { continue }
                change = merged
            }
            guard change.version > row?.change.version ?? .zero else { continue }
            clock.observe(change.version.time)
            times[change.version] = clock.last
            let body = (try? JSON.parse(change.body))?.objectValue ?? [:]
            let own = entry.rule?.sent ?? row?.own ?? 0
            if entry.rule == nil { change.own = own }
            rows[change.key] = Row(change: change, owner: Stream.owner(of: body), marks: marks, own: own)
            stored.append(change)
            count += 1
            guard let stream = entry.stream else { continue }
            let previous = heads[stream] ?? 0
            heads[stream] = previous + 1
            feeds[stream, default: []].removeAll { $0.change.key == change.key }
            feeds[stream, default: []].append(FeedEntry(position: previous + 1, change: change))
            advances[stream] = FeedAdvance(
                stream: stream, history: history, previous: advances[stream]?.previous ?? previous,
                cursor: previous + 1)
        }
        return .applied(stored: count, refused: refused, advances: Array(advances.values), overruled: overruled)
    }

    private func page(_ stream: Text, after position: Int64, itemsMax: Int) -> FeedPage {
        let rest = (feeds[stream] ?? []).filter { $0.position > position }
        let entries = Array(rest.prefix(itemsMax))
        let hasMore = entries.count < rest.count
        var page = FeedPage(
            stream: stream, history: history, previous: position,
            cursor: hasMore ? entries.last?.position ?? position : heads[stream] ?? 0, hasMore: hasMore,
            entries: entries, time: clock.last)
        page.floor = floors[stream] ?? 0
        return page
    }

    /// A store that is made anew.
    func forgetAll(history: UInt64) {
        self.history = history
        (rows, feeds, heads, floors) = ([:], [:], [:], [:])
    }

    /// Forgets every tombstone.
    func purge() {
        for (key, row) in rows where row.change.isRemoval {
            for stream in feeds.keys {
                for entry in feeds[stream] ?? [] where entry.change.key == key {
                    floors[stream] = max(floors[stream] ?? 0, entry.position)
                }
                feeds[stream]?.removeAll { $0.change.key == key }
            }
            rows[key] = nil
        }
    }

    // MARK: A cloud application

    /// Writes an item as a cloud application does. Returns the streams that moved.
    func put(_ model: Text, _ id: Text, device: Text? = "d1", value: Text, isRemoval: Bool = false) throws -> [Text] {
        var item: JSONObject = ["id": .string(id), "value": .string(value)]
        if let device { item["deviceId"] = .string(device) }
        return try put(model, item, isRemoval: isRemoval)
    }

    func put(_ name: Text, _ item: JSONObject, isRemoval: Bool = false) throws -> [Text] {
        guard let model = schema.model(name) else { throw IotoError(.model, name) }
        let prepared = try model.makeReplica(item, context: Context())
        var change = Change(
            model: model.name, key: prepared.key, version: Version(time: clock.next(wall: wall), writer: writer),
            isRemoval: isRemoval, body: prepared.text)
        if model.mergesFields, !isRemoval, let known = rows[prepared.key]?.change {
            change.stamps = known.stamps
            FieldMerge.stamp(
                &change.stamps, from: FieldMerge.object(known.body), to: prepared.body, at: change.version.time)
        }
        let stream = Stream.of(prepared.body, model: model)
        _ = apply([StreamedChange(change: change, stream: stream)], nil)
        return stream.map { [$0] } ?? []
    }

    func value(_ model: Text, _ id: Text) -> Text? {
        for row in rows.values where row.change.model == model && !row.change.isRemoval {
            let body = try? JSON.parse(row.change.body)
            if body?["id"]?.stringValue == id { return body?["value"]?.stringValue }
        }
        return nil
    }
}
