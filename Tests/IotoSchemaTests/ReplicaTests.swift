import Glibc
import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct ReplicaTests {
    @Test func typeAndKeyAttributesAreDropped() throws {
        let model = try model("x: {}", indexes: "primary: {sort: 'sk'}, gs1: {hash: 'gs'}")
        let replica = try model.makeReplica(
            try object("{_type: 'Fault', sk: 'fault#a', id: 'a', x: 'y', odd: 1}"), context: [:])
        #expect(text(replica.body) == #"{"id":"a","x":"y","odd":1}"#)
        #expect(replica.key == ItemKey(hash: "", sort: "fault#a"))
        #expect(replica.text == replica.body.text)
    }

    @Test func computedIndexAttributesAreDropped() throws {
        let model = try model("gs: {value: 'g#${id}'}", indexes: "primary: {sort: 'sk'}, gs1: {hash: 'gs'}")
        #expect(try model.replicated("{id: 'a', gs: 'whatever'}") == #"{"id":"a"}"#)
    }

    @Test func nothingIsFilledIn() throws {
        let model = try model(
            "a: {default: 'x'}, b: {generate: true}, c: {required: true}, label: {value: 'L-${id}'}",
            params: "timestamps: true")
        #expect(try model.replicated("{id: 'a'}") == #"{"id":"a"}"#)
        #expect(
            try model.replicated("{id: 'a', created: 1, updated: '1970-01-01', label: 'own'}")
                == #"{"id":"a","label":"own","created":1,"updated":0}"#)
    }

    @Test func valuesAreConvertedToTheirTypes() throws {
        let model = try model(
            "n: {type: 'number'}, o: {type: 'object', schema: {b: {type: 'boolean'}}}, e: {enum: ['a']}")
        #expect(
            try model.replicated("{id: 5, n: '7', o: {b: 'true'}, e: 'newer', z: null}")
                == #"{"id":"5","n":7,"o":{"b":true},"e":"newer","z":null}"#)
        #expect(try model.replicated("{id: 'a', n: null}") == #"{"id":"a"}"#)
    }

    @Test(arguments: [
        ("{id: 'a', n: 'x'}", "n", "\"x\" is not a number"), ("{id: 'a', o: {b: 5}}", "o.b", "5 is not a boolean"),
        ("{id: 'a', label: []}", "label", "[] is not a text"),
        ("{id: 'a', _type: 'Other'}", "_type", "\"Other\" is not the model's name and can't be set"),
        ("{id: 'a', _type: 5}", "_type", "5 is not the model's name and can't be set"),
    ])
    func valueThatDoesNotFitNamesItsField(item: String, field: String, message: String) throws {
        let model = try model(
            "n: {type: 'number'}, o: {type: 'object', schema: {b: {type: 'boolean'}}}, label: {value: 'x'}")
        expectError(.field, "model \"Fault\": field \"\(field)\": \(message)") { try model.replicated(item) }
    }

    @Test func nameWithDotsIsNoPath() throws {
        #expect(try model("o: {type: 'object'}").replicated("{id: 'a', 'o.p': 1}") == #"{"id":"a","o.p":1}"#)
    }

    @Test func contextIsEnforced() throws {
        let model = try model("deviceId: {}, slot: {type: 'number'}")
        let context: Context = ["deviceId": "d1", "slot": "2", "accountId": "acme"]
        #expect(try model.replicated("{id: 'a'}", context) == #"{"id":"a","deviceId":"d1","slot":2}"#)
        #expect(
            try model.replicated("{id: 'a', deviceId: 'd1', slot: '2'}", context)
                == #"{"id":"a","deviceId":"d1","slot":2}"#)
        expectError(.denied, "model \"Fault\": field \"deviceId\": \"d2\" is not \"d1\", whose feed this is") {
            try model.replicated("{id: 'a', deviceId: 'd2'}", context)
        }
    }

    @Test func keyThatIsNotTheTemplatesIsRefused() throws {
        let model = try model()
        expectError(.key, "model \"Fault\": attribute 'sk' is \"fault#b\", its template gives \"fault#a\"") {
            try model.replicated("{id: 'a', sk: 'fault#b'}")
        }
        #expect(error { try model.replicated("{id: 'a', sk: null}") }.code == .key)
    }

    @Test func keyFromContextComesBack() throws {
        let fields = "pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${id}'}, id: {}, deviceId: {}"
        let model = try #require(try schema(fields, indexes: "primary: {hash: 'pk', sort: 'sk'}").model("Fault"))
        let replica = try model.makeReplica(try object("{id: 'a', sk: 'fault#a'}"), context: ["deviceId": "d1"])
        #expect(replica.key == ItemKey(hash: "device#d1", sort: "fault#a"))
        #expect(error { try model.replicated("{id: 'a', pk: 'device#d2'}", ["deviceId": "d1"]) }.code == .key)
    }

    @Test func limitsHold() throws {
        let model = try model()
        let filler = String(repeating: "x", count: Limits.itemBytesMax)
        #expect(error { try model.replicated("{id: 'a', x: '\(filler)'}") }.code == .limit)
        let deep = String(repeating: "[", count: 60) + String(repeating: "]", count: 60)
        #expect(error { try model.replicated("{id: 'a', x: \(deep)}") }.code == .limit)
    }

    @Test func manyUnknownMembersTakeLinearTime() throws {
        let few = try processorTime(ofMembers: 2_500)
        let many = try processorTime(ofMembers: 20_000)
        // Eight times the members: quadratic search would take 64 times as long.
        #expect(many < 24 * few, "\(few) ns, \(many) ns")
    }

    /// Processor time of this thread in nanoseconds, at best of three, which other work of the machine does not add to.
    private func processorTime(ofMembers count: Int) throws -> Int {
        let model = try model()
        let item = try object("{id: 'a', \((0..<count).map { "k\($0):1" }.joined(separator: ","))}")
        var best = Int.max
        for _ in 0..<3 {
            let start = threadNanoseconds()
            #expect(try model.makeReplica(item, context: [:]).text.count > 7 * count)
            best = min(best, threadNanoseconds() - start)
        }
        return best
    }

    private func threadNanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
