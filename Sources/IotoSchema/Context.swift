import IotoBase
import IotoJSON

/// Values that hold for every call on a database, as `deviceId` and `accountId`. Where a model has a field of the
/// name, the context's value takes the place of what the caller passes, and key templates find it.
public struct Context: Sendable {
    public private(set) var entries: [(name: Text, value: Text)] = []

    public init() {}

    public init(_ entries: [(name: Text, value: Text)]) {
        for entry in entries { set(entry.name, entry.value) }
    }

    /// The value of a name; setting nil takes it away.
    public subscript(name: Text) -> Text? {
        get {
            for entry in entries where entry.name == name { return entry.value }
            return nil
        }
        set { set(name, newValue) }
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

    /// Properties with the context's values in place of their own, where the model has fields of the names.
    public func applied(to properties: JSONObject, of model: Model) -> JSONObject {
        var result = properties
        for entry in entries where model.takesContext(entry.name) != nil {
            result[entry.name] = .string(entry.value)
        }
        return result
    }
}

extension Model {
    /// Place of the field that a context value of this name sets; nil when there is none, or it is computed.
    func takesContext(_ name: Text) -> Int? {
        guard let place = fieldSet.index(of: name), fields[place].template == nil else { return nil }
        return place
    }
}

extension Context: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (Text, Text)...) {
        for (name, value) in elements { set(name, value) }
    }
}
