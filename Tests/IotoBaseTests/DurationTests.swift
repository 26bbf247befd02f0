import IotoBase
import Testing

struct DurationTests {
    @Test(arguments: [
        ("5", 5_000), ("0", 0), ("500ms", 500), ("3 msecs", 3), ("5s", 5_000), ("2 seconds", 2_000), ("1m", 60_000),
        ("10 mins", 600_000), ("1h", 3_600_000), ("2 hrs", 7_200_000), ("1d", 86_400_000), ("2 days", 172_800_000),
    ] as [(Text, Int64)])
    func aNumberHasAUnit(text: Text, milliseconds: Int64) {
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
}
