import IotoBase
import IotoJSON
import IotoSchema

/// Writes and reads the messages of protocol version 2. docs/SYNC-PROTOCOL.md is the reference.
///
/// Writing joins the stored JSON of items into the message as it is: numbers keep every digit, and nothing is parsed.
/// Reading believes nothing: a message that is not of the protocol throws, and a change that does not fit the schema is
/// refused by itself, with its reason, while the others go on.
struct WireCodec: Sendable {
    let schema: Schema

    // MARK: Changes

    /// Appends `{"cmd":"upsert","key":"...","ver":"...","item":{...}}`.
    func append(_ change: Change, to output: inout [UInt8]) {
        output.append(literal: change.isRemoval ? #"{"cmd":"remove","key":"# : #"{"cmd":"upsert","key":"#)
        JSON.write(string: wireKey(of: change), to: &output)
        output.append(literal: #","ver":""#)
        output.append(contentsOf: change.version.text.bytes)
        output.append(literal: #"","item":"#)
        if schema.hasMappedModels, let item = mappedItem(of: change) {
            item.write(to: &output)
        } else {
            appendItem(of: change, to: &output)
        }
        output.append(literal: "}")
    }

    private func appendItem(of change: Change, to output: inout [UInt8]) {
        output.append(literal: "{")
        JSON.write(string: schema.typeField, to: &output)
        output.append(literal: ":")
        JSON.write(string: change.model, to: &output)
        if let attribute = keyAttribute {
            output.append(literal: ",")
            JSON.write(string: attribute, to: &output)
            output.append(literal: ":")
            JSON.write(string: wireKey(of: change), to: &output)
        }
        if change.body.count > 2 {
            output.append(literal: ",")
            output.append(contentsOf: change.body[1..<change.body.count - 1])
        }
        output.append(literal: "}")
    }

    /// The item of a model whose properties have other names on the wire: it can't be joined in as it is stored.
    private func mappedItem(of change: Change) -> JSONObject? {
        guard let model = schema.model(change.model), model.isMapped,
            let body = (try? JSON.parse(change.body))?.objectValue
        else { return nil }
        return model.wireItem(body: body, key: change.key, includeHash: keyAttribute == schema.primary.hash)
    }

    /// Bytes that a change takes in a message at most, beside its body.
    func overhead(of change: Change) -> Int {
        // The key stands twice; each of its bytes may need an escape of six.
        let names = schema.hasMappedModels ? schema.model(change.model)?.mappedNamesBytes ?? 0 : 0
        return 128 + schema.typeField.count + change.model.count + wireKey(of: change).count * 12 + names
    }

    /// The change that `json` states, with its key computed from the item by the schema, never taken from the message.
    ///
    /// - Parameter context: Values that the item must have, `deviceId` for one; they take the place of those it states.
    /// - Returns: The change, its model, and its body once more as an object.
    func change(
        _ json: JSON, context: Context
    ) throws(IotoError) -> (change: Change, model: Model, body: JSONObject) {
        guard let item = json["item"]?.objectValue, let command = json["cmd"]?.stringValue,
            let version = json["ver"]?.stringValue.flatMap({ Version($0) }),
            version.time < HybridClock.timeMax
        else { throw IotoError(.protocolViolation, "a change without a valid cmd, ver or item") }
        guard let name = item[schema.typeField]?.stringValue, let model = schema.model(name) else {
            throw IotoError(.model, "an item of an unknown model")
        }
        let isRemoval = command == "remove"
        guard isRemoval || command == "upsert" || command == "create" || command == "update" else {
            throw IotoError(.protocolViolation, "unknown cmd \"\(command)\"")
        }
        let prepared = try model.makeReplica(item, context: context)
        let body = isRemoval ? model.keyProperties(of: prepared.body) : prepared.body
        let change = Change(
            model: name, key: prepared.key, version: version, isRemoval: isRemoval,
            body: isRemoval ? JSON.object(body).text : prepared.text)
        guard json["key"]?.stringValue == wireKey(of: change) else {
            throw IotoError(.key, "the key of an item of model \"\(name)\" is not the one that the schema gives it")
        }
        return (change, model, body)
    }

    /// What stands for the key on the wire: the sort key, or the hash key where the schema has no sort key.
    func wireKey(of change: Change) -> Text {
        schema.primary.sort == nil ? change.key.hash : change.key.sort
    }

    private var keyAttribute: Text? { schema.primary.sort ?? schema.primary.hash }

    // MARK: Up

    func encode(_ message: UpMessage) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: #"{"v":2,"seq":"#)
        output.append(decimal: message.sequence)
        output.append(literal: #","replica":""#)
        output.append(hexadecimal: message.replica)
        output.append(literal: #"","account":"#)
        JSON.write(string: message.account, to: &output)
        append(changes: message.changes, to: &output)
        output.append(literal: "}")
        return output
    }

    func encode(_ request: CatchUpRequest, timestamp: Int64) -> [UInt8] {
        var cursors = JSONObject()
        for cursor in request.cursors {
            cursors[cursor.stream] = .object([
                "history": .string(.hexadecimal(cursor.history)), "cursor": .integer(cursor.position),
            ])
        }
        return JSON.object([
            "v": .integer(2), "seq": .integer(request.number), "timestamp": .string(ISODate.text(timestamp)),
            "replica": .string(.hexadecimal(request.replica)), "account": .string(request.account),
            "cursors": .object(cursors),
        ]).text
    }

    /// - Returns: The message without its changes, and those as they stand, to be read one by one.
    func decodeUp(_ payload: [UInt8]) throws(IotoError) -> (message: UpMessage, changes: [JSON]) {
        let json = try parse(payload)
        guard let sequence = json["seq"]?.integerValue, let replica = json.hexadecimal("replica"),
            let changes = json["changes"]?.arrayValue, changes.count <= Limits.batchItemsMax
        else { throw IotoError(.protocolViolation, "a syncToDynamo without valid seq, replica or changes") }
        let message = UpMessage(
            sequence: sequence, replica: replica, account: json["account"]?.stringValue ?? "", changes: [])
        return (message, changes)
    }

    func decodeCatchUp(_ payload: [UInt8]) throws(IotoError) -> CatchUpRequest {
        let json = try parse(payload)
        guard let number = json["seq"]?.integerValue, let replica = json.hexadecimal("replica"),
            let cursors = json["cursors"]?.objectValue, cursors.count <= 8
        else { throw IotoError(.protocolViolation, "a syncDown without valid seq, replica or cursors") }
        var request = CatchUpRequest(
            number: number, replica: replica, account: json["account"]?.stringValue ?? "", cursors: [])
        for (stream, value) in cursors.members {
            guard let history = value.hexadecimal("history"), let position = value["cursor"]?.integerValue,
                position >= 0
            else { throw IotoError(.protocolViolation, "a syncDown with an invalid cursor") }
            request.cursors.append(StreamCursor(stream: stream, history: history, position: position))
        }
        return request
    }

    // MARK: Down

    func encode(_ ack: AckMessage) -> [UInt8] {
        var object: JSONObject = [
            "v": .integer(2), "seq": .integer(ack.sequence),
            "keys": .array(ack.keys.map { .string($0) }),
            "updated": .string(ISODate.text(Int64(ack.time >> 16))),
            "vers": .array(ack.versions.map { .string($0.text) }),
            "time": .string(.hexadecimal(ack.time)),
        ]
        if !ack.rejections.isEmpty {
            object["rejected"] = .array(
                ack.rejections.map {
                    .object([
                        "ver": .string($0.version.text), "code": .integer(Int64($0.code)), "reason": .string($0.reason),
                    ])
                })
        }
        if !ack.restamps.isEmpty {
            object["restamped"] = .array(
                ack.restamps.map { .object(["ver": .string($0.version.text), "to": .string($0.newVersion.text)]) })
        }
        if let advance = ack.advance {
            object["feed"] = .object([
                "stream": .string(advance.stream), "history": .string(.hexadecimal(advance.history)),
                "prev": .integer(advance.previous), "cursor": .integer(advance.cursor),
            ])
        }
        return JSON.object(object).text
    }

    func decodeAck(_ payload: [UInt8]) throws(IotoError) -> AckMessage {
        let json = try parse(payload)
        guard let sequence = json["seq"]?.integerValue, let time = json.hexadecimal("time"),
            let versions = json["vers"]?.arrayValue
        else { throw IotoError(.protocolViolation, "a SYNC without valid seq, time or vers") }
        var ack = AckMessage(
            sequence: sequence, keys: [], versions: [], rejections: [], restamps: [], time: time)
        for entry in versions {
            ack.versions.append(try version(entry))
        }
        for entry in json["rejected"]?.arrayValue ?? [] {
            let code = Int32(clamping: entry["code"]?.integerValue ?? Int64(ErrorCode.rejected.rawValue))
            ack.rejections.append(
                .init(version: try version(entry["ver"]), code: code, reason: entry["reason"]?.stringValue ?? ""))
        }
        for entry in json["restamped"]?.arrayValue ?? [] {
            ack.restamps.append(.init(version: try version(entry["ver"]), newVersion: try version(entry["to"])))
        }
        if let feed = json["feed"] {
            guard let stream = feed["stream"]?.stringValue, let history = feed.hexadecimal("history"),
                let previous = feed["prev"]?.integerValue, let cursor = feed["cursor"]?.integerValue,
                previous >= 0, cursor >= previous
            else { throw IotoError(.protocolViolation, "a SYNC with an invalid feed") }
            ack.advance = FeedAdvance(stream: stream, history: history, previous: previous, cursor: cursor)
        }
        return ack
    }

    func encode(_ page: PageMessage) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: #"{"v":2,"#)
        if let answers = page.answers {
            output.append(literal: #""seq":"#)
            output.append(decimal: answers)
            output.append(literal: ",")
        }
        output.append(literal: #""stream":"#)
        JSON.write(string: page.stream, to: &output)
        output.append(literal: #","history":""#)
        output.append(hexadecimal: page.history)
        output.append(literal: #"","prev":"#)
        output.append(decimal: page.previous)
        output.append(literal: #","cursor":"#)
        output.append(decimal: page.cursor)
        output.append(literal: page.hasMore ? #","more":true"# : #","more":false"#)
        if page.isReset { output.append(literal: #","reset":true"#) }
        output.append(literal: #","time":""#)
        output.append(hexadecimal: page.time)
        output.append(literal: #"""#)
        append(changes: page.changes, to: &output)
        output.append(literal: "}")
        return output
    }

    /// Reads a page for a device.
    ///
    /// - Parameter context: What items of the device's own stream must state; items of other streams state what they do.
    /// - Returns: nil for the hub's plea that the device ask again, which carries no page.
    func decodePage(_ payload: [UInt8], context: Context) throws(IotoError) -> PageMessage? {
        let json = try parse(payload)
        if json["ask"]?.boolValue == true { return nil }
        guard let stream = json["stream"]?.stringValue, let history = json.hexadecimal("history"),
            let previous = json["prev"]?.integerValue, let cursor = json["cursor"]?.integerValue,
            let time = json.hexadecimal("time"), let changes = json["changes"]?.arrayValue,
            previous >= 0, cursor >= previous, changes.count <= Limits.batchItemsMax
        else { throw IotoError(.protocolViolation, "a BATCH without a valid stream, history, prev, cursor, time or changes") }
        var page = PageMessage(
            answers: json["seq"]?.integerValue, stream: stream, history: history, previous: previous, cursor: cursor,
            hasMore: json["more"]?.boolValue ?? false, isReset: json["reset"]?.boolValue ?? false, time: time,
            changes: [])
        let isOwn = stream.hasPrefix("device/")
        for entry in changes {
            do throws(IotoError) {
                let (change, model, _) = try self.change(entry, context: isOwn ? context : Context())
                #if IOTO_MUTANTS
                    let isTrusted = Mutant.isActive(.deviceTrustsDirection)
                #else
                    let isTrusted = false
                #endif
                guard isTrusted || model.existsOnDevice && model.syncsDown else {
                    throw IotoError(.denied, "model \"\(change.model)\" does not come down")
                }
                page.changes.append(change)
            } catch {
                page.refused.append(error)
            }
        }
        return page
    }

    // MARK: Parts

    private func append(changes: [Change], to output: inout [UInt8]) {
        output.append(literal: #","changes":["#)
        for (index, change) in changes.enumerated() {
            if index > 0 { output.append(literal: ",") }
            append(change, to: &output)
        }
        output.append(literal: "]")
    }

    private func parse(_ payload: [UInt8]) throws(IotoError) -> JSON {
        let json = try JSON.parse(payload)
        guard json["v"]?.integerValue == 2 else {
            throw IotoError(.protocolViolation, "a message of another protocol version than 2")
        }
        return json
    }

    private func version(_ json: JSON?) throws(IotoError) -> Version {
        guard let version = json?.stringValue.flatMap({ Version($0) }), version.time < HybridClock.timeMax else {
            throw IotoError(.protocolViolation, "an invalid version")
        }
        return version
    }
}

extension JSON {
    /// A member that is sixteen hexadecimal digits.
    fileprivate func hexadecimal(_ name: Text) -> UInt64? {
        self[name]?.stringValue.flatMap { parseHexadecimal($0.bytes) }
    }
}

extension Text {
    static func hexadecimal(_ number: UInt64) -> Text {
        var text = Text()
        text.appendHexadecimal(number)
        return text
    }
}

extension [UInt8] {
    fileprivate mutating func append(literal: StaticString) {
        literal.withUTF8Buffer { append(contentsOf: $0) }
    }

    fileprivate mutating func append(decimal number: Int64) {
        append(contentsOf: Text(decimal: number).bytes)
    }

    fileprivate mutating func append(hexadecimal number: UInt64) {
        append(contentsOf: Text.hexadecimal(number).bytes)
    }
}
