import Dispatch
import IotoBase
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// An acknowledgement that has no transaction of its own.
@Suite struct LateSettlementTests {
    private let fixture: Fixture
    private let store: Store
    private let fault: Model

    init() throws {
        fixture = try Fixture()
        store = try fixture.open()
        fault = try fixture.model("Fault")
    }

    /// - Parameter advance: The cursor of `all` moves from 0 to it; 0: it does not.
    private func acknowledge(_ change: PendingChange, advance: Int64 = 0) throws -> Bool {
        var settlement = Settlement(entries: [.init(pending: change, answer: .acknowledged)], hubTime: 0)
        if advance > 0 { settlement.advance = FeedAdvance(stream: "all", history: 7, previous: 0, cursor: advance) }
        return try store.settleLater(settlement)
    }

    private func sent(_ id: String = "1") throws -> PendingChange {
        try store.put(fault, id)
        return try #require(try store.pending().last)
    }

    @Test func theOnlyChangeCountsAsDoneAndItsRowGoesWithTheNext() throws {
        let change = try sent()
        let commits = store.counted.commits
        #expect(try acknowledge(change))
        #expect(store.counted.commits == commits)
        #expect(try store.number("SELECT count(*) FROM outbox") == 1)
        #expect(try store.pending().isEmpty)
        #expect(try store.pendingCount() == 0)
        #expect(try store.pendingRange() == nil)
        #expect(try store.pendingWeight().items == 0)
        try store.put(fault, "2")
        #expect(store.counted.commits == commits + 1)
        #expect(try store.pending().map { $0.change.key } == [key(fault, "2")])
        #expect(try store.pendingCount() == 1)
    }

    @Test func rowIsGoneWhenItIsAskedForOrTheStoreIsClosed() throws {
        #expect(try acknowledge(try sent()))
        #expect(try store.settleLate())
        #expect(try store.number("SELECT count(*) FROM outbox") == 0)
        #expect(try acknowledge(try sent("2")))
        store.close()
        #expect(try fixture.open().number("SELECT count(*) FROM outbox") == 0)
    }

    @Test func changeIsThereAgainForAProcessThatComesBefore() throws {
        let change = try sent()
        #expect(try acknowledge(change))
        let other = try fixture.open()
        #expect(try other.pending() == [change])
        other.close()
    }

    @Test func cursorMovesWithIt() throws {
        #expect(try acknowledge(try sent(), advance: 5))
        let cursor = StreamCursor(stream: "all", history: 7, position: 5)
        #expect(try store.cursor(of: "all") == cursor)
        #expect(try store.cursor(of: "device/a") == nil)
        #expect(try store.number("SELECT count(*) FROM outbox") == 1)
        #expect(try store.settleLate())
        #expect(try store.cursor(of: "all") == cursor)
    }

    @Test func whatIsToldOfTheChangeIsThatItIsDone() throws {
        #expect(try acknowledge(try sent()))
        let statistics = try store.statistics()
        #expect(statistics.outboxItems == 0 && statistics.outboxBytes == 0)
        #expect(try store.digest(of: "all") { (_, _, _) in true }.pending == 0)
        var paths: [String] = []
        _ = try store.explain(key(fault, "1"), model: fault) { paths.append("\($0.path)") }
        #expect(paths == ["acknowledged"])
        #expect(try store.number("SELECT count(*) FROM outbox") == 1)
    }

    @Test func ceilingCountsItAsGone() throws {
        try store.setCeilings({ var ceilings = Ceilings(); ceilings.outboxItems = 1; return ceilings }())
        let change = try sent()
        #expect(throws: IotoError.self) { try store.put(fault, "2") }
        #expect(try acknowledge(change))
        try store.put(fault, "2")
        #expect(throws: IotoError.self) { try store.put(fault, "3") }
    }

    @Test func transactionThatIsHeldIsNotWaitedFor() throws {
        #expect(try acknowledge(try sent(), advance: 5))
        let (begun, ended) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let thread = try IotoBase.Thread(name: "holds") { [store] in
            try? store.begin()
            begun.signal()
            ended.wait()
            try? store.rollBack()
        }
        begun.wait()
        #expect(try !store.settleLate())
        #expect(try store.pendingCount() == 0)
        #expect(try store.cursor(of: "all")?.position == 5)
        #expect(try store.statistics().outboxItems == 0)
        ended.signal()
        thread.join()
        #expect(try store.settleLate())
        #expect(try store.number("SELECT count(*) FROM outbox") == 0)
    }

    @Test func backupHasItSettled() throws {
        #expect(try acknowledge(try sent()))
        try store.save(to: fixture.path("backup.db"))
        let other = try fixture.open("backup.db")
        #expect(try other.pendingCount() == 0)
        other.close()
    }

    @Test func transactionThatIsRolledBackLeavesItToTheNext() throws {
        #expect(try acknowledge(try sent()))
        try store.begin()
        try store.put(fault, "2")
        #expect(try store.pendingCount() == 1)
        try store.rollBack()
        #expect(try store.pendingCount() == 0)
        #expect(try store.number("SELECT count(*) FROM outbox") == 1)
        try store.put(fault, "3")
        #expect(try store.pending().map { $0.change.key } == [key(fault, "3")])
    }

    @Test func changeSinceItWasSentIsNotDone() throws {
        let change = try sent()
        try store.put(fault, "1", 2)
        #expect(try !acknowledge(change))
        #expect(try store.pendingCount() == 1)
    }

    @Test func changeThatIsNotTheOnlyOneIsNotTaken() throws {
        try store.put(fault, "0")
        #expect(try !acknowledge(try sent()))
        #expect(try store.pendingCount() == 2)
    }

    @Test func changeWithAReceiptIsNotTaken() throws {
        _ = try store.withReceipt { () throws(IotoError) in
            _ = try store.write { (transaction) throws(IotoError) in
                try transaction.put(fault, key(fault, "1"), body: body("1"))
            }
        }
        #expect(try !acknowledge(try #require(try store.pending().first)))
    }

    @Test func anotherProcessesChangeShows() throws {
        #expect(try acknowledge(try sent()))
        let other = try fixture.open()
        try other.put(fault, "2")
        other.close()
        #expect(try store.pendingRange() != nil)
        #expect(try store.settleLate())
        #expect(try store.pending().map { $0.change.key } == [key(fault, "2")])
    }

    @Test func anotherProcessesChangeOfTheItemStays() throws {
        #expect(try acknowledge(try sent()))
        let other = try fixture.open()
        try other.put(fault, "1", 2)
        other.close()
        #expect(try store.settleLate())
        #expect(try store.pending().map { string($0.change.body) } == [string(body("1", 2))])
    }

    @Test func errorOfTheNextTransactionLeavesItToTheOneAfter() throws {
        #expect(try acknowledge(try sent()))
        try store.damage("CREATE TRIGGER refuse BEFORE DELETE ON outbox BEGIN SELECT raise(ABORT, 'no'); END")
        #expect(throws: IotoError.self) { try store.put(fault, "2") }
        #expect(throws: IotoError.self) { _ = try store.settleLate() }
        #expect((try? store.pending())?.isEmpty ?? true)
        try store.damage("DROP TRIGGER refuse")
        try store.put(fault, "2")
        #expect(try store.number("SELECT count(*) FROM outbox") == 1)
    }
}
