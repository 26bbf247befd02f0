import CCJSON
import IotoBase
import Testing

@testable import IotoJSON

@Suite struct CJSONBridgeTests {
    /// The value after a way through cJSON and back.
    private func roundTrip(_ value: JSON) throws -> JSON {
        let tree = try #require(value.makeCJSON())
        defer { cJSON_Delete(tree) }
        return try JSON(cJSON: tree)
    }

    private func error(_ tree: UnsafeMutablePointer<cJSON>) -> IotoError? {
        defer { cJSON_Delete(tree) }
        do throws(IotoError) {
            _ = try JSON(cJSON: tree)
            return nil
        } catch {
            return error
        }
    }

    @Test func everyTypeGoesThrough() throws {
        let value = try parse(
            #"{"z":null,"a":[true,false,1,-2.5,"é\"\n",{},[]],"o":{"x":{"y":""}},"":0,"big":9007199254740992}"#)
        #expect(try roundTrip(value).text == value.text)
    }

    @Test func cJSONSeesTheSameText() throws {
        let tree = try #require(try parse(#"{"a":[1,2.5,"x"],"b":{"c":null}}"#).makeCJSON())
        defer { cJSON_Delete(tree) }
        let text = try #require(cJSON_PrintUnformatted(tree))
        defer { cJSON_free(text) }
        #expect(Text(cString: text) == #"{"a":[1,2.5,"x"],"b":{"c":null}}"#)
    }

    @Test(arguments: [
        ("1e400", "1.7976931348623157e+308"), ("-1e400", "-1.7976931348623157e+308"),
        ("12345678901234567890", "12345678901234567168"),
        ("9007199254740993", "9007199254740992"), ("5.0", "5"), ("1e-400", "0"),
    ])
    func numbersBecomeTheNearestDouble(literal: String, expected: String) throws {
        #expect(try roundTrip(.number(Text(literal))).doubleValue == JSON.number(Text(expected)).doubleValue)
    }

    @Test func wholeNumbersBecomeIntegers() throws {
        for (value, literal) in [
            (1.0, "1"), (-0x1p53, "-9007199254740992"), (1.7e12, "1700000000000"), (0.5, "0.5"), (1e300, "1e+300"),
        ] {
            let node = try #require(cJSON_CreateNumber(value))
            defer { cJSON_Delete(node) }
            #expect(try JSON(cJSON: node) == .number(Text(literal)))
        }
    }

    @Test func refusesNaNAndInfinity() throws {
        for value in [Double.nan, .infinity, -.infinity] {
            let node = try #require(cJSON_CreateNumber(0))
            node.pointee.valuedouble = value
            #expect(error(node)?.code == .json)
        }
    }

    @Test func refusesInvalidUTF8() throws {
        let bad: [CChar] = [0x61, -1, 0]
        #expect(error(try #require(cJSON_CreateString(bad)))?.code == .json)
        let object = try #require(cJSON_CreateObject())
        cJSON_AddItemToObject(object, bad, cJSON_CreateNull())
        #expect(error(object)?.code == .json)
    }

    @Test func refusesNodesWithoutTextNameOrType() throws {
        let object = try #require(cJSON_CreateObject())
        cJSON_AddItemToArray(object, cJSON_CreateNull())
        #expect(error(object)?.code == .json)
        let typeless = try #require(cJSON_CreateNull())
        typeless.pointee.type = 0
        #expect(error(typeless)?.code == .json)
        let textless = try #require(cJSON_CreateNull())
        textless.pointee.type = cJSON_String
        #expect(error(textless)?.code == .json)
    }

    @Test func readsRawNodes() throws {
        #expect(error(try #require(cJSON_CreateRaw("{\"a\":"))) != nil)
        let node = try #require(cJSON_CreateRaw("{\"a\":12345678901234567890}"))
        defer { cJSON_Delete(node) }
        #expect(try JSON(cJSON: node).text == [UInt8](#"{"a":12345678901234567890}"#.utf8))
    }

    @Test func takesFlagsOfOwnershipAndRepeatedNames() throws {
        let object = try #require(cJSON_CreateObject())
        defer { cJSON_Delete(object) }
        let borrowed = try #require(cJSON_CreateString("x"))
        defer { cJSON_Delete(borrowed) }
        cJSON_AddItemToObject(object, "a", cJSON_CreateStringReference(borrowed.pointee.valuestring))
        cJSON_AddItemToObject(object, "b", cJSON_CreateTrue())
        cJSON_AddItemToObject(object, "a", cJSON_CreateString("y"))
        #expect(Text(try JSON(cJSON: object).text) == #"{"a":"y","b":true}"#)
    }

    @Test func nestsToTheLimitAndNoDeeper() throws {
        func nested(_ count: Int) throws -> UnsafeMutablePointer<cJSON> {
            var tree = try #require(cJSON_CreateArray())
            for _ in 1..<count {
                let outer = try #require(cJSON_CreateArray())
                cJSON_AddItemToArray(outer, tree)
                tree = outer
            }
            return tree
        }
        #expect(error(try nested(Limits.nestingMax)) == nil)
        #expect(error(try nested(Limits.nestingMax + 1))?.code == .limit)
        let raw = try nested(1)
        cJSON_AddItemToArray(
            raw, cJSON_CreateRaw(String(repeating: "[", count: 64) + String(repeating: "]", count: 64)))
        #expect(error(raw)?.code == .limit)
    }

    @Test func cyclesEndAtALimit() throws {
        let array = try #require(cJSON_CreateArray())
        defer { cJSON_Delete(array) }
        cJSON_AddItemToArray(array, cJSON_CreateArray())
        let child = try #require(array.pointee.child)
        child.pointee.child = array
        #expect(throws: IotoError.self) { try JSON(cJSON: array) }
        child.pointee.child = nil
        child.pointee.next = child
        #expect(throws: IotoError.self) { try JSON(cJSON: array) }
        child.pointee.next = nil
    }
}
