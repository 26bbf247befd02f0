import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `map` and `encode`: the form of an item that the wire and the cloud have.
@Suite struct WireTests {
    private func wire(_ model: Model, _ body: String, omitsEncoded: Bool = false) throws -> String {
        let body = try object(body)
        return text(
            model.wireItem(
                body: body, key: try model.itemKey(of: body), includeHash: true, omitsEncoded: omitsEncoded))
    }

    @Test func mappedPropertyHasItsAttributesName() throws {
        let model = try model("email: {map: 'em'}, n: {type: 'number', map: 'num'}, other: {}")
        #expect(model.isMapped)
        let body = #"{"id":"a","email":"e","n":5,"other":"o","odd":1}"#
        let wire = try wire(model, body)
        #expect(wire == #"{"id":"a","em":"e","num":5,"other":"o","odd":1,"_type":"Fault","sk":"fault#a"}"#)
        #expect(try model.replicated(wire) == body)
    }

    @Test func propertiesArePackedIntoOneAttribute() throws {
        let model = try model("email: {map: 'data.e'}, n: {type: 'number', map: 'data.n'}, gone: {map: 'data.g'}")
        let body = #"{"id":"a","email":"e","n":5}"#
        let wire = try wire(model, body)
        #expect(wire == #"{"id":"a","data":{"e":"e","n":5},"_type":"Fault","sk":"fault#a"}"#)
        #expect(try model.replicated(wire) == body)
    }

    @Test func partsOfANewerSchemaAreKept() throws {
        let model = try model("email: {map: 'data.e'}")
        let body = try model.replicated("{id: 'a', data: {e: 'x', newer: [1]}}")
        #expect(body == #"{"id":"a","email":"x","data":{"newer":[1]}}"#)
        #expect(try wire(model, body).contains(#""data":{"e":"x","newer":[1]}"#))
        #expect(try model.updated(body, "{email: 'y'}") == #"{"id":"a","email":"y","data":{"newer":[1]}}"#)
    }

    @Test func itemFromBeforeTheMappingIsRead() throws {
        let model = try model("email: {map: 'em'}, n: {map: 'data.n'}")
        #expect(try model.replicated("{id: 'a', email: 'e', n: '1'}") == #"{"id":"a","email":"e","n":"1"}"#)
        // The attribute's name counts, wherever it stands.
        #expect(try model.replicated("{id: 'a', email: 'old', em: 'new'}") == #"{"id":"a","email":"new"}"#)
        #expect(try model.replicated("{id: 'a', em: 'new', email: 'old'}") == #"{"id":"a","email":"new"}"#)
    }

    @Test func namesMayBeExchanged() throws {
        let model = try model("a: {map: 'b'}, b: {map: 'a'}")
        let wire = try wire(model, "{id: '1', a: 'x', b: 'y'}")
        #expect(wire.hasPrefix(#"{"id":"1","b":"x","a":"y""#))
        #expect(try model.replicated(wire) == #"{"id":"1","a":"x","b":"y"}"#)
    }

    @Test func attributeOfAMapIsNoPropertyBesideIt() throws {
        let model = try model("email: {map: 'em'}, n: {map: 'data.n'}")
        expectError(.field, "model \"Fault\": field \"em\": is the attribute that property 'email' is mapped to") {
            try model.created("{id: 'a', em: 'x'}")
        }
        #expect(error { try model.created("{id: 'a', 'data.n': 'x'}") }.code == .field)
        expectError(.field, "model \"Fault\": field \"data\": 5 is not an object of properties") {
            try model.replicated("{id: 'a', data: 5}")
        }
        #expect(try model.replicated("{id: 'a', data: null}") == #"{"id":"a"}"#)
    }

    @Test(arguments: [
        ("a: {map: 'm'}, b: {map: 'm'}", "b", "a"), ("a: {map: 'b'}, b: {}", "a", "a"), ("a: {map: '_type'}", "a", "a"),
        ("a: {map: 'm.x'}, b: {map: 'm.x'}", "a", "a"), ("a: {map: 'm.x'}, m: {map: 'q'}", "a", "a"),
        ("a: {map: 'm'}, b: {map: 'm.x'}", "a", "a"),
    ])
    func attributeBelongsToOneProperty(fields: String, field: String, other: String) {
        let found = error { try model(fields) }
        #expect(found.message.contains("is another property's as well"), "\(found.message)")
    }

    @Test(arguments: [
        ("map: 'a.b.c'", "map: \"a.b.c\" is neither 'attribute' nor 'attribute.part'"),
        ("map: ''", "map: \"\" is neither 'attribute' nor 'attribute.part'"), ("map: 5", "map: 5 is not a text"),
        ("map: 'sk'", "map: the attributes of indexes have the names that the indexes give them"),
        ("type: 'object', schema: {g: {map: 'x'}}", "'map' is for fields of a model, not nested ones"),
    ])
    func wrongMapIsRefused(attributes: String, message: String) {
        let found = error { try model("f: {\(attributes)}") }
        #expect(found.message.hasSuffix(message), "\(found.message)")
    }

    // MARK: - encode

    private func encoded(_ encode: String = "['sk', '#', 1]") throws -> Model {
        let fields = "pk: {value: 'org#${org}'}, sk: {value: 'user#${id}#${n:4}'}, org: {encode: ['pk', 1]}, id: {encode: \(encode)}, n: {type: 'number', encode: ['sk', '#', 2]}"
        return try #require(try schema(fields, indexes: "primary: {hash: 'pk', sort: 'sk'}").model("Fault"))
    }

    @Test func encodedPropertyIsFoundInItsAttribute() throws {
        let model = try encoded()
        let body = #"{"org":"acme","id":"u1","n":7,"x":1}"#
        let wire = try wire(model, body, omitsEncoded: true)
        #expect(wire == #"{"x":1,"_type":"Fault","sk":"user#u1#0007","pk":"org#acme"}"#)
        #expect(try model.replicated(wire) == body)
        // Elsewhere it stands for itself.
        #expect(try self.wire(model, body).hasPrefix(#"{"org":"acme","id":"u1","n":7"#))
    }

    @Test(arguments: ["/", "::"])
    func encodingThatNamesNoSeparatorHasThatOfTheParameters(separator: String) throws {
        let fields = "sk: {value: 'a\(separator)${id}\(separator)${n}'}, id: {encode: ['sk', 1]}, n: {encode: ['sk', '\(separator)', 2]}"
        let model = try #require(try schema(fields, params: "separator: '\(separator)'").model("Fault"))
        let body = ##"{"id":"u#1","n":"2"}"##
        let wire = try wire(model, body, omitsEncoded: true)
        #expect(wire == ##"{"_type":"Fault","sk":"a\##(separator)u#1\##(separator)2"}"##)
        #expect(try model.replicated(wire) == body)
    }

    @Test func encodingWithoutAnySeparatorWarns() throws {
        let schema = try schema("sk: {value: 'a#${id}'}, id: {encode: ['sk', 1]}", params: "separator: ''")
        #expect(schema.warnings.count == 1)
    }

    @Test func propertyThatCanNotBeFoundAgainStays() throws {
        let model = try encoded()
        let body = #"{"org":"a#b","id":"u1","n":7}"#
        let wire = try wire(model, body, omitsEncoded: true)
        #expect(wire.contains(#""org":"a#b""#))
        #expect(try model.replicated(wire) == body)
    }

    @Test func portionThatIsNotThereIsNoValue() throws {
        #expect(error { try encoded().replicated("{sk: 'user', pk: 'org#x'}") }.code == .key)
        #expect(error { try encoded().replicated("{sk: 'user##1', pk: 'org#x'}") }.code == .key)
    }

    @Test func encodeHasToNameAComputedAttribute() throws {
        let found = error { try model("f: {encode: ['id', '#', 1]}") }
        #expect(found.message.hasSuffix("encode: 'id' is not computed, or can't have this property"))
    }

    @Test(arguments: ["'sk'", "['sk']", "['sk', '', 1]", "['sk', '#', -1]", "['sk', '#', 'x']"])
    func encodingOfAnotherFormWarnsAndThePropertyStays(encode: String) throws {
        let schema = try schema("sk: {value: 'f#${id}'}, id: {encode: \(encode)}")
        #expect(schema.warnings.count == 1)
        #expect(schema.warnings.first?.string.hasSuffix("is not [attribute, separator, index]; the property is stored by itself") == true)
        #expect(try schema.model("Fault")?.created("{id: 'a'}") == #"{"id":"a"}"#)
    }
}
