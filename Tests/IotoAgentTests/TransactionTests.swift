import Foundation
import IotoBase
import IotoJSON
import IotoStore
import Testing

@testable import IotoAgent

@Suite struct TransactionTests {
    @Test func commitKeepsEveryChange() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.begin()
        try database.create("Note", "{id: 'a'}")
        try database.create("Local", "{id: 'b'}")
        try database.commit()
        database.close()
        let again = try fixture.open()
        #expect(try again.ids("Note") == ["a"])
        #expect(try again.ids("Local") == ["b"])
        #expect(try again.store.pendingCount() == 1)
        again.close()
    }

    @Test func rollbackTakesItemsAndOutboxBack() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Note", "{id: 'a', text: 'old'}")
        try database.begin()
        try database.update("Note", "{id: 'a', text: 'new'}")
        try database.create("Note", "{id: 'b'}")
        #expect(try database.remove("Note", "{id: 'a'}") == 1)
        try database.rollBack()
        #expect(try database.ids("Note") == ["a"])
        #expect(try database.get("Note", "{id: 'a'}").value("text") == .string("old"))
        #expect(try database.store.pendingCount() == 1)
        database.close()
    }

    @Test func theOwnerReadsItsChangesAndOthersDoNot() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.begin()
        try database.create("Note", "{id: 'a'}")
        #expect(try database.ids("Note") == ["a"])
        #expect(try onThread { try database.ids("Note") } == [])
        try database.commit()
        #expect(try onThread { try database.ids("Note") } == ["a"])
        database.close()
    }

    @Test func triggersRunOnceInOrderAfterTheCommit() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        // Triggers are called, from here on.
        try database.create("Note", "{id: 'z'}")
        #expect(calls.wait(for: 1))
        try database.begin()
        try database.create("Note", "{id: 'a'}")
        try database.create("Local", "{id: 'b'}")
        try database.update("Note", "{id: 'a', count: 1}")
        usleep(50_000)
        #expect(calls.lines == ["create z"])
        try database.commit()
        try database.begin()
        try database.create("Note", "{id: 'c'}")
        try database.rollBack()
        database.close()
        #expect(calls.lines == ["create z", "create a", "create b", "update a"])
    }

    @Test func aTransactionDoesNotNest() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        #expect(code { try database.commit() } == .misuse)
        #expect(code { try database.rollBack() } == .misuse)
        try database.begin()
        #expect(code { try database.begin() } == .misuse)
        try database.create("Note", "{id: 'a'}")
        try database.commit()
        #expect(code { try database.commit() } == .misuse)
        #expect(try database.ids("Note") == ["a"])
        database.close()
    }

    @Test func anotherThreadCanNeitherCommitNorRollBack() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.begin()
        try database.create("Note", "{id: 'a'}")
        #expect(code { try onThread { try database.commit() } } == .misuse)
        #expect(code { try onThread { try database.rollBack() } } == .misuse)
        try database.commit()
        #expect(try database.ids("Note") == ["a"])
        database.close()
    }

    @Test func aRefusedCallLeavesTheTransactionAsItWas() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Note", "{id: 'a'}")
        try database.begin()
        try database.create("Note", "{id: 'b'}")
        #expect(code { try database.create("Note", "{id: 'a'}") } == .exists)
        #expect(code { try database.update("Note", "{id: 'none', count: 1}") } == .notFound)
        #expect(code { try database.create("Note", "{id: 'x', count: 'many'}") } == .field)
        try database.commit()
        #expect(try database.ids("Note") == ["a", "b"])
        database.close()
    }

    @Test func aCallThatFailsHalfWaySpoilsTheTransaction() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        for id in ["a", "b", "c"] { try database.create("Note", "{id: '\(id)'}") }
        try fixture.sqlite("UPDATE item SET json = '{garbage}' WHERE sort = 'note#b'")
        try database.begin()
        try database.create("Local", "{id: 'l'}")
        #expect(code { try database.remove("Note", "{}", isMany: true) } == .corrupt)
        #expect(code { try database.create("Local", "{id: 'm'}") } == .corrupt)
        #expect(code { try database.commit() } == .corrupt)
        #expect(code { try database.commit() } == .misuse)
        #expect(try database.store.scannedCount(database.model("Note")) == 3)
        #expect(try database.ids("Local") == [])
        database.close()
    }

    @Test func otherWritersWaitForTheCommit() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let order = Calls()
        try database.begin()
        try database.create("Note", "{id: 'a'}")
        let thread = try IotoBase.Thread(name: "writer") {
            order.add("begin")
            _ = try? database.create("Note", "{id: 'b'}")
            order.add("written")
        }
        #expect(order.wait(for: 1))
        usleep(100_000)
        order.add("commit")
        try database.commit()
        thread.join()
        #expect(order.lines == ["begin", "commit", "written"])
        #expect(try database.ids("Note") == ["a", "b"])
        database.close()
    }

    @Test func closingRollsAForgottenTransactionBack() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try onThread {
            try database.begin()
            try database.create("Note", "{id: 'a'}")
        }
        database.close()
        let again = try fixture.open()
        #expect(try again.ids("Note") == [])
        try again.create("Note", "{id: 'a'}")
        try again.begin()
        try again.create("Note", "{id: 'b'}")
        again.close()
        let last = try fixture.open()
        #expect(try last.ids("Note") == ["a"])
        last.close()
    }

    @Test func aThreadThatIsGoneIsNotTakenForANewOne() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try onThread { try database.begin() }
        for _ in 0..<20 { #expect(code { try onThread { try database.commit() } } == .misuse) }
        database.close()
    }

    @Test func aTransactionCanBeEmpty() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.begin()
        try database.commit()
        try database.begin()
        try database.rollBack()
        #expect(code { try fixture.open { $0.isReadOnly = true }.begin() } == .readOnly)
        database.close()
    }

    @Test func aTriggerMayUseATransaction() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        try database.addTrigger(.test(model: "Note"), events: .change) { _ in
            do {
                try database.begin()
                try database.create("Local", "{id: 'x'}")
                try database.create("Local", "{id: 'y'}")
                try database.commit()
                calls.add("done")
            } catch {
                calls.add("\(error)")
            }
        }
        try database.create("Note", "{id: 'a'}")
        database.close()
        #expect(calls.lines == ["done"])
    }
}
