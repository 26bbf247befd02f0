import IotoBase
import IotoSchema

/// A device as the hub knows it, kept in the cloud's store.
public struct DeviceRecord: Sendable, Equatable {
    public var id: Text
    /// Account that the device belongs to, bound when it was first seen; "" when it named none.
    public var account: Text
    /// Id of the device's database; `Version1.replica(of:)` of an agent of version 1.
    public var replica: UInt64
    /// Of an agent of version 1: the last time that it was told it is caught up to, Unix milliseconds; 0: none.
    public var synced: Int64
    /// Number and nonce of the last connection, see `Epoch`; 0: it told none.
    public var epoch: Int64 = 0
    public var nonce: UInt64 = 0
    /// Id of the database before, which can't come as a new one again; 0: there was none.
    public var former: UInt64 = 0

    public init(id: Text, account: Text, replica: UInt64, synced: Int64 = 0) {
        self.id = id
        self.account = account
        self.replica = replica
        self.synced = synced
    }

    /// The device was last heard as an agent of version 1.
    public var isVersion1: Bool { replica == Version1.replica(of: id) }

    /// Whether changes of `next`, as it opened once, are heeded still.
    ///
    /// - Throws: `.fenced` when another database, or another connection of the same one, has followed.
    public func admit(_ next: DeviceRecord) throws(IotoError) {
        guard next.epoch > 0, epoch > 0 else { return }
        #if IOTO_MUTANTS
            if Mutant.isActive(.fenceIgnored) { return }
        #endif
        let goesOn = next.replica == replica && (next.epoch > epoch || next.epoch == epoch && next.nonce == nonce)
        guard goesOn else { throw IotoError(.fenced, "another database has gone on as this device") }
    }

    /// What the store is to have when the device comes again, as `next` says.
    ///
    /// - Throws: `.fenced` when it is a database that another one has followed. A database that was never heard takes over; the
    ///   one before is known, since a message of its first connection may come late. One that is ahead of the store goes on: then
    ///   the store is the one that is an older state.
    public func following(_ next: DeviceRecord) throws(IotoError) -> DeviceRecord {
        let isNew = next.replica != replica
        if !(isNew && next.epoch == 1 && next.replica != former) { try admit(next) }
        var record = self
        record.replica = next.replica
        if isNew { record.former = replica }
        if isNew || next.epoch > 0 { (record.epoch, record.nonce) = (next.epoch, next.nonce) }
        record.synced = max(synced, next.synced)
        if account.isEmpty, !next.account.isEmpty {
            record.account = next.account
            record.synced = 0
        }
        return record
    }
}

/// One entry of a feed: the item's latest state, and who wrote it.
public struct FeedEntry: Sendable, Equatable {
    public var position: Int64
    public var change: Change

    public init(position: Int64, change: Change) {
        self.position = position
        self.change = change
    }
}

/// A stretch of a feed, in order of position.
public struct FeedPage: Sendable, Equatable {
    public var stream: Text
    public var history: UInt64
    /// The position it was asked from.
    public var previous: Int64
    /// The position that it reaches: of the last entry, or of the feed's end when there are no more.
    public var cursor: Int64
    public var hasMore: Bool
    public var entries: [FeedEntry]
    /// Tombstones of entries up to here may be gone: whoever has not come as far has to begin anew.
    public var floor: Int64 = 0
    /// Position of the feed's end when the page was read; 0: not known.
    public var end: Int64 = 0
    /// The store's clock when the page was read: what is committed later has a time as high at least, for
    /// `HubRequest.readFeedSince`.
    public var time: UInt64

    public init(
        stream: Text, history: UInt64, previous: Int64, cursor: Int64, hasMore: Bool, entries: [FeedEntry],
        time: UInt64 = 0
    ) {
        self.time = time
        self.stream = stream
        self.history = history
        self.previous = previous
        self.cursor = cursor
        self.hasMore = hasMore
        self.entries = entries
    }

    /// Ends the page where a device had come before: it knows all of it then, or nothing of it.
    mutating func end(at seen: Int64) {
        guard seen > previous, seen < cursor else { return }
        entries.removeAll { $0.position > seen }
        cursor = seen
        hasMore = true
    }
}

/// Where a feed moved in one transaction: from `previous` to `cursor`, without another writer's entries between.
public struct FeedAdvance: Sendable, Equatable {
    public var stream: Text
    public var history: UInt64
    public var previous: Int64
    public var cursor: Int64
    /// Every entry between is as the device has sent it.
    public var isAsSent = true

    public init(stream: Text, history: UInt64, previous: Int64, cursor: Int64) {
        self.stream = stream
        self.history = history
        self.previous = previous
        self.cursor = cursor
    }

    /// Where a stream stands that stood at `stored`; nil: it does not follow.
    public func applied(to stored: StreamCursor?, of stream: Text) -> StreamCursor? {
        let follows = (stored?.position ?? 0) == previous && (stored?.history ?? history) == history
        #if IOTO_MUTANTS
            if Mutant.isActive(.advanceUnchecked) { return StreamCursor(stream: stream, history: history, position: cursor) }
        #endif
        return follows && stream == self.stream ? StreamCursor(stream: stream, history: history, position: cursor) : nil
    }
}

/// What the hub asks of the cloud's store. Each has a ticket that the answer carries back.
public enum HubRequest: Sendable {
    /// Enter the device when it is new, else what `DeviceRecord.following` makes of it, in one transaction. Answer: `.device` with
    /// the record as stored, whose account is the one first bound; or `.failed` with `.fenced`.
    case openDevice(DeviceRecord)
    /// Store the changes that are newer than what is stored, in one transaction, durably, each with an entry at the end of
    /// the feed `stream` where that is given. A change of an item that the store has as another device's is not stored but
    /// refused: `device` is the writer, and an item's owner is its `deviceId`. `Arbiter` decides. Answer: `.applied`.
    ///
    /// `by`: the device as it was when it opened. If another database has gone on since, nothing is stored, and the answer is
    /// `.failed` with `.fenced`.
    case apply([StreamedChange], device: Text, by: DeviceRecord? = nil)
    /// Read a feed from behind `after`, at least one entry, and at most `itemsMax` entries or `bytesMax` bytes, where an
    /// entry counts with its body, its stamps, twice its key, and 128. Answer: `.page`.
    case readFeed(stream: Text, after: Int64, bytesMax: Int, itemsMax: Int)
    /// The same from before the first entry that was committed when the store's clock stood at `time` or above. The page's
    /// `previous` says where that is.
    case readFeedSince(stream: Text, time: UInt64, bytesMax: Int, itemsMax: Int)
}

/// A change with the stream that it enters; nil when its model does not go down.
public struct StreamedChange: Sendable {
    public var change: Change
    public var stream: Text?
    /// Of an agent of version 1, whose changes have no version: `change.version` has the writer, and as its time a number
    /// that tells the changes of one request apart.
    public var arrival: Arrival?
    /// Of models that go both ways and do not merge fields. The store keeps the time of what it stores with the
    /// item, and gives it as `Change.own` of what it stores later.
    public var rule: ConflictRule?
    /// A version with a later time is stored only if the store's clock has come as far: else the device is given another.
    public var timeMax: UInt64 = .max
    /// The model has `merge: 'fields'`: the store stores what `merged` makes of it, with the stamps, which stand in the
    /// changes of its pages again.
    public var merges = false
    /// The device has had the item from a store of this history. If it is not stored, and the change is not newer than every
    /// tombstone that the store has forgotten, then it was removed: see `Arbiter.forgotten`.
    public var known: (history: UInt64, model: Model)?

    public init(change: Change, stream: Text?, arrival: Arrival? = nil, rule: ConflictRule? = nil) {
        self.rule = rule
        self.change = change
        self.stream = stream
        self.arrival = arrival
    }
}

/// How a change without a version finds its place among those that have one. See `Arrival.ruling`.
public struct Arrival: Sendable, Equatable {
    /// The item's `updated` as the agent stamped it, Unix milliseconds; nil when it says none.
    public var updated: Int64?

    public init(updated: Int64?) {
        self.updated = updated
    }
}

/// A change of a device that met a state which the device did not know.
public struct MetChange: Sendable, Equatable {
    /// The version as it stood in the request.
    public var version: Version
    /// What was stored.
    public var other: Change
    /// The entry in the device's stream that it had, if the device's change has taken its place; nil: that gave way.
    public var taken: Int64?

    public init(version: Version, other: Change, taken: Int64? = nil) {
        self.version = version
        self.other = other
        self.taken = taken
    }
}

/// Another version for a change.
public struct NewVersion: Sendable, Equatable {
    /// As it stood in the request.
    public var version: Version
    public var newVersion: Version

    public init(version: Version, newVersion: Version) {
        self.version = version
        self.newVersion = newVersion
    }
}

/// The store's answer to a request.
public enum HubAnswer: Sendable {
    case device(DeviceRecord)
    /// The feeds that moved, and the versions that were refused as another device's. Every other change that was not stored
    /// was older than, or equal to, what is stored; or it is to come again under the version in `again`. `met` are those of
    /// which the device is to be told what they met.
    case applied(
        stored: Int, refused: [Version], advances: [FeedAdvance], met: [MetChange] = [], again: [NewVersion] = [])
    case page(FeedPage)
    /// The store could not do it; the device will ask again.
    case failed(IotoError)
}
