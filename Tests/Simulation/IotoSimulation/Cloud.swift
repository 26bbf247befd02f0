import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// The cloud's store as `HubRequest` describes it: transactions in memory that nothing takes back.
final class Cloud {
    struct Entry {
        var position: Int64
        var key: ItemKey
        /// What those who follow the stream still know of an item that has left it.
        var parted: [UInt8]?
        var version: Version
        /// The clock when it was committed.
        var time: UInt64
    }

    static let writer: UInt64 = 0xC10D_C10D_C10D_C10D

    private unowned let world: World
    let wall: WallClock
    let history: UInt64
    private(set) var clock = HybridClock()
    private(set) var items: [ItemKey: ItemState] = [:]
    /// The keys of `items`, in the order in which they came.
    private(set) var keys: [ItemKey] = []
    private var feeds: [Text: [Entry]] = [:]
    private var heads: [Text: Int64] = [:]
    private var broadcastStreams: [Text] = []
    private(set) var devices: [DeviceRecord] = []
    /// Told of the streams of each commit that moved some.
    var onMoved: ([Text]) -> Void = { _ in }
    /// Told of each state that is stored, with what it takes the place of.
    var onStored: (_ change: Change, _ before: ItemState?, _ device: Text?) -> Void = { _, _, _ in }

    /// Feeds are short here: of some clouds a catch-up takes many pages all the same.
    private let pageItemsMax: Int

    init(_ world: World, wall: WallClock) {
        self.world = world
        self.wall = wall
        history = world.random.bits()
        pageItemsMax = [3, 20, 500][Int(history % 3)]
    }

    func answer(_ request: HubRequest) -> HubAnswer {
        switch request {
        case .openDevice(let record):
            do throws(IotoError) {
                return .device(try open(record))
            } catch {
                return .failed(error)
            }
        case .apply(let changes, let device, let record):
            do throws(IotoError) {
                if let record { try devices.first { $0.id == device }?.admit(record) }
                return apply(changes, device)
            } catch {
                return .failed(error)
            }
        case .readFeed(let stream, let position, let bytesMax, let itemsMax):
            return .page(page(stream, after: position, bytesMax: bytesMax, itemsMax: min(itemsMax, pageItemsMax)))
        case .readFeedSince(let stream, let time, let bytesMax, let itemsMax):
            let last = (feeds[stream] ?? []).last { $0.time < time }
            return .page(
                page(stream, after: last?.position ?? 0, bytesMax: bytesMax, itemsMax: min(itemsMax, pageItemsMax)))
        }
    }

    private func open(_ record: DeviceRecord) throws(IotoError) -> DeviceRecord {
        guard let index = devices.firstIndex(where: { $0.id == record.id }) else {
            devices.append(record)
            return record
        }
        devices[index] = try devices[index].following(record)
        return devices[index]
    }

    private func apply(_ changes: [StreamedChange], _ device: Text) -> HubAnswer {
        var advances: [FeedAdvance] = []
        var arbiter = Arbiter(device: device, clock: clock, writer: Cloud.writer, history: history, wall: wall.time)
        for entry in changes {
            let key = entry.change.key
            let current = items[key]
            let place = current?.stream.flatMap { feeds[$0]?.first { $0.key == key } }
            switch arbiter.decide(entry, over: current, position: place?.position) {
            case .pass, .note: break
            case .mark(let marks): items[key]!.marks = marks
            case .store(let item):
                clock = arbiter.clock
                replace(current, by: item, device: device, &advances)
            }
        }
        clock = arbiter.clock
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return arbiter.answer(advances)
    }

    private func replace(
        _ current: ItemState?, by item: ItemState, device: Text?, _ advances: inout [FeedAdvance]
    ) {
        let (change, stream) = (item.change, item.stream)
        if current == nil { keys.append(change.key) }
        items[change.key] = item
        onStored(change, current, device)
        if let current, let left = current.stream, left != stream {
            if stream != nil {
                append(change.key, change.version, to: left, parted: current.change.body, &advances)
            } else {
                feeds[left]?.removeAll { $0.key == change.key }
            }
        }
        if let stream { append(change.key, change.version, to: stream, parted: nil, &advances) }
    }

    private func append(
        _ key: ItemKey, _ version: Version, to stream: Text, parted: [UInt8]?, _ advances: inout [FeedAdvance]
    ) {
        let head = heads[stream] ?? 0
        if let index = advances.firstIndex(where: { $0.stream == stream }) {
            advances[index].cursor = head + 1
        } else {
            advances.append(FeedAdvance(stream: stream, history: history, previous: head, cursor: head + 1))
        }
        if heads[stream] == nil, !stream.hasPrefix("device/") { broadcastStreams.append(stream) }
        heads[stream] = head + 1
        feeds[stream, default: []].removeAll { $0.key == key }
        feeds[stream, default: []].append(
            Entry(position: head + 1, key: key, parted: parted, version: version, time: clock.last))
    }

    private func page(_ stream: Text, after position: Int64, bytesMax: Int, itemsMax: Int) -> FeedPage {
        var page = FeedPage(
            stream: stream, history: history, previous: position, cursor: position, hasMore: false, entries: [],
            time: clock.last)
        var bytes = 0
        for entry in feeds[stream] ?? [] where entry.position > position {
            let item = items[entry.key]!
            var change = item.change
            // A change under a rule says nothing of the device's others.
            if change.version.writer == Cloud.writer { change.own = item.own }
            if let parted = entry.parted {
                change.isRemoval = true
                change.body = parted
                change.version = entry.version
            }
            bytes += change.body.count + 2 * (change.key.hash.count + change.key.sort.count) + 128
            if !page.entries.isEmpty, bytes > bytesMax || page.entries.count >= itemsMax {
                page.hasMore = true
                break
            }
            page.entries.append(FeedEntry(position: entry.position, change: change))
        }
        page.cursor = page.hasMore ? page.entries.last!.position : heads[stream] ?? 0
        return page
    }

    /// Where the feeds end that many devices follow.
    var broadcastFeeds: [StreamCursor] {
        var feeds = broadcastStreams.map { StreamCursor(stream: $0, history: history, position: heads[$0]!) }
        if !broadcastStreams.contains(Stream.all) {
            feeds.append(StreamCursor(stream: Stream.all, history: history, position: 0))
        }
        return feeds
    }

    func head(of stream: Text) -> Int64 { heads[stream] ?? 0 }

    /// A write of an application in the cloud, which takes the place of whatever there is.
    ///
    /// - Parameter isRogue: Enter the item in its device's feed though its model does not go down, as a cloud with another
    ///   schema does.
    @discardableResult
    func write(_ model: Model, _ properties: JSONObject, isRemoval: Bool, isRogue: Bool = false) -> Change? {
        guard let prepared = try? model.makeItem(properties, context: .init(), now: wall.time) else { return nil }
        let current = items[prepared.key]
        if isRemoval, current == nil || current!.change.isRemoval { return nil }
        if let current { clock.observe(current.change.version.time) }
        let version = Version(time: clock.next(wall: wall.time), writer: Cloud.writer)
        let change = Change(
            model: model.name, key: prepared.key, version: version, isRemoval: isRemoval,
            body: isRemoval ? JSON.object(model.keyProperties(of: prepared.body)).text : prepared.text)
        let owner = Stream.owner(of: prepared.body)
        var advances: [FeedAdvance] = []
        let stream = isRogue ? owner.map { Stream.device($0) } : Stream.of(prepared.body, model: model)
        replace(
            current, by: ItemState(change, stream: stream, owner: owner ?? Text(), over: current), device: nil, &advances)
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return change
    }
}
