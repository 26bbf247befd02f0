import IotoBase

/// What the device's replicator asks of the database. Every call that changes something is one durable transaction: it is
/// done whole when it returns, and not at all when it throws.
public protocol DeviceStorage: AnyObject {
    /// Random id of this database file, the writer in the versions that it issues.
    var replica: UInt64 { get }

    /// The outbox's oldest changes behind `position`, with the items' latest states, in order of position.
    ///
    /// - Parameters:
    ///   - position: 0 for the first.
    ///   - bytesMax: Stop when the bodies exceed this size; the first change is given whatever its size.
    func pendingChanges(after position: Int64, bytesMax: Int, itemsMax: Int) throws(IotoError) -> [PendingChange]

    /// Number of changes in the outbox.
    func pendingCount() throws(IotoError) -> Int64

    /// Position of the outbox's first and last change; nil when it is empty.
    func pendingRange() throws(IotoError) -> ClosedRange<Int64>?

    /// Takes over the hub's answer to changes that were sent.
    func settle(_ settlement: Settlement) throws(IotoError)

    /// How far a stream has been followed; nil when it never was.
    func cursor(of stream: Text) throws(IotoError) -> StreamCursor?

    /// Applies the changes that are newer than what is stored, moves the cursor, and lets the clock observe the versions.
    ///
    /// - Parameter hubTime: The hub's clock when it sent them.
    /// - Returns: The number of changes that were newer.
    /// - Throws: `.busy` when an item has a pending change whose version is so far ahead of the hub's clock that the hub
    ///   will not take it: which of the two is newer is seen when the hub has answered.
    func apply(_ changes: [Change], cursor: StreamCursor, hubTime: UInt64) throws(IotoError) -> Int
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
        /// The hub does not take it under a version so far ahead of its clock. If the item is still at the version that was
        /// sent, it takes over this one, and stays in the outbox to be sent under it.
        case restamped(Version)
        /// The hub refuses it: it leaves the outbox for the dead letters, unless the item has changed since.
        case rejected(code: Int32, reason: Text)
    }

    public var entries: [Entry]
    /// The hub's clock when it answered.
    public var hubTime: UInt64
    /// The feed's move past the device's own changes: `cursor` takes the place of a stored cursor at `previous`.
    public var advance: (previous: Int64, cursor: StreamCursor)?

    public init(entries: [Entry], hubTime: UInt64, advance: (previous: Int64, cursor: StreamCursor)? = nil) {
        self.entries = entries
        self.hubTime = hubTime
        self.advance = advance
    }
}
