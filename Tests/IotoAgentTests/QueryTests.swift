import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync
import Testing

@testable import IotoAgent

private let source = """
    {
        format: 'onetable:1.1.0', version: '1.0.0',
        indexes: {
            primary: {hash: 'pk', sort: 'sk'}, gs1: {hash: 'gs1pk', sort: 'gs1sk'}, gs2: {hash: 'severity', sort: 'count'},
            gs3: {hash: 'nobody'},
        },
        params: {isoDates: true},
        models: {
            Fault: {
                pk: {value: 'device#${deviceId}'}, sk: {value: 'fault#${id}'},
                gs1pk: {value: '${_type}'}, gs1sk: {value: 'severity#${severity}#${when}'},
                deviceId: {type: 'string'}, id: {type: 'string', required: true}, severity: {type: 'string'},
                when: {type: 'date'}, count: {type: 'number'}, on: {type: 'boolean'}, tags: {type: 'array'},
                net: {type: 'object', schema: {ip: {type: 'string'}, dns: {type: 'array'}}},
                code: {type: 'string'}, note: {type: 'string', nulls: true},
            },
            Other: {
                pk: {value: 'device#${deviceId}'}, sk: {value: 'other#${id}'}, deviceId: {type: 'string'},
                id: {type: 'string', required: true},
            },
        },
    }
    """

extension Database {
    fileprivate func ids(_ json: String = "{}", _ options: QueryOptions = QueryOptions()) throws -> [String] {
        try find("Fault", try object(json), options: options).items.map { $0.stored.value(at: "id")?.stringValue?.string ?? "?" }
    }

    fileprivate func ids(filter: String, _ substitutions: String = "{}") throws -> [String] {
        try ids("{}", QueryOptions(filter: Text(filter), substitutions: try object(substitutions)))
    }

    /// Keys that a query reads, whatever it then rejects.
    fileprivate func range(_ json: String, index: Text? = nil) throws -> KeyRange {
        try query("Fault", try object(json), QueryOptions(index: index)).scan.range
    }
}

private func error<Result>(_ body: () throws -> Result) -> IotoError {
    do {
        _ = try body()
    } catch let error as IotoError {
        return error
    } catch {}
    Issue.record("no error")
    return IotoError(.misuse, "")
}

@Suite struct QueryTests {
    let fixture: Fixture
    let database: Database

    init() throws {
        fixture = try Fixture(schema: source)
        database = try fixture.open()
        for item in [
            "{id: 'a', severity: 'low', when: '2026-01-01', count: 5, on: true, tags: ['x', 1], code: '42'}",
            "{id: 'b', severity: 'high', when: '2026-02-01', count: 10, on: false, net: {ip: '10.0.0.1', dns: ['d1', 'd2']}}",
            "{id: 'c', severity: 'high', when: '2026-03-01', count: 9, tags: [], note: null, code: 'pâté'}",
            "{id: 'd', severity: 'low', when: '2026-04-01', count: -1.5, on: true, net: {ip: '10.0.0.2'}, code: 'say \\u0022no\\u0022'}",
            "{id: 'e'}",
        ] { _ = try database.create("Fault", try object(item)) }
        _ = try database.create("Other", try object("{id: 'a'}"))
    }

    /// What parses an item finds nothing at all in it when a member at its end is broken; what looks for a property does
    /// not come that far.
    @Test(arguments: [
        "${severity} = {low}", "${severity} <> {high}", "${count} > {2}", "${on} = {true}", "begins_with(${net.ip}, {10})",
        "${net.dns.1} = {d2}", "attribute_type(${net}, {M})", "contains(${code}, {4})", "${count} between {1} and {9}",
        "${severity} in ({low}, {none})", "size(${tags}) = {2}",
    ])
    func aFilterDoesNotParseWhatItRejects(_ filter: String) throws {
        _ = try database.create(
            "Fault", try object(
                "{id: 'whole', severity: 'low', count: 5, on: true, tags: ['x', 1], net: {ip: '10.1', dns: ['d1', 'd2']}, code: '42'}"))
        try fixture.sqlite("UPDATE item SET json = substr(json, 1, length(json) - 1) || ',\"end\":[nul}' WHERE sort LIKE 'fault#%'")
        let broken = try database.get("Fault", try object("{id: 'whole'}"))
        #expect(code { try broken.stored.properties() } == .corrupt)
        #expect(try database.ids(filter: filter).contains("whole"))
        #expect(try !database.ids(filter: "not (" + filter + ")").contains("whole"))
    }

    // MARK: Indexes and ranges

    @Test func anIndexGivesItsOrder() throws {
        #expect(try database.ids("{}", QueryOptions(index: "gs1")) == ["b", "c", "a", "d"])
        #expect(try database.ids("{severity: 'low'}", QueryOptions(isReversed: true, index: "gs1")) == ["d", "a"])
        #expect(try database.ids("{severity: 'high'}", QueryOptions(index: "gs2")) == ["b", "c"])
        #expect(try database.ids("{}", QueryOptions(index: "primary")) == ["a", "b", "c", "d", "e"])
    }

    @Test func propertiesReachAsFarIntoTheKeyAsTheyGo() throws {
        #expect(try database.range("{severity: 'low'}", index: "gs1").hash == "Fault")
        #expect(try database.range("{severity: 'low'}", index: "gs1").lower == "severity#low#")
        #expect(try database.range("{}", index: "gs1").lower == "severity#")
        #expect(try database.range("{gs1sk: 'severity#low#2026-01-01T00:00:00.000Z'}", index: "gs1").upper != nil)
        #expect(try database.range("{}").lower == "fault#")
    }

    @Test func operatorsOnTheSortAttributeNarrowTheRange() throws {
        func check(_ json: String, _ lower: Text, _ upper: Text, _ ids: [String], index: Text? = nil) throws {
            let range = try database.range(json, index: index)
            #expect(range.lower == lower && range.upper == upper, "\(json) \(range)")
            #expect(try database.ids(json, QueryOptions(index: index)) == ids)
        }
        try check("{sk: {begins: 'fault#b'}}", "fault#b", "fault#c", ["b"])
        try check("{sk: {'>=': 'fault#d'}}", "fault#d", "fault$", ["d", "e"])
        try check("{sk: {'>': 'fault#d'}}", "fault#d\0", "fault$", ["e"])
        try check("{sk: {'<': 'fault#b'}}", "fault#", "fault#b", ["a"])
        try check("{sk: {'<=': 'fault#b'}}", "fault#", "fault#b\0", ["a", "b"])
        try check("{sk: {between: ['fault#b', 'fault#d']}}", "fault#b", "fault#d\0", ["b", "c", "d"])
        try check("{sk: {'<>': 'fault#b'}}", "fault#", "fault$", ["a", "c", "d", "e"])
        // What the template ends with.
        try check("{id: {between: ['b', 'c']}}", "fault#b", "fault#c\0", ["b", "c"])
        try check("{id: {begins: 'c'}}", "fault#c", "fault#d", ["c"])
        try check(
            "{severity: 'low', when: {'>': '2026-01-01'}}", "severity#low#2026-01-01T00:00:00.000Z\0", "severity#low$",
            ["d"], index: "gs1")
        // A range that is empty, and one beyond the prefix.
        #expect(try database.ids("{sk: {between: ['fault#d', 'fault#b']}}") == [])
        #expect(try database.ids("{sk: {'<': 'fault'}}") == [])
        // A number orders as text in a key: it does not narrow, and is asked of each item.
        #expect(try database.ids("{severity: 'high', count: {'>': 9}}", QueryOptions(index: "gs2")) == ["b"])
        #expect(try database.range("{severity: 'high', count: {'>': 9}}", index: "gs2").lower == "")
    }

    @Test func keysOfTheIndexAreAskedForByName() throws {
        #expect(try database.ids("{gs1pk: 'Fault', gs1sk: {begins: 'severity#h'}}", QueryOptions(index: "gs1")) == ["b", "c"])
        #expect(try database.ids("{sk: 'fault#c'}", QueryOptions(index: "gs1")) == ["c"])
        #expect(try database.ids("{_type: 'Fault', id: 'a'}") == ["a"])
        #expect(error { try database.ids("{gs1sk: 'x'}") }.code == .misuse)
        #expect(error { try database.ids("{gs1pk: 'Other'}", QueryOptions(index: "gs1")) }.code == .key)
    }

    @Test func whatTheHashKeyTellsIsNotAskedAgain() throws {
        let fixture = try Fixture(schema: source)
        let database = try fixture.open()
        func needle(_ json: String, index: Text? = nil) throws -> [UInt8]? {
            try database.query("Fault", try object(json), QueryOptions(index: index)).scan.needle
        }
        #expect(try needle("{severity: 'high'}") != nil)
        #expect(try needle("{severity: 'high'}", index: "gs2") == nil)
        // The context has another device in its place.
        #expect(try needle("{deviceId: 'd2'}") != nil)
        #expect(try database.ids("{deviceId: 'd2'}") == [])
    }

    @Test func anIndexThatIsNotThereIsAnError() throws {
        let unknown = error { try database.ids("{}", QueryOptions(index: "gs9")) }
        #expect(unknown.code == .misuse && unknown.message.string.hasSuffix("has no index 'gs9'"))
        #expect(error { try database.ids("{}", QueryOptions(index: "gs3")) }.code == .key)
    }

    // MARK: Pages

    @Test func pagesOfAnIndexShowEveryItemOnce() throws {
        for isReversed in [false, true] {
            for limit in 1...5 {
                var seen: [String] = []
                var next: Text?
                repeat {
                    let list = try database.find(
                        "Fault", JSONObject(),
                        options: QueryOptions(limit: limit, next: next, isReversed: isReversed, index: "gs1"))
                    seen += list.items.map { $0.stored.value(at: "id")?.stringValue?.string ?? "?" }
                    next = list.next.map { Text(cString: $0) }
                } while next != nil
                #expect(seen == (isReversed ? ["d", "a", "c", "b"] : ["b", "c", "a", "d"]))
            }
        }
    }

    @Test func aTokenOfAnotherIndexIsRefused() throws {
        let list = try database.find("Fault", JSONObject(), options: QueryOptions(limit: 1, index: "gs1"))
        let token = Text(cString: try #require(list.next))
        #expect(error { try database.ids("{}", QueryOptions(next: token)) }.code == .misuse)
        #expect(error { try database.ids("{}", QueryOptions(next: token, index: "gs2")) }.code == .misuse)
        for junk in ["", "[]", "[1,2]", #"["a","b","c","d","e","f"]"#] {
            #expect(error { try database.ids("{}", QueryOptions(next: Text(junk))) }.code == .misuse)
        }
    }

    // MARK: Fields and counts

    @Test func fieldsAreTheOnesAskedFor() throws {
        let item = try database.findOne("Fault", try object("{id: 'b'}"), options: QueryOptions(fields: ["id", "net.ip", "none"]))
        #expect(item.stored.body == Array(#"{"id":"b","net":{"ip":"10.0.0.1"}}"#.utf8))
        let whole = try database.get("Fault", try object("{id: 'b'}"), options: QueryOptions(fields: ["net"]))
        #expect(whole.stored.body == Array(#"{"net":{"ip":"10.0.0.1","dns":["d1","d2"]}}"#.utf8))
    }

    @Test func aCountHasNoItems() throws {
        #expect(try database.count("Fault", JSONObject()) == 5)
        #expect(try database.count("Fault", try object("{severity: 'high'}"), options: QueryOptions(index: "gs1")) == 2)
        #expect(try database.count("Fault", JSONObject(), options: QueryOptions(limit: 3)) == 3)
        let list = try database.find("Fault", JSONObject(), options: QueryOptions(isCount: true))
        #expect(list.count == 5 && list.items.isEmpty)
    }

    @Test func removalUsesTheIndexAndTheFilter() throws {
        let options = QueryOptions(index: "gs1", filter: "${count} < {6}")
        #expect(try database.remove("Fault", JSONObject(), isMany: true, options: options) == 2)
        #expect(try database.ids() == ["b", "c", "e"])
    }

    // MARK: Filters of properties

    @Test func propertiesAtPathsFilter() throws {
        #expect(try database.ids("{'net.ip': '10.0.0.2'}") == ["d"])
        #expect(try database.ids("{'net.dns.1': 'd2'}") == ["b"])
        #expect(try database.ids("{count: {between: [5, 9]}}") == ["a", "c"])
        #expect(try database.ids("{on: {'<>': true}}") == ["b", "c", "e"])
        #expect(try database.ids("{severity: null}") == ["e"])
        #expect(try database.ids(#"{code: 'say "no"'}"#) == ["d"])
    }

    // MARK: Filters as text

    @Test(arguments: [
        ("${severity} = {high}", "b c"), ("${severity} <> {high}", "a d e"), ("${count} > {5}", "b c"),
        ("${count} >= {5} and ${count} < {10}", "a c"), ("${count} <= {-1.5}", "d"), ("${count} = {5.0}", "a"),
        ("${count} = {\"5\"}", "a"), ("${code} = {42}", "a"), ("${code} = {\"42\"}", "a"), ("${on} = {true}", "a d"),
        ("${when} > {2026-02-15}", "c d"), ("{5} < ${count}", "b c"), ("${count} = ${count}", "a b c d e"),
        ("not ${severity} = {high}", "a d e"), ("NOT (${severity} = {high} OR ${on} = {true})", "e"),
        ("${severity} = {high} or ${severity} = {low} and ${on} = {true}", "a b c d"),
        ("(${severity} = {high} or ${severity} = {low}) and ${on} = {true}", "a d"),
        ("${count} between {5} and {9} and ${on} = {true}", "a"), ("${severity} in ({high}, {none})", "b c"),
        ("${count} IN ({5},{9})", "a c"), ("begins_with(${when}, {2026-0})", "a b c d"),
        ("begins_with(${net.ip}, {10.0.0.})", "b d"), ("contains(${code}, {2})", "a"), ("contains(${tags}, {x})", "a"),
        ("contains(${tags}, {1})", "a"), ("not_contains(${tags}, {x})", "b c d e"), ("contains(${net.dns}, {d2})", "b"),
        ("attribute_exists(${net})", "b d"), ("attribute_not_exists(${severity})", "e"),
        ("attribute_exists(${note})", "c"), ("${note} = {null}", "a b c d e"), ("${severity} <> {null}", "a b c d"),
        ("attribute_type(${tags}, {L})", "a c"), ("attribute_type(${note}, {NULL})", "c"),
        ("attribute_type(${net}, {M}) and attribute_type(${count}, {N})", "b d"), ("size(${tags}) > {0}", "a"),
        ("size(${code}) = {4}", "c"), ("{2} = size(${net.dns})", "b"), ("${net.dns.0} = {d1}", "b"),
        ("${code} = {\"say \\\"no\\\"\"}", "d"), ("${code} = { pâté }", "c"), ("${sk} > {fault#c}", "d e"),
        ("${pk} = {device#d1} and ${_type} = {Fault}", "a b c d e"), ("${none} = {}", ""), ("${severity}={high}", "b c"),
        ("((((${severity} = {high}))))", "b c"), ("not not ${on} = {true}", "a d"),
    ]) func filterFinds(_ filter: String, _ ids: String) throws {
        #expect(try database.ids(filter: filter) == ids.split(separator: " ").map(String.init), "\(filter)")
    }

    @Test func substitutionsStandForValues() throws {
        #expect(try database.ids(filter: "${severity} = @{s}", "{s: 'high'}") == ["b", "c"])
        #expect(try database.ids(filter: "${count} > @{n}", "{n: 5}") == ["b", "c"])
        #expect(try database.ids(filter: "${severity} in (@{...list})", "{list: ['high', 'none']}") == ["b", "c"])
        #expect(try database.ids(filter: "${severity} in (@{...list})", "{list: []}") == [])
        #expect(error { try database.ids(filter: "${severity} = @{t}", "{s: 1}") }.message.string.contains("'t'"))
        #expect(error { try database.ids(filter: "${severity} in (@{...s})", "{s: 1}") }.code == .misuse)
    }

    @Test(arguments: [
        ("", 1), ("${severity}", 12), ("${severity} = ", 15), ("${severity} == {high}", 14), ("${severity} = {high", 15),
        ("${severity = {high}", 20), ("severity = {high}", 10), ("${severity} = {high} and", 25), ("(${severity} = {high}", 22),
        ("${severity} = {high})", 21), ("${severity} between {a}", 24), ("${severity} in {a}", 16), ("size({a}) = {1}", 1),
        ("begins_with(${severity})", 24), ("frob(${severity}, {a})", 1), ("${severity} = high", 15), ("${} = {a}", 3),
        ("attribute_type(${severity}, {X})", 1), ("${severity} = {\"high}", 15), ("${severity} = {\"high\" x}", 23),
        ("${severity} = {\"\\q\"}", 15), ("not", 4), ("{1} = {1} {2}", 11), ("$", 1), ("@{", 1), ("${a} in (", 10),
    ]) func errorsNameThePosition(_ filter: String, _ position: Int) throws {
        let found = error { try database.ids(filter: filter) }
        #expect(found.code == .misuse)
        #expect(found.message.string.hasPrefix("filter: position \(position): "), "\(filter): \(found.message.string)")
    }

    @Test func aValueThatDoesNotFitItsFieldIsAnError() throws {
        #expect(error { try database.ids(filter: "${count} > {many}") }.code == .field)
        #expect(error { try database.ids(filter: "${when} > {soon}") }.code == .field)
        #expect(error { try database.ids(filter: "${gs1sk} > {a}") }.code == .misuse)
    }

    @Test func filtersHaveLimits() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "(", count: depth) + "${on} = {true}" + String(repeating: ")", count: depth)
        }
        #expect(try database.ids(filter: nested(31)) == ["a", "d"])
        #expect(error { try database.ids(filter: nested(32)) }.code == .limit)
        #expect(error { try database.ids(filter: String(repeating: "not ", count: 100_000) + "${on} = {true}") }.code == .limit)
        let sizes = String(repeating: "size(", count: 1000) + "${on}" + String(repeating: ")", count: 1000)
        #expect(error { try database.ids(filter: sizes + " > {1}") }.code != .limit)
        #expect(error { try database.ids(filter: "size(size(${on})) > {1}") }.message.string.contains("size takes a property"))
        let many = Array(repeating: "${on} = {true}", count: 256).joined(separator: " and ")
        #expect(try database.ids(filter: many) == ["a", "d"])
        #expect(error { try database.ids(filter: many + " and ${on} = {true}") }.code == .limit)
    }

    @Test func anyTextIsAFilterOrAnError() throws {
        let parts = [
            "${severity}", "${count}", "{high}", "{5}", "{", "}", "(", ")", ",", "and", "or", "not", "between", "in", "=",
            "<", ">", "<>", "size(", "begins_with(", "@{x}", "@{...x}", "\"", "\\", "$", " ", "\u{0}", "é",
        ]
        // The same texts in every run, so that how many are valid is no matter of chance.
        var random = JitterGenerator(seed: 1)
        var valid = 0
        for _ in 0..<20_000 {
            let filter = (0..<Int.random(in: 1...9, using: &random)).map { _ in parts.randomElement(using: &random)! }
                .joined(separator: Bool.random(using: &random) ? " " : "")
            do throws(IotoError) {
                _ = try database.query(
                    "Fault", JSONObject(), QueryOptions(filter: Text(filter), substitutions: ["x": .array([.null])]))
                valid += 1
            } catch {
                #expect([ErrorCode.misuse, .field, .limit].contains(error.code), "\(filter)")
            }
        }
        #expect(valid > 10)
    }
}

@Suite struct ExpiryWorkerTests {
    static let schema = """
        {
            format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},
            models: {
                Note: {
                    pk: {value: 'd'}, sk: {value: 'note#${id}'}, id: {type: 'string'}, expires: {type: 'date', ttl: true},
                },
            },
        }
        """

    final class Log: @unchecked Sendable {
        private let lock = NSLock()
        private var stored: [String] = []
        var lines: [String] { lock.withLock { stored } }
        func add(_ line: String) { lock.withLock { stored.append(line) } }
    }

    @Test func itemsAreRemovedInTheBackgroundAndTriggersAreTold() throws {
        let fixture = try Fixture(schema: ExpiryWorkerTests.schema)
        let database = try fixture.open()
        let log = Log()
        try database.addTrigger(TriggerIdentity(procedure: 1, argument: 0, model: "Note"), events: .expired) { call in
            log.add("\(call.kind) \(call.item.stored.key.sort.string) \(call.events.contains(.change))")
        }
        let now = Int64(Date().timeIntervalSince1970)
        for (id, time) in [("a", now - 10), ("b", now + 2), ("c", now + 3600)] {
            _ = try database.create("Note", ["id": .string(Text(id)), "expires": .integer(time)])
        }
        #expect(try database.count("Note", JSONObject()) == 2)
        let deadline = Date().addingTimeInterval(20)
        while log.lines.count < 2, Date() < deadline { Thread.sleep(forTimeInterval: 0.05) }
        #expect(log.lines == ["expired note#a true", "expired note#b true"])
        #expect(try database.removeExpired(isSilent: false) == 0)
        database.close()
    }

    /// A database that has met a cloud, whose machine's clock then is wrong.
    private func open(_ fixture: Fixture, ahead: Int64) throws -> Database {
        let cursor = StreamCursor(stream: "all", history: 1, position: 1)
        let database = try fixture.open()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        _ = try database.store.apply([], cursor: cursor, hubTime: HybridClock.time(now))
        database.close()
        return try fixture.open { $0.wallClock = { Int64(Date().timeIntervalSince1970 * 1000) + ahead } }
    }

    @Test func nothingIsRemovedBeforeTheCloudHasToldTheTime() throws {
        let fixture = try Fixture(schema: ExpiryWorkerTests.schema)
        let database = try open(fixture, ahead: 365 * 86_400_000)
        let now = Int64(Date().timeIntervalSince1970)
        _ = try database.create("Note", ["id": .string("a"), "expires": .integer(now + 3600)])
        Thread.sleep(forTimeInterval: 1.5)
        #expect(try database.count("Note", JSONObject()) == 0)
        database.store.learnTime(now * 1000)
        #expect(try database.count("Note", JSONObject()) == 1)
        database.close()
    }

    @Test func itemsAreRemovedByTheTimeThatTheCloudHasTold() throws {
        let fixture = try Fixture(schema: ExpiryWorkerTests.schema)
        let database = try open(fixture, ahead: 0)
        let now = Int64(Date().timeIntervalSince1970)
        database.store.learnTime((now + 36_000) * 1000)
        _ = try database.create("Note", ["id": .string("a"), "expires": .integer(now + 3600)])
        let deadline = Date().addingTimeInterval(20)
        while try database.store.statistics().items > 0, Date() < deadline { Thread.sleep(forTimeInterval: 0.05) }
        #expect(try database.store.statistics().items == 0)
        database.close()
    }

    @Test func aStoreThatOnlyReadsRemovesNothing() throws {
        let fixture = try Fixture(schema: ExpiryWorkerTests.schema)
        let database = try fixture.open()
        _ = try database.create("Note", ["id": .string("a"), "expires": .integer(1)])
        database.close()
        let reader = try fixture.open { $0.isReadOnly = true }
        #expect(try reader.count("Note", JSONObject()) == 0)
        #expect(error { try reader.removeExpired(isSilent: true) }.code == .readOnly)
        reader.close()
    }
}
