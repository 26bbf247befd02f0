import IotoBase
import IotoJSON

/// The primary key of an item. A part that the schema, or the model, does without is "".
public struct ItemKey: Hashable, Comparable, Sendable {
    public var hash: Text
    public var sort: Text

    public init(hash: Text, sort: Text) {
        self.hash = hash
        self.sort = sort
    }

    public static func < (left: ItemKey, right: ItemKey) -> Bool {
        left.hash == right.hash ? left.sort < right.sort : left.hash < right.hash
    }
}

/// What the properties of a call say of the key.
public enum KeyMatch: Sendable, Equatable {
    /// The whole key.
    case exact(ItemKey)
    /// Some of it: `hash` when that is known, and the text that the sort key starts with, as far as it is known
    /// ("": not at all).
    case prefix(hash: Text?, sortPrefix: Text)
}

/// An item that fits its model, ready to be stored.
public struct PreparedItem: Sendable {
    public var key: ItemKey
    /// Its keys in the indexes beside the primary one, in the schema's order; nil where it is not in the index.
    public var secondaryKeys: [ItemKey?]
    /// The item's own properties: without the type field and without the attributes of indexes that a template
    /// computes.
    public var body: JSONObject
    /// `body` as JSON text, which had to be written to know its size: stores take it rather than write it again.
    public var text: [UInt8]
}
