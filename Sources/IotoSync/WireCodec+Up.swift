import IotoBase
import IotoJSON
import IotoSchema

/// What a device sends, and the hub's answer to it.
extension WireCodec {
    func encode(_ message: UpMessage) -> [UInt8] {
        var output: [UInt8] = []
        output.append(literal: message.inflates ? #"{"v":2,"p":1,"b":1,"z":1,"seq":"# : #"{"v":2,"p":1,"b":1,"seq":"#)
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
        return self.message(output, message.changes, isBrief: message.isBrief, replica: message.replica)
    }

    /// - Returns: The message without its changes.
    func decodeUp(_ json: JSON) throws(IotoError) -> UpMessage {
        guard let sequence = json["seq"]?.integerValue, let replica = json.hexadecimal("replica"),
            json["changes"]?.arrayValue != nil
        else { throw IotoError(.protocolViolation, "a syncToDynamo without valid seq, replica or changes") }
        var message = UpMessage(
            sequence: sequence, replica: replica, account: json["account"]?.stringValue ?? "", changes: [], epoch: epoch(json))
        if let history = json.hexadecimal("history"), let position = json["cursor"]?.integerValue {
            message.seen = StreamCursor(stream: Text(), history: history, position: position)
        }
        return message
    }

    func encode(_ ack: AckMessage) -> [UInt8] {
        var object: JSONObject = [
            "v": .integer(2), "z": .integer(Compression.isAvailable ? 1 : 0), "seq": .integer(ack.sequence),
            "updated": .string(ISODate.text(Int64(ack.time >> 16))), "time": .string(.hexadecimal(ack.time)),
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
        if let replica = ack.replica { object["replica"] = .string(.hexadecimal(replica)) }
        var output = JSON.object(object).text
        output.removeLast()
        output.reserveCapacity(output.count + ack.versions.count * (ack.replica == nil ? 80 : 20))
        if ack.replica == nil {
            output.append(literal: #","keys":["#)
            for (index, key) in ack.keys.enumerated() {
                if index > 0 { output.append(literal: ",") }
                JSON.write(string: key, to: &output)
            }
            output.append(literal: "]")
        }
        output.append(literal: #","vers":["#)
        for (index, version) in ack.versions.enumerated() {
            output.append(literal: index > 0 ? #",""# : #"""#)
            if version.writer == ack.replica { output.append(hexadecimal: version.time) } else { output.append(version: version) }
            output.append(literal: #"""#)
        }
        output.append(literal: "]")
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

    /// The reason that a hub gives, which may be anything, and is kept.
    static func reason(_ json: JSON) -> Text { (json["reason"]?.stringValue ?? Text()).prefix(bytesMax: 512) }

    /// What the hub says of one change, as a member of an answer under the name of its kind (`AckKind`).
    func decodeAnswer(_ kind: AckKind, _ entry: JSON, to sent: Change, context: Context) -> Settlement.Answer? {
        switch kind {
        case .stored: return .acknowledged
        case .again:
            guard let version = version(entry["to"]), version.time < HybridClock.timeMax else { return nil }
            return .again(as: version)
        case .rejected:
            let code = Int32(clamping: entry["code"]?.integerValue ?? Int64(ErrorCode.rejected.rawValue))
            return .rejected(code: code, reason: WireCodec.reason(entry))
        case .overruled, .won:
            let isWon = kind == .won
            do throws(IotoError) {
                let other = try changeDown(.whole(entry[isWon ? "over" : "by"] ?? .null), context: context)
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
}
