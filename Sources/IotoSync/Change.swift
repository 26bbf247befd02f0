import IotoBase
import IotoJSON
import IotoSchema

/// One state of one item, as replicas and the hub exchange it: the whole item, or its removal.
public struct Change: Sendable, Equatable {
    /// It is handed on many times and changed seldom: copies share it until one of them is changed.
    private final class Content: @unchecked Sendable {
        var model: Text
        var key: ItemKey
        var version: Version
        var isRemoval: Bool
        var body: [UInt8]
        var own: UInt64 = 0
        var isKnown = false
        var stamps = JSONObject()

        init(_ model: Text, _ key: ItemKey, _ version: Version, _ isRemoval: Bool, _ body: [UInt8]) {
            (self.model, self.key, self.version, self.isRemoval, self.body) = (model, key, version, isRemoval, body)
        }
    }

    private var content: Content

    public var model: Text {
        get { content.model }
        set { unshared().model = newValue }
    }
    public var key: ItemKey {
        get { content.key }
        set { unshared().key = newValue }
    }
    public var version: Version {
        get { content.version }
        set { unshared().version = newValue }
    }
    public var isRemoval: Bool {
        get { content.isRemoval }
        set { unshared().isRemoval = newValue }
    }
    /// The item as JSON text, as it is stored; of a removed item just the properties that its key is made of.
    public var body: [UInt8] {
        get { content.body }
        set { unshared().body = newValue }
    }
    /// Of what comes down: time of the device's own version that the hub had stored before this one came over it; 0: not
    /// known. A change of the device up to there is no conflict with this one.
    public var own: UInt64 {
        get { content.own }
        set { unshared().own = newValue }
    }
    /// Of what goes up: the cloud has had the item before. If it does not know it any more, it has been removed there, perhaps so
    /// long ago that its tombstone is forgotten.
    public var isKnown: Bool {
        get { content.isKnown }
        set { unshared().isKnown = newValue }
    }
    /// With `merge: 'fields'`: up, the fields that were changed and when; down, all that the hub knows of. See `FieldMerge`.
    public var stamps: JSONObject {
        get { content.stamps }
        set { unshared().stamps = newValue }
    }

    public init(model: Text, key: ItemKey, version: Version, isRemoval: Bool, body: [UInt8]) {
        content = Content(model, key, version, isRemoval, body)
    }

    /// The content, which from now on is this one's alone.
    @inline(never)
    private mutating func unshared() -> Content {
        if !isKnownUniquelyReferenced(&content) {
            let copy = Content(model, key, version, isRemoval, body)
            (copy.own, copy.isKnown, copy.stamps) = (own, isKnown, stamps)
            content = copy
        }
        return content
    }

    public static func == (left: Change, right: Change) -> Bool {
        left.content === right.content
            || left.version == right.version && left.model == right.model && left.key == right.key
                && left.isRemoval == right.isRemoval && left.body == right.body && left.own == right.own
                && left.isKnown == right.isKnown && left.stamps == right.stamps
    }
}

/// A change that waits in the outbox.
public struct PendingChange: Sendable, Equatable {
    /// Place in the queue: the clock's time when the item's row entered it.
    public var position: Int64
    public var change: Change
    /// The place behind which this one was the next in the queue when it was read; nil: not known.
    public var previous: Int64?
    /// The storage's count of edits when it was read: as long as it stands there, the item has not changed; -1: not known.
    public var edits: Int64 = -1

    public init(position: Int64, change: Change, previous: Int64? = nil) {
        self.position = position
        self.change = change
        self.previous = previous
    }

    /// The same, whatever stood before it.
    public static func == (left: PendingChange, right: PendingChange) -> Bool {
        left.position == right.position && left.change == right.change
    }

    /// The clock's time when it entered the queue: positions of urgent models are moved by multiples of 2^60.
    public var time: Int64 { PendingChange.time(of: position) }

    public static func time(of position: Int64) -> Int64 { position & (1 << 60 - 1) }
}

/// How far a replica has followed a stream of the hub.
public struct StreamCursor: Sendable, Equatable {
    /// `device/<id>`, `account/<id>` or `all`.
    public var stream: Text
    /// Random id of the feed: it differs when the hub's store was made anew, and then positions mean something else.
    public var history: UInt64
    /// Sequence number of the last entry that is applied; 0 before the first.
    public var position: Int64

    public init(stream: Text, history: UInt64, position: Int64) {
        self.stream = stream
        self.history = history
        self.position = position
    }
}

/// The streams that the hub's feed is divided into.
public enum Stream {
    public static let all: Text = "all"
    public static func device(_ id: Text) -> Text { "device/" + id }
    public static func account(_ id: Text) -> Text { "account/" + id }
}

extension Stream {
    /// The device whose item this is; nil when it is no device's own.
    public static func owner(of body: JSONObject) -> Text? {
        guard let device = body["deviceId"]?.stringValue, !device.isEmpty else { return nil }
        return device
    }

    /// The stream that carries an item to devices: that of the device it belongs to, else of its account, else the one of
    /// all devices; nil when its model does not go down.
    public static func of(_ body: JSONObject, model: Model) -> Text? {
        guard model.syncsDown else { return nil }
        if let device = owner(of: body) { return Stream.device(device) }
        if let account = body["accountId"]?.stringValue, !account.isEmpty { return Stream.account(account) }
        return Stream.all
    }
}
