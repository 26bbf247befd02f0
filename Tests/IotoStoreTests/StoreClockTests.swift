import IotoBase
import IotoSchema
import Testing

@testable import IotoStore

@Suite struct StoreClockTests {
    func ceiling(_ store: Store) throws -> UInt64 {
        UInt64(bitPattern: try store.number("SELECT value FROM meta WHERE name = 'clock'"))
    }

    /// Two stores on one file; the second is opened when the first has given versions for a while.
    private func twoStores(_ fixture: Fixture, _ fault: Model) throws -> (Store, Store) {
        let first = try fixture.open()
        for _ in 0..<50 {
            fixture.clock.time += 1000
            try first.put(fault, "a")
        }
        return (first, try fixture.open())
    }

    @Test func versionsRiseThoughTheWallClockStepsBack() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        var last = try store.put(fault, "1").version
        for time in [testTime - 1_000_000, 0, -5, testTime] as [Int64] {
            fixture.clock.time = time
            let next = try store.put(fault, "1").version
            #expect(last < next)
            last = next
        }
    }

    @Test func aCrashNeverLeadsToAVersionGivenBefore() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open()
        fixture.clock.time = 0
        for round in 1...30 {
            fixture.clock.time += 700
            let issued = try store.put(fault, "1", round).version
            try fixture.copy(to: "crash\(round).db")
            let revived = try fixture.open("crash\(round).db")
            // The clock of the board stands in 1970 again.
            fixture.clock.time = 0
            let next = try revived.put(fault, "1").version
            #expect(issued < next)
            #expect(next.milliseconds - issued.milliseconds <= Int64(StoreLimits.clockReserveMax) + 700)
            fixture.clock.time = Int64(round) * 700
        }
    }

    @Test func theCeilingIsSeldomWritten() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        var writes = 0
        var last = try ceiling(store)
        for _ in 0..<1000 {
            fixture.clock.time += 100
            let issued = try store.put(fault, "1").version.time
            let now = try ceiling(store)
            #expect(issued <= now)
            if now != last { writes += 1 }
            last = now
        }
        // 100 seconds: about a dozen while the stretches double, then one in ten seconds.
        #expect(writes < 25)
    }

    @Test func aCleanCloseGivesTheReservedTimeBack() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let store = try fixture.open()
        for _ in 0..<100 {
            fixture.clock.time += 1000
            try store.put(fault, "1")
        }
        let last = try store.put(fault, "1").version.time
        #expect(try ceiling(store) > last)
        store.close()
        fixture.clock.time = 0
        let next = try fixture.open().put(fault, "1").version.time
        #expect(next == last + 2)
    }

    @Test func twoStoresOnOneFileNeverGiveAVersionTwice() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let (a, b) = try twoStores(fixture, fault)
        var last: UInt64 = 0
        for round in 0..<200 {
            let issued = try (round % 3 == 0 ? b : a).put(fault, "\(round)").version.time
            #expect(last < issued)
            last = issued
        }
        // They don't drive each other into the future.
        let drift = Int64(last >> 16) - fixture.clock.time
        #expect(drift <= 2 * Int64(StoreLimits.clockReserveMax))
        #expect(try a.pendingCount() == 201)
    }

    @Test func aCleanCloseOfOneStoreDoesNotTakeTheOthersTime() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let (a, b) = try twoStores(fixture, fault)
        try b.put(fault, "b")
        try a.put(fault, "a")
        let last = try a.put(fault, "a").version.time
        b.close()
        #expect(try ceiling(a) >= last)
        let next = try a.put(fault, "a").version.time
        #expect(last < next)
        #expect(try ceiling(a) >= next)
    }

    @Test func aRolledBackCeilingIsWrittenAgain() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        fixture.clock.time += 60_000
        expectError(.timeout) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "2"), body: body("2"))
                throw IotoError(.timeout, "no")
            }
        }
        let issued = try store.put(fault, "2").version.time
        #expect(try ceiling(store) >= issued)
    }

    @Test func aClockBeyondEveryDateIsDamage() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        try store.damage("UPDATE meta SET value = -1 WHERE name = 'clock'")
        store.close()
        expectError(.corrupt) { try fixture.open() }
    }
}
