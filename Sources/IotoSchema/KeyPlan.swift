import CPlatform
import IotoBase

/// How a primary key is written when all that its templates need are properties of type string: what a get does most
/// often, and needs neither values nor texts made for it.
struct KeyPlan: Sendable {
    enum Part: Sendable {
        case literal(Text)
        /// Place in `names`.
        case property(Int)
    }

    let hash: [Part]
    let sort: [Part]
    let names: [Text]

    /// More are looked for one by one.
    private static let namesMax = 4

    init?(_ keys: IndexKeys) {
        var names: [Text] = []
        guard let hash = KeyPlan.parts(keys.hash, &names), let sort = KeyPlan.parts(keys.sort, &names),
            names.count <= KeyPlan.namesMax
        else { return nil }
        self.hash = hash
        self.sort = sort
        self.names = names
    }

    private static func parts(_ key: KeyPart?, _ names: inout [Text]) -> [Part]? {
        guard let key else { return [] }
        var parts: [Part] = []
        for part in key.template.parts {
            switch part {
            case .literal(let text):
                parts.append(.literal(text))
            case .variable(let variable):
                guard variable.rest == nil, variable.width == 0, let field = variable.field, field.type == .string,
                    field.template == nil
                else { return nil }
                if !names.contains(variable.path) { names.append(variable.path) }
                parts.append(.property(names.firstIndex(of: variable.path) ?? 0))
            }
        }
        return parts
    }
}

extension Model {
    /// Writes the key that properties, given as pairs of C texts, and the context make, as `key(_:context:)` would.
    ///
    /// - Parameters:
    ///   - pairs: Name, value, name, value, ...
    ///   - count: Number of texts.
    ///   - buffer: Takes the hash key and, behind it, the sort key.
    /// - Returns: Where each ends; nil when it takes more than this to tell: other properties than those of the key, a
    ///   text that is not ASCII, a buffer that is too small.
    public func writeKey(
        _ pairs: UnsafePointer<UnsafePointer<CChar>?>, count: Int, context: Context,
        to buffer: UnsafeMutableRawBufferPointer
    ) -> (hashEnd: Int, sortEnd: Int)? {
        guard let plan = keyPlan else { return nil }
        var rest = count / 2
        var writer = KeyWriter(buffer: buffer)
        for name in plan.names where KeyPlan.value(name, pairs, count) != nil {
            guard context[name] == nil else { return nil }
            rest -= 1
        }
        guard rest == 0, writer.write(plan, plan.hash, pairs, count, context) else { return nil }
        let hashEnd = writer.end
        guard writer.write(plan, plan.sort, pairs, count, context) else { return nil }
        return (hashEnd, writer.end)
    }
}

extension KeyPlan {
    /// The value of a name among the pairs.
    static func value(
        _ name: Text, _ pairs: UnsafePointer<UnsafePointer<CChar>?>, _ count: Int
    ) -> UnsafePointer<CChar>? {
        for place in stride(from: 0, to: count - 1, by: 2) {
            if let given = pairs[place], name.equals(given) { return pairs[place + 1] }
        }
        return nil
    }
}

private struct KeyWriter {
    let buffer: UnsafeMutableRawBufferPointer
    var end = 0

    mutating func write(
        _ plan: KeyPlan, _ parts: [KeyPlan.Part], _ pairs: UnsafePointer<UnsafePointer<CChar>?>, _ count: Int,
        _ context: Context
    ) -> Bool {
        for part in parts {
            switch part {
            case .literal(let text):
                guard write(text) else { return false }
            case .property(let place):
                let name = plan.names[place]
                if let value = KeyPlan.value(name, pairs, count) {
                    guard write(value) else { return false }
                } else {
                    guard let value = context[name], !value.isEmpty, write(value) else { return false }
                }
            }
        }
        return true
    }

    private mutating func write(_ text: Text) -> Bool {
        guard text.count <= buffer.count - end else { return false }
        text.bytes.withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(rebasing: buffer[end...]).copyMemory(from: bytes)
        }
        end += text.count
        return true
    }

    /// A text that is not empty, and ASCII.
    private mutating func write(_ text: UnsafePointer<CChar>) -> Bool {
        guard let start = buffer.baseAddress else { return false }
        let bytes = platform_copy_ascii(start + end, buffer.count - end, text)
        end += bytes
        return bytes > 0
    }
}

extension Text {
    fileprivate func equals(_ cString: UnsafePointer<CChar>) -> Bool {
        let other = cString.unsigned
        return bytes.withUnsafeBytes { bytes in
            for place in 0..<bytes.count where other[place] != bytes[place] { return false }
            return other[bytes.count] == 0
        }
    }
}

extension UnsafePointer<CChar> {
    /// The same bytes: whether C's char has a sign depends on the machine.
    fileprivate var unsigned: UnsafePointer<UInt8> {
        UnsafeRawPointer(self).assumingMemoryBound(to: UInt8.self)
    }
}
