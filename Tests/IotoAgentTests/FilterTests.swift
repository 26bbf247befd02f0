import IotoBase
import IotoJSON
import Testing

@testable import IotoAgent

/// What a find selects, by the conditions on its properties.
@Suite struct FilterTests {
    static func database() throws -> (Fixture, Database) {
        let fixture = try Fixture()
        let database = try fixture.open()
        for json in [
            "{id: 'a', text: 'ant', count: 1}", "{id: 'b', text: 'bee', count: 2.5}", "{id: 'c', text: 'bat', count: 10}",
            "{id: 'd'}",
        ] {
            try database.create("Note", json)
        }
        try database.create("Local", "{id: 'x', on: true, seen: '2026-01-02T00:00:00Z', extra: {n: {m: 5}, l: [1, 2]}}")
        try database.create("Local", "{id: 'y', on: false, seen: '2026-01-03T00:00:00Z', extra: {n: {m: 6}, l: [3]}}")
        return (fixture, database)
    }

    @Test(arguments: [
        ("{}", ["a", "b", "c", "d"]),
        ("{text: 'bee'}", ["b"]),
        ("{text: {'=': 'bee'}}", ["b"]),
        ("{text: {'<>': 'bee'}}", ["a", "c", "d"]),
        ("{text: {begins: 'b'}}", ["b", "c"]),
        ("{text: {begins: ''}}", ["a", "b", "c"]),
        ("{text: {'<': 'bat'}}", ["a"]),
        ("{text: {'<=': 'bat'}}", ["a", "c"]),
        ("{text: {'>': 'bat'}}", ["b"]),
        ("{text: {'>=': 'bat'}}", ["b", "c"]),
        ("{text: {between: ['ant', 'bat']}}", ["a", "c"]),
        ("{count: 1}", ["a"]),
        ("{count: '1'}", ["a"]),
        ("{count: 1.0}", ["a"]),
        ("{count: {'>': 2}}", ["b", "c"]),
        ("{count: {'<': 10}}", ["a", "b"]),
        ("{count: {between: [2.5, 10]}}", ["b", "c"]),
        ("{count: null}", ["d"]),
        ("{text: 'bee', count: 1}", []),
        ("{id: {begins: 'c'}}", ["c"]),
        ("{id: 'd'}", ["d"]),
        ("{none: 'x'}", []),
        ("{none: null}", ["a", "b", "c", "d"]),
        ("{sk: {begins: 'note#b'}}", ["b"]),
    ])
    func findSelects(_ properties: String, _ expected: [String]) throws {
        let (fixture, database) = try FilterTests.database()
        #expect(try database.ids("Note", properties) == expected)
        database.close()
        withExtendedLifetime(fixture) {}
    }

    @Test(arguments: [
        ("{on: true}", ["x"]), ("{on: 'false'}", ["y"]), ("{on: {'<>': true}}", ["y"]),
        ("{seen: '2026-01-02T00:00:00.000Z'}", ["x"]), ("{seen: {'>': '2026-01-02T12:00:00Z'}}", ["y"]),
        ("{'extra.n.m': 5}", ["x"]), ("{'extra.n.m': {'>=': 6}}", ["y"]), ("{'extra.l.0': 3}", ["y"]),
        ("{'extra.none': 3}", []), ("{extra: {n: {m: 5}, l: [1, 2]}}", ["x"]),
    ])
    func otherTypesCompareByTheirOrder(_ properties: String, _ expected: [String]) throws {
        let (fixture, database) = try FilterTests.database()
        #expect(try database.ids("Local", properties) == expected)
        database.close()
        withExtendedLifetime(fixture) {}
    }

    @Test(arguments: [
        ("{text: {begins: 5}}", ErrorCode.misuse), ("{count: {between: [1]}}", .misuse), ("{count: {between: 1}}", .misuse),
        ("{count: {'>': 'many'}}", .field), ("{count: 'many'}", .field),
    ])
    func operandsThatDoNotFitAreRefused(_ properties: String, _ expected: ErrorCode) throws {
        let (fixture, database) = try FilterTests.database()
        #expect(code { try database.ids("Note", properties) } == expected)
        database.close()
        withExtendedLifetime(fixture) {}
    }

    @Test func whatIsRejectedIsNotParsed() throws {
        let (fixture, database) = try FilterTests.database()
        // What stands behind the property that is asked for is no JSON: whoever parses the item can't read it.
        try fixture.sqlite(
            """
            UPDATE item SET json = '{"deviceId":"d1","id":"' || substr(sort, 6) || '","text":"ant","count":1,"rest":[1,,oops]}'
            WHERE sort = 'note#a'
            """)
        for (properties, expected) in [
            ("{text: 'bee'}", ["b"]), ("{text: {'<>': 'bee'}}", ["a", "c", "d"]), ("{count: {'>': 1}}", ["b", "c"]),
            ("{count: {between: [1, 2.5]}}", ["a", "b"]), ("{text: {begins: 'b'}}", ["b", "c"]),
        ] {
            #expect(try database.count("Note", try object(properties)) == expected.count, "\(properties)")
        }
        let filter = QueryOptions(filter: "${text} in ({bee}, {bat}) or ${count} > {5}")
        #expect(try database.ids("Note", "{}", filter) == ["b", "c"])
        #expect(code { try database.update("Note", "{id: 'a', text: 'x'}") } == .corrupt)
        database.close()
        withExtendedLifetime(fixture) {}
    }

    @Test func theConditionIsAskedLast() throws {
        let (fixture, database) = try FilterTests.database()
        var asked = 0
        let options = QueryOptions(condition: { item in
            asked += 1
            return item.key.sort == "note#c"
        })
        #expect(try database.ids("Note", "{text: {begins: 'b'}}", options) == ["c"])
        #expect(asked == 2)
        database.close()
        withExtendedLifetime(fixture) {}
    }
}
