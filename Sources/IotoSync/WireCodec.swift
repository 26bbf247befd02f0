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

    /// Appends `{"cmd":"upsert","key":"...","ver":"...","item":{...}}`; or, to one that is known to speak version 2,
    /// `{"ver":"...","item":{...}}`: the schema gives the key.
    ///
    /// - Parameters:
    ///   - isBrief: The latter.
    ///   - replica: The writer that need not stand in `ver`.
    ///   - isVersion1: Without `ver`, and with what version 1 wants in an item.
    ///   - context: What items of version 1 have to say.
    func append(
        _ change: Change, isVersion1: Bool = false, _ context: Context = Context(), isBrief: Bool = false,
        replica: UInt64 = 0, to output: inout [UInt8]
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
                output.append(contentsOf: change.version.text.bytes)
            }
            output.append(literal: #"","#)
        }
        if change.own != 0 {
            output.append(literal: #""own":""#)
            output.append(hexadecimal: change.own)
            output.append(literal: #"","#)
        }
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
            appendItem(of: change, isBrief, to: &output)
        }
        output.append(literal: "}")
    }

    private func appendItem(of change: Change, _ isBrief: Bool, to output: inout [UInt8]) {
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
        var own = change.own == 0 && !change.isRemoval ? 0 : 48
        for (name, _) in change.stamps { own += written(name) + 22 }
        // The key stands twice.
        let key = isBrief && names == 0 ? 0 : 2 * written(wireKey(of: change)) + names
        return fixed + own + written(schema.typeField) + written(change.model) + key
    }

    /// Bytes of a text in JSON at most.
    private func written(_ text: Text) -> Int {
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
            throw IotoError(.protocolViolation, "unknown cmd \"\(command)\"")
        }
        let prepared = try model.makeReplica(item, context: context)
        let body = isRemoval ? model.keyProperties(of: prepared.body) : prepared.body
        var change = Change(
            model: name, key: prepared.key, version: version, isRemoval: isRemoval,
            body: isRemoval ? JSON.object(body).text : prepared.text)
        change.own = json.hexadecimal("own") ?? 0
        if model.mergesFields, !isRemoval { change.take(stamps: json["at"]?.objectValue) }
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

    // MARK: Up

    func encode(_ message: UpMessage) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: message.inflates ? #"{"v":2,"z":1,"seq":"# : #"{"v":2,"seq":"#)
        output.append(decimal: message.sequence)
        output.append(literal: #","replica":""#)
        output.append(hexadecimal: message.replica)
        output.append(literal: #"","account":"#)
        JSON.write(string: message.account, to: &output)
        if message.epoch.number > 0 {
            output.append(literal: #","epoch":"#)
            output.append(decimal: message.epoch.number)
            output.append(literal: #","nonce":""#)
            output.append(hexadecimal: message.epoch.nonce)
            output.append(literal: #"""#)
        }
        if let seen = message.seen {
            output.append(literal: #","history":""#)
            output.append(hexadecimal: seen.history)
            output.append(literal: #"","cursor":"#)
            output.append(decimal: seen.position)
        }
        append(changes: message.changes, isBrief: message.isBrief, replica: message.replica, to: &output)
        output.append(literal: "}")
        return output
    }

    func encode(_ request: CatchUpRequest, timestamp: Int64) -> [UInt8] {
        var cursors = JSONObject()
        for cursor in request.cursors {
            var member: JSONObject = [
                "history": .string(.hexadecimal(cursor.history)), "cursor": .integer(cursor.position),
            ]
            if let floor = request.snapshots[cursor.stream] { member["snapshot"] = .integer(floor) }
            cursors[cursor.stream] = .object(member)
        }
        var object: JSONObject = [
            "v": .integer(2), "z": .integer(request.inflates ? 1 : 0), "seq": .integer(request.number),
            "timestamp": .string(ISODate.text(timestamp)),
            "replica": .string(.hexadecimal(request.replica)), "account": .string(request.account),
            "cursors": .object(cursors),
        ]
        if request.epoch.number > 0 {
            object["epoch"] = .integer(request.epoch.number)
            object["nonce"] = .string(.hexadecimal(request.epoch.nonce))
        }
        return JSON.object(object).text
    }

    /// - Returns: The message without its changes, and those as they stand, to be read one by one.
    func decodeUp(_ json: JSON) throws(IotoError) -> (message: UpMessage, changes: [JSON]) {
        guard let sequence = json["seq"]?.integerValue, let replica = json.hexadecimal("replica"),
            let changes = json["changes"]?.arrayValue, changes.count <= Limits.batchItemsMax
        else { throw IotoError(.protocolViolation, "a syncToDynamo without valid seq, replica or changes") }
        var message = UpMessage(
            sequence: sequence, replica: replica, account: json["account"]?.stringValue ?? "", changes: [], epoch: epoch(json))
        if let history = json.hexadecimal("history"), let position = json["cursor"]?.integerValue {
            message.seen = StreamCursor(stream: Text(), history: history, position: position)
        }
        return (message, changes)
    }

    func decodeCatchUp(_ json: JSON) throws(IotoError) -> CatchUpRequest {
        guard let number = json["seq"]?.integerValue, let replica = json.hexadecimal("replica"),
            let cursors = json["cursors"]?.objectValue, cursors.count <= 8
        else { throw IotoError(.protocolViolation, "a syncDown without valid seq, replica or cursors") }
        var request = CatchUpRequest(
            number: number, replica: replica, account: json["account"]?.stringValue ?? "", cursors: [], epoch: epoch(json))
        for (stream, value) in cursors.members {
            guard let history = value.hexadecimal("history"), let position = value["cursor"]?.integerValue,
                position >= 0
            else { throw IotoError(.protocolViolation, "a syncDown with an invalid cursor") }
            request.cursors.append(StreamCursor(stream: stream, history: history, position: position))
            if let floor = value["snapshot"]?.integerValue { request.snapshots[stream] = floor }
        }
        return request
    }

    // MARK: Down

    func encode(_ ack: AckMessage) -> [UInt8] {
        var object: JSONObject = [
            "v": .integer(2), "z": .integer(Compression.isAvailable ? 1 : 0), "seq": .integer(ack.sequence),
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
        if !ack.again.isEmpty {
            object["again"] = .array(
                ack.again.map { .object(["ver": .string($0.version.text), "to": .string($0.newVersion.text)]) })
        }
        if let advance = ack.advance {
            object["feed"] = .object([
                "stream": .string(advance.stream), "history": .string(.hexadecimal(advance.history)),
                "prev": .integer(advance.previous), "cursor": .integer(advance.cursor),
            ])
        }
        var output = JSON.object(object).text
        output.removeLast()
        for hasWon in [false, true] {
            var isFirst = true
            for entry in ack.met where (entry.taken != nil) == hasWon {
                output.append(literal: isFirst ? (hasWon ? #","won":["# : #","overruled":["#) : ",")
                isFirst = false
                output.append(literal: #"{"ver":""#)
                output.append(contentsOf: entry.version.text.bytes)
                if let taken = entry.taken {
                    output.append(literal: #"","cursor":"#)
                    output.append(decimal: taken)
                    output.append(literal: #","over":"#)
                } else {
                    output.append(literal: #"","by":"#)
                }
                append(entry.other, to: &output)
                output.append(literal: "}")
            }
            if !isFirst { output.append(literal: "]") }
        }
        output.append(literal: "}")
        return output
    }

    /// What the hub says of one change, as a member of an answer under the name of its kind (`AckKind`).
    func decodeAnswer(_ kind: AckKind, _ entry: JSON, to sent: Change, context: Context) -> Settlement.Answer? {
        switch kind {
        case .stored: return .acknowledged
        case .again: return version(entry["to"]).map { .again(as: $0) }
        case .rejected:
            let code = Int32(clamping: entry["code"]?.integerValue ?? Int64(ErrorCode.rejected.rawValue))
            return .rejected(code: code, reason: entry["reason"]?.stringValue ?? "")
        case .overruled, .won:
            let isWon = kind == .won
            do throws(IotoError) {
                let other = try changeDown(entry[isWon ? "over" : "by"] ?? .null, context: context)
                guard other.key == sent.key else { throw IotoError(.protocolViolation, "it met another item") }
                return isWon ? .won(over: other) : .overruled(by: other)
            } catch {
                return isWon ? .acknowledged : .rejected(code: error.code.rawValue, reason: error.message)
            }
        }
    }

    /// The feed's move that an answer tells of; nil when it tells none that makes sense.
    func decodeAdvance(_ json: JSON?) -> FeedAdvance? {
        guard let json, let stream = json["stream"]?.stringValue, let history = json.hexadecimal("history"),
            let (previous, cursor) = json.stretch
        else { return nil }
        return FeedAdvance(stream: stream, history: history, previous: previous, cursor: cursor)
    }

    /// A change for a device.
    private func changeDown(_ json: JSON, context: Context) throws(IotoError) -> Change {
        let (change, model, _) = try change(json, context: context)
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

    func encode(_ page: PageMessage) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: Compression.isAvailable ? #"{"v":2,"z":1,"# : #"{"v":2,"#)
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
        if page.isReset {
            output.append(literal: #","reset":true,"floor":"#)
            output.append(decimal: page.floor)
        }
        if page.isWhole { output.append(literal: #","snapshot":true"#) }
        if page.end > 0 {
            output.append(literal: #","end":"#)
            output.append(decimal: page.end)
        }
        output.append(literal: #","time":""#)
        output.append(hexadecimal: page.time)
        output.append(literal: #"""#)
        append(changes: page.changes, isBrief: true, replica: 0, to: &output)
        output.append(literal: "}")
        return output
    }

    /// Reads a page for a device.
    ///
    /// - Parameter context: What items of the device's own stream must state; items of other streams state what they do.
    /// - Returns: nil for the hub's plea that the device ask again, which carries no page.
    func decodePage(_ json: JSON, context: Context) throws(IotoError) -> PageMessage? {
        if json["ask"]?.boolValue == true { return nil }
        guard let stream = json["stream"]?.stringValue, let history = json.hexadecimal("history"),
            let (previous, cursor) = json.stretch, let time = json.hexadecimal("time"),
            let changes = json["changes"]?.arrayValue, changes.count <= Limits.batchItemsMax
        else { throw IotoError(.protocolViolation, "a BATCH without a valid stream, history, prev, cursor, time or changes") }
        var page = PageMessage(
            answers: json["seq"]?.integerValue, stream: stream, history: history, previous: previous, cursor: cursor,
            hasMore: json["more"]?.boolValue ?? false, isReset: json["reset"]?.boolValue ?? false,
            isWhole: json["snapshot"]?.boolValue ?? false, floor: json["floor"]?.integerValue ?? 0, time: time,
            changes: [])
        page.end = json["end"]?.integerValue ?? 0
        let isOwn = stream.hasPrefix("device/")
        for entry in changes {
            do throws(IotoError) {
                page.changes.append(try changeDown(entry, context: isOwn ? context : Context()))
            } catch {
                page.refused.append(error)
                if page.isWhole, let key = key(of: entry["item"]) { page.refusedKeys.append(key) }
            }
        }
        return page
    }

    // MARK: Flow control

    /// The hub's answer to a message that it can't work on now.
    func encodeRetry(_ sequence: Int64, after milliseconds: Int64) -> [UInt8] {
        JSON.object(["v": .integer(2), "seq": .integer(sequence), "retryAfter": .integer(milliseconds)]).text
    }

    /// What such an answer says; nil when it is none.
    func decodeRetry(_ json: JSON) -> (sequence: Int64, milliseconds: Int64)? {
        guard let wait = json["retryAfter"]?.integerValue, wait >= 0, let sequence = json["seq"]?.integerValue else {
            return nil
        }
        return (sequence, wait)
    }

    // MARK: Epoch

    private func epoch(_ json: JSON) -> Epoch {
        guard let number = json["epoch"]?.integerValue, number > 0, let nonce = json.hexadecimal("nonce") else { return Epoch() }
        return Epoch(number: number, nonce: nonce)
    }

    /// The nonce of a message that is not read whole.
    func nonce(of payload: [UInt8]) -> UInt64? {
        Compression.inflate(payload).withUnsafeBytes { payload in
            guard let range = JSONScanner.member("nonce", in: payload) else { return nil }
            let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: payload[range]))
            return value?.stringValue.flatMap { parseHexadecimal($0.bytes) }
        }
    }

    /// Says to the database with this nonce that another one has gone on.
    func encodeFence(_ nonce: UInt64) -> [UInt8] {
        JSON.object(["v": .integer(2), "fenced": .string(.hexadecimal(nonce))]).text
    }

    /// The number of a message of version 2 that is not read whole.
    func sequence(of payload: [UInt8]) -> Int64? {
        Compression.inflate(payload).withUnsafeBytes { payload in
            func integer(_ name: Text) -> Int64? {
                guard let range = JSONScanner.member(name, in: payload) else { return nil }
                return JSONScanner.decode(UnsafeRawBufferPointer(rebasing: payload[range]))?.integerValue
            }
            return integer("v") == 2 ? integer("seq") : nil
        }
    }

    /// The key of an item that is not taken.
    private func key(of item: JSON?) -> ItemKey? {
        guard let item = item?.objectValue, let name = item[schema.typeField]?.stringValue else { return nil }
        return try? schema.model(name)?.itemKey(of: item)
    }

    // MARK: Parts

    private func append(changes: [Change], isBrief: Bool, replica: UInt64, to output: inout [UInt8]) {
        output.append(literal: #","changes":["#)
        for (index, change) in changes.enumerated() {
            if index > 0 { output.append(literal: ",") }
            append(change, isBrief: isBrief, replica: replica, to: &output)
        }
        output.append(literal: "]")
    }

    /// Reads a message of either version.
    func parse(_ payload: [UInt8]) throws(IotoError) -> (json: JSON, isVersion1: Bool) {
        let json = try JSON.parse(Compression.inflate(payload))
        guard json.objectValue != nil else { throw IotoError(.protocolViolation, "a message that is no object") }
        guard let version = json["v"] else { return (json, true) }
        switch version.integerValue {
        case 1: return (json, true)
        case 2: return (json, false)
        default: throw IotoError(.protocolViolation, "a message of another protocol version than 1 and 2")
        }
    }

    /// A version that a clock can give; nil when it is none.
    ///
    /// - Parameter replica: The writer of one that says none.
    func version(_ json: JSON?, _ replica: UInt64 = 0) -> Version? {
        guard let text = json?.stringValue else { return nil }
        var version = Version(text)
        if text.count == 16, replica != 0, let time = parseHexadecimal(text.bytes) { version = Version(time: time, writer: replica) }
        guard let version, version.time < HybridClock.timeMax else { return nil }
        return version
    }
}

extension JSON {
    /// The part of a feed that a message covers, behind `prev` up to `cursor`.
    fileprivate var stretch: (previous: Int64, cursor: Int64)? {
        guard let previous = self["prev"]?.integerValue, let cursor = self["cursor"]?.integerValue, previous >= 0,
            cursor >= previous
        else { return nil }
        return (previous, cursor)
    }

    /// A member that is sixteen hexadecimal digits.
    func hexadecimal(_ name: Text) -> UInt64? {
        self[name]?.stringValue.flatMap { parseHexadecimal($0.bytes) }
    }
}

extension Text {
    public static func hexadecimal(_ number: UInt64) -> Text {
        var text = Text()
        text.appendHexadecimal(number)
        return text
    }
}

extension [UInt8] {
    mutating func append(literal: StaticString) {
        literal.withUTF8Buffer { append(contentsOf: $0) }
    }

    mutating func append(decimal number: Int64) {
        append(contentsOf: Text(decimal: number).bytes)
    }

    mutating func append(hexadecimal number: UInt64) {
        append(contentsOf: Text.hexadecimal(number).bytes)
    }
}
