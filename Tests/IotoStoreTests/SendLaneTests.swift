import IotoBase
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// The order in which changes are sent, and what is held back.
@Suite struct SendLaneTests {
    private static let schema: String = {
        func model(_ name: String) -> String {
            "\(name): {pk: {value: 'p'}, sk: {value: '\(name)#${id}'}, id: {type: 'string', required: true}, n: {type: 'number'}}"
        }
        let names = ["Alarm", "Plain", "Metered", "Bulk", "Local"]
        return """
            {format: 'onetable:1.1.0', version: '1', indexes: {primary: {hash: 'pk', sort: 'sk'}},
             models: {\(names.map(model).joined(separator: ", "))},
             process: {Alarm: {sync: 'up', priority: 10}, Plain: {sync: 'up'}, Metered: {sync: 'up', dailyBytes: 100},
                Bulk: {sync: 'both', priority: -3}}}
            """
    }()

    private let fixture: Fixture
    private let store: Store

    init() throws {
        fixture = try Fixture(try Schema(source: Array(SendLaneTests.schema.utf8), name: "schema.json5"))
        // Time goes by, and nobody sets the clock.
        let clock = fixture.clock
        store = try fixture.open { $0.monotonicClock = { clock.time } }
    }

    private func put(_ model: String, _ id: String) throws { try store.put(try fixture.model(model), id, 1) }

    private func names(held: [String] = [], itemsMax: Int = .max) throws -> [String] {
        var bytes = [UInt8](repeating: 0, count: store.schema.models.count)
        for name in held { bytes[try fixture.model(name).ordinal] = 1 }
        return try store.pendingChanges(after: .min, held: held.isEmpty ? [] : bytes, bytesMax: .max, itemsMax: itemsMax)
            .map { "\($0.change.model.string)\($0.change.key.sort.string.split(separator: "#").last ?? "")" }
    }

    @Test func modelsOfHigherPriorityAreFirstAndThenTheOldest() throws {
        for name in ["Bulk", "Metered", "Plain", "Alarm"] {
            try put(name, "1")
            try put(name, "2")
        }
        let order = ["Alarm1", "Alarm2", "Plain1", "Plain2", "Metered1", "Metered2", "Bulk1", "Bulk2"]
        #expect(try names() == order)
        #expect(try names(itemsMax: 3) == Array(order.prefix(3)))
        // Pages go on behind the last position, over lanes.
        var seen: [Int64] = []
        var position = Int64.min
        while let next = try store.pendingChanges(after: position, bytesMax: .max, itemsMax: 1).first {
            position = next.position
            seen.append(position)
            #expect(next.time > 0 && next.time >> 16 <= fixture.clock.time + 60_000)
        }
        #expect(seen.count == 8 && seen == seen.sorted())
        #expect(try store.pendingRange() == seen[0]...seen[7])
    }

    @Test func whatIsHeldBackIsPassedOver() throws {
        for name in ["Bulk", "Metered", "Plain", "Alarm"] { try put(name, "1") }
        #expect(try names(held: ["Metered", "Bulk"]) == ["Alarm1", "Plain1"])
        #expect(try names(held: ["Alarm", "Plain"]) == ["Metered1", "Bulk1"])
        #expect(try names(held: ["Alarm", "Plain", "Metered", "Bulk"]) == [])
        #expect(try names(held: ["Local"]).count == 4)
    }

    @Test func anItemKeepsItsLaneWhenItIsQueuedAgain() throws {
        try put("Bulk", "1")
        try put("Alarm", "1")
        let sent = try #require(try store.pendingChanges(after: .min, bytesMax: .max, itemsMax: 1).first)
        try put("Alarm", "1")
        try put("Alarm", "2")
        try store.settle(Settlement(entries: [.init(pending: sent, answer: .acknowledged)], hubTime: 0))
        #expect(try names() == ["Alarm2", "Alarm1", "Bulk1"])
        for entry in try store.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9) {
            try store.settle(Settlement(entries: [.init(pending: entry, answer: .acknowledged)], hubTime: 0))
        }
        #expect(try store.pendingCount() == 0)
    }

    @Test func aRefusedChangeIsListedWhateverItsLane() throws {
        try put("Alarm", "1")
        try put("Bulk", "1")
        for entry in try store.pendingChanges(after: .min, bytesMax: .max, itemsMax: 9) {
            try store.settle(
                Settlement(entries: [.init(pending: entry, answer: .rejected(code: -203, reason: "no"))], hubTime: 0))
        }
        #expect(try store.rejectedChanges(after: 0, itemsMax: 9).map { $0.change.model.string } == ["Alarm", "Bulk"])
    }

    @Test func theWeightOfWhatWaitsIsTold() throws {
        #expect(try store.pendingWeight().items == 0)
        try put("Alarm", "1")
        fixture.clock.time += 5_000
        try put("Plain", "1")
        let weight = try store.pendingWeight()
        #expect(weight.items == 2 && weight.bytes > 10)
        #expect(weight.age == 5_000)
    }

    @Test func theWeightIsKeptUpOverRollbacksAndOtherProcesses() throws {
        try put("Alarm", "1")
        #expect(try store.pendingWeight().items == 1)
        try put("Plain", "1")
        #expect(try store.pendingWeight().items == 2)
        let plain = try fixture.model("Plain")
        var within: Int64 = 0
        expectError(.misuse) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(plain, key(plain, "2"), body: body("2", 1))
                within = try store.pendingWeight().items
                throw IotoError(.misuse, "rolled back")
            }
        }
        #expect(within == 3)
        #expect(try store.pendingWeight().items == 2)
        let other = try fixture.open()
        try other.put(try fixture.model("Plain"), "3")
        #expect(try store.pendingWeight().items == 3)
        #expect(try other.pendingWeight().items == 3)
        try put("Plain", "4")
        #expect(try other.pendingWeight().items == 4)
        #expect(try other.pendingWeight().bytes == store.pendingWeight().bytes)
    }
}
