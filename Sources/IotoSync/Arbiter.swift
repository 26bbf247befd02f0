import IotoBase
import IotoJSON
import IotoSchema

/// An item as the cloud's store has it, its tombstone when it is removed.
public struct ItemState: Sendable, Equatable {
    public var change: Change
    /// nil: it is in none.
    public var stream: Text?
    /// The device that it belongs to, "" when it is no device's.
    public var owner: Text
    /// Of an agent of version 1, see `Arrival`.
    public var marks: [Int64] = []
    /// Time of the owner's last version that was stored under a `ConflictRule`; 0: none.
    public var own: UInt64 = 0
    /// The versions before, see `Trail`.
    public var trail: [UInt8] = []

    public init(change: Change, stream: Text?, owner: Text) {
        self.change = change
        self.stream = stream
        self.owner = owner
    }

    /// The state that takes the place of `former`, of which the trail says `fate`. A tombstone has only its key's properties, which
    /// need not say what stream the item is in, nor whose it is.
    public init(
        _ change: Change, stream: Text?, owner: Text, over former: ItemState?, _ fate: Trail.Fate = .overwritten
    ) {
        self.change = change
        self.stream = change.isRemoval && stream != nil ? former?.stream ?? stream : stream
        self.owner = change.isRemoval ? former?.owner ?? owner : owner
        guard let former else { return }
        (marks, own) = (former.marks, former.own)
        trail = Trail.adding(
            Trail.entry(former.change.version, fate, isRemoval: former.change.isRemoval), to: former.trail)
    }

    /// The trail with a change that came and is not stored, since this state stays. One that comes again, or is older than what the
    /// trail still has, is no news.
    func trail(with change: Change) -> [UInt8] {
        if change.version == self.change.version { return trail }
        let entries = Trail.entries(trail)
        if entries.count == Trail.entriesMax, entries.allSatisfy({ change.version < $0.version }) { return trail }
        return Trail.adding(Trail.entry(change.version, .refused, isRemoval: change.isRemoval), to: trail)
    }
}

/// Decides over the changes of one `HubRequest.apply`, within the transaction of the cloud's store.
public struct Arbiter {
    public enum Decision {
        /// Nothing is written.
        case pass
        /// What is stored stays, with these marks.
        case mark([Int64])
        /// What is stored stays, with this trail.
        case note([UInt8])
        /// It takes the place of what is stored.
        case store(ItemState)
    }

    /// The store's, from which every process has its times. It is written, if it has moved, in the same transaction.
    public var clock: HybridClock
    /// Time of the newest version among the tombstones that the store has forgotten; 0: it has forgotten none. It counts for changes
    /// that are `known`.
    public var forgotten: UInt64 = 0
    public private(set) var stored = 0
    public private(set) var refused: [Version] = []
    public private(set) var met: [MetChange] = []
    public private(set) var again: [NewVersion] = []
    /// Something was stored in another state than it was sent in.
    private var hasJoined = false
    private let device: Text
    private let writer: UInt64
    private let history: UInt64
    private let wall: Int64

    /// - Parameters:
    ///   - device: Whose changes they are.
    ///   - clock: The store's.
    ///   - writer: Of the versions that the store gives.
    ///   - history: Of the store's feeds.
    ///   - wall: Unix milliseconds.
    public init(device: Text, clock: HybridClock, writer: UInt64, history: UInt64, wall: Int64) {
        self.device = device
        self.clock = clock
        self.writer = writer
        self.history = history
        self.wall = wall
    }

    /// The last writer wins, by version, and a change that comes again changes nothing; where the model says otherwise, its
    /// rule decides. What belongs to another device, or to none, is not this device's to change.
    ///
    /// - Parameters:
    ///   - entry: The next change.
    ///   - current: What is stored of its item.
    ///   - position: Of the item's entry in the stream that it is in; it counts where there is a rule.
    public mutating func decide(
        _ entry: StreamedChange, over current: ItemState?, position: Int64?
    ) -> Decision {
        var entry = entry
        let sent = entry.change.version
        if let current, current.owner != device {
            refused.append(sent)
            return .pass
        }
        // Where the item has a version that was given so, the one before may come again, late and no longer that far ahead: it
        // must not take the place of what was made after it.
        let isGiven = current.map { $0.change.version.writer == sent.writer && $0.change.version.time & 1 == 1 } ?? false
        let isAhead = isGiven && sent.time & 1 == 0 && entry.timeMax != .max && sent.time > HybridClock.time(wall)
        if isAhead || sent.time > max(clock.last, entry.timeMax) {
            raise(sent, above: current)
            #if IOTO_MUTANTS
                guard Mutant.isActive(.stampStored), let stamp = again.last?.newVersion else { return .pass }
                entry.change.version = stamp
            #else
                return .pass
            #endif
        }
        if current == nil, let known = entry.known, known.history == history, sent.time <= forgotten, entry.rule?.winner != .device {
            return bury(entry, known.model)
        }
        var marks = current?.marks ?? []
        if let arrival = entry.arrival {
            let ruling = arrival.ruling(entry.change, stored: current?.change, marks: marks)
            marks = arrival.marks(after: entry.change, marks)
            if ruling == .overruled, let current {
                met.append(MetChange(version: sent, other: current.change))
                return .mark(marks)
            }
            guard ruling == .store else { return .pass }
            if let current { clock.observe(current.change.version.time) }
            entry.change.version = Version(time: clock.next(wall: wall), writer: sent.writer)
        }
        var fate = Trail.Fate.overwritten
        if let rule = entry.rule, let current {
            switch rule.ruling(entry.change, over: current, position: position, history: history) {
            case .compare: break
            case .known: return .pass
            case .overruled:
                met.append(MetChange(version: sent, other: current.change))
                return lost(entry.change, to: current)
            case .won:
                met.append(MetChange(version: sent, other: current.change, taken: position))
                fate = .lost
            case .again:
                raise(sent, above: current)
                return .pass
            }
        }
        if entry.merges {
            guard let merged = entry.merged(over: current?.change, clock: &clock, wall: wall, writer: writer)
            else { return lost(entry.change, to: current) }
            entry.change = merged
            if merged.version != sent {
                fate = .merged
                hasJoined = true
            }
        }
        guard entry.change.version > current?.change.version ?? .zero else { return lost(entry.change, to: current) }
        clock.observe(entry.change.version.time)
        var item = ItemState(entry.change, stream: entry.stream, owner: device, over: current, fate)
        item.marks = marks
        if entry.rule != nil { item.own = sent.time }
        if fate == .merged { item.trail = Trail.adding(Trail.entry(sent, .joined, isRemoval: false), to: item.trail) }
        stored += 1
        return .store(item)
    }

    /// An item that was removed so long ago that nothing is known of it any more stays so: it gets a tombstone again, by which the
    /// device hears of it, and others of which it has the item.
    private mutating func bury(_ entry: StreamedChange, _ model: Model) -> Decision {
        let sent = entry.change
        clock.observe(sent.version.time)
        let removal = Change(
            model: sent.model, key: sent.key, version: Version(time: clock.next(wall: wall), writer: writer), isRemoval: true,
            body: model.keyProperties(of: FieldMerge.object(sent.body)).text)
        var item = ItemState(change: removal, stream: entry.stream, owner: device)
        item.trail = Trail.entry(sent.version, .refused, isRemoval: false)
        if entry.stream != nil { met.append(MetChange(version: sent.version, other: removal)) }
        hasJoined = true
        stored += 1
        return .store(item)
    }

    private func lost(_ change: Change, to current: ItemState?) -> Decision {
        guard let current else { return .pass }
        let trail = current.trail(with: change)
        return trail == current.trail ? .pass : .note(trail)
    }

    /// Has the device send a change again, under a version above what is stored.
    private mutating func raise(_ sent: Version, above current: ItemState?) {
        if let current { clock.observe(current.change.version.time) }
        var time = clock.next(wall: wall)
        // Odd, as no device's own times are: else it could be that of another change of the device.
        if time & 1 == 0 { time = clock.next(wall: wall) }
        again.append(NewVersion(version: sent, newVersion: Version(time: time, writer: sent.writer)))
    }

    public func answer(_ advances: [FeedAdvance]) -> HubAnswer {
        let advances = advances.map { advance in
            var advance = advance
            advance.isAsSent = !hasJoined
            return advance
        }
        return .applied(stored: stored, refused: refused, advances: advances, met: met, again: again)
    }
}
