import Foundation

/// A broker that answers each packet as a test says, for what Mosquitto never does. It serves one connection.
final class ScriptedBroker: @unchecked Sendable {
    let port: Int32
    private let listener: Int32
    private let done = DispatchSemaphore(value: 0)

    /// - Parameter answer: The bytes to send for a packet, given by its first byte (type and flags) and its body; nil
    ///   closes the connection.
    init(_ answer: @escaping @Sendable (_ head: UInt8, _ body: [UInt8]) -> [UInt8]?) throws {
        (listener, port) = try listen()
        let listener = listener
        let done = done
        Thread.detachNewThread {
            let socket = accept(listener, nil, nil)
            if socket >= 0 {
                Self.serve(socket, answer)
                close(socket)
            }
            done.signal()
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        done.wait()
        close(listener)
    }

    static let accepted: [UInt8] = [0x20, 2, 0, 0]

    /// A CONNACK with a return code.
    static func connack(_ code: UInt8) -> [UInt8] { [0x20, 2, 0, code] }

    /// A SUBACK for the request `body`, with one return code for each filter.
    static func suback(_ body: [UInt8], _ codes: [UInt8]) -> [UInt8] {
        [0x90, UInt8(2 + codes.count), body[0], body[1]] + codes
    }

    /// A PUBLISH of QoS 0.
    static func publish(topic: [UInt8], payload: [UInt8]) -> [UInt8] {
        let body = [UInt8(topic.count >> 8), UInt8(topic.count & 255)] + topic + payload
        var packet: [UInt8] = [0x30]
        var rest = body.count
        repeat {
            packet.append(UInt8(rest % 128) | (rest >= 128 ? 0x80 : 0))
            rest /= 128
        } while rest > 0
        return packet + body
    }

    private static func serve(_ socket: Int32, _ answer: (UInt8, [UInt8]) -> [UInt8]?) {
        while let head = read(socket, 1)?.first {
            var count = 0
            var shift = 0
            while let byte = read(socket, 1)?.first {
                count |= Int(byte & 127) << shift
                shift += 7
                if byte < 128 { break }
            }
            guard let body = read(socket, count), let reply = answer(head, body) else { return }
            var sent = 0
            while sent < reply.count {
                let wrote = reply[sent...].withUnsafeBytes {
                    send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard wrote > 0 else { return }
                sent += wrote
            }
        }
    }

    private static func read(_ socket: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let more = bytes[got...].withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            guard more > 0 else { return nil }
            got += more
        }
        return bytes
    }
}
