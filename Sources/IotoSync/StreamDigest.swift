import CPlatform
import IotoBase
import IotoJSON
import IotoSchema

/// The sum of the hashes of things that have no order.
public struct ContentHash: Sendable, Equatable {
    /// The hashes' first eight bytes and their last, summed modulo 2^64.
    public private(set) var first: UInt64 = 0
    public private(set) var last: UInt64 = 0

    public init() {}

    public mutating func add(_ other: ContentHash) {
        first &+= other.first
        last &+= other.last
    }

    /// - Returns: Whether the body is JSON.
    mutating func add(_ model: Model, _ key: ItemKey, _ body: UnsafeRawBufferPointer) -> Bool {
        var name: [UInt8] = []
        for part in [model.name, key.hash, key.sort] {
            name.append(contentsOf: part.bytes)
            name.append(0)
        }
        var sets: [UInt8] = []
        for field in model.fields where field.type == .set { JSON.write(string: field.name, to: &sets) }
        var halves = (first, last)
        let isRead = withUnsafeMutableBytes(of: &halves) { halves in
            platform_digest_item(
                name, name.count, body.baseAddress?.assumingMemoryBound(to: UInt8.self), body.count, sets, sets.count,
                halves.baseAddress?.assumingMemoryBound(to: UInt64.self))
        }
        (first, last) = halves
        return isRead
    }

    /// 32 hexadecimal digits.
    public var text: Text { .hexadecimal(first) + .hexadecimal(last) }
}

/// What tells whether two replicas of a stream hold the same items: the sum of what each item is, in whatever order they come.
/// docs/SYNC-PROTOCOL.md, Digest, defines it; the device, the cloud and the simulator compute it by this type alone.
///
/// ```swift
/// var digest = StreamDigest(of: "device/d1")
/// for item in items { try digest.add(item.model, item.key, item.body) }
/// digest.hash.text
/// ```
public struct StreamDigest: Sendable, Equatable {
    public let stream: Text
    public private(set) var items: Int64 = 0
    public private(set) var hash = ContentHash()
    /// How far the stream was followed, or goes.
    public var cursor: StreamCursor?
    /// Changes that wait in the device's outbox, of whatever stream.
    public var pending: Int64 = 0

    public init(of stream: Text) {
        self.stream = stream
    }

    /// Takes an item in, if it is one of the stream: of a model that travels, and not of another device or account.
    ///
    /// - Parameter body: The item as it is stored.
    /// - Returns: What it adds; nil when it is not in the stream.
    /// - Throws: `.corrupt` when the body is not JSON.
    @discardableResult
    public mutating func add(
        _ model: Model, _ key: ItemKey, _ body: UnsafeRawBufferPointer
    ) throws(IotoError) -> ContentHash? {
        guard Stream.home(of: body, model: model) == stream else { return nil }
        var item = ContentHash()
        guard item.add(model, key, body) else { throw IotoError(.corrupt, "item '\(key.hash)' '\(key.sort)': not JSON") }
        hash.add(item)
        items += 1
        return item
    }

    /// The same of a body that stands by itself.
    @discardableResult
    public mutating func add(_ model: Model, _ key: ItemKey, _ body: [UInt8]) throws(IotoError) -> ContentHash? {
        try body.withUnsafeBufferPointer { (body) throws(IotoError) in
            try add(model, key, UnsafeRawBufferPointer(body))
        }
    }
}

extension Stream {
    /// The stream that an item counts to where replicas are compared, from its body as it is stored: the one that carries it, and
    /// of a model that only goes up, its device's.
    public static func home(of body: UnsafeRawBufferPointer, model: Model) -> Text? {
        guard model.syncsUp || model.syncsDown else { return nil }
        if let device = text("deviceId", in: body) { return Stream.device(device) }
        guard model.syncsDown else { return nil }
        if let account = text("accountId", in: body) { return Stream.account(account) }
        return all
    }

    private static func text(_ name: Text, in body: UnsafeRawBufferPointer) -> Text? {
        guard let range = JSONScanner.member(name, in: body),
            let text = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: body[range]))?.stringValue, !text.isEmpty
        else { return nil }
        return text
    }
}
