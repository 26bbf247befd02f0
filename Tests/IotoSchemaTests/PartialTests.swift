import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `partial`: what an object in a change does to the stored one; and what a change looks at.
@Suite struct PartialTests {
    private static let fields = """
        net: {type: 'object', %schema: {
            host: {required: true}, port: {type: 'number', default: 80}, mode: {enum: ['a', 'b']}, note: {nulls: true},
            link: {type: 'object', schema: {up: {type: 'boolean'}, speed: {type: 'number'}}}}},
        free: {type: 'object'}, list: {type: 'array', items: {type: 'object', schema: {x: {}, y: {}}}}
        """

    private func model(_ partial: String = "", params: String = "") throws -> Model {
        let fields = PartialTests.fields.split(separator: "%").joined(separator: partial.isEmpty ? "" : partial + ", ")
        return try IotoSchemaTests.model(fields, params: params)
    }

    private static let stored = #"{"id":"1","net":{"host":"h","port":1,"link":{"up":true,"speed":5}},"free":{"a":1}}"#

    @Test(arguments: [
        ("{net: {port: 2}}", #"{"host":"h","port":2,"link":{"up":true,"speed":5}}"#),
        ("{net: '{port: 2}'}", #"{"host":"h","port":2,"link":{"up":true,"speed":5}}"#),
        ("{net: {link: {up: false}}}", #"{"host":"h","port":1,"link":{"up":false,"speed":5}}"#),
        ("{net: {port: null, link: null}}", #"{"host":"h"}"#),
        ("{net: {note: null}}", #"{"host":"h","port":1,"note":null,"link":{"up":true,"speed":5}}"#),
        ("{'net.note': null}", #"{"host":"h","port":1,"note":null,"link":{"up":true,"speed":5}}"#),
        ("{net: {odd: 1}}", #"{"host":"h","port":1,"link":{"up":true,"speed":5},"odd":1}"#),
        ("{'net.link': {speed: '7'}}", #"{"host":"h","port":1,"link":{"up":true,"speed":7}}"#),
        ("{net: {}}", #"{"host":"h","port":1,"link":{"up":true,"speed":5}}"#),
    ])
    func objectIsLaidOverTheStoredOne(changes: String, net: String) throws {
        #expect(try model().updated(PartialTests.stored, changes) == #"{"id":"1","net":\#(net),"free":{"a":1}}"#)
    }

    @Test func objectTakesThePlaceOfTheStoredOneWithoutPartial() throws {
        for model in [try model("partial: false"), try model(params: "partial: false")] {
            #expect(
                try model.updated(PartialTests.stored, "{net: {host: 'i'}}")
                    == #"{"id":"1","net":{"host":"i"},"free":{"a":1}}"#)
            expectError(.field, "model \"Fault\": field \"net.host\": is required") {
                try model.updated(PartialTests.stored, "{net: {port: 2}}")
            }
        }
        #expect(
            try model("partial: true", params: "partial: false").updated(PartialTests.stored, "{net: {mode: 'a'}}")
                .contains(#""host":"h""#))
    }

    @Test func objectWithoutSchemaAndArraysAreReplaced() throws {
        #expect(try model().updated("{id: '1', free: {a: 1}}", "{free: {b: 2}}") == #"{"id":"1","free":{"b":2}}"#)
        #expect(
            try model().updated("{id: '1', list: [{x: '1', y: '2'}, {x: '3'}]}", "{list: [{x: '5'}]}")
                == #"{"id":"1","list":[{"x":"5"}]}"#)
    }

    @Test func requiredMemberCanNotBeTakenAwayAndANewObjectNeedsIt() throws {
        let message = "model \"Fault\": field \"net.host\": is required"
        expectError(.field, message) { try model().updated(PartialTests.stored, "{net: {host: null}}") }
        expectError(.field, message) { try model().updated("{id: '1'}", "{net: {port: 2}}") }
        expectError(.field, message) { try model().updated("{id: '1'}", "{'net.port': 2}") }
        // An object older than the requirement may be changed elsewhere.
        #expect(
            try model().updated("{id: '1', net: {port: 1}}", "{net: {mode: 'a'}}")
                == #"{"id":"1","net":{"port":1,"mode":"a"}}"#)
    }

    @Test func memberThatStaysIsNotLookedAt() throws {
        // `mode` came from a side with a newer schema.
        let stored = #"{"id":"1","net":{"host":"h","mode":"newer"}}"#
        #expect(try model().updated(stored, "{'net.port': 5}") == #"{"id":"1","net":{"host":"h","port":5,"mode":"newer"}}"#)
        #expect(try model().updated(stored, "{net: {host: 'i', mode: 'newer'}}").contains(#""host":"i""#))
        #expect(error { try model().updated(stored, "{net: {mode: 'other'}}") }.message.contains("field \"net.mode\""))
        #expect(error { try model().updated(stored, "{'net.mode': 'other'}") }.message.contains("field \"net.mode\""))
    }

    @Test func defaultsAreNotLaidOverStoredValues() throws {
        let model = try IotoSchemaTests.model("a: {default: 'x'}, b: {generate: 'uid'}")
        #expect(try model.updated("{id: '1', a: 'own'}", "{c: 1}") == #"{"id":"1","a":"own","c":1}"#)
        #expect(try model.updated("{id: '1'}", "{c: 1}") == #"{"id":"1","c":1}"#)
    }

    @Test func textsOfObjectsKeepWhatTheyTakeAway() throws {
        let model = try model()
        let given = try model.convert("{port: null}", field: "net")
        let updated = try model.makeUpdate(
            of: try object(PartialTests.stored), ["net": given], context: [:], now: now)
        #expect(updated.body["net"]?["port"] == nil)
        #expect(error { try model.convert("[]", field: "net") }.code == .field)
    }

    // MARK: - enum in arrays

    @Test func enumOfAnArrayIsThatOfItsElements() throws {
        for attributes in ["enum: ['a', 'b']", "items: {enum: ['a', 'b']}", "items: {type: 'string'}, enum: ['a', 'b']"] {
            let model = try IotoSchemaTests.model("f: {type: 'array', \(attributes)}")
            #expect(try model.created("{id: '1', f: ['a', 'b', 'a']}") == #"{"id":"1","f":["a","b","a"]}"#)
            #expect(try model.created("{id: '1', f: []}") == #"{"id":"1","f":[]}"#)
            expectError(.field, "model \"Fault\": field \"f.1\": \"c\" is none of the values of its enum") {
                try model.created("{id: '1', f: ['a', 'c']}")
            }
            expectError(.field, "model \"Fault\": field \"f.0\": \"c\" is none of the values of its enum") {
                try model.updated("{id: '1', f: ['a']}", "{'f.0': 'c'}")
            }
        }
    }

    @Test func itemsMayBeObjectsWithSchemas() throws {
        let model = try IotoSchemaTests.model(
            """
            hops: {type: 'array', items: {type: 'object', schema: {
                ip: {required: true}, kind: {enum: ['x', 'y'], default: 'x'}, ms: {type: 'number'}}}}
            """)
        #expect(
            try model.created("{id: '1', hops: [{ip: '1', ms: '5'}, {ip: '2', kind: 'y'}]}")
                == #"{"id":"1","hops":[{"ip":"1","kind":"x","ms":5},{"ip":"2","kind":"y"}]}"#)
        #expect(error { try model.created("{id: '1', hops: [{ms: 1}]}") }.message.contains("\"hops.0.ip\": is required"))
        let stored = #"{"id":"1","hops":[{"ip":"1","kind":"x"}]}"#
        #expect(try model.updated(stored, "{'hops.0.ms': '7'}").contains(#""ms":7"#))
        #expect(error { try model.updated(stored, "{'hops.0.kind': 'z'}") }.message.contains("\"hops.0.kind\""))
        #expect(error { try model.updated(stored, "{'hops.1.ms': 1}") }.message.contains("\"hops.1.ip\": is required"))
    }

    // MARK: - Templates in objects

    @Test func memberOfAnObjectIsComputed() throws {
        let model = try IotoSchemaTests.model(
            "net: {type: 'object', schema: {host: {}, port: {type: 'number'}, url: {value: '${host}:${port}/${id}'}}}")
        #expect(
            try model.created("{id: '1', net: {host: 'h', port: 80}}")
                == #"{"id":"1","net":{"host":"h","port":80,"url":"h:80/1"}}"#)
        #expect(try model.created("{id: '1'}") == #"{"id":"1"}"#)
        #expect(try model.created("{id: '1', net: {host: 'h'}}") == #"{"id":"1","net":{"host":"h"}}"#)
        let stored = #"{"id":"1","net":{"host":"h","port":80,"url":"h:80/1"}}"#
        #expect(
            try model.updated(stored, "{'net.port': 81}") == #"{"id":"1","net":{"host":"h","port":81,"url":"h:81/1"}}"#)
        #expect(try model.updated(stored, "{net: {port: 81, url: 'h:80/1'}}").contains("h:81/1"))
        expectError(.field, "model \"Fault\": field \"net.url\": is computed from a template and can't be set") {
            try model.updated(stored, "{'net.url': 'x'}")
        }
    }

    @Test func computedMemberStandsInItsPlaceOfTheSchema() throws {
        let model = try IotoSchemaTests.model(
            "net: {type: 'object', schema: {url: {value: 'u-${host}'}, host: {}, in: {type: 'object', schema: {a: {value: '${id}'}, b: {}}}}}")
        let body = try model.created("{id: '1', net: {host: 'h', in: {b: 'x'}}}")
        #expect(body == #"{"id":"1","net":{"url":"u-h","host":"h","in":{"a":"1","b":"x"}}}"#)
        #expect(try model.replicated(body) == body)
        #expect(try model.updated(#"{"id":"1","net":{"host":"h","in":{"b":"x"}}}"#, "{x: 1}") == body.dropLast() + #","x":1}"#)
    }

    @Test func computedMemberMayBeUsedByATemplateBehindIt() throws {
        let model = try IotoSchemaTests.model(
            "net: {type: 'object', schema: {host: {}, url: {value: 'h-${host}', required: true}}}, label: {value: '<${net.url}>'}")
        #expect(
            try model.created("{id: '1', net: {host: 'a'}}")
                == #"{"id":"1","net":{"host":"a","url":"h-a"},"label":"<h-a>"}"#)
        #expect(error { try model.created("{id: '1', net: {}}") }.message.contains("\"net.url\": is required"))
        let found = error {
            try IotoSchemaTests.model(
                "label: {value: '<${net.url}>'},\n net: {type: 'object', schema: {host: {}, url: {value: 'h'}}}")
        }
        #expect(found.message.hasSuffix("its template uses 'net.url', a template that does not stand before it"))
    }

    // MARK: - hidden

    @Test func hiddenPropertiesAreLeftOut() throws {
        let model = try IotoSchemaTests.model(
            """
            secret: {hidden: true}, label: {value: 'L-${id}'}, shown: {value: 'S-${id}', hidden: false},
            net: {type: 'object', schema: {pin: {hidden: true}, port: {}}},
            list: {type: 'array', items: {type: 'object', schema: {pin: {hidden: true}, x: {}}}}
            """)
        let body = try object(
            try model.created("{id: '1', secret: 's', net: {pin: '1', port: '2'}, list: [{pin: '1', x: '2'}, 5], odd: 1}"
                .replacing(", 5", with: "")))
        #expect(model.hidesProperties)
        #expect(
            text(model.visible(body))
                == #"{"id":"1","shown":"S-1","net":{"port":"2"},"list":[{"x":"2"}],"odd":1}"#)
        let whole = model.wholeItem(body: body, key: try model.itemKey(of: body))
        #expect(whole["secret"] == .string("s") && whole["sk"] == .string("fault#1") && whole["_type"] == .string("Fault"))
    }

    @Test func computedPropertiesAreShownWhereTheSchemaSaysSo() throws {
        #expect(try !IotoSchemaTests.model("label: {value: 'L'}", params: "hidden: false").hidesProperties)
        #expect(try IotoSchemaTests.model("label: {value: 'L'}").hidesProperties)
        #expect(try !IotoSchemaTests.model("label: {}").hidesProperties)
    }

    @Test func filterOfFalseForbidsToAsk() throws {
        let model = try IotoSchemaTests.model("f: {filter: false}, g: {}")
        expectError(.misuse, "model \"Fault\": field \"f\": the schema says filter: false") { try model.checkFilter("f") }
        #expect(throws: Never.self) {
            try model.checkFilter("g")
            try model.checkFilter("unknown")
        }
    }
}
