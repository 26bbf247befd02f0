import IotoBase
import IotoSchema
import Testing

@testable import IotoStore

@Suite struct StoreTests {
    @Test func aStoredItemIsReadBack() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        #expect(try store.get(fault, "1") == nil)
        try store.put(fault, "1", 5)
        let item = try #require(try store.get(fault, "1"))
        #expect(string(item.body) == #"{"id":"1","value":5}"#)
        #expect(item.model === fault)
        #expect(item.key == key(fault, "1"))
        #expect(item.version.writer == store.replica)
        #expect(item.version.milliseconds == testTime)
    }

    @Test func anItemOfAnotherModelIsNotFound() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        #expect(try store.get(key(fault, "1"), model: try fixture.model("Local")) == nil)
    }

    @Test func itemsOutliveTheStore() throws {
        let fixture = try Fixture()
        let fault = try fixture.model("Fault")
        let first = try fixture.open()
        let replica = first.replica
        let version = try first.put(fault, "1", 7).version
        first.close()
        let second = try fixture.open()
        #expect(second.replica == replica)
        #expect(try second.get(fault, "1")?.version == version)
        #expect(try second.pendingCount() == 1)
    }

    @Test func itemsOfModelsThatAreNotReplicatedHaveNoVersionAndNoTombstone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let local = try fixture.model("Local")
        #expect(try store.put(local, "1").version == .zero)
        #expect(try store.get(local, "1")?.version == .zero)
        try store.remove(local, "1")
        #expect(try store.get(local, "1") == nil)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        #expect(try store.pendingCount() == 0)
    }

    @Test func emptyKeysAreKeys() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let empty = ItemKey(hash: "", sort: "")
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, empty, body: body("1"))
        }
        #expect(try store.get(empty, model: fault) != nil)
        #expect(try store.scanned(fault, hash: "") == [""])
        #expect(try store.scanned(fault, hash: nil) == [""])
        try store.write { (transaction) throws(IotoError) in
            guard let item = try transaction.get(empty, model: fault) else { return }
            try transaction.remove(item)
        }
        #expect(try store.pending().map(\.change.isRemoval) == [true])
    }

    @Test func sizesAreLimited() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        func put(keyBytes: Int, bodyBytes: Int) throws {
            let key = ItemKey(hash: "h", sort: Text([UInt8](repeating: 97, count: keyBytes)))
            let filler = [UInt8](repeating: 97, count: bodyBytes - 8)
            let body = Array(#"{"id":""#.utf8) + filler.dropFirst() + Array(#""}"#.utf8)
            #expect(body.count == bodyBytes)
            try store.write { (transaction) throws(IotoError) in _ = try transaction.put(fault, key, body: body) }
            #expect(try store.get(key, model: fault)?.body == body)
        }
        try put(keyBytes: Limits.keyBytesMax, bodyBytes: Limits.itemBytesMax)
        expectError(.limit) { try put(keyBytes: Limits.keyBytesMax + 1, bodyBytes: 100) }
        expectError(.limit) { try put(keyBytes: 1, bodyBytes: Limits.itemBytesMax + 1) }
        #expect(try store.pendingCount() == 1)
    }

    // MARK: Scans

    @Test func aScanVisitsTheItemsOfAPrefixInOrder() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["b1", "a2", "b2", "a1", "c"] { try store.put(fault, id) }
        try store.put(try fixture.model("Local"), "b9")
        #expect(try store.scanned(fault) == ["fault#a1", "fault#a2", "fault#b1", "fault#b2", "fault#c"])
        #expect(try store.scanned(fault, prefix: "fault#b") == ["fault#b1", "fault#b2"])
        #expect(try store.scanned(fault, prefix: "fault#b", isReversed: true) == ["fault#b2", "fault#b1"])
        #expect(try store.scanned(fault, prefix: "fault#x").isEmpty)
        #expect(try store.scanned(fault, hash: "device#d2").isEmpty)
    }

    @Test func aScanGoesOnBehindAKeyThatIsGone() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["a", "b", "c", "d"] { try store.put(fault, id) }
        let after = key(fault, "b")
        try store.remove(fault, "b")
        for hash in ["device#d1", nil] as [Text?] {
            #expect(try store.scanned(fault, hash: hash, after: after) == ["fault#c", "fault#d"])
            #expect(try store.scanned(fault, hash: hash, after: after, isReversed: true) == ["fault#a"])
            #expect(try store.scanned(fault, hash: hash, prefix: "fault#d", after: after) == ["fault#d"])
            #expect(try store.scanned(fault, hash: hash, prefix: "fault#d", after: after, isReversed: true).isEmpty)
        }
        #expect(try store.scanned(fault, prefix: "fault#a", after: after, isReversed: true) == ["fault#a"])
        #expect(try store.scanned(fault, prefix: "fault#a", after: after).isEmpty)
    }

    @Test func aScanOfEveryHashIsInOrderOfTheWholeKey() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for (hash, sort) in [("b", "2"), ("a", "9"), ("b", "1"), ("", "5"), ("c", "2")] {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, ItemKey(hash: Text(hash), sort: Text(sort)), body: body("1"))
            }
        }
        #expect(try store.scanned(fault, hash: nil) == ["5", "9", "1", "2", "2"])
        #expect(try store.scanned(fault, hash: nil, isReversed: true) == ["2", "2", "1", "9", "5"])
        #expect(try store.scanned(fault, hash: nil, prefix: "2") == ["2", "2"])
        let after = ItemKey(hash: "b", sort: "1")
        #expect(try store.scanned(fault, hash: nil, after: after) == ["2", "2"])
        #expect(try store.scanned(fault, hash: nil, after: after, isReversed: true) == ["9", "5"])
        // A key of another hash lies before or behind all of this one's.
        #expect(try store.scanned(fault, hash: "b", after: ItemKey(hash: "a", sort: "x")) == ["1", "2"])
        #expect(try store.scanned(fault, hash: "b", after: ItemKey(hash: "c", sort: "x")).isEmpty)
        #expect(try store.scanned(fault, hash: "b", after: ItemKey(hash: "a", sort: "x"), isReversed: true).isEmpty)
        #expect(
            try store.scanned(fault, hash: "b", after: ItemKey(hash: "c", sort: "x"), isReversed: true) == ["2", "1"])
    }

    @Test func prefixesOfTheHighestBytesHaveNoUpperBound() throws {
        #expect(KeyRange.successor(ofPrefix: Text([0x61, 0xFF, 0xFF])) == Text([0x62]))
        #expect(KeyRange.successor(ofPrefix: Text([0xFF])) == nil)
        #expect(KeyRange.successor(ofPrefix: "") == nil)
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let sort = Text([0xF4, 0x8F, 0xBF, 0xBF])
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, ItemKey(hash: "h", sort: sort + "x"), body: body("1"))
        }
        #expect(try store.scanned(fault, hash: "h", prefix: sort).count == 1)
    }

    @Test func aVisitorStopsTheScanOrThrows() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["a", "b", "c"] { try store.put(fault, id) }
        var count = 0
        try store.scan(fault, hash: "device#d1", sortPrefix: "", after: nil, isReversed: false) {
            (_) throws(IotoError) in
            count += 1
            return count < 2
        }
        #expect(count == 2)
        expectError(.timeout) {
            try store.scan(fault, hash: "device#d1", sortPrefix: "", after: nil, isReversed: false) {
                (_) throws(IotoError) in throw IotoError(.timeout, "enough")
            }
        }
        #expect(try store.scanned(fault).count == 3)
    }

    @Test func aVisitorMayRead() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in ["a", "b", "c"] { try store.put(fault, id) }
        var found = 0
        try store.scan(fault, hash: "device#d1", sortPrefix: "", after: nil, isReversed: false) {
            (item) throws(IotoError) in
            try store.scan(fault, hash: "device#d1", sortPrefix: "", after: item.key, isReversed: false) {
                (inner) throws(IotoError) in
                if try store.get(inner.key, model: fault) != nil { found += 1 }
                return true
            }
            return true
        }
        #expect(found == 3)
    }

    // MARK: Closing

    @Test func aClosedStoreRefusesCalls() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1")
        store.close()
        store.close()
        expectError(.misuse) { try store.get(fault, "1") }
        expectError(.misuse) { try store.put(fault, "1") }
        expectError(.misuse) { try store.pendingCount() }
        #expect(Files.size(fixture.path + "-wal") == nil)
    }

    @Test func anAbandonedStoreClosesItsFiles() throws {
        let fixture = try Fixture()
        do {
            let store = try fixture.open()
            try store.put(try fixture.model("Fault"), "1")
        }
        #expect(Files.size(fixture.path + "-wal") == nil)
    }
}
