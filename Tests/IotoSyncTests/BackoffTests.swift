import IotoBase
import Testing

@testable import IotoSync

/// The waits between tries.
struct BackoffTests {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func eachWaitIsOfTheUpperHalfOfASpanThatDoublesUpToTheLast(seed: UInt64) {
        var random = JitterGenerator(seed: seed)
        var backoff = Backoff(first: 1_000, last: 120_000)
        for span in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 120_000, 120_000, 120_000] as [Int64] {
            let wait = backoff.next(using: &random)
            #expect(wait > span / 2 && wait <= span)
        }
        backoff.reset()
        #expect(backoff.next(using: &random) <= 1_000)
    }

    @Test func waitsOfAFleetAreSpreadOverTheSpan() {
        // A thousand devices that lose their cloud at once come back in each tenth of the span.
        var tenths = [Int](repeating: 0, count: 10)
        for seed in 0..<1_000 as Range<UInt64> {
            var random = JitterGenerator(seed: seed)
            var backoff = Backoff(first: 1_000, last: 120_000)
            tenths[Int(backoff.next(using: &random) - 501) / 50] += 1
        }
        #expect(tenths.allSatisfy { $0 > 50 })
    }

    @Test func waitsOfTheNarrowestSpansAndTheLongestLivesAreDefined() {
        var random = JitterGenerator(seed: 1)
        var narrow = Backoff(first: 1, last: 1)
        var wide = Backoff(first: 1, last: .max / 2)
        for _ in 0..<200 {
            #expect(narrow.next(using: &random) == 1)
            #expect(wide.next(using: &random) >= 1)
        }
    }

    @Test func unansweredMessagesComeAgainAfterGrowingWaits() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        for span in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] as [Int64] {
            loop.wait(span / 2 - 1)
            #expect(!loop.up.contains { Text($0.payload).string.contains(#""changes""#) })
            loop.wait(span / 2 + 2)
            #expect(loop.up.contains { Text($0.payload).string.contains(#""changes""#) })
            loop.up.removeAll()
        }
    }
}
