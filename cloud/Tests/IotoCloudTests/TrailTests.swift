import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// What the cloud tells of an item's last versions.
@Suite struct CloudTrailTests {
    /// Each version as "cmd by path fate", the newest first, of the item `setting#<id>`.
    private func story(_ test: TestStore, _ id: Text) async throws -> [String] {
        let found = try #require(try await test.store.history(of: key(id)))
        let database = CloudDatabase(store: test.store, schema: try schema())
        let story = try await database.explain("Setting", ["id": .string(id)])
        let versions = story["versions"]?.arrayValue ?? []
        #expect(versions.first?["ver"] == .string(found.change.version.text))
        return versions.map { version in
            ["cmd", "by", "path", "fate"].map { version[$0]?.stringValue?.string ?? "-" }.joined(separator: " ")
        }
    }

    private func schema() throws -> Schema {
        let source = """
            {
              version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } }, process: { Setting: { sync: 'both' } },
              models: { Setting: { pk: { value: 'h' }, sk: { value: 'setting#${id}' }, id: { type: 'string' },
                deviceId: { type: 'string' }, value: { type: 'number' } } },
            }
            """
        return try Schema(source: Text(source).bytes, name: "s")
    }

    @Test func deviceAndCloudAreToldApartInOrder() async throws {
        let test = try TestStore()
        _ = try await test.open("d1", replica: 7)
        try await test.apply(change("a", time: 10, body: #"{"id":"a","deviceId":"d1"}"#))
        let database = CloudDatabase(store: test.store, schema: try schema())
        try await database.put("Setting", ["id": .string("a"), "value": .integer(1)])
        try await database.remove("Setting", ["id": .string("a")])
        #expect(
            try await story(test, "a") == [
                "remove cloud cloud current", "upsert cloud cloud overwritten", "upsert device d1 up overwritten",
            ])
        let feed = try await database.explain("Setting", ["id": .string("a")])["feed"]
        #expect(feed?["stream"] == .string("device/d1") && feed?["cursor"] == .integer(3))
        await expect(.notFound) { _ = try await database.explain("Setting", ["id": .string("none")]) }
        await expect(.key) { _ = try await database.explain("Setting", [:]) }
    }

    @Test func changeThatComesTooLateIsToldOnce() async throws {
        let test = try TestStore()
        try await test.apply(change("a", time: 10, writer: 9))
        for _ in 1...3 { try await test.apply(change("a", time: 5, writer: 7)) }
        #expect(
            try await story(test, "a") == [
                "upsert replica 0000000000000009 up current", "upsert replica 0000000000000007 up refused",
            ])
        // What was stored and comes again is no news either.
        try await test.apply(change("a", time: 11, writer: 9))
        try await test.apply(change("a", time: 10, writer: 9))
        #expect(try await story(test, "a").count == 3)
    }

    @Test func trailIsBoundedAndOldChangesDoNotReturnToIt() async throws {
        let test = try TestStore()
        for time in UInt64(1)...20 { try await test.apply(change("a", time: time)) }
        let told = try await story(test, "a")
        #expect(told.count == 1 + Trail.entriesMax)
        try await test.apply(change("a", time: 3))
        #expect(try await story(test, "a") == told)
    }

    @Test func changeThatTheCloudOverrulesIsTold() async throws {
        let test = try TestStore()
        var entry = change("a", time: 10)
        entry.rule = ConflictRule(winner: .cloud, seen: nil)
        try await test.apply(entry)
        let write = LocalWrite(
            model: "Setting", key: key("a"), body: Text("{}").bytes, stream: "device/d1", owner: "d1", expected: entry.change.version)
        _ = try await test.store.write(write)
        var late = change("a", time: 1 << 61)
        late.rule = ConflictRule(winner: .cloud, seen: StreamCursor(stream: "", history: test.store.history, position: 1))
        try await test.apply(late)
        #expect(
            try await story(test, "a") == [
                "upsert cloud cloud current", "upsert replica 0000000000000007 up refused",
                "upsert replica 0000000000000007 up overwritten",
            ])
    }

    @Test func changeThatTheDeviceWinsWithIsTold() async throws {
        let test = try TestStore()
        var entry = change("a", time: 10)
        try await test.apply(entry)
        let write = LocalWrite(
            model: "Setting", key: key("a"), body: Text("{}").bytes, stream: "device/d1", owner: "d1", expected: entry.change.version)
        _ = try await test.store.write(write)
        entry = change("a", time: 1 << 61)
        entry.rule = ConflictRule(winner: .device, seen: StreamCursor(stream: "", history: test.store.history, position: 1))
        try await test.apply(entry)
        #expect(
            try await story(test, "a") == [
                "upsert replica 0000000000000007 up current", "upsert cloud cloud lost", "upsert replica 0000000000000007 up overwritten",
            ])
    }

    @Test func commandPrintsATableOrJSON() async throws {
        let folder = TemporaryFolder()
        try testSchemaText.write(toFile: folder.file("schema.json5"), atomically: true, encoding: .utf8)
        for value in 1...2 {
            _ = try await Program.cloud(["items", "put", "--model", "Setting", "{id: 'x', value: \(value)}"], in: folder)
        }
        let table = try await Program.cloud(["explain", "--model", "Setting", "{id: 'x'}"], in: folder)
        #expect(table.status == 0 && table.lines.count == 4, "\(table)")
        #expect(table.lines.first?.split(separator: " ").joined(separator: " ") == "TIME CHANGE BY PATH FATE")
        #expect(table.lines[1].hasSuffix("upsert  cloud  cloud  current") && table.lines[2].hasSuffix("overwritten"))
        #expect(table.lines[3] == "It goes down in all, as entry 2.")
        let json = try await Program.cloud(["explain", "--model", "Setting", "--json", "{id: 'x'}"], in: folder)
        #expect(try JSON.parse(Text(json.lines[0]).bytes)["versions"]?.arrayValue?.count == 2)
        let none = try await Program.cloud(["explain", "--model", "Setting", "{id: 'y'}"], in: folder)
        #expect(none.status == 1 && none.output.isEmpty && none.errors.hasPrefix("ioto-cloud: nothing is known"))
    }
}
