import IotoBase
import IotoJSON
import IotoSchema

/// Changes of a device, on their way up.
struct UpMessage {
    var sequence: Int64
    var replica: UInt64
    var account: Text
    var changes: [Change]
    var epoch = Epoch()
    /// For a hub that is known to speak version 2.
    var isBrief = false
    /// The device reads compressed messages.
    var inflates = false
    /// How far the device's own stream is applied, when the hub has to know it to decide conflicts.
    var seen: StreamCursor?
}

/// A device's request for what it has not seen.
struct CatchUpRequest {
    /// Stands again in the pages that answer it.
    var number: Int64
    var replica: UInt64
    var account: Text
    var cursors: [StreamCursor]
    var epoch = Epoch()
    /// The streams in whose snapshots the device is, with the floors at which these began: it wants all there is, its own
    /// changes too.
    var snapshots: [Text: Int64] = [:]
    /// How far the device had followed these streams before.
    var seen: [Text: Int64] = [:]
    /// A stream that the device has not followed to its end since its process began: it wants its own changes too, since its
    /// database may be an older state, which does not have them.
    var whole: Text?
    var inflates = false
}

/// The lists of an answer, in the order in which they are heeded.
enum AckKind: Int, CaseIterable {
    case rejected, overruled, again, won, stored

    var name: Text {
        switch self {
        case .rejected: "rejected"
        case .overruled: "overruled"
        case .again: "again"
        case .won: "won"
        case .stored: "vers"
        }
    }
}

/// The hub's answer to an `UpMessage`.
struct AckMessage {
    struct Rejection {
        var version: Version
        var code: Int32
        var reason: Text
    }

    var sequence: Int64
    var keys: [Text]
    var versions: [Version]
    var rejections: [Rejection]
    /// The hub's clock.
    var time: UInt64
    /// To a device that reads brief answers: its versions stand as their times alone, and there are no keys.
    var replica: UInt64?
    /// The feed's move past the device's own changes, which need not come back.
    var advance: FeedAdvance?
    var met: [MetChange] = []
    /// Changes that are not stored, and that the device is to send again under another version.
    var again: [NewVersion] = []
}

/// A stretch of a stream, on its way down.
struct PageMessage {
    /// Number of the request that it answers; nil when it comes unasked.
    var answers: Int64?
    var stream: Text
    var history: UInt64
    var previous: Int64
    var cursor: Int64
    /// In an answer: there is more, for which the device asks again.
    var hasMore: Bool
    /// The device's cursor was of no use, and this page starts the stream anew.
    var isReset: Bool
    /// Nothing is left out, the device's own changes neither.
    var isWhole = false
    /// Whose changes were left out; nil: none were.
    var without: UInt64?
    /// With a reset: the feed's floor. A device that stood below it has missed removals; one that did not stood in another
    /// history.
    var floor: Int64 = 0
    /// In an answer: the feed's end, as far as the hub knows it.
    var end: Int64 = 0
    var time: UInt64
    /// The changes as read; nil for one that does not fit the schema and is to be passed over.
    var changes: [Change]
    var refused: [IotoError] = []
    /// Keys of those that were refused, as far as they can be told.
    var refusedKeys: [ItemKey] = []
}
