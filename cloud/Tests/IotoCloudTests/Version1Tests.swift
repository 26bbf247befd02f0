import Foundation
import GRDB
import IotoBase
import IotoJSON
import IotoSync
import Testing

@testable import IotoCloud

/// An agent of protocol version 1, played line by line through a real broker against the whole program.
@Suite(.serialized) struct Version1ServiceTests {
    let folder = TemporaryFolder()

    init() throws {
        let schema = """
            {
              version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } }, params: { isoDates: true, timestamps: true },
              models: {
                Store: {
                  pk: { type: 'string', value: 'device#${deviceId}' }, sk: { type: 'string', value: 's#${key}' },
                  deviceId: { type: 'string', required: true }, accountId: { type: 'string' },
                  key: { type: 'string', required: true }, value: { type: 'string' }, type: { type: 'string' },
                },
              },
              process: { Store: { sync: 'both' } },
            }
            """
        try schema.write(toFile: folder.file("schema.json5"), atomically: true, encoding: .utf8)
    }

    private func serve(_ broker: Mosquitto) async throws -> Program {
        let program = try Program(
            Program.cloud, ["serve", "--broker", "mqtt://127.0.0.1:\(broker.port)", "--log-level", "debug"], in: folder)
        #expect(await eventually { program.errors.contains("\nioto-cloud: ready\n") }, "\(program.errors)")
        return program
    }

    private func change(_ sequence: Int, _ key: String, _ value: String, _ updated: String, cmd: String = "upsert") -> String {
        """
        {"seq":\(sequence),"changes":[{"cmd":"\(cmd)","key":"s#\(key)","item":{"key":"\(key)","value":"\(value)",\
        "type":"number","deviceId":"D1","accountId":"A1","sk":"s#\(key)","_type":"Store","updated":"\(updated)"}}]}
        """
    }

    private func put(_ item: String) async throws {
        let put = try await Program.cloud(
            ["items", "put", "--model", "Store", "--device", "D1", "--account", "A1", item], in: folder)
        #expect(put.status == 0, "\(put.errors)")
    }

    private func values() async throws -> [String: String] {
        var values: [String: String] = [:]
        for line in try await Program.cloud(["items", "list", "--model", "Store", "--json"], in: folder).lines {
            let item = try JSON.parse(Text(line).bytes)
            values[item["key"]?.stringValue?.string ?? ""] = item["value"]?.stringValue?.string
        }
        return values
    }

    /// It sends once, when it connects.
    @Test func changesOutliveAStoreThatFails() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        let agent = try await HandDevice("D1", port: broker.port)
        let queue = try DatabaseQueue(path: folder.file("ioto-cloud.db"))
        try await queue.writeWithoutTransaction { try $0.execute(sql: "ALTER TABLE device RENAME TO away") }
        agent.publish("$aws/rules/IotoDevice/ioto/service/D1/db/syncToDynamo", change(1, "counter", "1", "2026-11-20T23:40:48.312Z"))
        #expect(await eventually { cloud.errors.contains("no such table") }, "\(cloud.errors)")
        try await queue.writeWithoutTransaction { try $0.execute(sql: "ALTER TABLE away RENAME TO device") }
        try queue.close()
        #expect(await eventually { agent.payloads("/SYNC").count == 1 }, "\(cloud.errors)")
        #expect(try await values() == ["counter": "1"])
        cloud.signal(SIGTERM)
        #expect(await cloud.outcome().status == 0)
        agent.end()
        await broker.stop()
    }

    @Test func agentIsServedUnchanged() async throws {
        let broker = try await Mosquitto(in: folder)
        var cloud = try await serve(broker)
        let agent = try await HandDevice("D1", port: broker.port)
        let up: Text = "$aws/rules/IotoDevice/ioto/service/D1/db/syncToDynamo"
        let ask: Text = "$aws/rules/IotoDevice/ioto/service/D1/db/syncDown"

        // It connects with a change from before, sends it, and asks for all.
        try await put("{key: 'in1', value: '5', type: 'number'}")
        agent.publish(up, change(1_382_969_081, "counter", "1", "2026-11-20T23:40:48.312Z"))
        #expect(await eventually { agent.payloads("/SYNC").count == 1 }, "\(cloud.errors)")
        #expect(
            agent.payloads("/SYNC").first
                == #"{"seq":1382969081,"keys":["s#counter"],"updated":"1970-01-01T00:00:00.000Z"}"#)
        agent.publish(ask, #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(await eventually { agent.payloads("/SYNCDOWN").count == 1 })
        let item = try JSON.parse(Text(try #require(agent.payloads("/UPSERT").first { $0.contains("in1") })).bytes)
        #expect(item["_type"] == .string("Store") && item["sk"] == .string("s#in1") && item["value"] == .string("5"))
        #expect(item["pk"] == nil)

        // A change of the cloud, and a removal.
        try await put("{key: 'in1', value: '6'}")
        #expect(await eventually(within: .seconds(1)) { agent.payloads("/UPSERT").last?.contains(#""value":"6""#) == true })
        let remove = try await Program.cloud(
            ["items", "remove", "--model", "Store", "--device", "D1", "{key: 'in1'}"], in: folder)
        #expect(remove.status == 0, "\(remove.errors)")
        #expect(await eventually { agent.payloads("/REMOVE") == [#"{"_type":"Store","sk":"s#in1"}"#] })

        // The hub dies and misses a change, which then comes unasked.
        cloud.signal(SIGKILL)
        _ = await cloud.outcome()
        try await put("{key: 'while', value: 'away'}")
        cloud = try await serve(broker)
        #expect(await eventually { agent.payloads("/UPSERT").contains { $0.contains("s#while") } }, "\(cloud.errors)")
        #expect(agent.payloads("/BATCH").isEmpty)

        // The agent reconnects and sends the old change again, which the cloud has removed since.
        _ = try await Program.cloud(["items", "remove", "--model", "Store", "--device", "D1", "{key: 'counter'}"], in: folder)
        agent.publish(up, change(7, "counter", "1", "2026-11-20T23:40:48.312Z"))
        #expect(await eventually { agent.payloads("/SYNC").count == 2 })
        #expect(try await values() == ["while": "away"])
        // A new one, and its removal, which says the time of what it removes.
        agent.publish(up, change(8, "counter", "2", ISODate.text(Instant.now.wall + 5_000).string))
        #expect(await eventually { agent.payloads("/SYNC").count == 3 })
        #expect(try await values()["counter"] == "2")
        agent.publish(up, change(9, "while", "away", "2020-01-01T00:00:00.000Z", cmd: "remove"))
        #expect(await eventually { agent.payloads("/SYNC").count == 4 })
        #expect(try await values() == ["counter": "2"])

        // From the time that it was told last, it is sent nothing twice that it had before.
        let time = try JSON.parse(Text(agent.payloads("/SYNCDOWN").last ?? "").bytes)["updated"]?.stringValue ?? ""
        let before = agent.payloads("/SYNCDOWN").count
        agent.publish(ask, "{\"timestamp\":\"\(time.string)\"}")
        #expect(await eventually { agent.payloads("/SYNCDOWN").count == before + 1 })

        cloud.signal(SIGTERM)
        let outcome = await cloud.outcome()
        #expect(outcome.status == 0, "\(outcome.errors)")
        agent.end()
        await broker.stop()
    }

    @Test func burstForAnAgentArrivesWholeAndInOrder() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        let store = try SQLiteStore(path: folder.file("ioto-cloud.db"), mode: .existing)
        let schema = try SchemaSource.find(file: folder.file("schema.json5"))
        let database = CloudDatabase(
            store: store, schema: try .init(source: try #require(schema).source, name: "s"), context: ["deviceId": "D1"])
        for index in 0..<500 { try await database.put("Store", ["key": .string(Text(decimal: index))]) }
        let agent = try await HandDevice("D1", port: broker.port)
        agent.publish("ioto/service/D1/db/syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(await eventually { agent.payloads("/SYNCDOWN").count == 1 }, "\(cloud.errors)")
        #expect(agent.payloads("/UPSERT").count == 500)
        #expect(agent.payloads("/UPSERT").last?.contains("s#499") == true)
        await store.close()
        cloud.signal(SIGTERM)
        _ = await cloud.outcome()
        agent.end()
        await broker.stop()
    }
}

/// What the store keeps for agents of version 1.
struct Version1StoreTests {
    private func arrival(_ id: Text, updated: Int64, removal: Bool = false, number: UInt64 = 0) -> StreamedChange {
        var entry = change(id, time: number, writer: 7, removal: removal)
        entry.arrival = Arrival(updated: updated)
        return entry
    }

    @Test func changeThatComesAgainIsKnownAfterTheStoreIsOpenedAnew() async throws {
        let test = try TestStore()
        #expect(try await test.apply(arrival("a", updated: 5)).stored == 1)
        let again = try SQLiteStore(path: test.store.path)
        guard case .applied(let stored, _, _, _, _) = await again.answer(.apply([arrival("a", updated: 5)], device: "d1")) else {
            Issue.record("no answer")
            return
        }
        #expect(stored == 0)
        await again.close()
    }

    @Test func arrivalGetsAVersionAboveWhatIsStored() async throws {
        let test = try TestStore()
        let far = HybridClock.time(Instant.now.wall + 50_000)
        try await test.apply(change("a", time: far, writer: 7))
        try await test.apply(arrival("a", updated: 5))
        #expect(try #require(await test.store.item(key("a"))).version.time > far)
    }

    @Test func writeOfTheCloudOverrulesAnOlderArrival() async throws {
        let test = try TestStore()
        try await test.apply(arrival("a", updated: 5))
        let stored = try #require(await test.store.item(key("a")))
        let write = LocalWrite(
            model: "Setting", key: key("a"), isRemoval: true, body: stored.body, stream: "device/d1", owner: "d1",
            expected: stored.version)
        let removal = try #require(await test.store.write(write))
        let answer = await test.store.answer(.apply([arrival("a", updated: 6, number: 3)], device: "d1"))
        guard case .applied(stored: 0, _, _, let met, _) = answer else { throw UnexpectedAnswer(answer: answer) }
        #expect(met == [MetChange(version: Version(time: 3, writer: 7), other: removal)])
    }

    @Test func feedIsReadFromTheTimeOfACommit() async throws {
        let test = try TestStore()
        var times: [UInt64] = []
        for index in 0..<20 {
            times.append(try await test.page("device/d1").time)
            try await test.apply(arrival(Text(decimal: index), updated: 5))
        }
        // Entries that were superseded leave holes.
        try await test.apply(arrival("3", updated: 6))
        for index in [0, 1, 7, 19] {
            let answer = await test.store.answer(
                .readFeedSince(stream: "device/d1", time: times[index] + 1, bytesMax: 1 << 20, itemsMax: 100))
            guard case .page(let page) = answer else { throw UnexpectedAnswer(answer: answer) }
            let ids = page.entries.map { $0.change.key.sort.string }
            #expect(ids.first == "setting#\(index == 3 ? 4 : index)", "\(ids)")
            #expect(ids.last == "setting#3")
        }
        let now = try await test.page("device/d1").time
        let answer = await test.store.answer(
            .readFeedSince(stream: "device/d1", time: now + 1, bytesMax: 1 << 20, itemsMax: 100))
        guard case .page(let page) = answer else { throw UnexpectedAnswer(answer: answer) }
        #expect(page.entries.isEmpty && page.previous == 21 && page.cursor == 21)
    }

    @Test func storeOfFormatOneIsBroughtToFormatTwo() async throws {
        let folder = TemporaryFolder()
        let path = folder.file("old.db")
        let queue = try DatabaseQueue(path: path)
        try await queue.write { db in
            try db.execute(
                sql: """
                    CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID;
                    CREATE TABLE item(
                        id INTEGER PRIMARY KEY,
                        hash TEXT NOT NULL, sort TEXT NOT NULL, model TEXT NOT NULL,
                        time INTEGER NOT NULL, writer INTEGER NOT NULL,
                        removed INTEGER, json TEXT NOT NULL, owner TEXT NOT NULL, stream TEXT,
                        UNIQUE(hash, sort)) STRICT;
                    CREATE TABLE feed(
                        stream TEXT NOT NULL, position INTEGER NOT NULL, hash TEXT NOT NULL, sort TEXT NOT NULL,
                        parted TEXT, time INTEGER NOT NULL, writer INTEGER NOT NULL,
                        PRIMARY KEY(stream, position), UNIQUE(stream, hash, sort)) STRICT, WITHOUT ROWID;
                    CREATE TABLE head(
                        stream TEXT PRIMARY KEY NOT NULL, position INTEGER NOT NULL, moved INTEGER NOT NULL)
                        STRICT, WITHOUT ROWID;
                    CREATE TABLE device(
                        id TEXT PRIMARY KEY NOT NULL, account TEXT NOT NULL, replica INTEGER NOT NULL,
                        seen INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                    INSERT INTO meta VALUES('history', 1), ('writer', 2), ('clock', 100);
                    INSERT INTO item VALUES(1, 'h', 'setting#a', 'Setting', 100, 7, NULL, '{"id":"a"}', 'd1', 'device/d1');
                    INSERT INTO feed VALUES('device/d1', 1, 'h', 'setting#a', NULL, 100, 7);
                    INSERT INTO head VALUES('device/d1', 1, 1);
                    INSERT INTO device VALUES('d1', 'a1', 7, 0);
                    PRAGMA application_id = 1232028524; PRAGMA user_version = 1;
                    """)
        }
        try queue.close()
        let store = try SQLiteStore(path: path)
        #expect(try await store.devices() == [DeviceRecord(id: "d1", account: "a1", replica: 7)])
        let answer = await store.answer(.apply([arrival("a", updated: 5), arrival("b", updated: 5)], device: "d1"))
        guard case .applied(stored: 2, _, _, _, _) = answer else { throw UnexpectedAnswer(answer: answer) }
        await store.close()
    }
}
