import IotoBase
import IotoSchema

/// What a device is told of its changes.
extension HubReplicator {
    /// Longest reason of a refusal, in bytes: it may name what the device has sent.
    static let reasonBytesMax = 512

    func refuse(_ version: Version, _ error: IotoError, _ device: Text, _ ack: inout AckMessage) {
        let reason = error.message.prefix(bytesMax: HubReplicator.reasonBytesMax)
        ack.rejections.append(.init(version: version, code: error.code.rawValue, reason: reason))
        log(.warning, "\(device): a change is refused: \(reason)")
    }

    /// Sends an answer, in several messages when one would be too large: each settles what it names.
    func sendAck(_ ack: AckMessage, _ session: DeviceSession) {
        var ack = ack
        ack.time = time
        for part in codec.parts(of: ack, bytesMax: entryBytesMax(session)) {
            publish(to: session, "SYNC", codec.encode(part))
        }
    }
}

extension WireCodec {
    /// An answer as several, none of which has more than `bytesMax` bytes of entries, but for one with a single large entry.
    func parts(of ack: AckMessage, bytesMax: Int) -> [AckMessage] {
        var parts: [AckMessage] = []
        var part = AckMessage(sequence: ack.sequence, keys: [], versions: [], rejections: [], time: ack.time, replica: ack.replica)
        let empty = part
        var bytes = 0
        func makeRoom(_ size: Int) {
            if bytes > 0, bytes + size > bytesMax {
                parts.append(part)
                part = empty
                bytes = 0
            }
            bytes += size
        }
        for entry in ack.rejections {
            makeRoom(80 + written(entry.reason))
            part.rejections.append(entry)
        }
        for entry in ack.again {
            makeRoom(90)
            part.again.append(entry)
        }
        for entry in ack.met {
            makeRoom(80 + entry.other.body.count + overhead(of: entry.other))
            part.met.append(entry)
        }
        for version in ack.versions {
            makeRoom(40)
            part.versions.append(version)
        }
        for key in ack.keys {
            makeRoom(written(key))
            part.keys.append(key)
        }
        part.advance = ack.advance
        return parts + [part]
    }
}
