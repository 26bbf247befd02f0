import IotoBase
import IotoSchema

/// How the cloud's store decides between a device's change and a state that the device did not know when it sent it
/// (`resolve` in the schema).
public struct ConflictRule: Sendable, Equatable {
    public enum Winner: Sendable {
        case later, cloud, device
    }

    public enum Ruling: Sendable, Equatable {
        /// The higher version wins, as always.
        case compare
        /// The store had it already, before what it has now.
        case known
        /// What is stored stays.
        case overruled
        /// It is stored in the place of what is stored.
        case won
        /// It would win, and its version is not above what is stored: the device sends it again under another.
        case again
    }

    public var winner: Winner
    /// How far the device had come in the item's stream; nil: it does not say, and conflicts are not looked for.
    public var seen: StreamCursor?

    public init(winner: Winner, seen: StreamCursor?) {
        self.winner = winner
        self.seen = seen
    }

    /// - Parameters:
    ///   - stored: The item.
    ///   - position: Its entry in the stream that it is in.
    ///   - history: The stream's.
    func ruling(_ change: Change, over stored: ItemState, position: Int64?, history: UInt64) -> Ruling {
        guard stored.change.version.writer != change.version.writer, let position, let seen,
            position > (seen.history == history ? seen.position : 0)
        else { return .compare }
        if change.version.time <= stored.own {
            // Of two databases of a device, each may have given one time to a change of its own: of these the later one stays.
            let isOther = change.version.time == stored.change.version.time
                && (change.isRemoval != stored.change.isRemoval || change.body != stored.change.body)
            return isOther ? .compare : .known
        }
        let isLater = change.version > stored.change.version
        return switch winner {
        case .later: isLater ? .won : .overruled
        case .cloud: .overruled
        case .device: isLater ? .won : .again
        }
    }
}

extension Model {
    /// Who wins conflicts; nil: there are none to win, since the model goes one way, or fields are merged.
    var conflictWinner: ConflictRule.Winner? {
        guard syncsUp, syncsDown, !mergesFields else { return nil }
        switch process.resolve {
        // With a callback the device decides once it has what is in the cloud.
        case .cloud, .callback: return .cloud
        case .device: return .device
        case .latest: return .later
        }
    }
}
