import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct SchemaTests {
    // MARK: - Whole schemas

    @Test func settingsHaveOneTablesDefaults() throws {
        let schema = try parse("{format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}, models: {}}")
        #expect(schema.typeField == "_type")
        #expect(schema.createdField == "created")
        #expect(schema.updatedField == "updated")
        #expect(schema.separator == "#")
        #expect(schema.timestamps == .none)
        #expect(!schema.isoDates)
        #expect(!schema.nulls)
        #expect(schema.version == "")
        #expect(schema.models.isEmpty)
        #expect(schema.warnings.isEmpty)
    }

    @Test func settingsAreRead() throws {
        let schema = try schema(
            "sk: {value: 'a#${id}'}, id: {}",
            params: """
                typeField: 'kind', createdField: 'made', updatedField: 'changed', separator: '/', isoDates: true,
                nulls: true, timestamps: 'create', hidden: true
                """)
        #expect(schema.version == "1.2.3")
        #expect(schema.typeField == "kind")
        #expect(schema.createdField == "made")
        #expect(schema.updatedField == "changed")
        #expect(schema.separator == "/")
        #expect(schema.isoDates && schema.nulls)
        #expect(schema.timestamps == .created)
        #expect(schema.warnings.isEmpty)
    }

    @Test func modelsAreFoundByNameAndInOrder() throws {
        let schema = try parse(
            """
            {format: 'onetable:1.0.0', indexes: {primary: {hash: 'id'}},
             models: {B: {id: {}}, A: {id: {}}, _c9: {id: {}}}}
            """)
        #expect(schema.models.map(\.name) == ["B", "A", "_c9"])
        #expect(schema.models.map(\.ordinal) == [0, 1, 2])
        #expect(schema.model("A")?.ordinal == 1)
        #expect(schema.model("a") == nil)
    }

    @Test func sourceThatIsNoJSONNamesFileLineAndColumn() {
        let error = error { try parse("{\n  models: }") }
        #expect(error.code == .schema)
        #expect(error.message.hasPrefix("schema.json5: line 2, column"))
    }

    @Test(arguments: ["[]", "5", "'x'", "null", "true"])
    func sourceThatIsNoObjectIsRefused(source: String) {
        expectError(.schema, "schema.json5:1: the schema is not an object") { try parse(source) }
    }

    @Test func sourceLargerThanItsLimitIsRefused() {
        let text = "{format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}, models: {}}"
        let padding = String(repeating: " ", count: Limits.schemaBytesMax - text.utf8.count)
        #expect(throws: Never.self) { try parse(text + padding) }
        expectError(.schema, "schema.json5: the schema has more than 1048576 bytes") {
            try parse(text + padding + " ")
        }
    }

    @Test func missingFileIsAnIOError() {
        #expect(error { try Schema.load("/nowhere/schema.json5") }.code == .io)
    }

    @Test(arguments: ["models: {}", "indexes: {primary: {hash: 'id'}}"])
    func missingPartsAreRefused(part: String) {
        let missing = part.hasPrefix("models") ? "indexes" : "models"
        expectError(.schema, "schema.json5:1: the schema has no \(missing)") { try parse("{\(part)}") }
    }

    @Test(arguments: ["onetable:2.0.0", "twotable:1.1.0", "", "onetable"])
    func otherFormatsAreRefused(format: String) {
        expectError(.schema, "schema.json5:2: format \"\(format)\" is not supported; 'onetable:1.1.0' is") {
            try parse("{\nformat: '\(format)', indexes: {primary: {hash: 'id'}}, models: {}}")
        }
    }

    @Test(arguments: [
        ("version: 5", "version: 5 is not a text"),
        ("params: []", "params: [] is not an object"),
        ("params: {isoDates: 'yes'}", "params: isoDates: \"yes\" is not a boolean"),
        ("params: {nulls: 1}", "params: nulls: 1 is not a boolean"),
        (
            "params: {timestamps: 'never'}",
            "params: timestamps: \"never\" is none of true, false, 'create', 'update'"
        ),
        ("params: {typeField: ''}", "params: typeField: \"\" is no name of a field: 1 to 255 bytes without a dot"),
        (
            "params: {typeField: 'a.b'}",
            "params: typeField: \"a.b\" is no name of a field: 1 to 255 bytes without a dot"
        ),
        ("params: {createdField: null}", "params: createdField: null is not a text"),
        (
            "params: {updatedField: ''}", "params: updatedField: \"\" is no name of a field: 1 to 255 bytes without a dot"
        ),
        ("params: {separator: 5}", "params: separator: 5 is not a text"),
        ("params: {hidden: 'yes'}", "params: hidden: \"yes\" is not a boolean"),
        ("params: {partial: 0}", "params: partial: 0 is not a boolean"),
        ("params: {warn: 'no'}", "params: warn: \"no\" is not a boolean"),
        ("params: {timestamps: null}", "params: timestamps: null is none of true, false, 'create', 'update'"),
        (
            "params: {createdField: 'updated'}",
            "params: typeField, createdField and updatedField have to be three names"
        ),
    ])
    func wrongSettingsAreRefused(part: String, message: String) {
        expectError(.schema, "schema.json5:1: \(message)") {
            try parse("{format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}, models: {}, \(part)}")
        }
    }

    @Test(arguments: ["typeField", "createdField", "updatedField"])
    func namesInParametersHaveALongest(parameter: String) throws {
        let longest = String(repeating: "n", count: 255)
        #expect(try schema("sk: {}", params: "\(parameter): '\(longest)'").warnings.isEmpty)
        let message = error { try schema("sk: {}", params: "\(parameter): '\(longest)n'") }.message
        #expect(message.hasSuffix("is no name of a field: 1 to 255 bytes without a dot"))
    }

    @Test func unknownKeysWarnWithTheirLines() throws {
        let schema = try parse(
            """
            {
                indexes: {primary: {hash: 'id', colour: 1}},
                params: {speed: 9},
                models: {A: {id: {sparkle: true}}},
                sparkles: 2,
                other: 1,
                queries: {}, items: [], extensions: {}, description: '', name: 'x',
                process: {A: {colour: 1}},
            }
            """)
        #expect(
            schema.warnings == [
                "schema.json5:3: params: unknown key \"speed\"",
                "schema.json5:5: unknown key \"sparkles\"",
                "schema.json5:6: unknown key \"other\"",
                "schema.json5:1: no format; read as onetable:1.1.0",
                "schema.json5:2: index \"primary\": unknown key \"colour\"",
                "schema.json5:4: model \"A\": field \"id\": unknown attribute \"sparkle\"",
                "schema.json5:8: process: model \"A\": unknown key \"colour\"",
            ])
    }

    @Test func warningsAreCountedBeyondTheirLimit() throws {
        let keys = (0..<150).map { "k\($0): 1" }.joined(separator: ",")
        let schema = try parse("{format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}, models: {}, \(keys)}")
        #expect(schema.warnings.count == SchemaReader.warningsMax + 1)
        #expect(schema.warnings.last == "schema.json5: 50 more warnings")
    }

    // MARK: - Indexes

    @Test func indexesAreRead() throws {
        let schema = try schema(
            "pk: {value: 'a'}, sk: {value: 'b#${id}'}, id: {}",
            indexes: """
                gs1: {hash: 'gs1pk', sort: 'gs1sk', project: 'all', follow: true},
                primary: {hash: 'pk', sort: 'sk'},
                ls1: {sort: 'id', type: 'local'},
                ls2: {hash: 'pk', sort: 'name'},
                gs2: {hash: 'gs2pk', type: 'global'}
                """)
        #expect(schema.indexes.map(\.name) == ["gs1", "primary", "ls1", "ls2", "gs2"])
        #expect(schema.indexes.map(\.isLocal) == [false, false, true, true, false])
        #expect(schema.indexes.map(\.hash) == ["gs1pk", "pk", "pk", "pk", "gs2pk"])
        #expect(schema.indexes.map(\.sort) == ["gs1sk", "sk", "id", "name", nil])
        #expect(schema.primary.name == "primary")
        #expect(schema.primary.hash == "pk")
        #expect(schema.warnings.isEmpty)
    }

    @Test(arguments: [
        ("", "indexes: no index 'primary'"),
        ("primary: 5", "index \"primary\": 5 is not an object"),
        ("primary: {}", "index \"primary\": neither hash nor sort"),
        ("primary: {hash: 'a', sort: 'a'}", "index \"primary\": hash and sort are the same attribute"),
        ("primary: {hash: '_type'}", "index \"primary\": the type field can't be a key"),
        ("primary: {hash: 5}", "index \"primary\": hash: 5 is not a text"),
        ("primary: {sort: 'sk', type: 'local'}", "index \"primary\": the primary index can't be local"),
        (
            "primary: {sort: 'sk'}, g: {hash: 'h', type: 'odd'}",
            "index \"g\": type \"odd\" is neither 'local' nor 'global'"
        ),
        (
            "primary: {sort: 'sk'}, g: {hash: 'h', type: 'local'}",
            "index \"g\": a local index has the hash attribute of the primary index"
        ),
        ("primary: {hash: 'sk'}, g: {hash: 'sk'}", "index \"g\": a local index needs a sort attribute"),
        ("primary: {sort: 'sk'}, '': {hash: 'h'}", "index \"\": a name has 1 to 255 bytes"),
    ])
    func wrongIndexesAreRefused(indexes: String, message: String) {
        let error = error { try schema("sk: {}", indexes: indexes) }
        #expect(error.code == .schema)
        #expect(error.message == "schema.json5:3: \(message)")
    }

    @Test func indexesBeyondTheirLimitAreRefused() throws {
        func indexes(_ count: Int) -> String {
            "primary: {sort: 'sk'}, " + (1..<count).map { "g\($0): {hash: 'h\($0)'}" }.joined(separator: ",")
        }
        #expect(try schema("sk: {}", indexes: indexes(26)).indexes.count == 26)
        #expect(
            error { try schema("sk: {}", indexes: indexes(27)) }.message == "schema.json5:3: more than 26 indexes")
    }

    // MARK: - Models

    @Test(arguments: ["", "9a", "a-b", "a b", "é", String(repeating: "a", count: 256)])
    func wrongModelNamesAreRefused(name: String) {
        let error = error { try parse("{indexes: {primary: {hash: 'id'}}, models: {'\(name)': {id: {}}}}") }
        #expect(error.code == .schema)
        #expect(error.message.hasSuffix("is no name of a model: letters, digits and '_', no digit first"))
    }

    @Test func modelNameOfTheLargestSizeIsTaken() throws {
        let name = String(repeating: "a", count: 255)
        #expect(try parse("{indexes: {primary: {hash: 'id'}}, models: {\(name): {id: {}}}}").models.count == 1)
    }

    @Test func modelWithoutAKeyIsRefused() {
        expectError(.schema, "schema.json5:6: model \"Fault\": defines no key: 'pk' or 'sk'") {
            try schema("id: {}", indexes: "primary: {hash: 'pk', sort: 'sk'}")
        }
        expectError(.schema, "schema.json5:6: model \"Fault\": defines no key: 'sk'") { try schema("id: {}") }
    }

    @Test func modelsBeyondTheirLimitAreRefused() throws {
        func source(_ count: Int) -> String {
            let models = (0..<count).map { "M\($0): {id: {}}" }.joined(separator: ",")
            return "{format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}, models: {\(models)}}"
        }
        #expect(try parse(source(Limits.modelsMax)).models.count == Limits.modelsMax)
        #expect(
            error { try parse(source(Limits.modelsMax + 1)) }.message == "schema.json5:1: more than 1000 models")
    }

    @Test func fieldsBeyondTheirLimitAreRefusedNestedOnesCounted() throws {
        func fields(_ count: Int) -> String {
            let inner = (0..<(count - 3)).map { "f\($0): {}" }.joined(separator: ",")
            return "sk: {value: 'a#${id}'}, id: {}, o: {type: 'object', schema: {\(inner)}}"
        }
        #expect(try schema(fields(Limits.fieldsMax)).models.count == 1)
        let message = error { try schema(fields(Limits.fieldsMax + 1)) }.message
        #expect(message.hasSuffix("field \"o.f997\": more than 1000 fields in a model"))
    }

    @Test func errorNamesLineModelAndField() {
        expectError(.schema, "schema.json5:8: model \"Fault\": field \"severity\": unknown type \"strng\"") {
            try schema("sk: {value: 'fault#${id}'},\n severity: {type: 'strng'}")
        }
    }

    @Test func errorInANestedFieldNamesItsPath() {
        expectError(.schema, "schema.json5:9: model \"Fault\": field \"net.dns\": unknown type \"addr\"") {
            try schema(
                "id: {}, sk: {value: 'fault#${id}'},\n net: {type: 'object', schema: {\n dns: {type: 'addr'}}}")
        }
    }

    // MARK: - Process

    @Test func rulesDefaultToBothSidesAndNoSync() throws {
        let model = try model()
        #expect(model.enable == .both && model.sync == .none)
        #expect(model.existsOnDevice && model.existsInCloud)
        #expect(!model.syncsUp && !model.syncsDown)
    }

    @Test(arguments: ["process", "control"])
    func rulesAreReadByEitherName(key: String) throws {
        let model = try #require(
            try schema("sk: {}", rest: "\(key): {Fault: {enable: 'both', sync: 'up'}}").model("Fault"))
        #expect(model.syncsUp && !model.syncsDown)
    }

    @Test(arguments: [
        ("up", true, false), ("down", false, true), ("both", true, true), ("none", false, false),
    ])
    func syncSaysTheDirection(sync: String, up: Bool, down: Bool) throws {
        let model = try #require(try schema("sk: {}", rest: "process: {Fault: {sync: '\(sync)'}}").model("Fault"))
        #expect(model.syncsUp == up)
        #expect(model.syncsDown == down)
    }

    @Test(arguments: [("cloud", false, true), ("device", true, false)])
    func modelOfOneSideNeverSyncs(enable: String, onDevice: Bool, inCloud: Bool) throws {
        let schema = try schema("sk: {}", rest: "process: {Fault: {enable: '\(enable)', sync: 'both'}}")
        let model = try #require(schema.model("Fault"))
        #expect(model.existsOnDevice == onDevice)
        #expect(model.existsInCloud == inCloud)
        #expect(!model.syncsUp && !model.syncsDown)
        #expect(schema.warnings.count == 1)
    }

    @Test func processAndControlMayAgree() throws {
        let rest = "process: {Fault: {sync: 'up', enable: 'both'}}, control: {Fault: {enable: 'both', sync: 'up'}}"
        #expect(try schema("sk: {}", rest: rest).model("Fault")?.syncsUp == true)
    }

    @Test func processAndControlThatDifferAreRefused() {
        expectError(
            .schema, "schema.json5:9: 'process' and 'control' are the same map by two names, but differ here"
        ) {
            try schema("sk: {}", rest: "process: {Fault: {sync: 'up'}}, control: {Fault: {sync: 'down'}}")
        }
    }

    @Test(arguments: [
        ("{Falt: {}}", "process: unknown model \"Falt\""),
        ("[]", "process: [] is not an object"),
        ("{Fault: 'up'}", "process: model \"Fault\": \"up\" is not an object"),
        (
            "{Fault: {sync: 'upp'}}",
            "process: model \"Fault\": sync \"upp\" is none of 'up', 'down', 'both', 'none'"
        ),
        ("{Fault: {sync: true}}", "process: model \"Fault\": sync true is none of 'up', 'down', 'both', 'none'"),
        (
            "{Fault: {enable: 'all'}}",
            "process: model \"Fault\": enable \"all\" is none of 'cloud', 'device', 'both'"
        ),
    ])
    func wrongRulesAreRefused(process: String, message: String) {
        expectError(.schema, "schema.json5:9: \(message)") { try schema("sk: {}", rest: "process: \(process)") }
    }
}
