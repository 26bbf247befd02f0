import IotoBase

/// Joins the parts of messages for the judge, by the description in docs/SYNC-PROTOCOL.md.
struct Parts {
    private var head: ArraySlice<UInt8> = []
    private var bytes: [UInt8] = []
    private var isWhole = false

    /// - Returns: The message when this is all of it, or its last part.
    mutating func take(_ message: Message) -> Message? {
        let part = message.payload
        guard part.first == UInt8(ascii: "P"), part.count > 33 else { return message }
        let head = part[1..<25]
        guard let size = Int(String(decoding: part[17..<25], as: UTF8.self), radix: 16),
            let place = Int(String(decoding: part[25..<33], as: UTF8.self), radix: 16)
        else { return nil }
        let isSame = head == self.head
        if isSame, isWhole || place < bytes.count { return nil }
        if !isSame, place == 0 { (self.head, bytes, isWhole) = (head, [], false) }
        guard head == self.head, place == bytes.count else {
            self = Parts()
            return nil
        }
        bytes += part[33...]
        guard bytes.count == size else { return nil }
        isWhole = true
        return Message(topic: message.topic, payload: bytes)
    }
}
