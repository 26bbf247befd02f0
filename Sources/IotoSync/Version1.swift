import IotoBase

/// What is particular to peers that speak protocol version 1, which has neither versions nor cursors.
public enum Version1 {
    /// The writer in the versions that the hub gives to an agent's changes: the same for the same device (FNV-1a, 64 bits).
    public static func replica(of device: Text) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in device.bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return max(1, hash)
    }

    /// The writer in the versions that a device gives to what a service of version 1 says.
    public static let service: UInt64 = 0x7631

    /// The name under which a device keeps, as a cursor, the time that a service of version 1 has told it last.
    static let stream: Text = "version1"

    /// Changes in one message of an agent, which may be of any size up to the limit of messages.
    static let changesMax = 10 * Limits.batchItemsMax
}

extension Arrival {
    /// What becomes of a change that has arrived.
    public enum Ruling: Sendable, Equatable {
        /// It is new: it gets a version above what is stored.
        case store
        /// It came before: the agent sends again what was acknowledged.
        case known
        /// What the cloud wrote is newer, and the agent has to be told.
        case overruled
    }

    /// Marks of the agent's last changes of one item, kept with the item, by which those that come again are known. Marks
    /// are compared for equality alone: an agent's clock may have been set back since.
    public static let marksMax = 8

    /// The change's own mark: a removal carries the `updated` of the item as it was.
    public func mark(isRemoval: Bool) -> Int64? {
        updated.map { max(0, min($0, 1 << 46)) * 2 + (isRemoval ? 1 : 0) }
    }

    /// Decides by what is stored.
    ///
    /// - Parameters:
    ///   - change: The change as it stood in the request.
    ///   - stored: The item's state; nil when there is none.
    ///   - marks: Those that are kept with it.
    public func ruling(_ change: Change, stored: Change?, marks: [Int64]) -> Ruling {
        // Its `updated` is that of the item it removes: a removal is the newest when it arrives.
        if !change.isRemoval, let updated, let stored, stored.version.writer != change.version.writer,
            updated < stored.version.milliseconds
        {
            // Also when it comes again: what the agent was to be told may not have come.
            return .overruled
        }
        if let mark = mark(isRemoval: change.isRemoval), marks.contains(mark) { return .known }
        return .store
    }

    /// The marks to be kept after a change.
    public func marks(after change: Change, _ marks: [Int64]) -> [Int64] {
        guard let mark = mark(isRemoval: change.isRemoval), !marks.contains(mark) else { return marks }
        return Array((marks + [mark]).suffix(Arrival.marksMax))
    }
}
