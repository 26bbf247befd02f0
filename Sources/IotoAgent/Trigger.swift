import CIoto
import IotoBase
import IotoSchema
import IotoStore

/// Which events a trigger wants, or which one occurred: the sum of `DB_ON_*`.
public struct TriggerEvents: OptionSet, Sendable {
    public let rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let change = TriggerEvents(rawValue: Int32(DB_ON_CHANGE))
    public static let commit = TriggerEvents(rawValue: Int32(DB_ON_COMMIT))
    public static let remote = TriggerEvents(rawValue: Int32(DB_ON_REMOTE))
    public static let rejected = TriggerEvents(rawValue: Int32(DB_ON_REJECTED))
    public static let full = TriggerEvents(rawValue: Int32(DB_ON_FULL))
    public static let expired = TriggerEvents(rawValue: Int32(DB_ON_EXPIRED))
    public static let conflict = TriggerEvents(rawValue: Int32(DB_ON_CONFLICT))
    public static let all: TriggerEvents = [.change, .commit, .remote, .rejected, .expired, .full, .conflict]

    init(_ event: StoreEvent) {
        switch event.kind {
        case .rejected: self = .rejected
        case .full: self = .full
        case .conflict: self = .conflict
        case .expired: self = [.change, .commit, .expired]
        case .create, .update, .remove: self = event.isRemote ? [.change, .commit, .remote] : [.change, .commit]
        }
    }
}

/// What tells a trigger from the others: the values that it was added with.
public struct TriggerIdentity: Equatable, Sendable {
    public let procedure: UInt
    public let argument: UInt
    /// nil: every model.
    public let model: Text?

    public init(procedure: UInt, argument: UInt, model: Text?) {
        self.procedure = procedure
        self.argument = argument
        self.model = model
    }
}

/// One call of a trigger.
public struct TriggerCall {
    public let model: Model
    /// The item as committed, or as it was when it has been removed.
    public let item: Item
    public let kind: StoreEvent.Kind
    /// Of a conflict: a removal has won; of a change that was refused: it was one.
    public let isRemoval: Bool
    public let events: TriggerEvents
}

final class Trigger {
    let identity: TriggerIdentity
    let events: TriggerEvents
    let body: (TriggerCall) -> Void

    init(identity: TriggerIdentity, events: TriggerEvents, body: @escaping (TriggerCall) -> Void) {
        self.identity = identity
        self.events = events
        self.body = body
    }

    func wants(_ event: StoreEvent) -> Bool {
        if let model = identity.model, model != event.model.name { return false }
        return !events.isDisjoint(with: TriggerEvents(event))
    }
}
