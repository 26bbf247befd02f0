import IotoBase
import Testing

@testable import IotoSync

/// Messages that are compressed, where both ends want it.
struct CompressionTests {
    private let text = Array(String(repeating: #"{"_type":"Reading","sk":"reading#1","value":"warm"},"#, count: 40).utf8)

    @Test func messageComesBackAsItWas() throws {
        try #require(Compression.isAvailable)
        let small = Compression.deflate(text)
        #expect(small.count < text.count / 5)
        #expect(Compression.inflate(small) == text)
    }

    @Test func shortOrDenseMessageStaysAsItIs() {
        let short = Array("{}".utf8)
        #expect(Compression.deflate(short) == short)
        var noise: [UInt8] = []
        var random = JitterGenerator(seed: 7)
        for _ in 0..<400 { noise.append(UInt8(truncatingIfNeeded: random.next())) }
        #expect(Compression.deflate(noise) == noise)
    }

    @Test func whatInflatesBeyondTheLimitIsRefused() throws {
        let bomb = Compression.deflate([UInt8](repeating: 32, count: Limits.messageBytesMax + 1))
        #expect(bomb.count < 4096)
        #expect(Compression.inflate(bomb).isEmpty)
        #expect(Compression.inflate(Compression.deflate([UInt8](repeating: 32, count: Limits.messageBytesMax))).count == Limits.messageBytesMax)
    }

    @Test func damagedStreamIsRefusedAndNothingElse() throws {
        let small = Compression.deflate(text)
        for index in 0..<small.count {
            var damaged = small
            damaged[index] ^= 0x55
            let result = Compression.inflate(damaged)
            #expect(result != text)
        }
        #expect(Compression.inflate(Array(small.dropLast())).isEmpty)
        #expect(Compression.inflate(small + [0]).isEmpty)
        #expect(Compression.inflate([0x78]).isEmpty)
    }

    private func run(device: Bool) throws -> (up: [[UInt8]], down: [[UInt8]], loop: Loopback) {
        let loop = Loopback(compresses: device)
        loop.connect()
        loop.settle()
        for index in 0..<40 { try loop.change("Note", Text("n\(index)"), "a value that is much like the others") }
        try loop.flush()
        loop.settle()
        for index in 0..<40 { try loop.cloudChange("Setting", Text("s\(index)"), "a value that is much like the others") }
        loop.settle()
        return (loop.published, loop.publishedDown, loop)
    }

    @Test func bothEndsCompressWhenBothWantIt() throws {
        let (up, down, loop) = try run(device: true)
        #expect(up.contains { $0.first != UInt8(ascii: "{") })
        #expect(down.contains { $0.first != UInt8(ascii: "{") })
        #expect(loop.cloud.value("Note", "n39") != nil && loop.replica.value("Setting", "s39") != nil)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func nothingIsCompressedForADeviceThatDoesNotWantIt() throws {
        let (up, down, loop) = try run(device: false)
        #expect(!(up + down).contains { $0.first != UInt8(ascii: "{") })
        #expect(loop.replica.pendingCount() == 0)
    }
}
