import IotoBase

/// The components of a path such as `a.b.0.c`. A path has at least one: the empty path names the member `""`.
struct JSONPath {
    private let path: UnsafeRawBufferPointer
    private var index = 0
    private(set) var isAtEnd = false

    init(_ path: UnsafeRawBufferPointer) {
        self.path = path
    }

    mutating func next() -> UnsafeRawBufferPointer {
        let start = index
        while index < path.count, path[index] != UInt8(ascii: ".") { index += 1 }
        let component = UnsafeRawBufferPointer(rebasing: path[start..<index])
        if index < path.count {
            index += 1
        } else {
            isAtEnd = true
        }
        return component
    }

    /// Number of components.
    var count: Int {
        var count = 1
        for byte in path where byte == UInt8(ascii: ".") { count += 1 }
        return count
    }

    /// The place in an array that a component writes in decimal, without leading zeros; nil when it writes none.
    static func place(_ component: UnsafeRawBufferPointer) -> Int? {
        // Nine digits fit an Int of 32 bits, and no array is longer.
        guard let first = component.first, component.count <= 9 else { return nil }
        if first == UInt8(ascii: "0") && component.count > 1 { return nil }
        var place = 0
        for byte in component {
            let digit = byte &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            place = place * 10 + Int(digit)
        }
        return place
    }
}

extension JSON {
    /// The value that a path such as `network.dns.0` leads to through objects and arrays; nil when there is none.
    @inline(never)
    public func value(at path: Text) -> JSON? {
        path.bytes.withUnsafeBytes { value(at: JSONPath($0)) }
    }

    private func value(at path: JSONPath) -> JSON? {
        var path = path
        var value = self
        while true {
            let component = path.next()
            switch value {
            case .object(let object):
                guard let place = object.index(of: component) else { return nil }
                value = object.members[place].value
            case .array(let elements):
                guard let place = JSONPath.place(component), place < elements.count else { return nil }
                value = elements[place]
            default:
                return nil
            }
            if path.isAtEnd { return value }
        }
    }

    /// Sets the value at a path, or removes it with nil. Objects that the path names are created where there is
    /// nothing, or null. In an array the place after the last element appends one; removing an element closes the
    /// gap.
    ///
    /// - Returns: False, and nothing is changed, when the path crosses a scalar, names a place beyond an array's
    ///   end, or would nest deeper than `Limits.nestingMax`. Removing what is not there is no failure.
    @inline(never)
    public mutating func set(_ value: JSON?, at path: Text) -> Bool {
        path.bytes.withUnsafeBytes { bytes in
            let path = JSONPath(bytes)
            guard path.count <= Limits.nestingMax, path.count + (value?.depth ?? 0) <= Limits.nestingMax
            else { return false }
            return set(value, at: path)
        }
    }

    fileprivate mutating func set(_ value: JSON?, at path: JSONPath) -> Bool {
        // The content is taken out while it changes, so that it has one owner and is not copied.
        switch self {
        case .object(var object):
            self = .null
            let isSet = object.set(value, at: path)
            self = .object(object)
            return isSet
        case .array(var elements):
            self = .null
            let isSet = JSON.set(value, at: path, in: &elements)
            self = .array(elements)
            return isSet
        case .null:
            guard value != nil else { return true }
            var object = JSONObject()
            let isSet = object.set(value, at: path)
            self = .object(object)
            return isSet
        default:
            return false
        }
    }

    private static func set(_ value: JSON?, at path: JSONPath, in elements: inout [JSON]) -> Bool {
        var path = path
        guard let place = JSONPath.place(path.next()), place <= elements.count else { return false }
        if place == elements.count {
            guard var value else { return true }
            if !path.isAtEnd {
                var element = JSON.null
                guard element.set(value, at: path) else { return false }
                value = element
            }
            elements.append(value)
            return true
        }
        if !path.isAtEnd { return elements[place].set(value, at: path) }
        if let value {
            elements[place] = value
        } else {
            elements.remove(at: place)
        }
        return true
    }
}

extension JSONObject {
    /// Sets or removes the value at a path, as `JSON.set(_:at:)` does.
    @inline(never)
    public mutating func set(_ value: JSON?, at path: Text) -> Bool {
        var whole = JSON.object(self)
        self = JSONObject()
        let isSet = whole.set(value, at: path)
        if case .object(let object) = whole { self = object }
        return isSet
    }

    /// The value that a path leads to, as `JSON.value(at:)` finds it.
    @inline(never)
    public func value(at path: Text) -> JSON? {
        JSON.object(self).value(at: path)
    }

    fileprivate mutating func set(_ value: JSON?, at path: JSONPath) -> Bool {
        var path = path
        let component = path.next()
        let place = index(of: component)
        if !path.isAtEnd, let place { return members[place].value.set(value, at: path) }
        switch (place, value) {
        case (let place?, let value?):
            members[place].value = value
        case (let place?, nil):
            members.remove(at: place)
        case (nil, let value?):
            var member = value
            if !path.isAtEnd {
                member = .null
                guard member.set(value, at: path) else { return false }
            }
            append(Text(component), member)
        case (nil, nil):
            break
        }
        return true
    }
}
