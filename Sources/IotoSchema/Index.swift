import IotoBase

/// An index of the schema: the attributes that its keys stand in.
public struct Index: Sendable {
    public let name: Text
    /// Attribute of the partition key; a local index has that of the primary index. Nil when keys have a sort part
    /// alone.
    public let hash: Text?
    /// Attribute of the sort key, or nil.
    public let sort: Text?
    /// Whether it shares the partitions of the primary index.
    public let isLocal: Bool

    func uses(_ attribute: Text) -> Bool {
        hash == attribute || sort == attribute
    }
}
