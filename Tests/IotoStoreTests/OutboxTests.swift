import IotoBase
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

@Suite struct OutboxTests {
    @Test func onlyModelsThatGoUpEnterTheOutbox() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        for name in ["Fault", "Setting", "Shared", "Local"] { try store.put(try fixture.model(name), "1") }
        #expect(try store.pending().map(\.change.model) == ["Fault", "Shared"])
    }

    @Test func twoUpdatesBeforeSendingKeepOneRowWithTheNewestBody() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let first = try store.put(fault, "1", 1)
        try store.put(fault, "2", 1)
        let position = try #require(try store.pending().first?.position)
        #expect(position == Int64(bitPattern: first.version.time))
        let second = try store.put(fault, "1", 2)
        #expect(first.version < second.version)
        let pending = try store.pending()
        #expect(pending.map(\.position).first == position)
        #expect(pending.map { string($0.change.body) } == [string(body("1", 2)), string(body("2", 1))])
        #expect(pending.first?.change.version == second.version)
        #expect(try store.pendingCount() == 2)
    }

    @Test func anAcknowledgedChangeLeaves() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        try store.put(fault, "2")
        let pending = try store.pending()
        #expect(try store.pendingRange() == pending[0].position...pending[1].position)
        try store.answer([pending[0]], .acknowledged)
        #expect(try store.pending() == [pending[1]])
        // Twice is once.
        try store.answer(pending, .acknowledged)
        try store.answer(pending, .acknowledged)
        #expect(try store.pendingCount() == 0)
        #expect(try store.pendingRange() == nil)
        #expect(try store.get(fault, "1") != nil)
        // The next change enters anew.
        try store.put(fault, "1", 2)
        #expect(try store.pending().map { string($0.change.body) } == [string(body("1", 2))])
        #expect(try #require(try store.pending().first).position > pending[1].position)
    }

    @Test func ofManyThatAreAcknowledgedTogetherThoseStayThatHaveChanged() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in 0..<20 { try store.put(fault, "\(id)") }
        let sent = try store.pending()
        #expect(zip(sent, sent.dropFirst()).allSatisfy { $0.position == $1.previous })
        try store.put(fault, "3", 2)
        try store.put(fault, "19", 2)
        try store.answer([sent[5]], .acknowledged)
        // The fifth is settled already, the seventh was not among them.
        try store.answer(sent.filter { $0 != sent[7] }, .acknowledged)
        let left = try store.pending()
        #expect(left.map(\.change.key) == [sent[7], sent[3], sent[19]].map(\.change.key))
        #expect(left.dropFirst().map { string($0.change.body) } == [body("3", 2), body("19", 2)].map(string))
        #expect(try store.pendingWeight().items == 3)
        try store.answer(left, .acknowledged)
        #expect(try store.pendingWeight().items == 0)
    }

    @Test func aLateAcknowledgementDoesNotDiscardANewerChange() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let sent = try store.pending()
        try store.put(fault, "2", 1)
        try store.put(fault, "1", 2)
        try store.answer(sent, .acknowledged)
        // The row is at the queue's end now, and has not lost its item.
        let pending = try store.pending()
        #expect(pending.map { string($0.change.body) } == [string(body("2", 1)), string(body("1", 2))])
        // The old answer once more has nothing to say.
        try store.answer(sent, .acknowledged)
        #expect(try store.pending() == pending)
        // A change keeps the new place.
        try store.put(fault, "1", 3)
        #expect(try store.pending().map(\.position) == pending.map(\.position))
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.pendingCount() == 0)
    }

    @Test func theAnswerToALaterTryClearsAnItemThatTheEarlierOneMoved() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let first = try store.pending()
        try store.put(fault, "1", 2)
        let second = try store.pending()
        // Both tries are on their way when the first one's answer comes.
        try store.answer(first, .acknowledged)
        #expect(try store.pendingCount() == 1)
        try store.answer(second, .acknowledged)
        #expect(try store.pendingCount() == 0)
    }

    @Test func anItemCreatedAndRemovedLeavesARemoval() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let position = try store.pending()[0].position
        try store.remove(fault, "1")
        let pending = try store.pending()
        #expect(pending.count == 1)
        #expect(pending[0].position == position)
        #expect(pending[0].change.isRemoval)
        #expect(pending[0].change.key == key(fault, "1"))
        #expect(string(pending[0].change.body) == #"{"id":"1"}"#)
        try store.answer(pending, .acknowledged)
        #expect(try store.pendingCount() == 0)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 1)
    }

    @Test func aRemovalThenACreationIsACreation() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        try store.answer(try store.pending(), .acknowledged)
        try store.remove(fault, "1")
        let removal = try store.pending()
        let recreated = try store.put(fault, "1", 2)
        let pending = try store.pending()
        #expect(pending.map(\.position) == removal.map(\.position))
        #expect(pending.map(\.change.isRemoval) == [false])
        #expect(pending[0].change.version == recreated.version)
        #expect(recreated.version > removal[0].change.version)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        // The answer to the removal, that was sent before, comes late.
        try store.answer(removal, .acknowledged)
        #expect(try store.pending().map(\.change) == pending.map(\.change))
    }

    @Test func aRemovalThatChangedSinceItWasSentStays() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let sent = try store.pending()
        try store.remove(fault, "1")
        try store.answer(sent, .acknowledged)
        let pending = try store.pending()
        #expect(pending.map(\.change.isRemoval) == [true])
        #expect(pending[0].position > sent[0].position)
        try store.answer(pending, .acknowledged)
        #expect(try store.pendingCount() == 0)
    }

    @Test func aRestampedItemTakesOverTheVersionAndIsSentUnderIt() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        try store.put(fault, "2", 1)
        try store.remove(fault, "2")
        let pending = try store.pending()
        let stamp = Version(time: HybridClock.time(testTime - 5000), writer: 77)
        try store.answer(pending, .again(as: stamp))
        #expect(try store.pending().map(\.change.version) == [stamp, stamp])
        #expect(try store.get(fault, "1")?.version == stamp)
        #expect(try store.number("SELECT writer FROM tombstone") == 77)
        try store.answer(try store.pending(), .acknowledged)
        #expect(try store.pendingCount() == 0)
        // Its own id is written as NULL.
        try store.put(fault, "1", 2)
        let own = Version(time: HybridClock.time(testTime - 4000), writer: store.replica)
        try store.answer(try store.pending(), .again(as: own))
        #expect(try store.get(fault, "1")?.version == own)
        #expect(try store.number("SELECT writer IS NULL FROM item") == 1)
    }

    @Test func timesOfADevicesOwnVersionsAreEven() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in 1...3 { try store.put(fault, "\(id)", 1) }
        // It has seen an odd one.
        try store.answer(try store.pending(), .again(as: Version(time: HybridClock.time(testTime + 1_000) + 1, writer: store.replica)))
        for id in 4...6 { try store.put(fault, "\(id)", 1) }
        #expect(try store.pending().filter { $0.change.version.time & 1 == 1 }.count == 3)
        #expect(try store.number("SELECT max(time) FROM item") == Int64(HybridClock.time(testTime + 1_000) + 6))
    }

    @Test func runIsClearedButForWhatHasChangedSinceItWasRead() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["1", "2", "3"] { try store.put(fault, id, 1) }
        var sent = try store.pending()
        // What is new does not concern it.
        _ = try store.write { (transaction) throws(IotoError) in try transaction.create(fault, key(fault, "4"), body: body("4", 1)) }
        #expect(sent.allSatisfy { $0.edits == store.edits })
        try store.answer(sent, .acknowledged)
        #expect(try store.pending().map { $0.change.key } == [key(fault, "4")])

        for id in ["5", "6", "7", "8"] { try store.put(fault, id, 1) }
        sent = try store.pending()
        try store.put(fault, "6", 2)
        let other = try fixture.open()
        try other.put(fault, "7", 2)
        other.close()
        // A change that is taken back is none.
        try store.begin()
        try store.put(fault, "8", 2)
        try store.rollBack()
        try store.answer(sent, .acknowledged)
        #expect(Set(try store.pending().map { $0.change.key }) == [key(fault, "6"), key(fault, "7")])
    }

    @Test func runIsClearedButForWhatAnotherProcessHasChanged() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["1", "2", "3"] { try store.put(fault, id, 1) }
        let sent = try store.pending()
        let other = try fixture.open()
        try other.put(fault, "2", 2)
        try other.remove(fault, "3")
        other.close()
        try store.answer(sent, .acknowledged)
        #expect(Set(try store.pending().map { $0.change.key }) == [key(fault, "2"), key(fault, "3")])
    }

    @Test func runIsClearedButForWhatTheSameAnswerChanges() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["1", "2", "3", "4"] { try store.put(fault, id, 1) }
        let sent = try store.pending()
        let stamp = Version(time: sent[0].change.version.time + 8, writer: 77)
        var entries = [Settlement.Entry(pending: sent[0], answer: .again(as: stamp))]
        entries += sent.map { Settlement.Entry(pending: $0, answer: .acknowledged) }
        try store.settle(Settlement(entries: entries, hubTime: 0))
        #expect(try store.pending().map { $0.change.version } == [stamp])
    }

    @Test func aRestampOfAnOlderStateIsForTheNextAnswer() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let sent = try store.pending()
        let newer = try store.put(fault, "1", 2)
        try store.answer(sent, .again(as: Version(time: 5, writer: 77)))
        #expect(try store.get(fault, "1")?.version == newer.version)
        #expect(try store.pendingCount() == 1)
    }

    @Test func aRejectedChangeMovesToTheDeadLetters() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let recorder = Recorder()
        let item = try store.put(fault, "1", 1)
        try store.put(fault, "2", 1)
        try store.remove(fault, "2")
        store.setObserver(recorder)
        let pending = try store.pending()
        try store.answer(pending, .rejected(code: -204, reason: "not its device"))
        #expect(try store.pendingCount() == 0)
        #expect(try store.rejectedCount() == 2)
        let rejected = try store.rejectedChanges(after: 0, itemsMax: 10)
        #expect(rejected.map(\.change) == pending.map(\.change))
        #expect(rejected.map(\.code) == [-204, -204])
        #expect(rejected.map(\.reason) == ["not its device", "not its device"])
        #expect(rejected.map(\.time) == [testTime, testTime])
        #expect(try store.rejectedChanges(after: rejected[0].position, itemsMax: 10).count == 1)
        #expect(recorder.lines == ["rejected fault#1", "rejected fault#2"])
        #expect(recorder.events.map(\.reason) == ["not its device", "not its device"])
        #expect(recorder.events[0].after?.version == item.version)
        #expect(recorder.events[0].before?.body == item.body)
        #expect(recorder.events[1].after == nil)
        #expect(string(recorder.events[1].before?.body) == #"{"id":"2"}"#)
        // The item stays, and its next change is sent.
        try store.put(fault, "1", 2)
        #expect(try store.pendingCount() == 1)
    }

    @Test func aRejectionOfAnOlderStateDoesNotRejectTheNewer() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        let sent = try store.pending()
        try store.put(fault, "1", 2)
        let recorder = Recorder()
        store.setObserver(recorder)
        try store.answer(sent, .rejected(code: 1, reason: ""))
        #expect(try store.rejectedCount() == 0)
        #expect(try store.pendingCount() == 1)
        #expect(recorder.events.isEmpty)
    }

    @Test func theDeadLettersAreBounded() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let count = Int(StoreLimits.rejectedMax) + 1
        try store.write { (transaction) throws(IotoError) in
            for index in 0..<count {
                _ = try transaction.put(fault, key(fault, "\(index)"), body: body("\(index)"))
            }
        }
        let pending = try store.pending()
        try store.answer(pending, .rejected(code: 1, reason: "no"))
        #expect(try store.rejectedCount() == StoreLimits.rejectedMax)
        #expect(try store.rejectedChanges(after: 0, itemsMax: 1).first?.position == pending[1].position)
    }

    @Test func rejectedChangesBehindThoseOfALostModelAreTold() throws {
        let fixture = try Fixture()
        let first = try fixture.open()
        let (fault, shared) = (try fixture.model("Fault"), try fixture.model("Shared"))
        for id in 0..<5 { try first.put(fault, "\(id)") }
        try first.put(shared, "last")
        try first.answer(try first.pending(), .rejected(code: 1, reason: "no"))
        let lost = try #require(try first.rejectedChanges(after: 0, itemsMax: 1).first?.position)
        first.close()
        let store = try fixture.open(schema: try Fixture.schema(without: ["Fault"]))
        let rejected = try store.rejectedChanges(after: 0, itemsMax: 2)
        #expect(rejected.map { $0.change.model } == ["Shared"])
        #expect(try store.rejectedCount() == 1)
        #expect(try store.statistics().rejectedItems == 1)
        #expect(try store.rejectedChange(lost) == nil)
        try store.discardRejected(lost)
        expectError(.notFound) { try store.discardRejected(lost) }
        #expect(try store.number("SELECT count(*) FROM rejected") == 5)
    }

    @Test func discardingWhatIsNotThereLeavesTheTransactionAsItWas() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.begin()
        try store.put(fault, "1")
        expectError(.notFound) { try store.discardRejected(7) }
        try store.commit()
        #expect(try store.get(fault, "1") != nil)
    }

    @Test func pendingChangesStopAtTheSizeAndTheCount() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["1", "2", "3"] { try store.put(fault, id) }
        let size = body("1").count
        func count(bytes: Int, items: Int, after: Int64 = 0) throws -> Int {
            try store.pendingChanges(after: after, bytesMax: bytes, itemsMax: items).count
        }
        #expect(try count(bytes: 2 * size, items: 10) == 2)
        #expect(try count(bytes: 2 * size - 1, items: 10) == 1)
        #expect(try count(bytes: 0, items: 10) == 1)
        #expect(try count(bytes: 10_000, items: 2) == 2)
        #expect(try count(bytes: 10_000, items: 0) == 0)
        #expect(try count(bytes: 10_000, items: 10, after: try store.pending()[0].position) == 2)
        #expect(try count(bytes: 10_000, items: 10, after: .max) == 0)
    }

    @Test func rowsWithoutAnItemDoNotWedgeTheQueue() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.damage("INSERT INTO outbox(position, hash, sort) VALUES(1, 'no', 'item')")
        try store.put(fault, "1")
        try store.put(fault, "2")
        try store.damage("UPDATE item SET json = x'00' WHERE sort = 'fault#1'")
        #expect(try store.pending().map(\.change.key) == [key(fault, "2")])
        #expect(try store.pendingCount() == 1)
        // Such a row in an answer is none either.
        try store.damage("INSERT INTO outbox(position, hash, sort) VALUES(1, 'no', 'item')")
        let ghost = PendingChange(
            position: 1,
            change: Change(
                model: "Fault", key: ItemKey(hash: "no", sort: "item"), version: .zero, isRemoval: false, body: []))
        try store.answer([ghost], .acknowledged)
        #expect(try store.pendingCount() == 1)
    }

    @Test func changesOfAModelThatIsNoLongerSentWaitForItsReturn() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let shared = try fixture.model("Shared")
        let first = try fixture.open()
        try first.put(fault, "1", 1)
        try first.put(fault, "2", 1)
        try first.remove(fault, "2")
        try first.put(shared, "1", 1)
        let before = try first.pending()
        first.close()

        for schema in [try Fixture.schema(faultSync: "none"), try Fixture.schema(without: ["Fault"])] {
            let second = try fixture.open(schema: schema)
            #expect(try second.pending().map(\.change.model) == ["Shared"])
            #expect(try second.pendingCount() == 1)
            #expect(try second.pendingRange() == before[2].position...before[2].position)
            second.close()
        }

        let third = try fixture.open()
        #expect(try third.pending() == before)
        try third.answer(before, .acknowledged)
        #expect(try third.pendingCount() == 0)
        #expect(try third.number("SELECT count(*) FROM parked") == 0)
    }

    @Test func itemsOfAModelThatIsGoneAreFoundAgainWhenItReturns() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let local = try fixture.model("Local")
        let first = try fixture.open(schema: try Fixture.schema(without: ["Local"]))
        try first.put(fault, "1", 1)
        first.close()
        let second = try fixture.open(schema: try Fixture.schema(without: ["Fault"]))
        try second.put(try #require(second.schema.model("Local")), "1")
        second.close()
        let third = try fixture.open()
        #expect(try third.get(fault, "1") != nil)
        #expect(try third.get(local, "1") != nil)
        #expect(try third.scanned(fault) == ["fault#1"])
    }

    @Test func aVersionThatTheHubGaveIsOnTheDiskBeforeItIsSent() throws {
        let fixture = try Fixture()
        let store = try fixture.open { $0.durability = .normal }
        try store.put(try fixture.model("Fault"), "1")
        let pending = try store.pending()
        try store.answer(pending, .again(as: Version(time: HybridClock.time(testTime - 5000), writer: store.replica)))
        let syncs = try store.statistics().syncs
        #expect(try store.pending().count == 1)
        #expect(try store.statistics().syncs == syncs + 1)
    }

    @Test func whatIsSentIsOnTheDiskWhateverTheDurability() throws {
        let fixture = try Fixture()
        let store = try fixture.open { $0.durability = .normal }
        try store.put(try fixture.model("Fault"), "1")
        try store.put(try fixture.model("Fault"), "2")
        let before = try store.statistics().syncs
        let pending = try store.pending()
        #expect(try store.statistics().syncs == before + 1)
        // All that was committed is there, and is not waited for again.
        #expect(try store.pendingChanges(after: pending[0].position, bytesMax: .max, itemsMax: .max).count == 1)
        #expect(try store.pending().count == 2)
        #expect(try store.statistics().syncs == before + 1)
        try store.put(try fixture.model("Fault"), "3")
        #expect(try store.pending().count == 3)
        #expect(try store.statistics().syncs == before + 2)
    }
}
