import IotoBase
import IotoSchema

/// How the cloud's store decides between a device's change and a state that the device did not know when it sent it, where
/// the schema does not leave that to the versions (`resolve`).
public struct ConflictRule: Sendable, Equatable {
    public enum Winner: Sendable {
        case cloud, device
    }

    public enum Ruling: Sendable, Equatable {
        /// The higher version wins, as always.
        case compare
        /// The store had it already, before what it has now.
        case known
        /// What is stored stays.
        case overruled
        /// It is stored, under its own version if that is above what is stored, else under a new one.
        case stamp
    }

    public var winner: Winner
    /// How far the device had come in the item's stream; nil: it does not say, and conflicts are not looked for.
    public var seen: StreamCursor?
    /// Time of the change's version as the device sent it.
    public var sent: UInt64

    public init(winner: Winner, seen: StreamCursor?, sent: UInt64) {
        self.winner = winner
        self.seen = seen
        self.sent = sent
    }

    /// - Parameters:
    ///   - stored: The item's state.
    ///   - position: Its entry in the stream.
    ///   - history: The stream's.
    ///   - own: `sent` of the last change under a rule that was stored; 0: none.
    public func ruling(_ change: Change, stored: Change?, position: Int64?, history: UInt64, own: UInt64) -> Ruling {
        guard let stored else { return .compare }
        if stored.version.writer == change.version.writer {
            // It is stored under another version: the answer that said so may be lost.
            if own == sent, stored.version != change.version { return .overruled }
            // A change that was made before the device heard of the new stamp of the one before.
            return own != 0 && sent > own && change.version <= stored.version ? .stamp : .compare
        }
        guard let position, let seen, position > (seen.history == history ? seen.position : 0) else { return .compare }
        if sent <= own { return .known }
        return winner == .cloud ? .overruled : .stamp
    }
}

extension Model {
    /// Who wins conflicts, where not the later one does.
    var conflictWinner: ConflictRule.Winner? {
        guard syncsUp, syncsDown, !mergesFields else { return nil }
        switch process.resolve {
        // With a callback the device decides once it has what is in the cloud.
        case .cloud, .callback: return .cloud
        case .device: return .device
        case .latest: return nil
        }
    }
}
