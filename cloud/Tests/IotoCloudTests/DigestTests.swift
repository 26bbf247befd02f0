import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// What `ioto-cloud digest` sums up. That it is what a device sums up is shown by Tests/c/57-digest.c.
@Suite struct CloudDigestTests {
    private func database(_ test: TestStore, _ context: Context = Context()) throws -> CloudDatabase {
        CloudDatabase(store: test.store, schema: try testSchema(), context: context)
    }

    private func hash(_ database: CloudDatabase, _ stream: Text = "device/d1") async throws -> ContentHash {
        try await database.digest(of: stream).digest.hash
    }

    @Test func itemsCountToTheirStreamsAndTombstonesToNone() async throws {
        let test = try TestStore()
        let database = try database(test)
        #expect(try await hash(database) == ContentHash())
        try await database.put("Setting", ["id": .string("a"), "deviceId": .string("d1")])
        try await database.put("Setting", ["id": .string("b"), "accountId": .string("a1")])
        try await database.put("Setting", ["id": .string("c")])
        try await database.put("Reading", ["id": .string("d"), "deviceId": .string("d1")])
        for (stream, items): (Text, Int64) in [("device/d1", 2), ("account/a1", 1), ("all", 1), ("device/d2", 0)] {
            #expect(try await database.digest(of: stream).digest.items == items, "\(stream)")
        }
        let (found, hasMoved) = try await database.digest(of: "device/d1")
        #expect(found.cursor == StreamCursor(stream: "device/d1", history: test.store.history, position: 1) && !hasMoved)
        try await database.remove("Setting", ["id": .string("a")])
        #expect(try await database.digest(of: "device/d1").digest.items == 1)
    }

    @Test func versionsAndPagesDoNotCountAndEveryValueDoes() async throws {
        let (one, other) = (try TestStore(), try TestStore())
        let count = CloudDatabase.pageItems + 3
        for (test, ids) in [(one, Array(0..<count)), (other, Array((0..<count).reversed()))] {
            let changes = ids.map { id in
                change(
                    Text(decimal: id), time: UInt64(id * 7 + 1), writer: test.store.writer,
                    body: "{\"id\":\"\(id)\",\"deviceId\":\"d1\"}")
            }
            _ = await test.store.answer(.apply(changes, device: "d1"))
        }
        let (first, second) = (try database(one), try database(other))
        #expect(try await first.digest(of: "device/d1").digest.items == Int64(count))
        #expect(try await hash(first) == hash(second))
        let properties: JSONObject = ["id": .string("x"), "deviceId": .string("d1")]
        try await second.put("Setting", properties)
        #expect(try await hash(first) != hash(second))
        try await first.put("Setting", properties)
        #expect(try await hash(first) == hash(second))
        try await second.put("Setting", ["id": .string("x"), "value": .integer(1)])
        #expect(try await hash(first) != hash(second))
        try await first.put("Setting", ["id": .string("x"), "value": .number("1.0")])
        #expect(try await hash(first) == hash(second))
    }

    @Test func visitsInTheOrderOfModelsAndKeys() async throws {
        let test = try TestStore()
        let database = try database(test, ["deviceId": "d1"])
        for id: Text in ["b", "a"] {
            try await database.put("Setting", ["id": .string(id)])
            try await database.put("Reading", ["id": .string(id)])
        }
        var visited: [String] = []
        var sum = ContentHash()
        let whole = try await database.digest(of: "device/d1") { model, key, hash in
            visited.append(key.sort.string)
            sum.add(hash)
        }
        #expect(visited == ["reading#a", "reading#b", "setting#a", "setting#b"])
        #expect(whole.digest.hash == sum)
    }

    @Test func itemsThatHaveExpiredDoNotCount() async throws {
        let source = """
            {
              version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } }, process: { Setting: { sync: 'both' } },
              models: { Setting: { pk: { value: 'h' }, sk: { value: 'setting#${id}' }, id: { type: 'string' },
                until: { type: 'date', ttl: true } } },
            }
            """
        let test = try TestStore()
        let schema = try Schema(source: Text(source).bytes, name: "s")
        try await test.apply(
            change("old", time: 1, body: #"{"id":"old","until":1700000000}"#, stream: "all"),
            change("new", time: 2, body: #"{"id":"new","until":4102444800}"#, stream: "all"))
        #expect(try await CloudDatabase(store: test.store, schema: schema).digest(of: "all").digest.items == 1)
    }

    @Test func commandPrintsALineOrJSON() async throws {
        let folder = TemporaryFolder()
        try testSchemaText.write(toFile: folder.file("schema.json5"), atomically: true, encoding: .utf8)
        _ = try await Program.cloud(["items", "put", "--model", "Setting", "--device", "d1", "{id: 'x\"y', value: 1}"], in: folder)
        let whole = try await Program.cloud(["digest", "--device", "d1"], in: folder)
        #expect(whole.status == 0 && whole.lines.count == 1)
        #expect(whole.output.hasSuffix(" device/d1 items=1\n") && whole.output.count == 32 + 19, "\(whole.output)")
        let list = try await Program.cloud(["digest", "--stream", "device/d1", "--list"], in: folder)
        #expect(list.lines.count == 2 && list.lines.last == whole.lines.first)
        #expect(list.lines.first?.dropFirst(32) == #" Setting "setting#" "setting#x\"y""#)
        let json = try await Program.cloud(["digest", "--device", "d1", "--list", "--json"], in: folder)
        let objects = try json.lines.map { try JSON.parse(Text($0).bytes) }
        #expect(objects.count == 2 && objects[0]["sort"] == .string("setting#x\"y") && objects[1]["items"] == .integer(1))
        #expect(objects[0]["digest"] == objects[1]["digest"] && objects[1]["cursor"] == .integer(1))
    }

    @Test(arguments: [["digest"], ["digest", "--device", "d1", "--stream", "all"], ["digest", "--device"]])
    func oneStreamIsAskedFor(_ arguments: [String]) async throws {
        let outcome = try await Program.cloud(arguments, in: TemporaryFolder())
        #expect(outcome.status == 64, "\(outcome)")
    }
}
