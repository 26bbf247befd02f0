import IotoBase
import IotoSchema
import IotoSync
import Testing

@testable import IotoStore

/// Changes of the cloud that meet one that waits here.
@Suite struct ConflictStoreTests {
    static func schema() throws -> Schema {
        let models = ["Latest", "Cloud", "Device", "Callback", "Fields"].map { name in
            "\(name): {pk: {value: 'device#d1'}, sk: {value: '\(name.lowercased())#${id}'}, id: {type: 'string'}}"
        }
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},
                models: {\(models.joined(separator: ", "))},
                process: {Callback: {sync: 'both', resolve: 'callback'}, Fields: {sync: 'both', merge: 'fields'},
                    Latest: {sync: 'both'}, Cloud: {sync: 'both', resolve: 'cloud'}, Device: {sync: 'both', resolve: 'device'}},
            }
            """
        return try Schema(source: Array(source.utf8), name: "schema.json5")
    }

    private let cursor = StreamCursor(stream: Stream.all, history: 9, position: 1)

    private func theirs(_ model: Model, later: Bool, removal: Bool = false) -> Change {
        Change(
            model: model.name, key: key(model, "1"),
            version: Version(time: HybridClock.time(testTime + (later ? 1000 : -1000)), writer: 42), isRemoval: removal,
            body: removal ? Array(#"{"id":"1"}"#.utf8) : body("1", 2))
    }

    /// What became of a waiting change with value 1 when the cloud said 2.
    private func meet(
        _ name: String, later: Bool, removal: Bool = false, own: Bool = false
    ) throws -> (store: Store, recorder: Recorder, value: String?, version: Version?) {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model(name)
        let mine = try store.put(model, "1", 1)
        let recorder = Recorder()
        store.setObserver(recorder)
        var change = theirs(model, later: later, removal: removal)
        if own { change.own = mine.version.time }
        _ = try store.apply([change], cursor: cursor, hubTime: HybridClock.time(testTime))
        let item = try store.get(model, "1")
        withExtendedLifetime(fixture) {}
        return (store, recorder, string(item?.body), item?.version)
    }

    @Test(arguments: [true, false])
    func latestFollowsTheVersions(later: Bool) throws {
        let met = try meet("Latest", later: later)
        #expect(met.value == (later ? #"{"id":"1","value":2}"# : #"{"id":"1","value":1}"#))
        #expect(try met.store.pendingCount() == (later ? 0 : 1))
        let event = try #require(met.recorder.events.first)
        #expect(event.kind == .conflict && event.isRemote == later)
        #expect(string(event.after?.body) == met.value)
        #expect(string(event.loser?.body) == (later ? #"{"id":"1","value":1}"# : #"{"id":"1","value":2}"#))
    }

    @Test(arguments: [true, false])
    func cloudIsTakenOver(later: Bool) throws {
        let met = try meet("Cloud", later: later)
        #expect(met.value == #"{"id":"1","value":2}"#)
        #expect(met.version?.writer == 42)
        #expect(try met.store.pendingCount() == 0)
        #expect(met.recorder.lines == ["remote conflict cloud#1", "remote update cloud#1"])
    }

    @Test(arguments: [true, false])
    func deviceStaysAboveTheCloudAndWaits(later: Bool) throws {
        let met = try meet("Device", later: later)
        #expect(met.value == #"{"id":"1","value":1}"#)
        let pending = try #require(try met.store.pending().first)
        #expect(pending.change.version == met.version)
        #expect(pending.change.version.time > HybridClock.time(testTime + (later ? 1000 : -1000)))
        #expect(met.recorder.lines == ["conflict device#1"])
    }

    @Test func removalThatWinsIsTold() throws {
        let met = try meet("Cloud", later: false, removal: true)
        #expect(met.value == nil)
        #expect(met.recorder.events.first?.isRemoval == true)
        #expect(met.recorder.lines == ["remote conflict cloud#1", "remote remove cloud#1"])
    }

    @Test(arguments: ["Latest", "Cloud", "Device"])
    func whatTheCloudMadeOfTheVeryChangeIsNoConflict(name: String) throws {
        let met = try meet(name, later: true, own: true)
        #expect(met.value == #"{"id":"1","value":2}"#)
        #expect(met.recorder.lines == ["remote update \(name.lowercased())#1"])
        #expect(try met.store.pendingCount() == 0)
    }

    @Test func overruledChangeGivesWayWhateverTheVersion() throws {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model("Cloud")
        try store.put(model, "1", 1)
        let sent = try store.pending()
        let recorder = Recorder()
        store.setObserver(recorder)
        let winner = theirs(model, later: false)
        try store.answer(sent, .overruled(by: winner))
        #expect(try store.get(model, "1")?.version == winner.version)
        #expect(try store.pendingCount() == 0)
        #expect(recorder.lines == ["remote conflict cloud#1", "remote update cloud#1"])
        // The page with the same state says nothing new.
        #expect(try store.apply([winner], cursor: cursor, hubTime: HybridClock.time(testTime)) == 0)
    }

    /// The row has left the outbox by then: the change has to be somewhere.
    @Test(arguments: [0, 1, 2])
    func overruledByWhatCannotBeTakenIsRejected(fault: Int) throws {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model("Cloud")
        let receipt = try store.withReceipt { () throws(IotoError) in
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(model, key(model, "1"), body: body("1", 1))
            }
        }
        var winner = theirs(model, later: false)
        switch fault {
        case 0: winner.model = "Latest"
        case 1: winner.body = [UInt8](#"{"id":"1","x":""#.utf8) + [UInt8](repeating: 0x61, count: Limits.itemBytesMax) + [UInt8](#""}"#.utf8)
        default: winner.version = Version(time: 1 << 61, writer: 42)
        }
        try store.answer(try store.pending(), .overruled(by: winner))
        #expect(try store.pendingCount() == 0)
        #expect(try store.receipt(receipt)?.state == .rejected)
        #expect(try store.rejectedChanges(after: 0, itemsMax: 9).map { $0.change.key } == [key(model, "1")])
        #expect(string(try store.get(model, "1")?.body) == #"{"id":"1","value":1}"#)
    }

    @Test func overruledChangeThatHasChangedSinceIsSentAgain() throws {
        let fixture = try Fixture(ConflictStoreTests.schema())
        let store = try fixture.open()
        let model = try fixture.model("Cloud")
        try store.put(model, "1", 1)
        let sent = try store.pending()
        try store.put(model, "1", 3)
        try store.answer(sent, .overruled(by: theirs(model, later: false)))
        #expect(string(try store.get(model, "1")?.body)?.contains("3") == true)
        #expect(try store.pendingCount() == 1)
    }
}
