import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

/// Budgets and windows: what is sent when.
@Suite struct SendMeterTests {
    /// 2023-11-14 22:13:20 UTC, when a loopback begins.
    private static let hour: Int64 = 3_600_000

    private func loop(
        note: String = "", reading: String = "", _ configure: (inout DeviceReplicator<MemoryReplica>.Configuration) -> Void = { _ in }
    ) throws -> Loopback {
        let fields = "pk: {value: 'device#${deviceId}'}, deviceId: {type: 'string'}, id: {type: 'string', required: true}, value: {}"
        let source = """
            {format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}},
             models: {Reading: {\(fields), sk: {value: 'reading#${id}'}}, Note: {\(fields), sk: {value: 'note#${id}'}}},
             process: {Reading: {sync: 'up', \(reading)}, Note: {sync: 'both', \(note)}}}
            """
        let schema = try Schema(source: Array(source.utf8), name: "test.json5")
        let loop = Loopback()
        loop.replica.schema = schema
        var configuration = DeviceReplicator<MemoryReplica>.Configuration(topics: Topics(device: "d1", account: "a1"))
        configure(&configuration)
        loop.device = DeviceReplicator(storage: loop.replica, schema: schema, configuration: configuration, seed: 11)
        loop.connect()
        loop.settle()
        return loop
    }

    private func count(_ loop: Loopback, _ model: Text) -> Int { loop.cloud.rows.values.filter { $0.change.model == model }.count }

    private func send(_ loop: Loopback) throws {
        try loop.flush()
        loop.settle()
    }

    @Test func aModelStopsAtItsBudgetAndGoesOnTheNextDay() throws {
        let loop = try loop(reading: "dailyBytes: 600")
        for index in 0..<20 { try loop.replica.put("Reading", Text(decimal: Int64(index)), value: "0123456789") }
        try loop.replica.put("Note", "n", value: "x")
        try send(loop)
        let first = count(loop, "Reading")
        #expect(first >= 1 && first < 10 && count(loop, "Note") == 1)
        #expect(loop.device.isHolding)
        // Neither a restart nor a wait makes more of it.
        loop.wait(SendMeterTests.hour)
        try send(loop)
        #expect(count(loop, "Reading") == first)
        loop.wait(SendMeterTests.hour)
        loop.settle()
        #expect(count(loop, "Reading") > first && count(loop, "Reading") <= 2 * first)
    }

    @Test func theCountOutlivesTheProcess() throws {
        let loop = try loop(reading: "dailyBytes: 600")
        for index in 0..<20 { try loop.replica.put("Reading", Text(decimal: Int64(index)), value: "0123456789") }
        try send(loop)
        let first = count(loop, "Reading")
        let device = loop.device
        loop.device = DeviceReplicator(
            storage: loop.replica, schema: device.codec.schema, configuration: device.configuration, seed: 12)
        loop.connect()
        loop.settle()
        try send(loop)
        #expect(count(loop, "Reading") == first)
    }

    @Test func theTotalBudgetAndWindowLetUrgentModelsPass() throws {
        let loop = try loop(note: "priority: 5") {
            $0.dailyBytes = 600
            $0.window = SendWindow("23:00-23:30")
        }
        try loop.replica.put("Reading", "r", value: "x")
        try loop.replica.put("Note", "n", value: "x")
        try send(loop)
        #expect(count(loop, "Note") == 1 && count(loop, "Reading") == 0 && loop.device.isHolding)
        // 47 minutes later the window opens, and the device wakes for it.
        let opens = try #require(loop.device.deadline) - loop.now.monotonic
        #expect(opens > 46 * 60_000 && opens <= 47 * 60_000)
        loop.wait(opens)
        loop.settle()
        #expect(count(loop, "Reading") == 1 && !loop.device.isHolding)
        loop.wait(30 * 60_000)
        try loop.replica.put("Reading", "late", value: "x")
        try send(loop)
        #expect(count(loop, "Reading") == 1)
    }

    @Test func aChangeLargerThanTheBudgetGoesAsTheFirstOfADay() throws {
        let loop = try loop(reading: "dailyBytes: 10")
        try loop.replica.put("Reading", "large", value: "0123456789")
        try loop.replica.put("Reading", "next", value: "0123456789")
        try send(loop)
        #expect(count(loop, "Reading") == 1)
    }

    @Test func aClockThatIsNotSetHoldsBackUntilTheCloudHasToldTheTime() throws {
        let loop = try loop(reading: "window: '22:00-23:00'")
        loop.device.disconnected(loop.now)
        let device = loop.device
        loop.device = DeviceReplicator(
            storage: loop.replica, schema: device.codec.schema, configuration: device.configuration, seed: 13)
        loop.now = Instant(monotonic: loop.now.monotonic, wall: 5_000)
        loop.replica.wall = 5_000
        loop.replica.isTimeKnown = false
        try loop.replica.put("Reading", "r", value: "x")
        loop.connect()
        // For longer than other changes wait for it.
        loop.wait(11_000)
        #expect(loop.device.isHolding && !loop.up.contains { Text($0.payload).string.contains("changes") })
        loop.hub = HubReplicator(schema: TestSchema.schema, clock: HybridClock(last: HybridClock.time(1_700_000_000_000)))
        loop.settle()
        #expect(count(loop, "Reading") == 1)
    }

    @Test func aStepOfTheClockMovesNoWindow() throws {
        let loop = try loop(reading: "window: '22:00-23:00'")
        loop.setWall(loop.now.wall + 5 * SendMeterTests.hour)
        try loop.replica.put("Reading", "r", value: "x")
        try send(loop)
        #expect(count(loop, "Reading") == 1)
    }

    @Test func nothingIsMeteredWithoutBudgetsAndWindows() throws {
        let loop = try loop(note: "priority: 5")
        try loop.replica.put("Reading", "r", value: "x")
        try send(loop)
        #expect(!loop.device.isHolding && loop.replica.counters.isEmpty && count(loop, "Reading") == 1)
    }

    @Test func catchingUpTellsHowFarItHasCome() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        for index in 0..<1500 { try loop.cloudChange("Note", Text(decimal: Int64(index)), "x") }
        loop.down.removeAll()
        loop.connect()
        var seen: [Int64] = []
        for _ in 0..<30 where !loop.device.isCaughtUp {
            loop.deliverUp()
            loop.deliverDown()
            if loop.device.catchUpProgress.total > 0 { seen.append(loop.device.catchUpProgress.done) }
            #expect([0, 1500].contains(loop.device.catchUpProgress.total))
        }
        #expect(seen.count >= 3 && seen == seen.sorted() && seen.last == 1500)
    }
}

extension Text {
    fileprivate var string: String { String(decoding: bytes, as: UTF8.self) }
}
