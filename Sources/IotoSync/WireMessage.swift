import IotoBase
import IotoJSON
import IotoSchema

/// A message as it came. Its changes, which are most of it, are read one by one, where they stand: `WireCodec.changes`.
struct WireMessage {
    /// Not compressed.
    let text: [UInt8]
    /// The message; without its changes, where these are left in the text.
    var json = JSON.null
    var isVersion1 = true
    /// Where the first change stands in the text; 0: they are in `json`.
    private(set) var start = 0

    /// How far into a message its changes begin at most, to be left where they are.
    private static let headMax = 2048
    private static let name: StaticString = #","changes":["#

    init(text: [UInt8]) {
        self.text = text
    }

    /// Reads the message up to its changes, if these are its last member, as this library writes them.
    mutating func split() -> Bool {
        // Quotes in a text are escaped: these are the name's, and if the object is not the whole one, its end does not follow.
        let size = WireMessage.name.utf8CodeUnitCount
        let found = text.withUnsafeBytes { (text) -> Int in
            guard text.count > size + 2, text[text.count - 1] == UInt8(ascii: "}"), text[text.count - 2] == UInt8(ascii: "]")
            else { return 0 }
            let name = UnsafeRawBufferPointer(start: WireMessage.name.utf8Start, count: size)
            for end in size..<min(text.count, WireMessage.headMax) where text[end - 1] == UInt8(ascii: "[") {
                if compareBytes(name, UnsafeRawBufferPointer(rebasing: text[(end - size)..<end])) == 0 { return end }
            }
            return 0
        }
        guard found > 0 else { return false }
        var head = Array(text[..<found])
        head.append(literal: "]}")
        guard let json = try? JSON.parse(head) else { return false }
        self.json = json
        start = found
        return true
    }

    /// Reads the changes with the rest.
    mutating func join() throws(IotoError) {
        if start == 0 { return }
        json = try JSON.parse(text)
        start = 0
    }

    /// A byte of the text; 0 behind its end.
    @inline(never)
    func at(_ index: Int) -> UInt8 { index < text.count ? text[index] : 0 }
}

/// A change in a message.
enum WireChange {
    /// One that was read where it stands. `isOwn`: its item says that it is the device's of the context.
    case plain(Change, Model, isOwn: Bool)
    /// One that is to be judged by its parts.
    case whole(JSON)
}

extension WireCodec {
    /// The changes of a message.
    ///
    /// - Parameters:
    ///   - replica: The writer of those that name none.
    ///   - context: Values that the items must have.
    /// - Throws: `.json` when the message is none; `.protocolViolation` when there are too many.
    @inline(never)
    func changes(of message: WireMessage, replica: UInt64, context: Context) throws(IotoError) -> [WireChange] {
        guard message.start > 0 else { return try whole(message.json) }
        var changes: [WireChange] = []
        var index = message.start
        // Of one model most often, whose name then is not looked up again.
        var known: (model: Model, hash: Text)?
        while message.at(index) == UInt8(ascii: "{") {
            guard changes.count < Limits.batchItemsMax else {
                throw IotoError(.protocolViolation, "a message of more than \(Limits.batchItemsMax) changes")
            }
            let plain = message.text.withUnsafeBytes {
                self.plain(UnsafeRawBufferPointer(rebasing: $0[index...]), replica, context, &known)
            }
            if let (change, bytes) = plain {
                changes.append(change)
                index += bytes
            } else {
                let start = index
                guard let end = message.text.withUnsafeBytes({ JSONScanner.end(ofValueAt: start, in: $0) }) else { break }
                changes.append(.whole(try JSON.parse(Array(message.text[start..<end]))))
                index = end
            }
            guard message.at(index) == UInt8(ascii: ","), message.at(index + 1) == UInt8(ascii: "{") else { break }
            index += 1
        }
        // With spaces between, for one, it takes a look at the whole message.
        guard message.at(index) == UInt8(ascii: "]"), index == message.text.count - 2 else {
            return try whole(try JSON.parse(message.text))
        }
        return changes
    }

    @inline(never)
    private func whole(_ json: JSON) throws(IotoError) -> [WireChange] {
        guard let changes = json["changes"]?.arrayValue, changes.count <= Limits.batchItemsMax else {
            throw IotoError(.protocolViolation, "a message without valid changes")
        }
        var whole: [WireChange] = []
        for change in changes { whole.append(.whole(change)) }
        return whole
    }

    /// Reads a change that is written as this library writes most of them: `{"ver":"...","item":{...}}`, perhaps with `own` or `known`.
    @inline(never)
    private func plain(
        _ text: UnsafeRawBufferPointer, _ replica: UInt64, _ context: Context, _ known: inout (model: Model, hash: Text)?
    ) -> (WireChange, bytes: Int)? {
        var scan = WireScan(text: text)
        guard scan.take(#"{"ver":""#), let time = scan.hexadecimal(), HybridClock.isReadable(time) else { return nil }
        var writer = replica
        if scan.take("-") {
            guard let said = scan.hexadecimal() else { return nil }
            writer = said
        } else if replica == 0 {
            return nil
        }
        var own: UInt64 = 0
        if scan.take(#"","own":""#) {
            guard let said = scan.hexadecimal() else { return nil }
            own = said
        }
        let isKnown = scan.take(#"","known":true,"item":"#)
        guard isKnown || scan.take(#"","item":"#) else { return nil }
        let item = UnsafeRawBufferPointer(rebasing: text[scan.index...])
        var model = known?.model
        var read = model?.readReplica(item, context: context, near: known?.hash)
        if read == nil {
            model = self.model(of: item)
            if model === known?.model { return nil }
            read = model?.readReplica(item, context: context)
        }
        guard let model, let read, !model.mergesFields else { return nil }
        known = (model, read.key.hash)
        scan.index += read.bytes
        guard scan.take("}") else { return nil }
        var change = Change(
            model: model.name, key: read.key, version: Version(time: time, writer: writer), isRemoval: false, body: read.body)
        change.own = own
        change.isKnown = isKnown
        return (.plain(change, model, isOwn: read.isOwn), scan.index)
    }

    /// The model that an item begins with.
    private func model(of item: UnsafeRawBufferPointer) -> Model? {
        guard let range = JSONScanner.member(schema.typeField, in: item) else { return nil }
        let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: item[range]))
        return value?.stringValue.flatMap { schema.model($0) }
    }
}

/// A place in a message.
private struct WireScan {
    let text: UnsafeRawBufferPointer
    var index = 0

    /// Steps over a text, if it stands there.
    @inline(never)
    mutating func take(_ literal: StaticString) -> Bool {
        let size = literal.utf8CodeUnitCount
        guard text.count - index >= size,
            compareBytes(
                UnsafeRawBufferPointer(start: literal.utf8Start, count: size),
                UnsafeRawBufferPointer(rebasing: text[index..<index + size])) == 0
        else { return false }
        index += size
        return true
    }

    /// Steps over sixteen hexadecimal digits.
    @inline(never)
    mutating func hexadecimal() -> UInt64? {
        guard text.count - index >= 16 else { return nil }
        let value = parseHexadecimal(UnsafeRawBufferPointer(rebasing: text[index..<index + 16]))
        if value != nil { index += 16 }
        return value
    }
}
