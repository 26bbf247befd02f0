import IotoBase
import IotoSchema
import IotoSync

/// Where the cloud keeps the items, the feeds and the devices.
///
/// Every call that changes something is one durable transaction: it is done whole when it returns, and not at all when
/// it throws. Whether a state of an item takes the place of another is decided in the store itself, by version, so that
/// several processes may share one.
public protocol CloudStore: Sendable {
    /// Random id of the store: the writer in the versions of local writes.
    var writer: UInt64 { get }

    /// The clock as of the last write.
    func clock() async throws(IotoError) -> HybridClock

    /// Does what the hub asks. A failure is an answer too.
    func answer(_ request: HubRequest) async -> HubAnswer

    /// The same on the calling thread, which may wait for the disk; nil when the store has to be asked by `answer`.
    func answerNow(_ request: HubRequest) -> HubAnswer?

    /// Every device that was ever seen.
    func devices() async throws(IotoError) -> [DeviceRecord]

    /// Where the feeds end that every device, or every device of an account, follows.
    func broadcastFeeds() async throws(IotoError) -> [StreamCursor]

    /// The streams whose feeds get new entries from now on, whoever writes them: this process or another. Bursts are
    /// gathered; a stream may be named again without need.
    func movedStreams() throws(IotoError) -> AsyncStream<[Text]>

    /// The item's state: a tombstone when it was removed, nil when it never was.
    func item(_ key: ItemKey) async throws(IotoError) -> Change?

    /// The item's state, or its tombstone's, with the versions before; nil when it never was.
    func history(of key: ItemKey) async throws(IotoError) -> ItemHistory?

    /// The items of a model in order of their keys, tombstones left out.
    ///
    /// - Parameters:
    ///   - key: The last item of the page before; nil for the first page.
    ///   - limit: Most items to give.
    func items(model: Text, after key: ItemKey?, limit: Int) async throws(IotoError) -> [Change]

    /// Writes an item on the cloud's own account, stamped with the store's clock above the item's version.
    ///
    /// - Returns: The change as stored; nil when the item is not, or no longer, at the version that is expected.
    func write(_ write: LocalWrite) async throws(IotoError) -> Change?

    /// Removes items that have expired, in one transaction: those that are still at the version that is expected. Each removal
    /// has the next version above that, on the store's account, so that it gives way to any other change.
    ///
    /// - Returns: The number of items removed.
    func expire(_ removals: [LocalWrite]) async throws(IotoError) -> Int

    /// Forgets tombstones that were stored before `time`, Unix milliseconds, a bounded number at a time. Devices that have not
    /// come as far in a feed begin it anew. The newest version among them is kept, as `Arbiter.forgotten` of every request from then
    /// on; a store whose tombstones go by themselves after a time gives the time before which all have gone by its clock.
    ///
    /// - Returns: The number forgotten; 0 when there are no more.
    func purgeTombstones(before time: Int64) async throws(IotoError) -> Int

    /// The schema that was saved last: its text and its name in messages.
    func schema() async throws(IotoError) -> SchemaText?

    func save(_ schema: SchemaText) async throws(IotoError)

    /// Waits for the transaction that runs and closes. No call may follow.
    func close() async
}

extension CloudStore {
    public func answerNow(_ request: HubRequest) -> HubAnswer? { nil }

    /// Of a store that keeps no trail.
    public func history(of key: ItemKey) async throws(IotoError) -> ItemHistory? {
        try await item(key).map { ItemHistory(change: $0) }
    }
}

/// What a store knows of an item.
public struct ItemHistory: Sendable {
    public var change: Change
    /// See `Trail`.
    public var trail: [UInt8] = []
    /// Where the item stands in the feed of its stream; nil when it does not go down.
    public var place: StreamCursor?

    public init(change: Change, trail: [UInt8] = []) {
        self.change = change
        self.trail = trail
    }
}

/// A change that a person or an application makes in the cloud.
public struct LocalWrite: Sendable {
    public var model: Text
    public var key: ItemKey
    public var isRemoval: Bool
    /// The item as JSON text; of a removed item the properties that its key is made of.
    public var body: [UInt8]
    /// The stream that the change enters; nil when its model does not go down.
    public var stream: Text?
    /// The device that the item belongs to by its `deviceId`, "" when it is no device's; a removal changes no owner.
    public var owner: Text
    /// The version that the item, or its tombstone, must have; nil when there must be neither.
    public var expected: Version?
    /// The model has `merge: 'fields'`: the store notes which fields change.
    public var merges = false

    public init(
        model: Text, key: ItemKey, isRemoval: Bool = false, body: [UInt8], stream: Text?, owner: Text,
        expected: Version?
    ) {
        self.model = model
        self.key = key
        self.isRemoval = isRemoval
        self.body = body
        self.stream = stream
        self.owner = owner
        self.expected = expected
    }
}

/// A schema as it was read.
public struct SchemaText: Sendable, Equatable {
    /// File name, for messages.
    public var name: Text
    public var source: [UInt8]

    public init(name: Text, source: [UInt8]) {
        self.name = name
        self.source = source
    }
}
