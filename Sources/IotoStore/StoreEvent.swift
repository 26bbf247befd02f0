import IotoBase
import IotoSchema

/// One change of one item, committed.
public struct StoreEvent: Sendable {
    public enum Kind: Sendable {
        case create, update, remove
        /// The cloud refused the change; it is out of the queue.
        case rejected
        /// The item's time was over, and it is removed.
        case expired
        /// A ceiling was met: the change was refused, or gave way to a later one in the outbox.
        case full
        /// A change made here and one of the cloud, of the same item, each without knowledge of the other: one of them
        /// has won.
        case conflict

        /// Whether it is a change that a call made.
        public var isChange: Bool { self == .create || self == .update || self == .remove }
    }

    public let kind: Kind
    /// Whether the cloud made the change.
    public let isRemote: Bool
    /// The version that has won a conflict is a removal; `after` then has the properties that the key is made of.
    public let isRemoval: Bool
    private let isGone: Bool
    /// The item after the change, or, when that has removed it, before it.
    public let item: StoredItem
    /// The item before the change; nil when it was created.
    public let before: StoredItem?
    /// The cloud's reason for a rejection, or which ceiling was met and what was done; else "".
    public let reason: Text
    /// Of a conflict, where `after` is the version that has won: the one that has not.
    public let loser: StoredItem?

    /// The item after it; nil when it was removed. Of a change that was rejected, `before` and `after` are the item
    /// as it is stored; of a removal that was rejected, `before` has the properties that the key is made of, and
    /// `after` is nil.
    public var after: StoredItem? { isGone ? nil : item }
    public var model: Model { item.model }
    /// Neither replication nor expiry has to know of it.
    static func isForTriggersAlone(_ kind: Kind, _ model: Model, isRemote: Bool) -> Bool {
        kind.isChange && (isRemote || !model.syncsUp) && model.ttlField == nil
    }
    public var key: ItemKey { item.key }

    /// Nil when there is neither an item before nor one after it.
    init?(
        _ kind: Kind, before: StoredItem?, after: StoredItem?, isRemote: Bool, reason: Text = "", loser: StoredItem? = nil,
        isRemoval: Bool = false
    ) {
        guard let item = after ?? before else { return nil }
        self.item = item
        self.loser = loser
        self.isRemoval = isRemoval
        self.kind = kind
        self.before = before
        isGone = after == nil
        self.isRemote = isRemote
        self.reason = reason
    }
}

public protocol StoreObserver: AnyObject {
    /// Called after each commit that changed something, in commit order and with the writer's lock held: it must do
    /// no more than enqueue, and must not call the store.
    func storeDidCommit(_ events: [StoreEvent])
}
