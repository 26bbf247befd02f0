import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// Seeded mutations of schemas and items: whatever comes, there is a value or an error with its place, never a
/// trap. A failure prints its seed.
@Suite struct SchemaMutationTests {
    private static let seeds: UInt64 = 8

    private static let source = """
        {
            format: 'onetable:1.1.0', version: '1.0.0',
            indexes: {
                primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk', project: 'all'},
                ls1: {sort: 'level', type: 'local'},
            },
            params: {
                typeField: '_type', isoDates: true, timestamps: true, nulls: false, separator: '#',
                createdField: 'created',
            },
            models: {
                Fault: {
                    pk: {type: 'string', value: 'device#${deviceId}'},
                    sk: {type: 'string', value: 'fault#${n:6:0}#${id}'},
                    id: {type: 'string', generate: 'ulid'}, deviceId: {type: 'string', required: true},
                    n: {type: 'number', default: 0}, severity: {type: 'string', enum: ['low', 'high'], default: 'low'},
                    at: {type: 'date', isoDates: false}, on: {type: 'boolean'}, level: {type: 'number'},
                    net: {
                        type: 'object', schema: {
                            port: {type: 'number', required: true, validate: '/^[0-9]+$/'}, url: {value: 'u${port}'}, dns: {type: 'array', items: {type: 'string'}},
                        },
                    },
                    tags: {type: 'set', items: {type: 'string'}}, blob: {type: 'binary', nulls: true},
                    label: {value: '${sk}-${net.port}'}, gs1pk: {value: 'all#${label}'}, gs1sk: {value: '${level}'},
                },
                Other: {
                    pk: {value: 'o#${a.b.c}'}, sk: {value: '${_type}'}, a: {type: 'object'},
                    u: {generate: 'uid(8)', hidden: true}, m: {map: 'mm'}, q: {map: 'data.q', type: 'number'}, r: {map: 'data.r'},
                    c: {encode: ['pk', '#', 1]}, d: {type: 'date', ttl: true}, x: {unique: true, scope: '${m}', partial: false},
                },
            },
            process: {Fault: {sync: 'both', enable: 'both', mem: true}, Other: {enable: 'device'}},
        }
        """

    private static let item = """
        {"deviceId":"d1","id":"x","n":7,"severity":"high","at":1795218048312,"net":{"port":80,"dns":["a","b"]},
        "tags":["p","q"],"blob":"aGVs","on":true,"level":2,"a":{"b":{"c":"1"}},"net.dns.0":"z","sk":"fault#000007#x",
        "_type":"Fault","odd":[{}],"m":"1","q":5,"r":"7","c":"1","d":1795218048,"x":"y"}
        """

    /// Values that stand anywhere.
    private static let values: [JSON] = [
        .null, .bool(true), .bool(false), .number("0"), .number("-1"), .number("1e400"), .number("1e-400"),
        .number("99999999999999999999999999"), .number("-0.0"), .string(""), .string("x"), .string("${a}"),
        .string("${"),
        .string("${sk}${label}"), .string("${n:1024:0}"), .string("${n:99999999999}"),
        .string("uid(9999999999999999999)"),
        .string("uid("), .string("object"), .string("date"), .string("both"), .string("9999-12-31"),
        .string("[[[[]]]]"),
        .string("{a:{b:1}}"), .string("primary"), .string("."), .string("...."), .array([]),
        .array([.null, .array([])]),
        .object([:]), .object(["type": .string("number")]), .object(["value": .string("${pk}")]),
        .object(["": .null]),
    ]

    private static let names: [Text] = [
        "", ".", "a.b", "pk", "sk", "id", "_type", "value", "type", "schema", "items", "models", "process",
        "primary", "created",
        "data", "mm", "data.q", "map", "encode", "validate", "scope", "ttl", "unique", "net.url", "blend",
        "net.dns.99999999999", "net.port.x", "tags.0", "enum", "default", "hash", "sort",
    ]

    @Test(arguments: 0..<SchemaMutationTests.seeds)
    func mutatedSchemaIsReadOrRefusedWithItsPlace(seed: UInt64) throws {
        var random = TestRandom(seed: seed)
        let base = try JSON.parse(Array(SchemaMutationTests.source.utf8), syntax: .json5)
        let item = try object(SchemaMutationTests.item)
        for _ in 0..<100 {
            var mutant = base
            for _ in 0...random.below(3) {
                // Most of what can go wrong is in the models.
                if random.below(4) != 0, let models = mutant["models"] {
                    _ = mutant.set(mutate(models, &random), at: "models")
                } else {
                    mutant = mutate(mutant, &random)
                }
            }
            do {
                let schema = try Schema(source: mutant.text, name: "s.json5")
                exercise(schema, item, &random)
            } catch {
                #expect(error.code == .schema, "seed \(seed)")
                #expect(error.message.hasPrefix("s.json5:"), "seed \(seed): \(error.message)")
            }
        }
    }

    @Test(arguments: 0..<SchemaMutationTests.seeds)
    func mutatedBytesOfASchemaAreReadOrRefused(seed: UInt64) {
        var random = TestRandom(seed: seed)
        let base = Array(SchemaMutationTests.source.utf8)
        for _ in 0..<100 {
            var bytes = base
            for _ in 0...random.below(4) {
                let place = random.below(bytes.count)
                switch random.below(3) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                default:
                    bytes.insert(contentsOf: base[random.below(base.count)...].prefix(random.below(40)), at: place)
                }
            }
            do {
                _ = try Schema(source: bytes, name: "s.json5")
            } catch {
                #expect(error.code == .schema, "seed \(seed)")
            }
        }
    }

    @Test(arguments: 0..<SchemaMutationTests.seeds)
    func mutatedItemIsPreparedOrRefused(seed: UInt64) throws {
        var random = TestRandom(seed: seed)
        let schema = try parse(SchemaMutationTests.source)
        let base = JSON.object(try object(SchemaMutationTests.item))
        for _ in 0..<150 {
            var mutant = base
            for _ in 0...random.below(4) { mutant = mutate(mutant, &random) }
            guard let item = mutant.objectValue else { continue }
            exercise(schema, item, &random)
        }
    }

    /// Makes an item, changes it, and takes it for a replica; what is prepared has to read back as itself.
    private func exercise(_ schema: Schema, _ item: JSONObject, _ random: inout TestRandom) {
        let context: Context = random.below(2) == 0 ? [:] : ["deviceId": "d1", "level": "3"]
        for model in schema.models {
            _ = try? model.key(item, context: context)
            _ = try? model.itemKey(of: item)
            _ = model.keyProperties(of: item)
            for index in schema.indexes { _ = try? model.indexKey(of: item, in: index) }
            if let replica = try? model.makeReplica(item, context: context) { check(replica, model, schema) }
            guard let created = try? model.makeItem(item, context: context, now: now) else { continue }
            check(created, model, schema)
            var changes = item
            for _ in 0..<random.below(3) {
                changes[random.element(SchemaMutationTests.names)] = random.element(SchemaMutationTests.values)
            }
            if let updated = try? model.makeUpdate(of: created.body, changes, context: context, now: now + 1) {
                #expect(updated.key == created.key)
                check(updated, model, schema)
            }
        }
    }

    private func check(_ prepared: PreparedItem, _ model: Model, _ schema: Schema) {
        #expect(throws: Never.self) {
            let read = try JSON.parse(prepared.text)
            #expect(read == .object(prepared.body))
            #expect(try model.itemKey(of: prepared.body) == prepared.key)
            #expect(try model.itemKey(of: model.keyProperties(of: prepared.body)) == prepared.key)
            let wire = model.wireItem(
                body: prepared.body, key: prepared.key, includeHash: true, includeIndexes: true)
            let short = model.wireItem(body: prepared.body, key: prepared.key, includeHash: true, omitsEncoded: true)
            for wire in [wire, short] {
                let replica = try model.makeReplica(wire, context: [:])
                #expect(replica.key == prepared.key)
                #expect(Text(replica.text).string == Text(prepared.text).string, "\(model.name)")
            }
            _ = model.uniqueValues(of: prepared.body)
            _ = model.visible(prepared.body)
            _ = model.wholeItem(body: prepared.body, key: prepared.key)
            let indexes = schema.indexes.filter { $0.name != schema.primary.name }
            #expect(try indexes.map { try model.indexKey(of: prepared.body, in: $0) } == prepared.secondaryKeys)
        }
    }

    /// A value with one place changed: replaced, removed, renamed or added to.
    private func mutate(_ value: JSON, _ random: inout TestRandom) -> JSON {
        switch value {
        case .object(let object) where !object.isEmpty && random.below(20) != 0:
            var members = object.members
            let place = random.below(members.count)
            switch random.below(12) {
            case 0: members.remove(at: place)
            case 1: members[place].key = random.element(SchemaMutationTests.names)
            case 2:
                members.append(
                    (random.element(SchemaMutationTests.names), random.element(SchemaMutationTests.values)))
            default: members[place].value = mutate(members[place].value, &random)
            }
            var result = JSONObject()
            for member in members { result[member.key] = member.value }
            return .object(result)
        case .array(var elements) where !elements.isEmpty && random.below(4) != 0:
            let place = random.below(elements.count)
            elements[place] = mutate(elements[place], &random)
            return .array(elements)
        default:
            return random.element(SchemaMutationTests.values)
        }
    }
}

/// SplitMix64: the same numbers for the same seed.
struct TestRandom {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(max(bound, 1)))
    }

    mutating func element<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }
}
