import IotoBase
import Testing

struct ISODateTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_795_304_448_312, "2026-11-21T23:40:48.312Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
    ] as [(Int64, Text)])
    func timesAndTextsMatch(time: Int64, text: Text) {
        #expect(ISODate.text(time) == text)
        #expect(ISODate.parse(text) == time)
    }

    @Test(arguments: [Int64.max, .min, 253_402_300_800_000])
    func timesBeyondTheCalendarAreCutToIt(time: Int64) {
        #expect(ISODate.text(time).count == 24)
    }

    @Test(arguments: [
        ("2026-11-21", 1_795_219_200_000), ("2026-11-21T01:02Z", 1_795_222_920_000),
        ("2026-11-21T01:02:03+02:00", 1_795_215_723_000), ("2026-11-21T01:02:03.5-0130", 1_795_228_323_500),
        ("2026-11-21T01:02:03.123456789Z", 1_795_222_923_123), ("2026-11-21 01:02:03", 1_795_222_923_000),
    ] as [(Text, Int64)])
    func otherFormsOfTheStandardAreRead(text: Text, time: Int64) {
        #expect(ISODate.parse(text) == time)
    }

    @Test(arguments: [
        "", "2026", "2026-13-01", "2026-00-01", "2026-02-29", "2025-02-29", "2026-01-32", "2026-01-01T24:00Z",
        "2026-01-01T00:60Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00ZZ",
        "2026-01-01T00:00:00+25:00", "x026-01-01", "2026-01-01T",
    ] as [Text])
    func whatIsNoDateIsNone(text: Text) {
        #expect(ISODate.parse(text) == nil)
    }
}
