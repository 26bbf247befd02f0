import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// What has become of a change.
@Suite struct ReceiptTests {
    private func put(_ store: Store, _ model: Model, _ id: String, _ value: Int = 0) throws -> Int64 {
        try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(model, key(model, id), body: body(id, value))
            }
        }
    }

    @Test func receiptIsStoredThenDurableAndOutlivesARestart() throws {
        let fixture = try Fixture()
        var store = try fixture.open()
        let fault = try fixture.model("Fault")
        let receipt = try put(store, fault, "1")
        #expect(receipt > 0)
        #expect(try store.receipt(receipt)?.state == .stored)
        try fixture.copy(to: "copy.db")
        store.close()
        store = try fixture.open("copy.db")
        #expect(try store.receipt(receipt)?.state == .stored)
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.receipt(receipt)?.state == .durable)
    }

    @Test func answerToAnOlderStateSaysNothingOfANewerOne() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let first = try put(store, fault, "1", 1)
        let sent = try store.pending()
        let second = try put(store, fault, "1", 2)
        try store.answer(sent, .acknowledged)
        #expect(try store.receipt(first)?.state == .durable)
        #expect(try store.receipt(second)?.state == .stored)
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.receipt(second)?.state == .durable)
    }

    @Test func refusalIsToldWithItsReason() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let receipt = try put(store, try fixture.model("Fault"), "1")
        try store.answer(try store.pending(), .rejected(code: -203, reason: "no"))
        let found = try #require(try store.receipt(receipt))
        #expect(found.state == .rejected && found.code == -203 && found.reason == "no")
    }

    @Test func refusalOfWhatHasChangedSinceDecidesNothing() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let receipt = try put(store, fault, "1", 1)
        let sent = try store.pending()
        try store.put(fault, "1", 2)
        try store.answer(sent, .rejected(code: -203, reason: "no"))
        #expect(try store.receipt(receipt)?.state == .stored)
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.receipt(receipt)?.state == .durable)
    }

    @Test func changeThatGivesWayToTheCloudsIsOvertaken() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        let receipt = try put(store, shared, "1")
        let change = Change(
            model: shared.name, key: key(shared, "1"),
            version: Version(time: HybridClock.time(testTime + 1000), writer: 42), isRemoval: false, body: body("1", 2))
        _ = try store.apply([change], cursor: StreamCursor(stream: Stream.all, history: 1, position: 1), hubTime: 0)
        #expect(try store.receipt(receipt)?.state == .overtaken)
    }

    @Test func oneReceiptForSeveralChangesTellsTheWorst() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let receipt = try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                for id in ["1", "2"] { _ = try transaction.put(fault, key(fault, id), body: body(id)) }
            }
        }
        let sent = try store.pending()
        try store.answer([sent[0]], .acknowledged)
        #expect(try store.receipt(receipt)?.state == .stored)
        try store.answer([sent[1]], .rejected(code: -1, reason: "no"))
        #expect(try store.receipt(receipt)?.state == .rejected)
    }

    @Test func whatDoesNotGoUpHasNone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        #expect(try put(store, try fixture.model("Local"), "1") == 0)
        #expect(try put(store, try fixture.model("Setting"), "1") == 0)
        #expect(try store.receipt(0) == nil)
        #expect(try store.receipt(12345) == nil)
    }

    @Test func rolledBackChangeHasNone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.begin()
        let receipt = try put(store, fault, "1")
        #expect(try store.receipt(receipt)?.state == .stored)
        try store.rollBack()
        #expect(try store.receipt(receipt) == nil)
        expectError(.limit) {
            try store.withReceipt { () throws(IotoError) in
                try store.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(fault, key(fault, "2"), body: [UInt8](repeating: 32, count: Limits.itemBytesMax + 1))
                }
            }
        }
        #expect(!store.isInTransaction)
        #expect(try put(store, fault, "3") > 0)
    }

    @Test func settledReceiptsAreBounded() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let first = try put(store, fault, "1")
        for value in 1...Int(StoreLimits.receiptsOfItemMax) { _ = try put(store, fault, "1", value) }
        #expect(try store.receipt(first) == nil)
        #expect(try store.number("SELECT count(*) FROM receipt") == StoreLimits.receiptsOfItemMax)
    }
}

/// Changes that the cloud refused, afterwards.
@Suite struct DeadLetterTests {
    private func refused(_ store: Store, _ model: Model) throws -> Int64 {
        try store.answer(try store.pending(), .rejected(code: -203, reason: "no"))
        return try #require(try store.rejectedChanges(after: 0, itemsMax: 1).first?.position)
    }

    @Test func removalIsSentAgain() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.answer(try store.pending(), .acknowledged)
        try store.remove(fault, "1")
        let sent = try #require(try store.pending().first).change.version
        let number = try refused(store, fault)
        try store.write { (transaction) throws(IotoError) in
            try transaction.sendRemovalAgain(key(fault, "1"), model: fault)
            try transaction.discardRejected(number)
        }
        let again = try #require(try store.pending().first)
        #expect(again.change.isRemoval && again.change.version > sent)
        #expect(try store.rejectedCount() == 0)
        expectError(.notFound) { try store.discardRejected(number) }
    }

    @Test func removalOfWhatWasMadeAgainIsNotSent() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.remove(fault, "1")
        _ = try refused(store, fault)
        try store.put(fault, "1")
        expectError(.exists) {
            try store.write { (transaction) throws(IotoError) in
                try transaction.sendRemovalAgain(key(fault, "1"), model: fault)
            }
        }
    }
}
