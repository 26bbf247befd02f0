import IotoBase

/// The last versions of an item that other ones took the place of, the newest first, as text that is kept with the item: of each
/// a letter that says what became of it, a capital one of a removal, and the version.
public enum Trail {
    /// What became of a version.
    public enum Fate: UInt8, Sendable {
        /// "o": a later one took its place.
        case overwritten = 0x6F
        /// "u": the same, before the cloud had answered it.
        case unsent = 0x75
        /// "l": it gave way to one that was made without knowledge of it.
        case lost = 0x6C
        /// "r": it came, and gave way to the one that was here.
        case refused = 0x72
        /// "m": it was joined with the next one in the list, which came from the other side, "j".
        case merged = 0x6D
        case joined = 0x6A
        /// "s": the cloud gave what it was another version.
        case restamped = 0x73
        /// "x": it expired before.
        case expired = 0x78

        public var name: StaticString {
            switch self {
            case .overwritten, .unsent: "overwritten"
            case .lost: "lost"
            case .refused: "refused"
            case .merged, .joined: "merged"
            case .restamped: "restamped"
            case .expired: "expired"
            }
        }

        /// The version never was the one that is stored.
        public var isForeign: Bool { self == .refused || self == .joined }
    }

    public struct Entry: Sendable, Equatable {
        public var version: Version
        public var fate: Fate
        public var isRemoval: Bool
    }

    /// Bytes of an entry.
    public static let entryBytes = 34
    /// Entries that are kept with an item.
    public static let entriesMax = 4

    /// An entry, to stand in front of the trail.
    public static func entry(_ version: Version, _ fate: Fate, isRemoval: Bool) -> [UInt8] {
        [isRemoval ? fate.rawValue & ~0x20 : fate.rawValue] + version.text.bytes
    }

    /// The entry at a place, counted from 0; nil beyond the last one, or where there is none.
    public static func entry(_ place: Int, of trail: [UInt8]) -> Entry? {
        let start = place * entryBytes
        guard start + entryBytes <= trail.count, let fate = Fate(rawValue: trail[start] | 0x20),
            let version = Version(Text(trail[start + 1..<start + entryBytes]))
        else { return nil }
        return Entry(version: version, fate: fate, isRemoval: trail[start] & 0x20 == 0)
    }
}

extension Trail {
    /// What a trail says.
    public static func entries(_ trail: [UInt8]) -> [Entry] {
        (0..<entriesMax).compactMap { entry($0, of: trail) }
    }

    /// The trail with an entry more, unless its version is in it.
    public static func adding(_ entry: [UInt8], to trail: [UInt8]) -> [UInt8] {
        for end in stride(from: entryBytes, through: trail.count, by: entryBytes)
        where trail[(end - entryBytes + 1)..<end] == entry[1...] { return trail }
        return Array((entry + trail).prefix(entriesMax * entryBytes))
    }
}
