import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// What a cloud's store makes of changes to a model with `merge: 'fields'`.
struct MergeTests {
    private let key = ItemKey(hash: "device#d1", sort: "profile#1")

    private func change(_ body: String, _ time: UInt64, writer: UInt64 = 1, _ stamps: [(Text, UInt64)] = []) -> Change {
        var change = Change(
            model: "Profile", key: key, version: Version(time: time, writer: writer), isRemoval: false,
            body: Array(body.utf8))
        for (name, time) in stamps { change.stamps[name] = .string(.hexadecimal(time)) }
        return change
    }

    private func merged(_ change: Change, over stored: Change?) -> Change? {
        var clock = HybridClock(last: 0)
        return StreamedChange(change: change, stream: nil).merged(over: stored, clock: &clock, wall: 0, writer: 9)
    }

    @Test func changesOfDifferentFieldsBothSurviveInTheCloud() throws {
        let stored = change(#"{"id":"1","a":1,"b":2}"#, 50, writer: 9, [("b", 50)])
        let found = try #require(merged(change(#"{"id":"1","a":2,"b":1}"#, 40, [("a", 40)]), over: stored))
        #expect(FieldMerge.object(found.body) == ["id": .string("1"), "a": .integer(2), "b": .integer(2)])
        #expect(found.version.time > 50 && found.version.writer == 9)
        #expect(found.stamps["a"] == .string(.hexadecimal(40)) && found.stamps["b"] == .string(.hexadecimal(50)))
    }

    @Test func bothOrdersOfArrivalEndAlike() throws {
        let base = change(#"{"id":"1","a":0,"b":0,"c":0}"#, 10)
        let one = change(#"{"id":"1","a":1,"b":1,"c":0}"#, 40, writer: 1, [("a", 40), ("b", 30)])
        let other = change(#"{"id":"1","a":2,"b":2,"c":2}"#, 45, writer: 2, [("a", 35), ("b", 45), ("c", 45)])
        var ends: [JSONObject] = []
        for (first, second) in [(one, other), (other, one)] {
            let middle = try #require(merged(first, over: base))
            ends.append(FieldMerge.object(try #require(merged(second, over: middle)).body))
        }
        #expect(ends[0] == ends[1])
        #expect(ends[0] == ["id": .string("1"), "a": .integer(1), "b": .integer(2), "c": .integer(2)])
    }

    @Test func whatComesAgainChangesNothing() throws {
        let stored = change(#"{"id":"1","a":1}"#, 10)
        let mine = change(#"{"id":"1","a":2}"#, 20, [("a", 20)])
        let first = try #require(merged(mine, over: stored))
        #expect(first.version == mine.version)
        #expect(merged(mine, over: first) == nil)
        let later = change(#"{"id":"1","a":7}"#, 30, writer: 9, [("a", 30)])
        #expect(merged(mine, over: later) == nil)
    }

    @Test func changeWithoutStampsCountsWholeWhenItIsLater() throws {
        let stored = change(#"{"id":"1","a":1,"b":1}"#, 10, [("a", 5)])
        let found = try #require(merged(change(#"{"id":"1","a":1,"b":2}"#, 20), over: stored))
        #expect(found.stamps["a"] == .string(.hexadecimal(5)) && found.stamps["b"] == .string(.hexadecimal(20)))
        #expect(merged(change(#"{"id":"1","a":1,"b":3}"#, 9), over: stored) == nil)
    }

    @Test func propertiesAndStampsOfAnItemAreBounded() throws {
        var stored = change(#"{"id":"1"}"#, 1)
        for round in 1...40 {
            // Each tells of 200 other fields that it has, and of 200 that it has not.
            let names = (0..<200).map { "\(round)-\($0)" }
            let body = "{\"id\":\"1\"," + names.map { "\"\($0)\":1" }.joined(separator: ",") + "}"
            let time = UInt64(round * 10)
            let stamps = (names + names.map { "gone-" + $0 }).map { (Text($0), time) }
            stored = try #require(merged(change(body, time, stamps), over: stored))
            #expect(FieldMerge.object(stored.body).count <= 1000 && stored.stamps.count <= 4000)
            #expect(stored.body.count < 20_000 && JSON.object(stored.stamps).text.count < 100_000)
            #expect(stored.stamps[Text("\(round)-0" as String)] != nil)
        }
        let older = change(#"{"id":"1","x":"\#(String(repeating: "x", count: 262_000))"}"#, 2, [("x", 2)])
        #expect(merged(older, over: stored) == nil)
    }

    @Test func stampsOfRemovedFieldsAreBoundedHoweverTheyCome() throws {
        func gone(_ mark: String, _ count: Int, _ time: UInt64) -> [(Text, UInt64)] {
            (0..<count).map { (Text("\(mark)-\($0)-" + String(repeating: "x", count: 20)), time) }
        }
        func bytes(_ change: Change) -> Int { change.stamps.reduce(0) { $0 + $1.key.count + 24 } }
        let half = 32 * 1024 / 50 - 100
        // The first of all, one over another, and one of a device that tells no fields.
        let first = try #require(merged(change(#"{"id":"1"}"#, 50, gone("a", 3 * half, 50)), over: nil))
        #expect((30_000...32 * 1024).contains(bytes(first)))
        let stored = change(#"{"id":"1","a":1}"#, 60, gone("a", half, 40) + gone("b", half, 50))
        let joined = try #require(merged(change(#"{"id":"1","a":2}"#, 70, gone("c", half, 70)), over: stored))
        #expect((30_000...32 * 1024).contains(bytes(joined)))
        // The oldest go.
        #expect(gone("c", half, 0).allSatisfy { joined.stamps[$0.0] != nil })
        let large = change(#"{"id":"1","a":1}"#, 60, gone("a", 3 * half, 40))
        let whole = try #require(merged(change(#"{"id":"1","a":2}"#, 70), over: large))
        #expect((30_000...33 * 1024).contains(bytes(whole)) && whole.stamps["a"] != nil)
    }

    @Test func namesOfAPeersChoiceAreNotSearchedForAmongAllOthers() {
        /// Of this thread, in nanoseconds: others run meanwhile.
        func time() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
        func cost(_ count: Int) -> Int64 {
            func object(_ mark: String, _ value: JSON) -> JSONObject {
                var object = JSONObject()
                for number in 0..<count { object.append(Text("\(mark)\(number)" as String), value) }
                return object
            }
            let (mine, theirs) = (object("m", .integer(1)), object("t", .integer(2)))
            let (early, late) = (object("t", .string(.hexadecimal(1))), object("m", .string(.hexadecimal(2))))
            return (0..<3).map { _ in
                let start = time()
                let merge = FieldMerge(mine, late, over: theirs, early)
                var stamps = early
                FieldMerge.stamp(&stamps, from: theirs, to: mine, at: 3)
                let kept = FieldMerge.bounded(stamps, of: theirs)
                let end = time()
                #expect(merge.body.count == 2 * count && kept.count <= 2 * count)
                return end - start
            }.min() ?? 0
        }
        // Eight times as many take about eight times as long, not sixty-four times.
        #expect(cost(1_600) < cost(200) * 24)
    }

    @Test func tooManyPropertiesOrStampsAreRefused() throws {
        let source = """
            {format: 'onetable:1.1.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},
             models: {Profile: {pk: {value: 'device#${deviceId}'}, sk: {value: 'profile#${id}'}, id: {}, deviceId: {}}},
             process: {Profile: {sync: 'both', merge: 'fields'}}}
            """
        let codec = WireCodec(schema: try Schema(source: Array(source.utf8), name: "merge.json5"))
        func read(_ properties: Int, _ stamps: Int) throws -> Change {
            var item: JSONObject = ["_type": .string("Profile"), "id": .string("1"), "deviceId": .string("d1")]
            for number in 0..<properties { item.append(Text("p\(number)" as String), .integer(1)) }
            var at = JSONObject()
            for number in 0..<stamps { at.append(Text("p\(number)" as String), .string(.hexadecimal(9))) }
            let json = JSON.object([
                "ver": .string(Version(time: 10, writer: 1).text), "at": .object(at), "item": .object(item),
            ])
            return try codec.change(json, context: Context()).change
        }
        #expect(try read(990, 4000).stamps.count == 4000)
        for (properties, stamps) in [(1001, 1), (1, 4001)] {
            #expect(throws: IotoError.self) { try read(properties, stamps) }
        }
    }

    @Test func removalCountsByItsVersion() {
        let stored = change(#"{"id":"1","a":1}"#, 10)
        var removal = change(#"{"id":"1"}"#, 20)
        removal.isRemoval = true
        #expect(merged(removal, over: stored)?.isRemoval == true)
        removal.version = Version(time: 5, writer: 1)
        #expect(merged(removal, over: stored) == nil)
    }

    @Test func stampsFromTheWireAreNeverLaterThanTheVersion() {
        var found = change(#"{"id":"1"}"#, 20)
        found.take(stamps: ["a": .string(.hexadecimal(99)), "b": .string(.hexadecimal(7)), "c": .integer(3), "d": .string("x")])
        #expect(found.stamps == ["a": .string(.hexadecimal(20)), "b": .string(.hexadecimal(7))])
    }
}
