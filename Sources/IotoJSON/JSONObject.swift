import IotoBase

/// The members of a JSON object, in the order in which they were added; names are unique.
///
/// Made for objects of tens of members: a name is searched for from the first to the last, which at that size is
/// faster than hashing. A program that copies a large object adds the members with `append(_:_:)`.
public struct JSONObject: Sendable {
    public typealias Element = (key: Text, value: JSON)

    public internal(set) var members: [(key: Text, value: JSON)] = []

    public init() {}

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }

    /// The value of a name. Setting a name that is there keeps its place, setting nil removes the member.
    ///
    /// - Complexity: O(count).
    public subscript(key: Text) -> JSON? {
        // Not inlined, as the others here: they are called in hundreds of places.
        @inline(never)
        get {
            guard let place = index(of: key) else { return nil }
            return members[place].value
        }
        @inline(never)
        set {
            switch (index(of: key), newValue) {
            case (let place?, let value?): members[place].value = value
            case (let place?, nil): members.remove(at: place)
            case (nil, let value?): members.append((key, value))
            case (nil, nil): break
            }
        }
    }

    /// Adds a member whose name is known not to be there yet.
    ///
    /// - Complexity: O(1), where the subscript searches first.
    @inline(never)
    public mutating func append(_ key: Text, _ value: JSON) {
        members.append((key, value))
    }

    public mutating func reserveCapacity(_ count: Int) {
        members.reserveCapacity(count)
    }

    /// Place of a member in `members`.
    public func index(of key: Text) -> Int? {
        key.bytes.withUnsafeBytes { index(of: $0) }
    }

    func index(of key: UnsafeRawBufferPointer) -> Int? {
        for place in members.indices where members[place].key.equals(key) { return place }
        return nil
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> IndexingIterator<[(key: Text, value: JSON)]> {
        members.makeIterator()
    }

    public var underestimatedCount: Int { members.count }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// A name that is given twice has the last value, as when it is parsed.
    public init(dictionaryLiteral elements: (Text, JSON)...) {
        for (key, value) in elements { self[key] = value }
    }
}

extension JSONObject: Equatable {
    /// Whether both have the same members, in whatever order (RFC 8259, 1: an object is an unordered collection).
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        var places: [Text: Int]?
        for (place, member) in left.members.enumerated() {
            if right.members[place].key == member.key {
                if right.members[place].value != member.value { return false }
                continue
            }
            // Names out of order: looked up, since a search for each would be quadratic in members that a peer
            // may choose.
            if places == nil { places = right.places() }
            guard let other = places?[member.key], right.members[other].value == member.value else { return false }
        }
        return true
    }

    fileprivate func places() -> [Text: Int] {
        var places: [Text: Int] = [:]
        places.reserveCapacity(count)
        for (place, member) in members.enumerated() { places[member.key] = place }
        return places
    }
}

/// Finds many members of one object, which a peer may have chosen: a large one is not searched for each.
public struct JSONIndex {
    private let object: JSONObject
    private var places: [Text: Int] = [:]

    public init(_ object: JSONObject) {
        self.object = object
        if object.count > JSONObjectBuilder.searchedMax { places = object.places() }
    }

    @inline(never)
    public func value(_ name: Text) -> JSON? {
        places.isEmpty ? object[name] : places[name].map { object.members[$0].value }
    }
}

/// Collects the members of an object that is read, where a name may come again: the last value wins, at the first
/// place.
struct JSONObjectBuilder {
    private(set) var object = JSONObject()
    /// Used beyond `searchedMax` members, so that reading stays linear in the size of a text that a peer may choose.
    private var places: [Text: Int] = [:]
    fileprivate static let searchedMax = 24
    /// Room made for the first member, as most objects have more than one or two.
    private static let expected = 8

    @inline(__always)
    mutating func add(_ key: Text, _ value: JSON) {
        if object.count < JSONObjectBuilder.searchedMax {
            if object.isEmpty { object.reserveCapacity(JSONObjectBuilder.expected) }
            if let place = object.index(of: key) {
                object.members[place].value = value
            } else {
                object.append(key, value)
            }
        } else {
            addToMany(key, value)
        }
    }

    private mutating func addToMany(_ key: Text, _ value: JSON) {
        if places.isEmpty {
            for (place, member) in object.members.enumerated() { places[member.key] = place }
        }
        if let place = places[key] {
            object.members[place].value = value
        } else {
            places[key] = object.count
            object.append(key, value)
        }
    }
}

extension Text {
    @inline(__always)
    func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        bytes.count == other.count && bytes.withUnsafeBytes { compareBytes($0, other) == 0 }
    }
}
