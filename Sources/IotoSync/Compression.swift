import CPlatform
import IotoBase

/// Compressed messages: a zlib stream (RFC 1950) in the place of the JSON text, told by its first byte. Whoever can read
/// them says so by `"z":1` in its messages, and gets them from then on.
public enum Compression {
    /// Below this, in bytes, a message is sent as it is.
    static let sizeMin = 256
    /// First byte of a stream: deflate, by windows of 16 or 32 KB. JSON of this protocol begins otherwise.
    private static let marks: ClosedRange<UInt8> = 0x68...0x78

    /// Whether the library was built with zlib.
    public static var isAvailable: Bool { platform_zlib() }

    /// The message compressed, or as it is when that is no shorter.
    static func deflate(_ payload: [UInt8]) -> [UInt8] {
        guard payload.count >= sizeMin else { return payload }
        let result = [UInt8](unsafeUninitializedCapacity: payload.count) { (buffer, size) in
            size = payload.withUnsafeBufferPointer {
                platform_deflate($0.baseAddress, $0.count, buffer.baseAddress, payload.count - 1)
            }
        }
        return result.isEmpty ? payload : result
    }

    /// The message in plain text; empty when it can't be read.
    static func inflate(_ payload: [UInt8]) -> [UInt8] {
        guard let first = payload.first, first & 0x0F == 8, marks.contains(first), isAvailable else { return payload }
        // Most often a message has less than ten times the size.
        var capacity = min(payload.count * 10, Limits.messageBytesMax)
        while true {
            let result = [UInt8](unsafeUninitializedCapacity: capacity) { (buffer, size) in
                size = payload.withUnsafeBufferPointer {
                    platform_inflate($0.baseAddress, $0.count, buffer.baseAddress, capacity)
                }
            }
            guard result.isEmpty, capacity < Limits.messageBytesMax else { return result }
            capacity = Limits.messageBytesMax
        }
    }
}
