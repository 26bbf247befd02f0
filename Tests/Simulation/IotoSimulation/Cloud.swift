import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// The cloud's store as `HubRequest` describes it: transactions in memory that nothing takes back.
final class Cloud {
    struct Item {
        var change: Change
        var stream: Text?
        var owner: Text
        /// Of the agent's last changes.
        var marks: [Int64] = []
        /// Of the last change that was stored under a rule.
        var own: UInt64 = 0
    }

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
    private(set) var items: [ItemKey: Item] = [:]
    /// The keys of `items`, in the order in which they came.
    private(set) var keys: [ItemKey] = []
    private var feeds: [Text: [Entry]] = [:]
    private var heads: [Text: Int64] = [:]
    private var broadcastStreams: [Text] = []
    private(set) var devices: [DeviceRecord] = []
    /// Told of the streams of each commit that moved some.
    var onMoved: ([Text]) -> Void = { _ in }
    /// Told of each state that is stored, with what it takes the place of.
    var onStored: (_ change: Change, _ before: Item?, _ device: Text?) -> Void = { _, _, _ in }

    /// Told of each change that is stored under another version than it was sent.
    var onStamped: (_ sent: Version, _ stored: Version) -> Void = { _, _ in }

    init(_ world: World, wall: WallClock) {
        self.world = world
        self.wall = wall
        history = world.random.bits()
    }

    func answer(_ request: HubRequest) -> HubAnswer {
        switch request {
        case .openDevice(let record):
            do throws(IotoError) {
                return .device(try open(record))
            } catch {
                return .failed(error)
            }
        case .apply(let changes, let device): return apply(changes, device)
        case .readFeed(let stream, let position, let bytesMax, let itemsMax):
            return .page(page(stream, after: position, bytesMax: bytesMax, itemsMax: itemsMax))
        case .readFeedSince(let stream, let time, let bytesMax, let itemsMax):
            let last = (feeds[stream] ?? []).last { $0.time < time }
            return .page(page(stream, after: last?.position ?? 0, bytesMax: bytesMax, itemsMax: itemsMax))
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
        var refused: [Version] = []
        var overruled: [OverruledChange] = []
        var stored = 0
        for var entry in changes {
            let key = entry.change.key
            let current = items[key]
            if let current, current.owner != device {
                refused.append(entry.change.version)
                continue
            }
            var marks = current?.marks ?? []
            if let arrival = entry.arrival {
                let ruling = arrival.ruling(entry.change, stored: current?.change, marks: marks)
                marks = arrival.marks(after: entry.change, marks)
                if ruling == .overruled, let current {
                    overruled.append(OverruledChange(version: entry.change.version, winner: current.change))
                    items[key]!.marks = marks
                }
                guard ruling == .store else { continue }
                stamp(&entry.change, above: current)
            }
            if let rule = entry.rule, let current, !isSettled(&entry.change, by: rule, current, &overruled) { continue }
            if let current, entry.change.version <= current.change.version { continue }
            clock.observe(entry.change.version.time)
            replace(current, by: entry.change, stream: entry.stream, owner: device, device: device, &advances)
            items[key]!.marks = marks
            if let rule = entry.rule { items[key]!.own = rule.sent }
            stored += 1
        }
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return .applied(stored: stored, refused: refused, advances: advances, overruled: overruled)
    }

    private func stamp(_ change: inout Change, above current: Item?) {
        if let current { clock.observe(current.change.version.time) }
        change.version = Version(time: clock.next(wall: wall.time), writer: change.version.writer)
    }

    /// Has the schema's rule decide between the change and what is stored.
    ///
    /// - Returns: Whether the change goes on, perhaps under another version.
    private func isSettled(
        _ change: inout Change, by rule: ConflictRule, _ current: Item, _ overruled: inout [OverruledChange]
    ) -> Bool {
        let position = current.stream.flatMap { feeds[$0]?.first { $0.key == current.change.key }?.position }
        let sent = change.version
        switch rule.ruling(change, stored: current.change, position: position, history: history, own: current.own) {
        case .compare: break
        case .known: return false
        case .overruled:
            overruled.append(OverruledChange(version: sent, winner: current.change))
            return false
        case .stamp where sent <= current.change.version:
            stamp(&change, above: current)
            onStamped(sent, change.version)
            overruled.append(OverruledChange(version: sent, winner: change))
        case .stamp: break
        }
        return true
    }

    private func replace(
        _ current: Item?, by change: Change, stream: Text?, owner: Text, device: Text?,
        _ advances: inout [FeedAdvance]
    ) {
        let stream = change.isRemoval && stream != nil ? current?.stream ?? stream : stream
        let owner = change.isRemoval ? current?.owner ?? owner : owner
        if current == nil { keys.append(change.key) }
        items[change.key] = Item(change: change, stream: stream, owner: owner, own: current?.own ?? 0)
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
        replace(
            current, by: change, stream: isRogue ? owner.map { Stream.device($0) } : Stream.of(prepared.body, model: model),
            owner: owner ?? Text(), device: nil, &advances)
        if !advances.isEmpty { onMoved(advances.map { $0.stream }) }
        return change
    }
}
