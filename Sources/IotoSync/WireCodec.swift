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

    /// Reads a message of either version.
    func parse(_ payload: [UInt8]) throws(IotoError) -> WireMessage {
        var message = WireMessage(text: Compression.inflate(payload))
        if !message.split() { message.json = try JSON.parse(message.text) }
        guard message.json.objectValue != nil else { throw IotoError(.protocolViolation, "a message that is no object") }
        switch message.json["v"].map({ $0.integerValue }) {
        case .none, .some(1): try message.join()
        case .some(2): message.isVersion1 = false
        default: throw IotoError(.protocolViolation, "a message of another protocol version than 1 and 2")
        }
        return message
    }

    /// A version that a clock can give; nil when it is none.
    ///
    /// - Parameter replica: The writer of one that says none.
    func version(_ json: JSON?, _ replica: UInt64 = 0) -> Version? {
        guard let text = json?.stringValue else { return nil }
        var version = Version(text)
        if text.count == 16, replica != 0, let time = text.hexadecimal { version = Version(time: time, writer: replica) }
        guard let version, HybridClock.isReadable(version.time) else { return nil }
        return version
    }

    // MARK: Flow control

    /// The hub's answer to a message that it can't work on now, or not as it is.
    func encodeRetry(_ sequence: Int64, after milliseconds: Int64, _ error: IotoError? = nil) -> [UInt8] {
        var object: JSONObject = ["v": .integer(2), "seq": .integer(sequence), "retryAfter": .integer(milliseconds)]
        if let error {
            object["code"] = .integer(Int64(error.code.rawValue))
            let reason: Text = "the cloud refuses what this device sends: " + error.message
            object["reason"] = .string(reason.prefix(bytesMax: HubReplicator.reasonBytesMax))
        }
        return JSON.object(object).text
    }

    /// What such an answer says; nil when it is none.
    ///
    /// - Returns: Also why the message is refused; nil when it may be taken the next time.
    func decodeRetry(_ json: JSON) -> (sequence: Int64, milliseconds: Int64, refusal: IotoError?)? {
        guard let wait = json["retryAfter"]?.integerValue, wait >= 0, let sequence = json["seq"]?.integerValue else {
            return nil
        }
        return (sequence, wait, json["code"] == nil ? nil : IotoError(.denied, WireCodec.reason(json)))
    }

    // MARK: Epoch

    func epoch(_ json: JSON) -> Epoch {
        guard let number = json["epoch"]?.integerValue, number > 0, let nonce = json.hexadecimal("nonce") else { return Epoch() }
        return Epoch(number: number, nonce: nonce)
    }

    /// The nonce of a message that is not read whole.
    func nonce(of payload: [UInt8]) -> UInt64? {
        Compression.inflate(payload).withUnsafeBytes { payload in
            guard let range = JSONScanner.member("nonce", in: payload) else { return nil }
            let value = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: payload[range]))
            return value?.stringValue.flatMap { $0.hexadecimal }
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
}

extension JSON {
    /// The part of a feed that a message covers, behind `prev` up to `cursor`.
    var stretch: (previous: Int64, cursor: Int64)? {
        guard let previous = self["prev"]?.integerValue, let cursor = self["cursor"]?.integerValue, previous >= 0,
            cursor >= previous
        else { return nil }
        return (previous, cursor)
    }

    /// What the hub's clock says; nil when it is not to be believed.
    var hubTime: UInt64? {
        guard let time = hexadecimal("time"), time < HybridClock.timeMax else { return nil }
        return time
    }

    /// A member that is sixteen hexadecimal digits.
    func hexadecimal(_ name: Text) -> UInt64? {
        self[name]?.stringValue.flatMap { $0.hexadecimal }
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
    @inline(never)
    mutating func append(literal: StaticString) {
        literal.withUTF8Buffer { append(contentsOf: $0) }
    }

    @inline(never)
    mutating func append(decimal number: Int64) {
        append(contentsOf: Text(decimal: number).bytes)
    }
}
