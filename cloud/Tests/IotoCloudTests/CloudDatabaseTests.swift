import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

@Suite struct CloudDatabaseTests {
    private func database(_ test: TestStore, _ context: Context = Context()) throws -> CloudDatabase {
        CloudDatabase(store: test.store, schema: try testSchema(), context: context)
    }

    @Test func putCreatesThenChangesTheGivenProperties() async throws {
        let test = try TestStore()
        let database = try database(test, ["deviceId": "d1"])
        let created = try await database.put("Setting", ["id": .string("x"), "value": .integer(1), "note": .string("n")])
        #expect(created.wire["sk"]?.stringValue == "setting#x" && created.wire["_type"]?.stringValue == "Setting")
        #expect(created.body["deviceId"]?.stringValue == "d1")
        let changed = try await database.put("Setting", ["id": .string("x"), "value": .integer(2), "note": .null])
        #expect(changed.body["value"] == .integer(2) && changed.body["note"] == nil)
        #expect(changed.version > created.version)
        let item = try await database.get("Setting", ["id": .string("x")])
        #expect(item.body == changed.body && item.version == changed.version)
    }

    @Test func putGeneratesTheKeyWhereTheSchemaDoes() async throws {
        let test = try TestStore()
        let database = try database(test, ["deviceId": "d1"])
        try await database.put("Reading", ["value": .integer(1)])
        try await database.put("Reading", ["value": .integer(2)])
        #expect(try await database.list("Reading", limit: 10).count == 2)
    }

    @Test func streamFollowsTheItemsIds() async throws {
        let test = try TestStore()
        try await database(test, ["deviceId": "d1"]).put("Setting", ["id": .string("d")])
        try await database(test, ["accountId": "a1"]).put("Setting", ["id": .string("a")])
        try await database(test).put("Setting", ["id": .string("all")])
        // Goes up only.
        try await database(test, ["deviceId": "d1"]).put("Reading", ["id": .string("r")])
        #expect(try await test.page("device/d1").entries.map(\.change.key.sort) == ["setting#d"])
        #expect(try await test.page("account/a1").entries.map(\.change.key.sort) == ["setting#a"])
        #expect(try await test.page("all").entries.map(\.change.key.sort) == ["setting#all"])
    }

    @Test func removeLeavesATombstoneInTheItemsStream() async throws {
        let test = try TestStore()
        let database = try database(test)
        try await database.put("Setting", ["id": .string("x"), "deviceId": .string("d1"), "value": .integer(5)])
        let removed = try await database.remove("Setting", ["id": .string("x")])
        #expect(removed.body["value"] == .integer(5))
        let entry = try #require(try await test.page("device/d1").entries.first)
        #expect(entry.change.isRemoval && entry.position == 2)
        #expect(try JSON.parse(entry.change.body)["value"] == nil)
        await expect(.notFound) { try await database.remove("Setting", ["id": .string("x")]) }
        // And it can be made anew, above the tombstone.
        try await database.put("Setting", ["id": .string("x")])
        #expect(try await database.get("Setting", ["id": .string("x")]).version > entry.change.version)
    }

    @Test func whatTheSchemaForbidsIsRefused() async throws {
        let test = try TestStore()
        let database = try database(test)
        await expect(.model) { try await database.put("Nothing", ["id": .string("x")]) }
        await expect(.denied) { try await database.put("Secret", ["id": .string("x")]) }
        await expect(.denied) { _ = try await database.list("Secret", limit: 1) }
        await expect(.field) { try await database.put("Setting", ["id": .string("x"), "value": .string("five")]) }
        await expect(.field) { try await database.put("Setting", ["value": .integer(1)]) }
        await expect(.key) { _ = try await database.get("Setting", ["value": .integer(1)]) }
        await expect(.notFound) { _ = try await database.get("Setting", ["id": .string("x")]) }
        #expect(try await database.list("Setting", limit: 10).isEmpty)
    }

    @Test func listIsOfTheContextAndLimited() async throws {
        let test = try TestStore()
        for device in ["d1", "d2"] as [Text] {
            for index in 0..<3 {
                try await database(test, ["deviceId": device])
                    .put("Setting", ["id": .string(device + Text(decimal: index))])
            }
        }
        #expect(try await database(test).list("Setting", limit: 100).count == 6)
        #expect(try await database(test).list("Setting", limit: 4).count == 4)
        let second = try database(test, ["deviceId": "d2"])
        let page = try await second.list("Setting", limit: 2)
        #expect(page.map { $0.body["id"]?.stringValue } == ["d20", "d21"])
        let rest = try await second.list("Setting", after: page.last?.key, limit: 2)
        #expect(rest.map { $0.body["id"]?.stringValue } == ["d22"])
    }

    @Test func concurrentChangesOfOneItemAllCount() async throws {
        let test = try TestStore()
        let database = try database(test)
        try await database.put("Setting", ["id": .string("x")])
        try await withThrowingTaskGroup { group in
            for index in 0..<8 {
                group.addTask {
                    try await database.put("Setting", ["id": .string("x"), "p" + Text(decimal: index): .integer(1)])
                }
            }
            try await group.waitForAll()
        }
        let item = try await database.get("Setting", ["id": .string("x")])
        for index in 0..<8 { #expect(item.body["p" + Text(decimal: index)] == .integer(1)) }
    }
}
