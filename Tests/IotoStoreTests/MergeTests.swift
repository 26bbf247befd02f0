import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Conflicts that are decided by more than a look at the versions: by fields, and by the firmware.
private let hubTime = HybridClock.time(testTime)

@Suite struct MergeTests {
    private let cursor = StreamCursor(stream: Stream.all, history: 9, position: 1)

    private func put(_ store: Store, _ model: Model, _ body: String) throws -> StoredItem {
        try store.write { (transaction) throws(IotoError) in
            try transaction.put(model, key(model, "1"), body: Array(body.utf8))
        }
    }

    private func stamps(_ times: [String: UInt64]) -> JSONObject {
        var stamps = JSONObject()
        for (name, time) in times { stamps[Text(name)] = .string(.hexadecimal(time)) }
        return stamps
    }

    private func theirs(_ model: Model, at: Int64, _ body: String, _ stamps: JSONObject = [:]) -> Change {
        var change = Change(
            model: model.name, key: key(model, "1"), version: Version(time: HybridClock.time(testTime + at), writer: 42),
            isRemoval: false, body: Array(body.utf8))
        change.stamps = stamps
        return change
    }

    /// A store with an item `{"id":"1","a":1,"b":1}` that the cloud has.
    private func known(_ name: String) throws -> (Fixture, Store, Model, Recorder) {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model(name)
        _ = try put(store, model, #"{"id":"1","a":1,"b":1}"#)
        try store.answer(try store.pending(), .acknowledged)
        let recorder = Recorder()
        store.setObserver(recorder)
        return (fixture, store, model, recorder)
    }

    private func text(_ store: Store, _ model: Model) throws -> JSONObject {
        FieldMerge.object(try store.get(model, "1")?.body ?? [])
    }

    // MARK: Fields

    @Test func changesOfDifferentFieldsBothSurviveOnTheDevice() throws {
        let (fixture, store, model, recorder) = try known("Fields")
        let mine = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        let time = HybridClock.time(testTime + 1000)
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#, stamps(["b": time]))], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model) == ["id": .string("1"), "a": .integer(2), "b": .integer(2)])
        let pending = try #require(try store.pending().first?.change)
        #expect(pending.version.time > time)
        #expect(pending.stamps == stamps(["a": mine.version.time]))
        #expect(recorder.lines == ["update fields#1", "remote update fields#1"])
        withExtendedLifetime(fixture) {}
    }

    @Test func laterChangeOfOneFieldWinsAndTheOtherIsTold() throws {
        let (fixture, store, model, recorder) = try known("Fields")
        _ = try put(store, model, #"{"id":"1","a":2,"b":2}"#)
        let later = HybridClock.time(testTime + 1000)
        let change = theirs(model, at: 1000, #"{"id":"1","a":3,"b":1}"#, stamps(["a": later]))
        _ = try store.apply([change], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model) == ["id": .string("1"), "a": .integer(3), "b": .integer(2)])
        #expect(recorder.lines.contains("remote conflict fields#1"))
        withExtendedLifetime(fixture) {}
    }

    @Test func earlierChangeOfOneFieldLoses() throws {
        let (fixture, store, model, _) = try known("Fields")
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        let change = theirs(model, at: 1000, #"{"id":"1","a":3,"b":3}"#, stamps(["a": 1, "b": 1]))
        _ = try store.apply([change], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model) == ["id": .string("1"), "a": .integer(2), "b": .integer(3)])
        withExtendedLifetime(fixture) {}
    }

    @Test func removedFieldStaysRemoved() throws {
        let (fixture, store, model, _) = try known("Fields")
        _ = try put(store, model, #"{"id":"1","b":1}"#)
        let time = HybridClock.time(testTime + 1000)
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#, stamps(["b": time]))], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model) == ["id": .string("1"), "b": .integer(2)])
        withExtendedLifetime(fixture) {}
    }

    @Test func whatTheCloudHasJoinedAlreadyEndsTheWait() throws {
        let (fixture, store, model, recorder) = try known("Fields")
        let receipt = try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(model, key(model, "1"), body: Array(#"{"id":"1","a":2,"b":1}"#.utf8))
            }
        }
        let mine = try #require(try store.pending().first?.change)
        let change = theirs(
            model, at: 2000, #"{"id":"1","a":2,"b":5}"#,
            stamps(["a": mine.version.time, "b": HybridClock.time(testTime + 1000)]))
        _ = try store.apply([change], cursor: cursor, hubTime: hubTime)
        #expect(try store.pendingCount() == 0)
        #expect(try store.receipt(receipt)?.state == .durable)
        #expect(!recorder.lines.contains("remote conflict fields#1"))
        #expect(try store.number("SELECT count(*) FROM field") == 0)
        withExtendedLifetime(fixture) {}
    }

    @Test func onlyWhatWasChangedSinceTheAcknowledgementIsStamped() throws {
        let (fixture, store, model, _) = try known("Fields")
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        try store.answer(try store.pending(), .acknowledged)
        let item = try put(store, model, #"{"id":"1","a":2,"b":7}"#)
        #expect(try store.pending().first?.change.stamps == stamps(["b": item.version.time]))
        withExtendedLifetime(fixture) {}
    }

    @Test func removedItemsFieldsDoNotComeBackWithTheNextOne() throws {
        let (fixture, store, model, _) = try known("Fields")
        // The cloud hears of the second change alone.
        try store.remove(model, "1")
        _ = try put(store, model, #"{"id":"1","b":7}"#)
        _ = try put(store, model, #"{"id":"1","b":8}"#)
        let change = try #require(try store.pending().first?.change)
        // It counts whole: in the cloud, and when a page meets it.
        #expect(change.stamps.isEmpty)
        var other = theirs(model, at: 0, #"{"id":"1","a":1,"b":2}"#, stamps(["b": 1]))
        other.version = Version(time: change.version.time - 1, writer: 42)
        _ = try store.apply([other], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model) == ["id": .string("1"), "b": .integer(8)])
        #expect(try store.pending().first?.change == change)
        withExtendedLifetime(fixture) {}
    }

    @Test func versionDoesNotGoBackThoughTheCloudHasAllOfIt() throws {
        let (fixture, store, model, _) = try known("Fields")
        let mine = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        var earlier = theirs(model, at: 0, #"{"id":"1","a":2,"b":1}"#, stamps(["a": mine.version.time]))
        earlier.version = Version(time: mine.version.time - 1, writer: 42)
        _ = try store.apply([earlier], cursor: cursor, hubTime: hubTime)
        // It may have been sent under the later one: the cloud gets to store it there.
        #expect(try store.get(model, "1")?.version == mine.version)
        #expect(try store.pending().map { $0.change.version } == [mine.version])
        #expect(try store.pending().first?.change.stamps.isEmpty == false)
        withExtendedLifetime(fixture) {}
    }

    @Test func pageThatComesTwiceChangesNothingTheSecondTime() throws {
        let (fixture, store, model, _) = try known("Fields")
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        let change = theirs(
            model, at: 1000, #"{"id":"1","a":1,"b":2}"#, stamps(["b": HybridClock.time(testTime + 1000)]))
        #expect(try store.apply([change], cursor: cursor, hubTime: hubTime) == 1)
        let version = try store.get(model, "1")?.version
        #expect(try store.apply([change], cursor: cursor, hubTime: hubTime) == 0)
        #expect(try store.get(model, "1")?.version == version)
        withExtendedLifetime(fixture) {}
    }

    // MARK: The firmware

    private final class Firmware: ConflictResolver {
        var calls: [(mine: String?, theirs: String?)] = []
        var answer: (Firmware) throws -> [UInt8]? = { _ in nil }

        func resolve(_ model: Model, _ key: ItemKey, mine: StoredItem?, theirs: StoredItem?) -> [UInt8]? {
            calls.append((string(mine?.body), string(theirs?.body)))
            return try? answer(self)
        }
    }

    @Test func callbackGetsBothAndItsItemIsStoredAndSent() throws {
        let (fixture, store, model, recorder) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        firmware.answer = { _ in Array(#"{"id":"1","a":2,"b":2}"#.utf8) }
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        let change = theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)
        _ = try store.apply([change], cursor: cursor, hubTime: hubTime)
        #expect(firmware.calls.count == 1)
        #expect(firmware.calls.first?.mine == #"{"id":"1","a":2,"b":1}"#)
        #expect(firmware.calls.first?.theirs == #"{"id":"1","a":1,"b":2}"#)
        let pending = try #require(try store.pending().first?.change)
        #expect(string(pending.body) == #"{"id":"1","a":2,"b":2}"# && pending.version > change.version)
        #expect(recorder.lines == ["update callback#1", "conflict callback#1", "remote update callback#1"])
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackIsNotAskedWithoutAConflict() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)], cursor: cursor, hubTime: hubTime)
        #expect(firmware.calls.isEmpty)
        #expect(try text(store, model)["b"] == .integer(2))
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackThatDecidesNothingLeavesItToTheVersions() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)], cursor: cursor, hubTime: hubTime)
        #expect(try text(store, model)["a"] == .integer(1))
        #expect(try store.pendingCount() == 0)
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackThatTakesTheCloudsEndsTheWait() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        let change = theirs(model, at: -1000, #"{"id":"1","a":1,"b":2}"#)
        firmware.answer = { _ in change.body }
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        _ = try store.apply([change], cursor: cursor, hubTime: hubTime)
        #expect(try store.get(model, "1")?.version == change.version)
        #expect(try store.pendingCount() == 0)
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackThatChangesTheItemIsAskedOnceMore() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        firmware.answer = { firmware in
            if firmware.calls.count == 1 { _ = try self.put(store, model, #"{"id":"1","a":3,"b":1}"#) }
            return Array(#"{"id":"1","a":9,"b":9}"#.utf8)
        }
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)], cursor: cursor, hubTime: hubTime)
        #expect(firmware.calls.count == 2)
        #expect(firmware.calls.last?.mine == #"{"id":"1","a":3,"b":1}"#)
        #expect(try text(store, model)["a"] == .integer(9))
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackThatAlwaysChangesTheItemEndsAllTheSame() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        firmware.answer = { firmware in
            _ = try self.put(store, model, #"{"id":"1","a":\#(firmware.calls.count + 10),"b":1}"#)
            return nil
        }
        _ = try put(store, model, #"{"id":"1","a":2,"b":1}"#)
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)], cursor: cursor, hubTime: hubTime)
        #expect(firmware.calls.count == 3)
        withExtendedLifetime(fixture) {}
    }

    @Test func callbackIsAskedAboutARemovalHere() throws {
        let (fixture, store, model, _) = try known("Callback")
        let firmware = Firmware()
        store.resolver = firmware
        firmware.answer = { _ in Array(#"{"id":"1","a":5,"b":5}"#.utf8) }
        try store.remove(model, "1")
        _ = try store.apply([theirs(model, at: 1000, #"{"id":"1","a":1,"b":2}"#)], cursor: cursor, hubTime: hubTime)
        #expect(firmware.calls.first?.mine == nil && firmware.calls.first?.theirs != nil)
        #expect(try text(store, model)["a"] == .integer(5))
        #expect(try store.pending().first?.change.isRemoval == false)
        #expect(try store.number("SELECT count(*) FROM tombstone") == 0)
        withExtendedLifetime(fixture) {}
    }
}
