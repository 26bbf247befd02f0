import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// The cloud's store as `HubRequest` describes it: transactions in memory that nothing takes back, but an older state that is
/// put in its place.
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

    /// All that the store's file holds.
    struct State {
        var history: UInt64
        var writer: UInt64
        var clock = HybridClock()
        var items: [ItemKey: ItemState] = [:]
        /// The keys of `items`, in the order in which they came.
        var keys: [ItemKey] = []
        var feeds: [Text: [Entry]] = [:]
        var heads: [Text: Int64] = [:]
        /// Up to where tombstones are gone.
        var floors: [Text: Int64] = [:]
        /// When items were removed.
        var removals: [ItemKey: Int64] = [:]
        /// See `Arbiter.forgotten`.
        var forgotten: UInt64 = 0
        var broadcastStreams: [Text] = []
        var devices: [DeviceRecord] = []
    }

    private unowned let world: World
    let wall: WallClock
    var state: State
    /// Most entries in a page.
    var pageMax = Int.max
    /// How often an older state has been put in place of the latest: what was asked of that is not done any more.
    var losses = 0
    /// Told of the streams of each commit that moved some.
    var onMoved: ([Text]) -> Void = { _ in }
    /// Told of each state that is stored, with what it takes the place of.
    var onStored: (_ change: Change, _ before: ItemState?, _ device: Text?) -> Void = { _, _, _ in }

    init(_ world: World, wall: WallClock) {
        self.world = world
        self.wall = wall
        state = State(history: world.random.bits(), writer: 0xC10D_C10D_C10D_C10D)
    }

    var items: [ItemKey: ItemState] { state.items }
    var keys: [ItemKey] { state.keys }
    var devices: [DeviceRecord] { state.devices }
    var clock: HybridClock { state.clock }

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
            return .page(page(stream, after: position, bytesMax: bytesMax, itemsMax: itemsMax))
        case .readFeedSince(let stream, let time, let bytesMax, let itemsMax):
            let last = (state.feeds[stream] ?? []).last { $0.time < time }
            return .page(page(stream, after: last?.position ?? 0, bytesMax: bytesMax, itemsMax: itemsMax))
        }
    }

    private func open(_ record: DeviceRecord) throws(IotoError) -> DeviceRecord {
        guard let index = devices.firstIndex(where: { $0.id == record.id }) else {
            state.devices.append(record)
            return record
        }
        state.devices[index] = try devices[index].following(record)
        return devices[index]
    }

    private func apply(_ changes: [StreamedChange], _ device: Text) -> HubAnswer {
        var advances: [FeedAdvance] = []
        var arbiter = Arbiter(device: device, clock: clock, writer: state.writer, history: state.history, wall: wall.time)
        arbiter.forgotten = state.forgotten
        for entry in changes {
            let key = entry.change.key
            let current = items[key]
            let place = current?.stream.flatMap { state.feeds[$0]?.first { $0.key == key } }
            switch arbiter.decide(entry, over: current, position: place?.position) {
            case .pass, .note: break
            case .mark(let marks): state.items[key]!.marks = marks
            case .store(let item):
                state.clock = arbiter.clock
                replace(current, by: item, device: device, &advances)
            }
        }
        state.clock = arbiter.clock
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return arbiter.answer(advances)
    }

    private func replace(
        _ current: ItemState?, by item: ItemState, device: Text?, _ advances: inout [FeedAdvance]
    ) {
        let (change, stream) = (item.change, item.stream)
        if current == nil { state.keys.append(change.key) }
        state.items[change.key] = item
        state.removals[change.key] = change.isRemoval ? world.now : nil
        onStored(change, current, device)
        if let current, let left = current.stream, left != stream {
            if stream != nil {
                append(change.key, change.version, to: left, parted: current.change.body, &advances)
            } else {
                state.feeds[left]?.removeAll { $0.key == change.key }
            }
        }
        if let stream { append(change.key, change.version, to: stream, parted: nil, &advances) }
    }

    private func append(
        _ key: ItemKey, _ version: Version, to stream: Text, parted: [UInt8]?, _ advances: inout [FeedAdvance]
    ) {
        let head = head(of: stream)
        if let index = advances.firstIndex(where: { $0.stream == stream }) {
            advances[index].cursor = head + 1
        } else {
            advances.append(FeedAdvance(stream: stream, history: state.history, previous: head, cursor: head + 1))
        }
        if state.heads[stream] == nil, !stream.hasPrefix("device/") { state.broadcastStreams.append(stream) }
        state.heads[stream] = head + 1
        state.feeds[stream, default: []].removeAll { $0.key == key }
        state.feeds[stream, default: []].append(
            Entry(position: head + 1, key: key, parted: parted, version: version, time: clock.last))
    }

    private func page(_ stream: Text, after position: Int64, bytesMax: Int, itemsMax: Int) -> FeedPage {
        var page = FeedPage(
            stream: stream, history: state.history, previous: position, cursor: position, hasMore: false, entries: [],
            time: clock.last)
        page.floor = state.floors[stream] ?? 0
        page.end = head(of: stream)
        var bytes = 0
        for entry in state.feeds[stream] ?? [] where entry.position > position {
            let item = items[entry.key]!
            var change = item.change
            change.own = item.own
            if let parted = entry.parted {
                change.isRemoval = true
                change.body = parted
                change.version = entry.version
            }
            bytes += change.body.count + 2 * (change.key.hash.count + change.key.sort.count) + 128
            if !page.entries.isEmpty, bytes > bytesMax || page.entries.count >= min(itemsMax, pageMax) {
                page.hasMore = true
                break
            }
            page.entries.append(FeedEntry(position: entry.position, change: change))
        }
        page.cursor = page.hasMore ? page.entries.last!.position : page.end
        return page
    }

    /// Where the feeds end that many devices follow.
    var broadcastFeeds: [StreamCursor] {
        var feeds = state.broadcastStreams.map {
            StreamCursor(stream: $0, history: state.history, position: head(of: $0))
        }
        if !state.broadcastStreams.contains(Stream.all) {
            feeds.append(StreamCursor(stream: Stream.all, history: state.history, position: 0))
        }
        return feeds
    }

    /// Whether a cursor in its stream has passed this version of an item: else it is not the latest.
    func isPassed(_ key: ItemKey, _ version: Version, by cursor: StreamCursor?) -> Bool {
        guard let item = items[key], item.change.version == version, let stream = item.stream else { return true }
        let position = state.feeds[stream]?.first { $0.key == key }?.position ?? 0
        return cursor.map { $0.history == state.history && $0.position >= position } ?? false
    }

    func head(of stream: Text) -> Int64 { state.heads[stream] ?? 0 }

    /// A write of an application in the cloud, which takes the place of whatever there is.
    ///
    /// - Parameter isRogue: Enter the item in its device's feed though its model does not go down, as a cloud with another
    ///   schema does.
    @discardableResult
    func write(_ model: Model, _ properties: JSONObject, isRemoval: Bool, isRogue: Bool = false) -> Change? {
        guard let prepared = try? model.makeItem(properties, context: .init(), now: wall.time) else { return nil }
        let current = items[prepared.key]
        if isRemoval, current == nil || current!.change.isRemoval { return nil }
        if let current { state.clock.observe(current.change.version.time) }
        let version = Version(time: state.clock.next(wall: wall.time), writer: state.writer)
        var change = Change(
            model: model.name, key: prepared.key, version: version, isRemoval: isRemoval,
            body: isRemoval ? JSON.object(model.keyProperties(of: prepared.body)).text : prepared.text)
        if model.mergesFields, !isRemoval {
            let known = current.flatMap { $0.change.isRemoval ? nil : $0.change }
            change.stamps = known?.stamps ?? [:]
            FieldMerge.stamp(
                &change.stamps, from: FieldMerge.object(known?.body ?? []), to: prepared.body, at: version.time)
        }
        let owner = Stream.owner(of: prepared.body)
        var advances: [FeedAdvance] = []
        let stream = isRogue ? owner.map { Stream.device($0) } : Stream.of(prepared.body, model: model)
        replace(
            current, by: ItemState(change, stream: stream, owner: owner ?? Text(), over: current), device: nil, &advances)
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return change
    }
}
