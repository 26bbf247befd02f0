import Foundation
import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

@Suite struct StoreBackupTests {
    @Test func aBackupHoldsWhatWasCommitted() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in 0..<500 { try store.put(fault, "\(id)", id) }
        try store.save(to: fixture.path("backup.db"))
        try store.put(fault, "later")
        #expect(Files.size(fixture.path("backup.db-wal")) == nil)
        #expect(Files.size(fixture.path("backup.db.part")) == nil)
        let reader = try fixture.open("backup.db") { $0.isReadOnly = true }
        #expect(try reader.scanned(fault).count == 500)
        #expect(reader.replica == store.replica)
        reader.close()
        let copy = try fixture.open("backup.db")
        #expect(try copy.pending().count == 500)
        #expect(try copy.check { _ in } == 0)
    }

    @Test func aBackupOpenedForWritingIsAnotherReplicaForGood() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        try store.put(try fixture.model("Fault"), "1")
        try store.save(to: fixture.path("backup.db"))
        let copy = try fixture.open("backup.db")
        let replica = copy.replica
        #expect(replica != store.replica)
        copy.close()
        #expect(try fixture.open("backup.db").replica == replica)
        #expect(try fixture.open().replica == store.replica)
    }

    @Test func aBackupReplacesAnOlderOneAndNothingThatIsOpen() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.save(to: fixture.path("backup.db"))
        try store.put(fault, "1")
        try store.save(to: fixture.path("backup.db"))
        let copy = try fixture.open("backup.db")
        #expect(try copy.scanned(fault).count == 1)
        expectError(.exists) { try store.save(to: fixture.path("backup.db")) }
        expectError(.misuse) { try store.save(to: fixture.path) }
        expectError(.misuse) { try store.save(to: "") }
        expectError(.io) { try store.save(to: fixture.path("none/backup.db")) }
        #expect(try copy.scanned(fault).count == 1)
    }

    @Test func aTransactionIsInNoBackup() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.begin()
        try store.put(fault, "1")
        expectError(.misuse) { try store.save(to: fixture.path("backup.db")) }
        let thread = try IotoBase.Thread(name: "backup") { try? store.save(to: fixture.path("backup.db")) }
        thread.join()
        try store.commit()
        #expect(try fixture.open("backup.db").scanned(fault) == [])
    }

    @Test func backupsBesideAWriterAreConsistent() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (fault, local) = (try fixture.model("Fault"), try fixture.model("Local"))
        let done = TestClock()
        let writer = try IotoBase.Thread(name: "writer") {
            for id in 0..<2000 where done.time != 0 {
                try? store.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(fault, key(fault, "\(id)"), body: body("\(id)"))
                    _ = try transaction.put(local, key(local, "\(id)"), body: body("\(id)"))
                }
            }
        }
        for _ in 0..<8 {
            try store.save(to: fixture.path("backup.db"))
            let copy = try fixture.open("backup.db") { $0.isReadOnly = true }
            #expect(try copy.scanned(fault).count == copy.scanned(local).count)
            #expect(try copy.check { _ in } == 0)
            copy.close()
        }
        done.time = 0
        writer.join()
    }
}
