import IotoBase
import IotoJSON
import IotoSchema

/// A device's question for what is new, and the pages that answer it.
extension WireCodec {
    func encode(_ request: CatchUpRequest, timestamp: Int64) -> [UInt8] {
        var cursors = JSONObject()
        for cursor in request.cursors {
            var member: JSONObject = [
                "history": .string(.hexadecimal(cursor.history)), "cursor": .integer(cursor.position),
            ]
            if let floor = request.snapshots[cursor.stream] { member["snapshot"] = .integer(floor) }
            if let seen = request.seen[cursor.stream], seen > 0 { member["seen"] = .integer(seen) }
            if request.whole == cursor.stream { member["whole"] = .bool(true) }
            cursors[cursor.stream] = .object(member)
        }
        var object: JSONObject = [
            "v": .integer(2), "p": .integer(1), "z": .integer(request.inflates ? 1 : 0), "seq": .integer(request.number),
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
            if let seen = value["seen"]?.integerValue { request.seen[stream] = seen }
            if value["whole"]?.boolValue == true { request.whole = stream }
        }
        return request
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
        if let replica = page.without {
            output.append(literal: #","without":""#)
            output.append(hexadecimal: replica)
            output.append(literal: #"""#)
        }
        if page.end > 0 {
            output.append(literal: #","end":"#)
            output.append(decimal: page.end)
        }
        output.append(literal: #","time":""#)
        output.append(hexadecimal: page.time)
        output.append(literal: #"""#)
        return message(output, page.changes, isBrief: true, replica: 0)
    }

    /// Reads a page for a device.
    ///
    /// - Parameter context: What items of the device's own stream must state; items of other streams state what they do.
    /// - Returns: nil for the hub's plea that the device ask again, which carries no page.
    @inline(never)
    func decodePage(_ message: WireMessage, context: Context) throws(IotoError) -> PageMessage? {
        let json = message.json
        if json["ask"]?.boolValue == true { return nil }
        guard let stream = json["stream"]?.stringValue, let history = json.hexadecimal("history"),
            let (previous, cursor) = json.stretch, let time = json.hubTime,
            json["changes"]?.arrayValue != nil
        else { throw IotoError(.protocolViolation, "a BATCH without a valid stream, history, prev, cursor, time or changes") }
        var page = PageMessage(
            answers: json["seq"]?.integerValue, stream: stream, history: history, previous: previous, cursor: cursor,
            hasMore: json["more"]?.boolValue ?? false, isReset: json["reset"]?.boolValue ?? false,
            isWhole: json["snapshot"]?.boolValue ?? false, floor: json["floor"]?.integerValue ?? 0, time: time,
            changes: [])
        // The progress of all streams adds up, and is multiplied by whoever shows it.
        page.end = min(max(json["end"]?.integerValue ?? 0, 0), 1 << 52)
        page.without = json.hexadecimal("without")
        let context = stream.hasPrefix("device/") ? context : Context()
        for entry in try changes(of: message, replica: 0, context: context) {
            do throws(IotoError) {
                page.changes.append(try changeDown(entry, context: context))
            } catch {
                page.refused.append(error)
                guard page.isWhole else { continue }
                switch entry {
                case .plain(let change, _, _): page.refusedKeys.append(change.key)
                case .whole(let json): if let key = key(of: json["item"]) { page.refusedKeys.append(key) }
                }
            }
        }
        return page
    }

    /// The key of an item that is not taken.
    private func key(of item: JSON?) -> ItemKey? {
        guard let item = item?.objectValue, let name = item[schema.typeField]?.stringValue else { return nil }
        return try? schema.model(name)?.itemKey(of: item)
    }
}
