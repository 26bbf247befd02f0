import IotoBase
import IotoSchema

/// What the device's replicator asks of the database. Every call that changes something is one durable transaction: it is
/// done whole when it returns, and not at all when it throws.
public protocol DeviceStorage: AnyObject {
    /// Random id of this database file, the writer in the versions that it issues.
    var replica: UInt64 { get }

    /// Under which the database takes part, as it was set last.
    func epoch() throws(IotoError) -> Epoch

    /// Keeps it, on the disk before this returns, whatever the database's durability.
    func setEpoch(_ epoch: Epoch) throws(IotoError)

    /// A number that is kept under a name; 0 when there is none.
    func counter(_ name: Text) throws(IotoError) -> UInt64

    func setCounter(_ name: Text, _ bits: UInt64) throws(IotoError)

    /// The outbox's oldest changes behind `position`, with the items' latest states, in order of position: the position of a
    /// model of higher `priority` is lower.
    ///
    /// - Parameters:
    ///   - position: `Int64.min` for the first.
    ///   - held: Of models, by their ordinals, whose changes are passed over, 1; empty: none are.
    ///   - bytesMax: Stop when the bodies exceed this size; the first change is given whatever its size.
    func pendingChanges(after position: Int64, held: [UInt8], bytesMax: Int, itemsMax: Int) throws(IotoError) -> [PendingChange]

    /// Number of changes in the outbox.
    func pendingCount() throws(IotoError) -> Int64

    /// Position of the outbox's first and last change; nil when it is empty.
    func pendingRange() throws(IotoError) -> ClosedRange<Int64>?

    /// Takes over the hub's answer to changes that were sent.
    func settle(_ settlement: Settlement) throws(IotoError)

    /// Takes over the acknowledgement of the only change in the outbox at leisure: from now on it counts as done, on the disk
    /// it is with the next change, or `settleLate`. If the process dies before, the change is in the outbox again.
    ///
    /// - Returns: False when it has to be done by `settle`.
    func settleLater(_ settlement: Settlement) throws(IotoError) -> Bool

    /// Has on the disk what `settleLater` has taken.
    ///
    /// - Returns: False while a transaction of the firmware's is under way, and when it throws too: to be tried again.
    func settleLate() throws(IotoError) -> Bool

    /// How far a stream has been followed; nil when it never was.
    func cursor(of stream: Text) throws(IotoError) -> StreamCursor?

    /// Applies the changes that are newer than what is stored, moves the cursor, and lets the clock observe the versions.
    ///
    /// A change of an item that waits in the outbox is a conflict, unless it is known to come after that (`Change.own`).
    /// By the model's `resolve` the later one wins; or the cloud's, whatever its version; or the device's, whose version
    /// is raised above the cloud's and which goes on waiting.
    ///
    /// - Parameter hubTime: The hub's clock when it sent them.
    /// - Returns: The number of changes that were newer.
    /// - Throws: `.busy` when an item has a pending change whose version is so far ahead of the hub's clock that the hub
    ///   will not take it: which of the two is newer is seen when the hub has answered.
    func apply(_ changes: [Change], cursor: StreamCursor, hubTime: UInt64) throws(IotoError) -> Int

    /// The floor of the snapshot of the stream that has begun here and not come to its end; nil when there is none.
    func snapshotFloor(of stream: Text) throws(IotoError) -> Int64?

    /// How far the stream had been followed when its snapshot began, in the same history; 0: no snapshot has, or in another one.
    func snapshotSeen(of stream: Text) throws(IotoError) -> Int64

    /// The same as `apply` for a part of a snapshot: all that the hub has in a stream, after which what it did not name is
    /// not there. What was named is kept over restarts. A change of this database's own that is newer than what is named, and
    /// that does not wait in the outbox, enters it again: the hub has lost it. With `SnapshotPart.resends` so does one of another's
    /// writing, if its model goes up; of a model that only comes down, the older state is taken.
    ///
    /// With the last part, in the same transaction, each item of the stream goes that was not named, unless a change of it
    /// waits in the outbox or it never was the cloud's; or it is sent again, see `SnapshotPart.resends`.
    func apply(
        _ changes: [Change], part: SnapshotPart, cursor: StreamCursor, hubTime: UInt64
    ) throws(IotoError) -> Int

    /// Applies what a service of version 1 says of an item, under a version of the storage's own making: if nothing of the
    /// item waits in the outbox, or what waits was changed before `updated`; and if it says something new.
    ///
    /// - Returns: Whether the item changed.
    func apply(_ change: UnversionedChange) throws(IotoError) -> Bool

    /// Whether the cloud has told the time of day since the start.
    var isTimeKnown: Bool { get }

    /// Takes the cloud's time of day at this moment, Unix milliseconds.
    func learnTime(_ time: Int64)

    /// The clock's time, or the cloud's where that has shown it to be wrong, Unix milliseconds.
    func timeOfDay() -> Int64
}

extension DeviceStorage {
    public func settleLater(_ settlement: Settlement) throws(IotoError) -> Bool { false }
    public func settleLate() throws(IotoError) -> Bool { true }
}

/// Tells the connections of one database apart, so that the hub sees when there is a second one of it: a copy of the file, or
/// an older state. Each connection has the next number, once the hub has answered under the one before.
public struct Epoch: Sendable, Equatable {
    /// 0: there was no connection yet.
    public var number: Int64
    /// Random: two of the same number are two databases.
    public var nonce: UInt64
    /// The hub has answered under it.
    public var isConfirmed: Bool
    /// The hub has said that another database has gone on as this device.
    public var isFenced: Bool

    public init(number: Int64 = 0, nonce: UInt64 = 0, isConfirmed: Bool = false, isFenced: Bool = false) {
        self.number = number
        self.nonce = nonce
        self.isConfirmed = isConfirmed
        self.isFenced = isFenced
    }
}

/// How a page belongs to the snapshot of its stream.
public struct SnapshotPart: Sendable {
    /// What was named before counts no more.
    public var begins: Bool
    /// With the first part: the feed's floor as the snapshot began. When it has risen since, the snapshot has to begin anew.
    public var floor: Int64
    public var ends: Bool
    /// With the first part: the hub's store is not the one, or not in the state, that was followed before, so items that the hub
    /// does not name are sent again rather than removed, where their models go up.
    public var resends: Bool
    /// With the first part: how far the stream had been followed; 0: that was in another history.
    public var seen: Int64 = 0
    /// All of it was applied before: no change that waits was made without knowledge of it.
    public var isKnown = false
    /// Items that were named but can't be taken, or that the hub has all the same.
    public var passedOver: [ItemKey]

    public init(begins: Bool, ends: Bool, floor: Int64, resends: Bool = false, passedOver: [ItemKey] = []) {
        self.begins = begins
        self.floor = floor
        self.ends = ends
        self.resends = resends
        self.passedOver = passedOver
    }
}

/// What a service of version 1 says of an item: it has no version, and a removal need not name the whole key.
public struct UnversionedChange: Sendable {
    public var model: Model
    /// nil: not said; the item is the one of its model with that sort key, if there is just one.
    public var hash: Text?
    public var sort: Text
    /// The item; nil when it is removed.
    public var body: [UInt8]?
    /// When the service has it changed, Unix milliseconds; nil: now.
    public var updated: Int64?

    public init(model: Model, hash: Text?, sort: Text, body: [UInt8]?, updated: Int64?) {
        self.model = model
        self.hash = hash
        self.sort = sort
        self.body = body
        self.updated = updated
    }
}

/// The hub's answer to a batch, for the outbox.
public struct Settlement: Sendable {
    /// One change that was sent and answered.
    public struct Entry: Sendable {
        public var pending: PendingChange
        public var answer: Answer
    }

    public enum Answer: Sendable {
        /// The hub has it, or something newer. It leaves the outbox, wherever its row is by now, unless the item has
        /// changed since: then the item's row goes to the end of the queue.
        case acknowledged
        /// The same, and it has taken the place of a change that was made without knowledge of it.
        case won(over: Change)
        /// The hub does not take it under a version so far ahead of its clock, or below what it is to win over. If the item is
        /// still at the version that was sent, it takes over this one, and stays in the outbox to be sent under it.
        case again(as: Version)
        /// The hub refuses it: it leaves the outbox for the dead letters, unless the item has changed since.
        case rejected(code: Int32, reason: Text)
        /// The hub keeps what it has, which takes the item's place here, whatever its version, unless the item has changed
        /// since.
        case overruled(by: Change)
    }

    public var entries: [Entry]
    /// The hub's clock when it answered.
    public var hubTime: UInt64
    /// The feed's move past the device's own changes: `cursor` takes the place of a stored cursor at `previous`.
    public var advance: FeedAdvance?

    public init(entries: [Entry], hubTime: UInt64, advance: FeedAdvance? = nil) {
        self.entries = entries
        self.hubTime = hubTime
        self.advance = advance
    }
}
