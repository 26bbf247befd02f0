import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `unique`, `scope` and `ttl`: what they say of an item. Who stores the item enforces them.
@Suite struct ConstraintTests {
    // MARK: - unique, scope

    @Test func uniqueFieldsAreThoseThatSaySo() throws {
        let model = try model("mail: {unique: true}, n: {type: 'number', unique: true}, other: {unique: false}")
        #expect(model.uniqueFields.map { $0.name } == ["mail", "n"])
    }

    @Test func valueWhoseScopeIsMissingIsRefusedAndAReplicaWithItIsNot() throws {
        let model = try model("site: {}, mail: {unique: true, scope: '${site}'}")
        expectError(.field, "model \"Fault\": field \"mail\": a property of its scope is missing") {
            try model.created("{id: 'a', mail: 'm'}")
        }
        #expect(try model.created("{id: 'a'}") == #"{"id":"a"}"#)
        #expect(try model.replicated("{id: 'a', mail: 'm'}") == #"{"id":"a","mail":"m"}"#)
    }

    @Test func scopeMayUseATemplateThatStandsBehindIt() throws {
        let model = try model("mail: {unique: true, scope: '${label}'}, label: {value: 'l-${id}'}")
        #expect(try model.created("{id: 'a', mail: 'm'}").contains(#""mail":"m""#))
    }

    @Test(arguments: [
        ("f: {type: 'object', unique: true}", "f\": 'unique' is for scalar fields"),
        ("f: {unique: 'yes'}", "f\": unique: \"yes\" is not a boolean"),
        (
            "f: {type: 'object', schema: {g: {unique: true}}}",
            "f.g\": 'unique' is for fields of a model, not nested ones"
        ),
        ("f: {unique: true, scope: 5}", "f\": scope: 5 is not a text"),
        ("f: {unique: true, scope: '${'}", "f\": template \"${\" has a '${' without a '}'"),
        ("f: {type: 'number', ttl: true}", "f\": 'ttl' is for a field of type date"),
        ("f: {type: 'object', schema: {g: {type: 'date', ttl: true}}}", "f.g\": 'ttl' is for fields of a model, not nested ones"),
        (
            "f: {type: 'date', ttl: true}, g: {type: 'date', ttl: true}",
            "g\": ttl: \"f\" already says when an item expires"
        ),
    ])
    func constraintThatCannotHoldIsRefused(fields: String, message: String) {
        let found = error { try model(fields) }
        #expect(found.code == .schema)
        #expect(found.message.hasSuffix("model \"Fault\": field \"" + message), "\(found.message)")
    }

    @Test func uniqueIsNotForAComputedKey() {
        let found = error { try schema("sk: {value: 'a#${id}', unique: true}, id: {}") }
        #expect(found.message.hasSuffix("unique: the attribute of an index is not stored, its properties can be unique"))
    }

    // MARK: - ttl

    @Test(arguments: [
        ("1795218048312", "1795218049"), ("'2026-11-20T23:40:48.312Z'", "1795218049"),
        ("'2026-11-20T23:40:48Z'", "1795218048"), ("1795218048", "1795218048"), ("'1795218048'", "1795218048"),
        // The border between seconds and milliseconds, and a text that is no number.
        ("99999999999", "99999999999"), ("100000000000", "100000000"), ("'1970-01-02'", "86400"),
    ])
    func expiryIsStoredAsSecondsRoundedUp(given: String, stored: String) throws {
        for parameters in ["isoDates: true", "isoDates: false"] {
            let model = try model("expires: {type: 'date', ttl: true}", params: parameters)
            #expect(try model.created("{id: 'a', expires: \(given)}") == #"{"id":"a","expires":\#(stored)}"#)
            // What was stored is taken again as it is.
            #expect(try model.created("{id: 'a', expires: \(stored)}") == #"{"id":"a","expires":\#(stored)}"#)
        }
    }

    @Test func expiryIsReadInMilliseconds() throws {
        let model = try model("expires: {type: 'date', ttl: true}")
        #expect(model.ttlField?.name == "expires")
        #expect(model.expiry(of: try object("{id: 'a', expires: 1795218049}")) == 1_795_218_049_000)
        #expect(model.expiry(of: try object("{id: 'a'}")) == nil)
        #expect(try IotoSchemaTests.model().expiry(of: try object("{id: 'a', expires: 1}")) == nil)
    }
}
