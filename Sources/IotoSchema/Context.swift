import IotoBase

/// Values that hold for every call on a database, as `deviceId` and `accountId`. Where a model has a field of the name, the
/// context's value takes the place of what the caller passes, and key templates find it.
public struct Context: Sendable {
    public private(set) var entries: [(name: Text, value: Text)] = []

    public init() {}

    public init(_ entries: [(name: Text, value: Text)]) {
        for entry in entries { set(entry.name, entry.value) }
    }

    /// Sets a value, or takes it away when `value` is nil.
    public mutating func set(_ name: Text, _ value: Text?) {
        let index = entries.firstIndex { $0.name == name }
        switch (index, value) {
        case (.some(let index), .some(let value)): entries[index].value = value
        case (.some(let index), nil): entries.remove(at: index)
        case (nil, .some(let value)): entries.append((name, value))
        case (nil, nil): break
        }
    }

    public subscript(name: Text) -> Text? {
        for entry in entries where entry.name == name { return entry.value }
        return nil
    }
}

extension Context: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (Text, Text)...) {
        for (name, value) in elements { set(name, value) }
    }
}
