import IotoBase
import IotoJSON
import IotoSchema

/// A change within a message.
extension WireCodec {
    /// Appends `{"cmd":"upsert","key":"...","ver":"...","item":{...}}`; or, to one that is known to speak version 2,
    /// `{"ver":"...","item":{...}}`: the schema gives the key.
    ///
    /// - Parameters:
    ///   - isBrief: The latter.
    ///   - replica: The writer that need not stand in `ver`.
    ///   - isVersion1: Without `ver`, and with what version 1 wants in an item.
    ///   - context: What items of version 1 have to say.
    ///   - omitsBody: Stop in front of the item's own members, unless it has other names in the cloud.
    func append(
        _ change: Change, isVersion1: Bool = false, _ context: Context = Context(), isBrief: Bool = false,
        replica: UInt64 = 0, omitsBody: Bool = false, to output: inout [UInt8]
    ) {
        if !isBrief {
            output.append(literal: change.isRemoval ? #"{"cmd":"remove","key":"# : #"{"cmd":"upsert","key":"#)
            JSON.write(string: wireKey(of: change), to: &output)
            output.append(literal: ",")
        } else {
            output.append(literal: change.isRemoval ? #"{"cmd":"remove","# : "{")
        }
        if !isVersion1 {
            output.append(literal: #""ver":""#)
            if isBrief, change.version.writer == replica {
                output.append(hexadecimal: change.version.time)
            } else {
                output.append(version: change.version)
            }
            output.append(literal: #"","#)
        }
        if change.own != 0 {
            output.append(literal: #""own":""#)
            output.append(hexadecimal: change.own)
            output.append(literal: #"","#)
        }
        if change.isKnown, !isVersion1 { output.append(literal: #""known":true,"#) }
        if !change.stamps.isEmpty, !isVersion1 {
            output.append(literal: #""at":"#)
            change.stamps.write(to: &output)
            output.append(literal: ",")
        }
        output.append(literal: #""item":"#)
        if isVersion1 || schema.hasMappedModels, var item = mappedItem(of: change, isVersion1) {
            if isVersion1 { complete(&item, change, context) }
            item.write(to: &output)
        } else {
            appendItem(of: change, isBrief, omitsBody, to: &output)
            if omitsBody { return }
        }
        output.append(literal: "}")
    }

    private func appendItem(of change: Change, _ isBrief: Bool, _ omitsBody: Bool, to output: inout [UInt8]) {
        output.append(literal: "{")
        JSON.write(string: schema.typeField, to: &output)
        output.append(literal: ":")
        JSON.write(string: change.model, to: &output)
        if !isBrief, let attribute = keyAttribute {
            output.append(literal: ",")
            JSON.write(string: attribute, to: &output)
            output.append(literal: ":")
            JSON.write(string: wireKey(of: change), to: &output)
        }
        if omitsBody { return }
        if change.body.count > 2 {
            output.append(literal: ",")
            output.append(contentsOf: change.body[1..<change.body.count - 1])
        }
        output.append(literal: "}")
    }

    /// The item of a model whose properties have other names on the wire: it can't be joined in as it is stored.
    private func mappedItem(of change: Change, _ isAny: Bool) -> JSONObject? {
        guard let model = schema.model(change.model), isAny || model.isMapped,
            let body = (try? JSON.parse(change.body))?.objectValue
        else { return nil }
        return model.wireItem(body: body, key: change.key, includeHash: keyAttribute == schema.primary.hash)
    }

    /// Bytes that a change takes in a message at most, beside its body.
    func overhead(of change: Change, isBrief: Bool = false) -> Int {
        let names = schema.hasMappedModels ? schema.model(change.model)?.mappedNamesBytes ?? 0 : 0
        let fixed = isBrief ? 30 : 110
        var own = change.own == 0 && !change.isRemoval && !change.isKnown ? 0 : 48
        for (name, _) in change.stamps { own += written(name) + 22 }
        // The key stands twice.
        let key = isBrief && names == 0 ? 0 : 2 * written(wireKey(of: change)) + names
        return fixed + own + written(schema.typeField) + written(change.model) + key
    }

    /// Bytes of a text in JSON at most.
    func written(_ text: Text) -> Int {
        var count = text.count + 4
        for byte in text.bytes where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { count += 5 }
        return count
    }

    /// The change that `json` states, with its key computed from the item by the schema, never taken from the message.
    ///
    /// - Parameter context: Values that the item must have, `deviceId` for one; they take the place of those it states.
    /// - Returns: The change, its model, and its body once more as an object.
    func change(
        _ json: JSON, replica: UInt64 = 0, context: Context
    ) throws(IotoError) -> (change: Change, model: Model, body: JSONObject) {
        guard let version = version(json["ver"], replica) else {
            throw IotoError(.protocolViolation, "a change without a valid ver")
        }
        return try change(json, version, context: context)
    }

    /// The same for a change whose version does not stand in it.
    func change(
        _ json: JSON, _ version: Version, context: Context
    ) throws(IotoError) -> (change: Change, model: Model, body: JSONObject) {
        guard let item = json["item"]?.objectValue else {
            throw IotoError(.protocolViolation, "a change without a valid item")
        }
        let command = json["cmd"]?.stringValue ?? "upsert"
        guard let name = item[schema.typeField]?.stringValue, let model = schema.model(name) else {
            throw IotoError(.model, "an item of an unknown model")
        }
        let isRemoval = command == "remove"
        guard isRemoval || command == "upsert" || command == "create" || command == "update" else {
            throw IotoError(.protocolViolation, "unknown cmd \"\(command.prefix(bytesMax: 32))\"")
        }
        let prepared = try model.makeReplica(item, context: context)
        let body = isRemoval ? model.keyProperties(of: prepared.body) : prepared.body
        var change = Change(
            model: name, key: prepared.key, version: version, isRemoval: isRemoval,
            body: isRemoval ? JSON.object(body).text : prepared.text)
        change.own = json.hexadecimal("own") ?? 0
        change.isKnown = json["known"]?.boolValue ?? false
        if model.mergesFields, !isRemoval {
            let stamps = json["at"]?.objectValue
            guard body.count <= FieldMerge.propertiesMax, stamps?.count ?? 0 <= FieldMerge.stampsMax else {
                throw IotoError(.limit, "an item with more properties than are merged")
            }
            change.take(stamps: stamps)
        }
        if let key = json["key"], key.stringValue != wireKey(of: change) {
            throw IotoError(.key, "the key of an item of model \"\(name)\" is not the one that the schema gives it")
        }
        return (change, model, body)
    }

    /// What stands for the key on the wire: the sort key, or the hash key where the schema has no sort key.
    func wireKey(of change: Change) -> Text {
        schema.primary.sort == nil ? change.key.hash : change.key.sort
    }

    var keyAttribute: Text? { schema.primary.sort ?? schema.primary.hash }

    /// A change for a device.
    func changeDown(_ entry: WireChange, context: Context) throws(IotoError) -> Change {
        let change: Change, model: Model
        switch entry {
        case .plain(let read, let of, _): (change, model) = (read, of)
        case .whole(let json): (change, model, _) = try self.change(json, context: context)
        }
        #if IOTO_MUTANTS
            let isTrusted = Mutant.isActive(.deviceTrustsDirection)
        #else
            let isTrusted = false
        #endif
        guard isTrusted || model.existsOnDevice && model.syncsDown else {
            throw IotoError(.denied, "model \"\(change.model)\" does not come down")
        }
        return change
    }

    /// A message whose changes stand behind what it says else.
    ///
    /// - Parameter head: The message without its end.
    func message(_ head: [UInt8], _ changes: [Change], isBrief: Bool, replica: UInt64) -> [UInt8] {
        // Bodies are most of it: they are put in their place at once, which an array that grows does byte by byte where it is
        // compiled for size. But where a body is not written as it is stored, the front is all of the change.
        let isFrontAll = schema.hasMappedModels || !isBrief
        var fronts: [[UInt8]] = []
        fronts.reserveCapacity(changes.count)
        // The name of the changes, and the end.
        var room = head.count + 12 + 2
        for change in changes {
            var front: [UInt8] = []
            front.reserveCapacity(isFrontAll ? change.body.count + 256 : 128)
            append(change, isBrief: isBrief, replica: replica, omitsBody: !isFrontAll, to: &front)
            // A comma before it; then the body with a comma in place of its first byte and a brace behind, or without one two braces.
            room += 1 + front.count + (isFrontAll ? 0 : change.body.count + 2)
            fronts.append(front)
        }
        return [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            var writer = BytesWriter(buffer)
            writer.put(head)
            writer.put(#","changes":["#)
            for (index, front) in fronts.enumerated() {
                if index > 0 { writer.put(",") }
                writer.put(front)
                if isFrontAll { continue }
                let body = changes[index].body
                if body.count > 2 {
                    writer.put(",")
                    body.withUnsafeBytes { writer.put(UnsafeRawBufferPointer(rebasing: $0[1...])) }
                    writer.put("}")
                } else {
                    writer.put("}}")
                }
            }
            writer.put("]}")
            count = writer.count
        }
    }
}

/// Writes into memory that its owner has counted.
private struct BytesWriter {
    private let start: UnsafeMutableRawPointer?
    private(set) var count = 0

    init(_ buffer: UnsafeMutableBufferPointer<UInt8>) {
        start = UnsafeMutableRawPointer(buffer.baseAddress)
    }

    @inline(never)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start, let from = bytes.baseAddress else { return }
        (start + count).copyMemory(from: from, byteCount: bytes.count)
        count += bytes.count
    }

    mutating func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { put($0) }
    }

    @inline(never)
    mutating func put(_ literal: StaticString) {
        put(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }
}
