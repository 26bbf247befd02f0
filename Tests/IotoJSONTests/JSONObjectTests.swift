import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONObjectTests {
    @Test func settingAnExistingNameKeepsItsPlace() {
        var object: JSONObject = ["a": .null, "b": .null, "c": .null]
        object["b"] = .bool(true)
        #expect(Text(object.text) == #"{"a":null,"b":true,"c":null}"#)
    }

    @Test func settingNilRemoves() {
        var object: JSONObject = ["a": .null, "b": .null]
        object["a"] = nil
        object["x"] = nil
        #expect(Text(object.text) == #"{"b":null}"#)
        #expect(object["a"] == nil)
        #expect(object.count == 1)
        object["b"] = nil
        #expect(object.isEmpty)
    }

    @Test func newNamesGoLast() {
        var object = JSONObject()
        object["z"] = .integer(1)
        object["a"] = .integer(2)
        object.append("m", .integer(3))
        #expect(object.map { $0.key } == ["z", "a", "m"])
        #expect(object.index(of: "a") == 1)
        #expect(object.index(of: "x") == nil)
    }

    @Test func literalsTakeTheLastOfRepeatedNames() {
        let object: JSONObject = ["a": .integer(1), "b": .null, "a": .integer(2)]
        #expect(Text(object.text) == #"{"a":2,"b":null}"#)
    }

    @Test func orderDoesNotCountForEquality() throws {
        #expect(try parse(#"{"a":1,"b":{"c":2,"d":3}}"#) == parse(#"{"b":{"d":3,"c":2},"a":1}"#))
        #expect(try parse(#"{"a":1,"b":2}"#) != parse(#"{"a":2,"b":1}"#))
        #expect(try parse(#"{"a":1,"b":2}"#) != parse(#"{"a":1,"c":2}"#))
        #expect(try parse(#"{"a":1}"#) != parse(#"{"a":1,"b":2}"#))
        #expect(try parse(#"{"a":5}"#) != parse(#"{"a":5.0}"#))
        #expect(try parse("[1,2]") != parse("[2,1]"))
    }

    @Test func copiesAreIndependent() {
        let first: JSONObject = ["a": .null]
        var second = first
        second["a"] = .bool(true)
        #expect(first["a"] == .null)
    }

    @Test func readersGiveNilForOtherTypes() {
        let value = JSON.object(["a": .string("x")])
        #expect(value["a"]?.stringValue == "x")
        #expect(value["b"] == nil)
        #expect(value.stringValue == nil && value.boolValue == nil && value.arrayValue == nil && !value.isNull)
        #expect(JSON.bool(false).boolValue == false)
        #expect(JSON.array([.null]).arrayValue == [.null])
        #expect(JSON.null.objectValue == nil && JSON.null["a"] == nil && JSON.null.isNull)
        #expect(value.objectValue?.count == 1)
    }

    @Test func depthCountsContainers() throws {
        #expect(JSON.null.depth == 0)
        #expect(try parse("[]").depth == 1)
        #expect(try parse(#"{"a":1,"b":[{}],"c":[]}"#).depth == 3)
    }
}
