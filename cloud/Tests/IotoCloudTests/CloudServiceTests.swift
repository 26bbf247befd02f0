import Foundation
import IotoBase
import IotoJSON
import Testing

@testable import IotoCloud

/// The whole program between a real broker, a device that speaks by hand, and the command line.
@Suite(.serialized) struct CloudServiceTests {
    let folder = TemporaryFolder()

    init() throws {
        try testSchemaText.write(toFile: folder.file("schema.json5"), atomically: true, encoding: .utf8)
    }

    private func serve(_ broker: Mosquitto) async throws -> Program {
        let program = try Program(
            Program.cloud, ["serve", "--broker", "mqtt://127.0.0.1:\(broker.port)", "--log-level", "debug"], in: folder)
        #expect(await eventually { program.errors.contains("\nioto-cloud: ready\n") }, "\(program.errors)")
        return program
    }

    /// A message of device `d1` with one reading.
    private func reading(_ sequence: Int, id: String, milliseconds: Int64, device: String = "d1") -> String {
        let version = Version(time: HybridClock.time(milliseconds), writer: 0xAA).text
        return """
            {"v":2,"seq":\(sequence),"replica":"00000000000000aa","account":"","changes":[{"cmd":"upsert",\
            "key":"reading#\(id)","ver":"\(version)","item":{"_type":"Reading","sk":"reading#\(id)",\
            "deviceId":"\(device)","id":"\(id)","value":1.50}}]}
            """
    }

    private func catchUp(_ sequence: Int) -> String {
        """
        {"v":2,"seq":\(sequence),"replica":"00000000000000aa","account":"",\
        "cursors":{"device/d1":{"history":"0000000000000000","cursor":0}}}
        """
    }

    /// What stands under a name in all of a device's answers.
    private func answered(_ device: HandDevice, _ name: Text) -> [JSON] {
        device.payloads("/SYNC").flatMap { payload in (try? JSON.parse(Text(payload).bytes))?[name]?.arrayValue ?? [] }
    }

    private func list(_ model: String) async throws -> [String] {
        try await Program.cloud(["items", "list", "--model", model, "--json"], in: folder).lines
    }

    @Test func changeOfADeviceIsAcknowledgedAndStored() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        let device = try await HandDevice("d1", port: broker.port)
        let now = Instant.now.wall
        device.publish("ioto/service/d1/db/syncToDynamo", reading(1, id: "r1", milliseconds: now))
        device.publish("$aws/rules/IotoDevice/ioto/service/d1/db/syncToDynamo", reading(2, id: "r2", milliseconds: now))
        // What is stored together has one answer, whose number is the last one's.
        #expect(await eventually { answered(device, "keys").count == 2 })
        #expect(answered(device, "keys") == [.string("reading#r1"), .string("reading#r2")])
        let last = try JSON.parse(Text(device.payloads("/SYNC").last ?? "").bytes)
        #expect(last["seq"] == .integer(2))

        let items = try await list("Reading")
        #expect(items.count == 2)
        let item = try JSON.parse(Text(items.first ?? "").bytes)
        #expect(item["id"] == .string("r1") && item["value"] == .number("1.50") && item["pk"] == .string("device#d1"))

        cloud.signal(SIGTERM)
        let outcome = await cloud.outcome()
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("ioto-cloud.db-wal")))
        device.end()
        await broker.stop()
    }

    @Test func changeFromTheCommandLineReachesADeviceWithinASecond() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        let device = try await HandDevice("d1", port: broker.port)
        device.publish("ioto/service/d1/db/syncDown", catchUp(1))
        #expect(await eventually { device.payloads("/BATCH").count == 1 })

        let put = try await Program.cloud(
            ["items", "put", "--model", "Setting", "--device", "d1", "{id: 'x', value: 7}"], in: folder)
        #expect(put.status == 0, "\(put.errors)")
        #expect(await eventually(within: .seconds(1)) { device.payloads("/BATCH").count == 2 })
        let page = try JSON.parse(Text(device.payloads("/BATCH").last ?? "").bytes)
        #expect(page["prev"] == .integer(0) && page["cursor"] == .integer(1))
        #expect(page.value(at: "changes.0.item.value") == .integer(7))

        let all = try await Program.cloud(["items", "put", "--model", "Setting", "{id: 'all'}"], in: folder)
        #expect(all.status == 0)
        #expect(await eventually(within: .seconds(1)) { device.payloads("account/all/sync/BATCH").count == 1 })

        cloud.signal(SIGINT)
        #expect(await cloud.outcome().status == 0)
        device.end()
        await broker.stop()
    }

    @Test func brokerKeepsWhatComesWhileTheCloudIsKilled() async throws {
        let broker = try await Mosquitto(in: folder)
        let first = try await serve(broker)
        let device = try await HandDevice("d1", port: broker.port)
        first.signal(SIGKILL)
        _ = await first.outcome()
        device.publish("ioto/service/d1/db/syncToDynamo", reading(1, id: "r1", milliseconds: Instant.now.wall))
        // The broker has it, and nobody else.
        #expect(await eventually { device.acknowledgements == 1 })
        #expect(device.payloads("/SYNC").isEmpty)

        let second = try await serve(broker)
        #expect(await eventually { device.payloads("/SYNC").count == 1 })
        #expect(try await list("Reading").count == 1)
        second.signal(SIGTERM)
        #expect(await second.outcome().status == 0)
        device.end()
        await broker.stop()
    }

    @Test func brokerThatComesBackIsFoundAgain() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        await broker.stop()
        #expect(await eventually { cloud.errors.contains("next attempt in") })
        let again = try await Mosquitto(in: folder, port: broker.port)
        let device = try await HandDevice("d1", port: again.port)
        // The broker does not hold it before the cloud is back, if it lost the session: a device sends until it is answered.
        let isAnswered = await eventually(within: .seconds(20)) {
            device.publish("ioto/service/d1/db/syncToDynamo", reading(1, id: "r1", milliseconds: 1))
            try? await Task.sleep(for: .milliseconds(100))
            return !device.payloads("/SYNC").isEmpty
        }
        #expect(isAnswered, "\(cloud.errors)")
        #expect(try await list("Reading").count == 1)
        cloud.signal(SIGTERM)
        #expect(await cloud.outcome().status == 0)
        device.end()
        await again.stop()
    }

    @Test func startsAndStopsWithoutABroker() async throws {
        let cloud = try Program(Program.cloud, ["serve", "--broker", "mqtt://127.0.0.1:1"], in: folder)
        #expect(await eventually { cloud.errors.contains("next attempt in") })
        #expect(cloud.isRunning)
        cloud.signal(SIGTERM)
        let outcome = await cloud.outcome()
        #expect(outcome.status == 0 && !outcome.errors.contains("ready"))
    }

    @Test func hostileMessagesChangeNothing() async throws {
        let broker = try await Mosquitto(in: folder)
        let cloud = try await serve(broker)
        let device = try await HandDevice("d1", port: broker.port)
        let up: Text = "ioto/service/d1/db/syncToDynamo"
        for payload in [
            "", "{", "[]", "{\"v\":2}", "{\"v\":2,\"seq\":1,\"replica\":\"x\",\"changes\":5}", "{\"v\":9}",
            reading(2, id: "r1", milliseconds: 1, device: "d2"),
            reading(3, id: "r1", milliseconds: 1).replacingOccurrences(of: "Reading", with: "Secret"),
            reading(4, id: "r1", milliseconds: 1).replacingOccurrences(of: "1.50", with: "\"text\""),
        ] {
            device.publish(up, payload)
        }
        device.publish(up, reading(5, id: "good", milliseconds: 1))
        #expect(await eventually { device.payloads("/SYNC").contains { $0.contains("reading#good") } }, "\(cloud.errors)")
        let items = try await list("Reading")
        #expect(items.count == 1 && items.first?.contains("\"good\"") == true)
        #expect(answered(device, "rejected").count == 3, "\(device.payloads("/SYNC"))")
        cloud.signal(SIGTERM)
        #expect(await cloud.outcome().status == 0)
        device.end()
        await broker.stop()
    }
}
