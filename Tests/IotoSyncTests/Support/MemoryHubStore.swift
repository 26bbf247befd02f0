import IotoBase
import IotoJSON
import IotoSchema

@testable import IotoSync

/// The cloud's store as the hub's requests describe it, in memory.
final class MemoryHubStore {
    var schema = TestSchema.schema
    var history: UInt64 = 0xAAAA
    var devices: [Text: DeviceRecord] = [:]
    var rows: [ItemKey: ItemState] = [:]
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
    /// Time of the newest tombstone that is forgotten.
    var forgotten: UInt64 = 0
    private var clock = HybridClock()
    private let writer: UInt64 = 0xC10D

    func answer(_ request: HubRequest) -> HubAnswer {
        if let failure {
            self.failure = nil
            return .failed(failure)
        }
        switch request {
        case .openDevice(let record):
            do throws(IotoError) {
                let known = try devices[record.id]?.following(record) ?? record
                devices[record.id] = known
                return .device(known)
            } catch {
                return .failed(error)
            }
        case .apply(let changes, let device, let record):
            do throws(IotoError) {
                if let record { try devices[device]?.admit(record) }
            } catch {
                return .failed(error)
            }
            return apply(changes, device)
        case .readFeed(let stream, let position, _, let itemsMax):
            return .page(page(stream, after: position, itemsMax: itemsMax))
        case .readFeedSince(let stream, let time, _, let itemsMax):
            let last = (feeds[stream] ?? []).last { times[$0.change.version] ?? 0 < time }
            return .page(page(stream, after: last?.position ?? 0, itemsMax: itemsMax))
        }
    }

    private func apply(_ changes: [StreamedChange], _ device: Text) -> HubAnswer {
        var advances: [Text: FeedAdvance] = [:]
        var arbiter = Arbiter(device: device, clock: clock, writer: writer, history: history, wall: wall)
        arbiter.forgotten = forgotten
        for entry in changes {
            let key = entry.change.key
            let current = rows[key]
            let place = current?.stream.flatMap { feeds[$0]?.first { $0.change.key == key } }
            switch arbiter.decide(entry, over: current, position: place?.position) {
            case .pass, .note: break
            case .mark(let marks): rows[key]?.marks = marks
            case .store(var item):
                if entry.rule == nil { item.change.own = item.own }
                clock = arbiter.clock
                replace(by: item, &advances)
            }
        }
        clock = arbiter.clock
        return arbiter.answer(Array(advances.values))
    }

    private func replace(by item: ItemState, _ advances: inout [Text: FeedAdvance]) {
        let change = item.change
        times[change.version] = clock.last
        rows[change.key] = item
        stored.append(change)
        guard let stream = item.stream else { return }
        let previous = heads[stream] ?? 0
        heads[stream] = previous + 1
        feeds[stream, default: []].removeAll { $0.change.key == change.key }
        feeds[stream, default: []].append(FeedEntry(position: previous + 1, change: change))
        advances[stream] = FeedAdvance(
            stream: stream, history: history, previous: advances[stream]?.previous ?? previous, cursor: previous + 1)
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
        page.end = heads[stream] ?? 0
        return page
    }

    /// A store that is made anew.
    func forgetAll(history: UInt64) {
        self.history = history
        (rows, feeds, heads, floors, forgotten) = ([:], [:], [:], [:], 0)
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
            forgotten = max(forgotten, row.change.version.time)
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
        var advances: [Text: FeedAdvance] = [:]
        var item = ItemState(
            change, stream: stream, owner: Stream.owner(of: prepared.body) ?? Text(), over: rows[prepared.key])
        item.change.own = item.own
        replace(by: item, &advances)
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
