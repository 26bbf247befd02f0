import IotoBase
import IotoSync
import Testing

@testable import IotoStore

/// By whose time items expire.
@Suite struct ExpiryTimeTests {
    private let hour: Int64 = 3_600_000
    private let year: Int64 = 365 * 24 * 3_600_000

    private struct Bench {
        let fixture: Fixture
        let monotonic = TestClock()
        var store: Store

        /// The machine's clock as it boots.
        init(wall: Int64) throws {
            fixture = try Fixture.expiring()
            fixture.clock.time = wall
            monotonic.time = 1_000
            let monotonic = monotonic
            store = try fixture.open { $0.monotonicClock = { monotonic.time } }
        }

        mutating func reopen() throws {
            store.close()
            let monotonic = monotonic
            store = try fixture.open { $0.monotonicClock = { monotonic.time } }
        }

        func put(_ id: String, until: Int64, isSent: Bool = true) throws {
            let note = try fixture.model("Note")
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(note, key(note, id), body: Array(#"{"id":"\#(id)","until":\#(until / 1000)}"#.utf8))
            }
            if isSent { try store.answer(try store.pending(), .acknowledged) }
        }

        func pass(_ milliseconds: Int64) {
            monotonic.time += milliseconds
            fixture.clock.time += milliseconds
        }

        /// The items that reads show, by every way to read.
        func seen() throws -> [String] {
            let note = try fixture.model("Note")
            let found = try store.scanned(note).map { $0.replacing("note#", with: "") }
            #expect(try store.scanned(note, hash: nil).map { $0.replacing("note#", with: "") } == found)
            for id in ["a", "b"] {
                // From the file, from memory, and within a transaction.
                for _ in 0..<6 { #expect(try (store.get(note, id) != nil) == found.contains(id)) }
                try store.write { (transaction) throws(IotoError) in
                    #expect(try (transaction.get(key(note, id), model: note) != nil) == found.contains(id))
                }
            }
            return found
        }
    }

    @Test(arguments: [1, 30])
    func aClockYearsAheadRemovesNothingOnceTheCloudHasToldTheTime(years: Int64) throws {
        let bench = try Bench(wall: testTime + years * year)
        bench.store.learnTime(testTime)
        try bench.put("a", until: testTime + hour)
        try bench.put("b", until: testTime + 3 * hour)
        #expect(try bench.seen() == ["a", "b"])
        #expect(try bench.store.removeExpired().removed == 0)
        bench.pass(2 * hour)
        #expect(try bench.seen() == ["b"])
        #expect(try bench.store.removeExpired().removed == 1)
        // Then somebody sets the clock.
        bench.fixture.clock.time = testTime + 2 * hour
        #expect(try bench.seen() == ["b"])
    }

    @Test func aClockIn1970ExpiresItemsOnceTheCloudHasToldTheTime() throws {
        let bench = try Bench(wall: 5_000)
        try bench.put("a", until: testTime + hour)
        bench.pass(2 * hour)
        #expect(try bench.seen() == ["a"])
        bench.store.learnTime(testTime + 2 * hour)
        #expect(try bench.seen() == [])
        #expect(try bench.store.removeExpired().removed == 1)
    }

    /// Past the items in memory, and by the pages of the tree.
    @Test func aGetFromTheFileGoesByTheCloudsTimeToo() throws {
        let bench = try Bench(wall: testTime + year)
        bench.store.learnTime(testTime)
        let note = try bench.fixture.model("Note")
        for number in 0..<50 { try bench.put("\(number)", until: testTime + (number % 2 == 0 ? hour : -hour), isSent: false) }
        bench.store.cache.limit(to: 0)
        for _ in 0..<2 {
            for number in 0..<50 { #expect(try (bench.store.get(note, "\(number)") != nil) == (number % 2 == 0)) }
        }
    }

    @Test func aClockThatIsSetBackHidesNoLongerWhatIsNotOver() throws {
        let bench = try Bench(wall: testTime + year)
        try bench.put("a", until: testTime + hour, isSent: false)
        #expect(try bench.seen() == [])
        bench.fixture.clock.time = testTime
        #expect(try bench.seen() == ["a"])
    }

    @Test func aFileThatNeverMetACloudHasTheClockAlone() throws {
        var bench = try Bench(wall: testTime)
        try bench.put("a", until: testTime + hour)
        bench.pass(hour)
        try bench.reopen()
        #expect(bench.store.removalHold() <= 0)
        #expect(try bench.seen() == [])
        #expect(try bench.store.removeExpired().removed == 1)
    }

    @Test func aFileThatHasMetOneWaitsForItBeforeItemsAreRemoved() throws {
        var bench = try Bench(wall: testTime)
        let cursor = StreamCursor(stream: "all", history: 1, position: 1)
        _ = try bench.store.apply([], cursor: cursor, hubTime: HybridClock.time(testTime))
        try bench.reopen()
        #expect(bench.store.removalHold() > 0)
        // The cloud's answer to a change comes before the time that it tells.
        bench.fixture.clock.time = testTime + year
        try bench.put("a", until: testTime + 3 * hour)
        bench.fixture.clock.time = testTime
        #expect(try bench.seen() == ["a"])
        bench.pass(hour)
        #expect(bench.store.removalHold() <= 0)
        try bench.reopen()
        #expect(bench.store.removalHold() > 0)
        bench.store.learnTime(testTime)
        #expect(bench.store.removalHold() == 0)
    }
}
