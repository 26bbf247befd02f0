import Foundation
import IotoBase
import IotoSchema
import Synchronization
import Testing

@testable import IotoStore
@testable import IotoSync

@Suite struct ItemCacheTests {
    private func hits(_ store: Store) -> Int64 { store.cache.currentStatistics.hits }

    private func value(_ store: Store, _ model: Model, _ id: String) throws -> Int? {
        guard let text = string(try store.get(model, id)?.body) else { return nil }
        return Int(text.split(separator: ":")[2].dropLast())
    }

    /// What `body` returns on another thread.
    private func elsewhere<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result {
        let result = Mutex<Swift.Result<Result, any Error>?>(nil)
        let thread = try IotoBase.Thread(name: "test") {
            let found = Swift.Result { try body() }
            result.withLock { $0 = found }
        }
        thread.join()
        return try #require(result.withLock { $0 }).get()
    }

    @Test func theSecondReadAsksSQLiteForNothing() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 7)
        #expect(try value(store, fault, "1") == 7)
        #expect(hits(store) == 0)
        #expect(try store.get(fault, "1") === store.get(fault, "1"))
        #expect(hits(store) == 2)
    }

    @Test func aKeyOfAnotherModelIsNotFound() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (fault, local) = (try fixture.model("Fault"), try fixture.model("Local"))
        try store.put(fault, "1", 7)
        #expect(try value(store, fault, "1") == 7)
        #expect(try store.get(key(fault, "1"), model: local) == nil)
        #expect(hits(store) == 1)
    }

    @Test func aCommittedChangeTakesTheItemsPlace() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for round in 0..<10 {
            try store.put(fault, "1", round)
            #expect(try value(store, fault, "1") == round)
        }
        #expect(hits(store) == 9, "each change but the first found the item there")
        try store.remove(fault, "1")
        #expect(try store.get(fault, "1") == nil)
    }

    @Test func whatIsNotCommittedIsSeenByItsThreadAlone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        #expect(try value(store, fault, "1") == 1)
        try store.begin()
        try store.put(fault, "1", 2)
        #expect(try value(store, fault, "1") == 2)
        let outside = try elsewhere { [self] in try value(store, fault, "1") }
        #expect(outside == 1)
        try store.rollBack()
        #expect(try value(store, fault, "1") == 1)
        let after = try elsewhere { [self] in try value(store, fault, "1") }
        #expect(after == 1)
    }

    @Test func whatWasRolledBackIsNeverSeen() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        for round in 2..<20 {
            _ = try value(store, fault, "1")
            _ = error {
                try store.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(fault, key(fault, "1"), body: body("1", -round))
                    _ = try transaction.put(fault, key(fault, "2"), body: body("2", -round))
                    throw IotoError(.field, "no")
                }
            }
            #expect(try value(store, fault, "1") == 1)
            #expect(try store.get(fault, "2") == nil)
        }
    }

    @Test func aChangeOfTheCloudTakesTheItemsPlace() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let shared = try fixture.model("Shared")
        try store.put(shared, "1", 1)
        #expect(try value(store, shared, "1") == 1)
        let time = HybridClock.time(testTime + 1000)
        func apply(_ value: Int, isRemoval: Bool, _ step: UInt64) throws {
            let change = Change(
                model: shared.name, key: key(shared, "1"), version: Version(time: time + step, writer: 9),
                isRemoval: isRemoval, body: body("1", value))
            _ = try store.apply(
                [change], cursor: StreamCursor(stream: "s", history: 1, position: Int64(step)), hubTime: time)
        }
        try apply(5, isRemoval: false, 1)
        #expect(try value(store, shared, "1") == 5)
        #expect(try store.get(shared, "1")?.version.writer == 9)
        try apply(5, isRemoval: true, 2)
        #expect(try store.get(shared, "1") == nil)
    }

    @Test func anAcknowledgementWithAnotherVersionIsFollowed() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        _ = try store.get(fault, "1")
        let pending = try #require(try store.pendingChanges(after: 0, bytesMax: 10_000, itemsMax: 10).first)
        let version = Version(time: pending.change.version.time + 5, writer: 3)
        try store.settle(
            Settlement(
                entries: [Settlement.Entry(pending: pending, answer: .again(as: version))], hubTime: 0, advance: nil))
        #expect(try store.get(fault, "1")?.version == version)
    }

    @Test func anotherStoreOnTheFileIsSeenAtOnce() throws {
        let fixture = try Fixture()
        let (one, other) = (try fixture.open(), try fixture.open())
        let fault = try fixture.model("Fault")
        for round in 0..<200 {
            let (writer, reader) = round % 3 == 0 ? (one, other) : (other, one)
            try writer.put(fault, "\(round % 5)", round)
            #expect(try value(reader, fault, "\(round % 5)") == round)
            #expect(try value(writer, fault, "\(round % 5)") == round)
        }
        try other.remove(fault, "1")
        #expect(try one.get(fault, "1") == nil)
    }

    @Test func aStoreThatOnlyReadsFollowsToo() throws {
        let fixture = try Fixture()
        let writer = try fixture.open()
        let fault = try fixture.model("Fault")
        try writer.put(fault, "1", 0)
        let reader = try fixture.open { $0.isReadOnly = true }
        for round in 1..<20 {
            try writer.put(fault, "1", round)
            #expect(try value(reader, fault, "1") == round)
            #expect(try value(reader, fault, "1") == round)
        }
        #expect(hits(reader) == 19)
    }

    @Test func aReaderThatWasOvertakenDoesNotPutTheOldStateBack() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let old = try store.put(fault, "1", 1)
        func miss() throws -> UInt64 {
            var ticket: UInt64 = 0
            try old.key.hash.bytes.withUnsafeBytes { hash in
                try old.key.sort.bytes.withUnsafeBytes { sort in
                    try #require(store.cache.find(hash, sort, &ticket) == nil)
                }
            }
            return ticket
        }
        let ticket = try miss()
        try store.put(fault, "1", 2)
        store.cache.insert(old, ticket)
        #expect(try value(store, fault, "1") == 2)

        // The same with a commit of somebody else, who has not been noticed.
        let other = try fixture.open()
        try other.put(fault, "1", 3)
        let second = try miss()
        try other.put(fault, "1", 4)
        store.cache.insert(old, second)
        #expect(try value(store, fault, "1") == 4)
    }

    @Test func aNewLogDoesNotEmptyTheCache() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let (fault, local) = (try fixture.model("Fault"), try fixture.model("Local"))
        try store.put(fault, "1", 1)
        _ = try store.get(fault, "1")
        for round in 0..<3 * Int(StoreLimits.checkpointPages) { try store.put(local, "\(round % 400)", round) }
        let before = hits(store)
        #expect(try value(store, fault, "1") == 1)
        #expect(hits(store) == before + 1)
    }

    @Test func aTransactionOfMoreChangesThanAreFollowedIsSeen() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let count = StoreLimits.followedChangesMax + 1
        try store.put(fault, "\(count - 1)", -1)
        _ = try store.get(fault, "\(count - 1)")
        try store.begin()
        for index in 0..<count { try store.put(fault, "\(index)", index) }
        try store.commit()
        #expect(try value(store, fault, "\(count - 1)") == count - 1)
        #expect(try value(store, fault, "0") == 0)
    }

    @Test func memoryStaysBounded() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let header = UnsafeMutableRawPointer.allocate(byteCount: 136, alignment: 8)
        header.initializeMemory(as: UInt8.self, repeating: 0, count: 136)
        defer { header.deallocate() }
        let cache = ItemCache(bytesMax: 50_000)
        cache.open(UnsafeRawPointer(header))
        func find(_ key: ItemKey) -> (item: StoredItem?, ticket: UInt64) {
            var ticket: UInt64 = 0
            let item = key.hash.bytes.withUnsafeBytes { hash in
                key.sort.bytes.withUnsafeBytes { sort in cache.find(hash, sort, &ticket) }
            }
            return (item, ticket)
        }
        for index in 0..<5000 {
            let size = index % 7 * 100
            let item = StoredItem(
                model: fault, key: key(fault, "\(index)"), body: [UInt8](repeating: 32, count: size), version: .zero)
            #expect(find(item.key).item == nil)
            // Missed for the second time: it is put in, however full the cache is.
            cache.insert(item, find(item.key).ticket)
            #expect(cache.currentStatistics.bytes <= 50_000)
            if index % 100 == 0 { #expect(find(item.key).item === item) }
            // One that is read again and again stays.
            if index > 0 { #expect(find(key(fault, "0")).item != nil) }
        }
        let large = StoredItem(
            model: fault, key: key(fault, "large"), body: [UInt8](repeating: 32, count: 40_000), version: .zero)
        _ = find(large.key)
        cache.insert(large, find(large.key).ticket)
        #expect(find(large.key).item == nil)
        // What is read once only does not drive others out.
        let once = StoredItem(model: fault, key: key(fault, "once"), body: [], version: .zero)
        #expect(find(once.key).ticket == 0)
        cache.limit(to: 1000)
        #expect(cache.currentStatistics.bytes == 0)
        cache.limit(to: 50_000)
        let zero = StoredItem(model: fault, key: key(fault, "0"), body: [], version: .zero)
        cache.insert(zero, find(zero.key).ticket)
        #expect(find(key(fault, "0")).item != nil)
        cache.close()
        #expect(find(key(fault, "0")).item == nil)
    }

    /// Two stores write to one file, each its own items, whose values only grow; others read: no reader sees a value go
    /// back, and each writer finds what it wrote.
    @Test func readsNeverGoBack() throws {
        let fixture = try Fixture()
        let stores = [try fixture.open(), try fixture.open()]
        let fault = try fixture.model("Fault")
        for index in 0..<2 { try stores[index].put(fault, "\(index)", 0) }
        let isDone = Atomic<Int>(0)
        let failures = Mutex<[String]>([])
        func check(_ body: @escaping @Sendable () throws -> Void) throws -> IotoBase.Thread {
            try IotoBase.Thread(name: "test") {
                do { try body() } catch { failures.withLock { $0.append("\(error)") } }
            }
        }
        var threads: [IotoBase.Thread] = []
        for index in 0..<2 {
            threads.append(
                try check {
                    defer { isDone.add(1, ordering: .relaxed) }
                    for round in 1..<600 {
                        try stores[index].put(fault, "\(index)", round)
                        guard try value(stores[index], fault, "\(index)") == round else {
                            throw IotoError(.notFound, "store \(Int64(index)) lost \(Int64(round))")
                        }
                    }
                })
            threads.append(
                try check {
                    var last = [0, 0]
                    while isDone.load(ordering: .relaxed) < 2 {
                        for id in 0..<2 {
                            let found = try value(stores[index], fault, "\(id)") ?? -1
                            guard found >= last[id] else {
                                throw IotoError(.notFound, "\(Int64(last[id])) became \(Int64(found))")
                            }
                            last[id] = found
                        }
                    }
                })
        }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
    }
}
