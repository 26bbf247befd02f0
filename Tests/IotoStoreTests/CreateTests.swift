import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Items that are stored without a look for others of their key.
@Suite struct CreateTests {
    @Test(arguments: ["Fault", "Local", "Shared"])
    func anItemOfTheKeyStaysAsItIs(name: String) throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let recorder = Recorder()
        store.setObserver(recorder)
        let model = try fixture.model(name)
        let first = try #require(try store.create(model, "1", 1))
        #expect(try store.create(model, "1", 2) == nil)
        #expect(string(try store.get(model, "1")?.body) == string(body("1", 1)))
        #expect(try store.get(model, "1")?.version == first.version)
        #expect(recorder.lines == ["create \(name.lowercased())#1"])
        #expect(try store.pending().map(\.change.version) == (model.syncsUp ? [first.version] : []))
    }

    @Test func aCreateThatFindsOneDoesNotEndTheTransaction() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        try store.begin()
        #expect(try store.create(fault, "1", 2) == nil)
        #expect(try store.create(fault, "2", 2) != nil)
        #expect(try store.create(fault, "2", 3) == nil)
        #expect(string(try store.get(fault, "2")?.body) == string(body("2", 2)))
        try store.commit()
        #expect(try store.pendingCount() == 2)
    }

    @Test func anItemThatWasRemovedIsMadeAgainAboveItsTombstone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        try store.remove(fault, "1")
        let removed = try #require(try store.pending().first)
        let made = try #require(try store.create(fault, "1", 2))
        #expect(removed.change.version < made.version)
        #expect(try store.pending().map(\.position) == [removed.position])
        #expect(try store.pending().first?.change.isRemoval == false)
    }

    @Test func whatIsCreatedAfterARemovalInOneTransactionIsRead() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        try store.put(local, "1", 1)
        _ = try store.get(local, "1")
        try store.begin()
        try store.remove(local, "1")
        #expect(try store.create(local, "1", 2) != nil)
        #expect(string(try store.get(local, "1")?.body) == string(body("1", 2)))
        try store.commit()
        #expect(string(try store.get(local, "1")?.body) == string(body("1", 2)))
    }

    @Test func anItemOfAnotherModelIsInTheWay() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (fault, local) = (try fixture.model("Fault"), try fixture.model("Local"))
        try store.put(local, "1")
        expectError(.exists) {
            try store.write { (transaction) throws(IotoError) in
                try transaction.create(fault, key(local, "1"), body: body("1"))
            }
        }
        #expect(try store.pendingCount() == 0)
    }
}

extension Store {
    fileprivate func create(_ model: Model, _ id: String, _ value: Int) throws -> StoredItem? {
        try write { (transaction) throws(IotoError) in
            try transaction.create(model, key(model, id), body: body(id, value))
        }
    }
}
