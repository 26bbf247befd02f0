import IotoBase
import Testing

struct VersionTests {
    @Test func textIsReadBack() {
        let version = Version(time: 0x0192_D1A0_5F2C_0003, writer: .max)
        #expect(version.text == "0192d1a05f2c0003-ffffffffffffffff")
        #expect(Version(version.text) == version)
    }

    @Test(arguments: [
        "", "0192d1a05f2c0003", "0192d1a05f2c0003_ffffffffffffffff", "0192d1a05f2c0003-fffffffffffffff",
        "0192D1A05F2C0003-ffffffffffffffff", "0192d1a05f2c0003-ffffffffffffffff0",
    ] as [Text])
    func whatIsNoVersionIsNone(text: Text) {
        #expect(Version(text) == nil)
    }

    @Test func timeComesBeforeWriter() {
        #expect(Version(time: 1, writer: 9) < Version(time: 2, writer: 0))
        #expect(Version(time: 1, writer: 1) < Version(time: 1, writer: 2))
        #expect(Version.zero < Version(time: 0, writer: 1))
    }
}

struct HybridClockTests {
    @Test func clockFollowsTheWallClock() {
        var clock = HybridClock()
        #expect(clock.next(wall: 1000) == 1000 << 16)
        #expect(clock.next(wall: 2000) == 2000 << 16)
    }

    @Test func clockGoesOnWhenTheWallClockStandsOrStepsBack() {
        var clock = HybridClock()
        let first = clock.next(wall: 1000)
        #expect(clock.next(wall: 1000) == first + 1)
        #expect(clock.next(wall: -5) == first + 2)
        #expect(clock.next(wall: .min) == first + 3)
    }

    @Test func clockIsAheadOfWhatItObserved() {
        var clock = HybridClock()
        clock.observe(5000 << 16)
        #expect(clock.next(wall: 10) == (5000 << 16) + 1)
    }

    @Test func timesThatLeaveNoRoomAreNotObserved() {
        var clock = HybridClock(last: 7)
        clock.observe(.max)
        clock.observe(HybridClock.timeMax)
        #expect(clock.last == 7)
        clock.observe(0x3FFF_FFFF_FFFF_FFFF)
        #expect(clock.last == 7)
        clock.observe(HybridClock.timeMax - 1)
        #expect(clock.last == HybridClock.timeMax - 1)
        // It goes on, with times that can be sent.
        #expect(HybridClock.isReadable(clock.next(wall: 0)))
    }

    @Test func wallClockBeyondTheFormatIsCut() {
        var clock = HybridClock()
        let first = clock.next(wall: .max)
        let last = clock.next(wall: .max) + (1 << 47)
        // Whoever hears of it believes it, for as long as it may go on.
        var peer = HybridClock()
        peer.observe(last)
        #expect(first < last && peer.last == last)
    }
}
