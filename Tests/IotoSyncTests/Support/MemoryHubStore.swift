import IotoBase
import IotoJSON
import IotoSchema

@testable import IotoSync

/// The cloud's store as the hub's requests describe it, in memory.
final class MemoryHubStore {
    struct Row {
        var change: Change
        var owner: Text?
    }

    var history: UInt64 = 0xAAAA
    var devices: [Text: DeviceRecord] = [:]
    var rows: [ItemKey: Row] = [:]
    var feeds: [Text: [FeedEntry]] = [:]
    var heads: [Text: Int64] = [:]
    /// Changes stored, each time one is.
    var stored: [Change] = []
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
            devices[record.id] = known
            return .device(known)
        case .apply(let changes, let device):
            return apply(changes, device)
        case .readFeed(let stream, let position, _, let itemsMax):
            return .page(page(stream, after: position, itemsMax: itemsMax))
        }
    }

    private func apply(_ changes: [StreamedChange], _ device: Text?) -> HubAnswer {
        var advances: [Text: FeedAdvance] = [:]
        var refused: [Version] = []
        var count = 0
        for entry in changes {
            let change = entry.change
            let row = rows[change.key]
            if let device, let owner = row?.owner, owner != device {
                refused.append(change.version)
                continue
            }
            guard change.version > row?.change.version ?? .zero else { continue }
            let body = (try? JSON.parse(change.body))?.objectValue ?? [:]
            rows[change.key] = Row(change: change, owner: Stream.owner(of: body))
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
        return .applied(stored: count, refused: refused, advances: Array(advances.values))
    }

    private func page(_ stream: Text, after position: Int64, itemsMax: Int) -> FeedPage {
        let rest = (feeds[stream] ?? []).filter { $0.position > position }
        let entries = Array(rest.prefix(itemsMax))
        let hasMore = entries.count < rest.count
        return FeedPage(
            stream: stream, history: history, previous: position,
            cursor: hasMore ? entries.last?.position ?? position : heads[stream] ?? 0, hasMore: hasMore,
            entries: entries)
    }

    // MARK: A cloud application

    /// Writes an item as a cloud application does. Returns the streams that moved.
    func put(_ model: Text, _ id: Text, device: Text? = "d1", value: Text, isRemoval: Bool = false) throws -> [Text] {
        var item: JSONObject = ["id": .string(id), "value": .string(value)]
        if let device { item["deviceId"] = .string(device) }
        let model = TestSchema.model(model)
        let prepared = try model.makeReplica(item, context: Context())
        let change = Change(
            model: model.name, key: prepared.key, version: Version(time: clock.next(wall: 1_700_000_100_000), writer: writer),
            isRemoval: isRemoval, body: prepared.text)
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
