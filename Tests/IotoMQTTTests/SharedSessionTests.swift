import CPlatform
import Foundation
import IotoBase
import IotoMQTT
import Testing

struct SharedSessionTests {
    /// Neither long messages nor short ones nor many pile up while nobody takes them.
    @Test(arguments: [0, 10, 100_000])
    func whatWaitsIsBounded(bytes: Int) throws {
        let event = platform_event_new()
        defer { close(event) }
        let session = SharedSession(wake: event, sends: { _, _ in true }, subscribes: { _ in true })
        try session.connect()
        let payload = [UInt8](repeating: 0x61, count: bytes)
        var taken = 0
        while taken < 100_000, case .some = try? payload.withUnsafeBytes({ try session.receive("ioto/device/d1/sync/BATCH", $0) }) { taken += 1 }
        #expect(taken < 100_000 && taken * max(bytes, 64) <= 8 * Limits.messageBytesMax)
        #expect(taken >= 40)
    }

    @Test func whatIsTooLargeIsSaidToBe() throws {
        let event = platform_event_new()
        defer { close(event) }
        let session = SharedSession(wake: event, sends: { _, _ in true }, subscribes: { _ in true })
        try session.connect()
        let payload = [UInt8](repeating: 0x61, count: Limits.messageBytesMax + 1)
        let error = #expect(throws: IotoError.self) { try payload.withUnsafeBytes { try session.receive("t", $0) } }
        #expect(error?.code == .limit && error?.message.string.contains("bytes") == true)
    }
}
