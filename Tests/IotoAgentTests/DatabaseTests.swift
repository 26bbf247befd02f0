import Foundation
import IotoBase
import IotoJSON
import IotoStore
import Testing

@testable import IotoAgent

@Suite struct DatabaseTests {
    @Test func anItemReadsBackAsItWasCreated() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Note", "{id: 'a', text: 'hello', count: 12345678901234567890}")
        let item = try database.get("Note", "{id: 'a'}")
        #expect(item.value("text") == .string("hello"))
        #expect(item.value("count") == .number("12345678901234567890"))
        #expect(item.value("deviceId") == .string("d1"))
        #expect(item.value("none") == nil)
        database.close()
    }

    @Test func createRefusesATakenKeyUnlessItMayUpdate() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Note", "{id: 'a', text: 'one', count: 1}")
        #expect(code { try database.create("Note", "{id: 'a', text: 'two'}") } == .exists)
        let item = try database.create("Note", "{id: 'a', text: 'two'}", isUpsert: true)
        #expect(item.value("text") == .string("two"))
        #expect(item.value("count") == .integer(1))
        database.close()
    }

    @Test func updateChangesWhatIsGivenAndTakesNullsAway() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        #expect(code { try database.update("Note", "{id: 'a', text: 'x'}") } == .notFound)
        try database.update("Note", "{id: 'a', text: 'x', count: 1}", isUpsert: true)
        let item = try database.update("Note", "{id: 'a', text: null, count: 2}")
        #expect(item.value("text") == nil)
        #expect(item.value("count") == .integer(2))
        database.close()
    }

    @Test func aPathChangesAnInnerProperty() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Local", "{id: 'a', extra: {network: {dns: ['x', 'y']}}}")
        try database.update("Local", "{id: 'a', 'extra.network.mask': 24}")
        let item = try database.get("Local", "{id: 'a'}")
        #expect(item.value("extra.network.mask") == .integer(24))
        #expect(item.value("extra.network.dns.1") == .string("y"))
        database.close()
    }

    @Test func removeTakesOneOrManyAndRefusesDoubt() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        for id in ["a", "b", "c"] { try database.create("Note", "{id: '\(id)'}") }
        #expect(code { try database.remove("Note", "{}") } == .ambiguous)
        #expect(try database.remove("Note", "{id: 'a'}") == 1)
        #expect(try database.remove("Note", "{id: 'a'}") == 0)
        #expect(try database.remove("Note", "{}", isMany: true) == 2)
        #expect(try database.ids("Note") == [])
        database.close()
    }

    @Test func modelsOfTheCloudAndUnknownOnesAreRefused() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        #expect(code { try database.create("Report", "{id: 'a'}") } == .denied)
        #expect(code { try database.remove("Report", "{id: 'a'}") } == .denied)
        #expect(code { try database.create("None", "{id: 'a'}") } == .model)
        #expect(code { try database.find("None", JSONObject()) } == .model)
        database.close()
    }

    @Test func aKeyThatIsNotWholeIsRefused() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        #expect(code { try database.get("Note", "{}") } == .key)
        #expect(code { try database.update("Note", "{text: 'x'}") } == .key)
        database.setContext("deviceId", nil)
        #expect(code { try database.get("Note", "{id: 'a'}") } == .key)
        #expect(code { try database.create("Note", "{id: 'a'}") } == .key)
        database.close()
    }

    @Test func theContextOverridesWhatTheCallerGives() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        try database.create("Note", "{id: 'a', deviceId: 'other'}")
        #expect(try database.get("Note", "{id: 'a'}").value("deviceId") == .string("d1"))
        database.close()
    }

    @Test func pagesGoOnBehindARemovedItem() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        for id in ["a", "b", "c", "d"] { try database.create("Note", "{id: '\(id)'}") }
        let first = try database.find("Note", JSONObject(), options: QueryOptions(limit: 2))
        let next = Text(cString: try #require(first.next))
        #expect(try database.remove("Note", "{id: 'b'}") == 1)
        #expect(try database.ids("Note", "{}", QueryOptions(next: next)) == ["c", "d"])
        #expect(code { try database.find("Note", JSONObject(), options: QueryOptions(next: "no token")) } == .misuse)
        let last = try database.find("Note", JSONObject(), options: QueryOptions(limit: 3))
        #expect(last.next == nil)
        database.close()
    }

    @Test func pairsAreConvertedToTheTypesOfTheirFields() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let properties = try database.properties(
            [("id", "a"), ("on", "true"), ("count", nil), ("other", "5")], of: "Local")
        #expect(properties["id"] == .string("a"))
        #expect(properties["on"] == .bool(true))
        #expect(properties["count"] == .null)
        #expect(properties["other"] == .string("5"))
        #expect(code { try database.properties([("on", "perhaps")], of: "Local") } == .field)
        // Those of an item are left to the item, which finds the same.
        let raw = try database.properties([("id", "a"), ("on", "true"), ("other", "5")], of: "Local", isForItem: true)
        #expect(raw["on"] == .string("true"))
        #expect(try database.create("Local", raw).value("on") == .bool(true))
        let wrong = try database.properties([("id", "b"), ("on", "perhaps")], of: "Local", isForItem: true)
        #expect(code { try database.create("Local", wrong) } == .field)
        database.close()
    }

    @Test func aClosedDatabaseRefusesEveryCall() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        database.close()
        database.close()
        #expect(code { try database.create("Note", "{id: 'a'}") } == .misuse)
        #expect(code { try database.get("Note", "{id: 'a'}") } == .misuse)
        #expect(code { try database.find("Note", JSONObject()) } == .misuse)
        #expect(code { try database.begin() } == .misuse)
    }
}
