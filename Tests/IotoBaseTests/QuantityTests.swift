import IotoBase
import Testing

struct QuantityTests {
    @Test(arguments: [
        ("5", 5_000), ("0", 0), ("500ms", 500), ("3 msecs", 3), ("5s", 5_000), ("2 seconds", 2_000), ("1m", 60_000),
        ("10 mins", 600_000), ("1h", 3_600_000), ("2 hrs", 7_200_000), ("1d", 86_400_000), ("2 days", 172_800_000),
    ] as [(Text, Int64)])
    func aDurationHasAUnit(text: Text, milliseconds: Int64) {
        #expect(text.duration == milliseconds)
    }

    @Test(arguments: ["", "s", "-5", "1.5", "5x", "5S", "5 s ", "5 s s", " 5"] as [Text])
    func whatIsNoDurationIsNone(text: Text) {
        #expect(text.duration == nil)
    }

    @Test func whatIsTooLongIsTheLongest() {
        #expect(Text("9223372036854775807ms").duration == .max)
        #expect(Text("9223372036854775807s").duration == .max)
        #expect(Text("9223372036854775808ms").duration == nil)
    }

    @Test(arguments: [
        ("0", 0), ("131072", 131_072), ("5b", 5), ("5 bytes", 5), ("128K", 131_072), ("10 k", 10_240), ("10KB", 10_240), ("1M", 1_048_576),
        ("1 MB", 1_048_576), ("2g", 2_147_483_648),
    ] as [(Text, Int64)])
    func aSizeHasAUnit(text: Text, bytes: Int64) {
        #expect(text.size == bytes)
    }

    @Test(arguments: ["", "K", "-5", "+5", "1.5K", "12x", "5s", "5Kb", "5K ", "5 K K", " 5"] as [Text])
    func whatIsNoSizeIsNone(text: Text) {
        #expect(text.size == nil)
    }

    @Test func whatIsTooLargeIsTheLargest() {
        #expect(Text("9223372036854775807").size == .max)
        #expect(Text("9223372036854775807G").size == .max)
        #expect(Text("8589934592G").size == .max)
        #expect(Text("8589934591G").size == 9_223_372_035_781_033_984)
        #expect(Text("9999999999999999999").size == nil)
    }
}
