import IotoBase
import IotoSchema
import Testing

@testable import IotoStore

@Suite struct StoreTransactionTests {
    @Test func rollbackDiscardsItemsEventsAndOutboxEntries() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let recorder = Recorder()
        store.setObserver(recorder)
        try store.put(fault, "kept", 1)
        expectError(.timeout) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "kept"), body: body("kept", 2))
                _ = try transaction.put(fault, key(fault, "new"), body: body("new"))
                throw IotoError(.timeout, "no")
            }
        }
        #expect(string(try store.get(fault, "kept")?.body) == #"{"id":"kept","value":1}"#)
        #expect(try store.get(fault, "new") == nil)
        #expect(try store.pendingCount() == 1)
        #expect(recorder.lines == ["create fault#kept"])
    }

    @Test func aTransactionSeesWhatItWrote() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.write { (transaction) throws(IotoError) in
            #expect(try transaction.get(key(fault, "1"), model: fault) == nil)
            let item = try transaction.put(fault, key(fault, "1"), body: body("1"))
            #expect(try transaction.get(key(fault, "1"), model: fault)?.version == item.version)
            // A read of the store on this thread is a read of the transaction; elsewhere it is not to be seen yet.
            #expect(try store.get(key(fault, "1"), model: fault) != nil)
            #expect(try store.readers.read { (connection) throws(IotoError) in
                try connection.integer("SELECT count(*) FROM item")
            } == 0)
            var count = 0
            try transaction.scan(fault, hash: nil, sortPrefix: "", after: nil, isReversed: false) {
                (_) throws(IotoError) in
                count += 1
                return true
            }
            #expect(count == 1)
            try transaction.remove(item)
            #expect(try transaction.get(key(fault, "1"), model: fault) == nil)
        }
        #expect(try store.get(fault, "1") == nil)
    }

    @Test func eventsTellTheItemBeforeAndAfter() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let recorder = Recorder()
        store.setObserver(recorder)
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, key(fault, "1"), body: body("1", 1))
            let item = try transaction.put(fault, key(fault, "1"), body: body("1", 2))
            try transaction.remove(item)
        }
        #expect(recorder.commits == 1)
        #expect(recorder.lines == ["create fault#1", "update fault#1", "remove fault#1"])
        #expect(recorder.events.map { string($0.before?.body) } == [nil, string(body("1", 1)), string(body("1", 2))])
        #expect(recorder.events.map { string($0.after?.body) } == [string(body("1", 1)), string(body("1", 2)), nil])
        #expect(recorder.events.allSatisfy { !$0.isRemote && $0.model === fault })
    }

    @Test func aTransactionWithoutChangesTellsNoOne() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let recorder = Recorder()
        store.setObserver(recorder)
        let fault = try fixture.model("Fault")
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.get(key(fault, "1"), model: fault)
        }
        store.setObserver(nil)
        try store.put(fault, "1")
        #expect(recorder.commits == 0)
    }

    @Test func aKeyTakenByAnotherModelIsRefused() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let local = try fixture.model("Local")
        try store.put(fault, "1")
        try store.write { (transaction) throws(IotoError) in
            do throws(IotoError) {
                _ = try transaction.put(local, key(fault, "1"), body: body("1"))
                Issue.record("no error")
            } catch {
                #expect(error.code == .exists)
            }
            // Nothing was written by it: the transaction goes on.
            _ = try transaction.put(local, key(local, "1"), body: body("1"))
        }
        #expect(try store.get(fault, "1") != nil)
        #expect(try store.get(local, "1") != nil)
    }

    @Test func theKeyOfAModelThatIsGoneIsFree() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let first = try fixture.open()
        try first.put(fault, "1")
        first.close()
        let schema = try Fixture.schema(without: ["Fault"])
        let store = try fixture.open(schema: schema)
        let local = try #require(schema.model("Local"))
        let recorder = Recorder()
        store.setObserver(recorder)
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(local, key(fault, "1"), body: body("1"))
        }
        #expect(recorder.lines == ["create fault#1"])
    }

    @Test func anItemThatIsGoneCannotBeRemoved() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let item = try store.put(fault, "1")
        try store.remove(fault, "1")
        expectError(.notFound) {
            try store.write { (transaction) throws(IotoError) in try transaction.remove(item) }
        }
    }

    @Test func aFailureHalfWayRollsBackEvenWhenTheCallerGoesOn() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "0")
        // The item's row can be written and the outbox row behind it can't.
        try store.damage("CREATE TRIGGER t BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
        expectError(.storage) {
            try store.write { (transaction) throws(IotoError) in
                do throws(IotoError) {
                    _ = try transaction.put(fault, key(fault, "1"), body: body("1"))
                } catch {}
            }
        }
        #expect(try store.get(fault, "1") == nil)
        try store.damage("DROP TRIGGER t")
        try store.put(fault, "1")
        #expect(try store.pendingCount() == 2)
    }

    @Test func transactionsDoNotNest() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        expectError(.misuse) {
            try store.write { (transaction) throws(IotoError) in
                try store.write { (_) throws(IotoError) in }
            }
        }
        // Neither can it close its store.
        try store.write { (transaction) throws(IotoError) in
            store.close()
            _ = try transaction.put(fault, key(fault, "1"), body: body("1"))
        }
        #expect(try store.get(fault, "1") != nil)
    }

    @Test func aTransactionIsOverWhenItsClosureReturns() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let escaped = try store.write { (transaction) throws(IotoError) in transaction }
        expectError(.misuse) { try escaped.put(fault, key(fault, "1"), body: body("1")) }
        expectError(.misuse) { try escaped.get(key(fault, "1"), model: fault) }
    }

    @Test func aFullDatabaseFailsTheTransactionAndStaysUsable() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "first")
        let recorder = Recorder()
        store.setObserver(recorder)
        let pages = try store.number("PRAGMA page_count")
        try store.damage("PRAGMA max_page_count = \(pages + 2)")
        let large = Array(#"{"id":""#.utf8) + [UInt8](repeating: 97, count: 20_000) + Array(#""}"#.utf8)
        expectError(.full) {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "large"), body: large)
            }
        }
        #expect(recorder.lines == ["full fault#large"])
        #expect(try store.get(fault, "large") == nil)
        #expect(try store.pendingCount() == 1)
        try store.put(fault, "small")
        try store.damage("PRAGMA max_page_count = 1000000")
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, key(fault, "large"), body: large)
        }
        #expect(try store.pendingCount() == 3)
        #expect(try store.get(fault, "first") != nil)
    }
}
