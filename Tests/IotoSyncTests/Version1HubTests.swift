import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// The hub and an agent of version 1, which is played message by message.
struct Version1HubTests {
    /// The schema that the agents' documented messages belong to.
    static let storeSchema: Schema = {
        let source = """
            {
                version: '1.0.0', format: 'onetable:1.1.0',
                indexes: { primary: { hash: 'pk', sort: 'sk' } },
                params: { isoDates: true, timestamps: true },
                process: { Store: { sync: 'both' }, Notice: { sync: 'down' } },
                models: {
                    Store: {
                        pk: { type: 'string', value: 'device#${deviceId}' }, sk: { type: 'string', value: 's#${key}' },
                        deviceId: { type: 'string', required: true }, key: { type: 'string', required: true },
                        value: { type: 'string' }, type: { type: 'string' },
                    },
                    Notice: {
                        pk: { type: 'string', value: 'account#${accountId}' }, sk: { type: 'string', value: 'n#${key}' },
                        accountId: { type: 'string' }, key: { type: 'string', required: true }, value: { type: 'string' },
                    },
                },
            }
            """
        do throws(IotoError) {
            return try Schema(source: Array(source.utf8), name: "store.json5")
        } catch {
            fatalError(error.message.string)
        }
    }()

    private let hub = Hub()

    private final class Hub {
        let loop = Loopback(schema: Version1HubTests.storeSchema)
        static let change = #"{"seq":1382969081,"changes":[{"cmd":"upsert","key":"s#counter","item":{"key":"counter","value":"1","type":"number","deviceId":"D1","accountId":"A1","sk":"s#counter","_type":"Store","updated":"2026-11-20T23:40:48.312Z"}}]}"#

        init() {
            loop.cloud.schema = Version1HubTests.storeSchema
            loop.setWall(1_795_218_048_312 + 1_000)
        }

        func say(_ verb: String, _ payload: String) {
            let topic: Text = "$aws/rules/IotoDevice/ioto/service/D1/db/"
            loop.run(.message(topic: topic + Text(verb), payload: Array(payload.utf8)))
        }

        /// What has come down since the last call: verb and payload.
        func heard() -> [String] {
            defer { loop.down = [] }
            return loop.down.map { message in
                let verb = message.topic.string.replacing("ioto/device/D1/sync/", with: "")
                return verb + " " + String(decoding: message.payload, as: UTF8.self)
            }
        }

        func value(_ key: String) -> String? {
            let row = loop.cloud.rows[ItemKey(hash: "device#D1", sort: Text("s#" + key))]
            guard let change = row?.change, !change.isRemoval else { return nil }
            return (try? JSON.parse(change.body))?["value"]?.stringValue?.string
        }

        func cloudPut(_ key: String, _ value: String, isRemoval: Bool = false) throws {
            let item: JSONObject = [
                "key": .string(Text(key)), "value": .string(Text(value)), "deviceId": .string("D1"), "type": .string("number"),
                "updated": .string("2026-11-20T23:40:00.000Z"),
            ]
            loop.run(.feedsMoved(try loop.cloud.put("Store", item, isRemoval: isRemoval)))
        }
    }

    private func change(
        _ sequence: Int, _ key: String, _ value: String, updated: String, cmd: String = "upsert"
    ) -> String {
        """
        {"seq":\(sequence),"changes":[{"cmd":"\(cmd)","key":"s#\(key)","item":{"key":"\(key)","value":"\(value)",\
        "type":"number","deviceId":"D1","accountId":"A1","sk":"s#\(key)","_type":"Store","updated":"\(updated)"}}]}
        """
    }

    @Test func changesOutliveFailuresOfTheStore() throws {
        let updated = "2026-11-20T23:40:48.312Z"
        // First the store does not say who the agent is, then it does not take the change.
        for (number, key) in [(1, "a"), (2, "b")] {
            hub.loop.cloud.failure = IotoError(.io, "the disk is ill")
            hub.say("syncToDynamo", change(number, key, "x", updated: updated))
            hub.say("syncToDynamo", change(number + 10, key + "-behind", "y", updated: updated))
            #expect(hub.heard().isEmpty)
            hub.loop.cloud.failure = IotoError(.io, "and still is")
            hub.loop.wait(2_000)
            #expect(hub.heard().isEmpty)
            hub.loop.wait(1_999)
            #expect(hub.heard().isEmpty)
            hub.loop.wait(1)
            #expect(hub.value(key) == "x" && hub.value(key + "-behind") == "y")
            #expect(hub.heard().map { $0.contains("\"seq\":\(number),") } == [true, false])
        }
    }

    @Test func changesOutliveTheHubsConnection() throws {
        hub.loop.cloud.failure = IotoError(.io, "the disk is ill")
        hub.say("syncToDynamo", Hub.change)
        hub.loop.run(.connected(devices: [], feeds: []))
        hub.loop.wait(2_000)
        #expect(hub.value("counter") == "1" && hub.heard().count == 1)
    }

    @Test func agentWhoseChangesOutliveTheHubsConnectionIsFollowed() throws {
        let record = DeviceRecord(id: "D1", account: "A1", replica: Version1.replica(of: "D1"))
        hub.loop.cloud.devices["D1"] = record
        hub.loop.cloud.failure = IotoError(.io, "the disk is ill")
        hub.say("syncToDynamo", Hub.change)
        hub.loop.run(.connected(devices: [record], feeds: []))
        hub.loop.wait(2_000)
        #expect(hub.value("counter") == "1")
        _ = hub.heard()
        try hub.cloudPut("y", "1")
        #expect(hub.heard().map { $0.hasPrefix("UPSERT") && $0.contains("s#y") } == [true])
    }

    @Test func whatComesDownOutlivesFailuresOfTheStore() throws {
        hub.say("syncToDynamo", Hub.change)
        try hub.cloudPut("a", "1")
        _ = hub.heard()
        hub.loop.cloud.failure = IotoError(.io, "the disk is ill")
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(hub.heard().isEmpty)
        hub.loop.wait(2_000)
        #expect(hub.heard().last?.hasPrefix("SYNCDOWN") == true)
        // And one that moves while it is followed.
        hub.loop.cloud.failure = IotoError(.io, "the disk is ill")
        try hub.cloudPut("b", "2")
        #expect(hub.heard().isEmpty)
        hub.loop.wait(2_000)
        #expect(hub.heard().contains { $0.hasPrefix("UPSERT") && $0.contains("s#b") })
    }

    @Test func documentedChangeIsStoredAndAnswered() {
        hub.say("syncToDynamo", Hub.change)
        #expect(hub.value("counter") == "1")
        #expect(hub.heard() == [#"SYNC {"seq":1382969081,"keys":["s#counter"],"updated":"1970-01-01T00:00:00.000Z"}"#])
        #expect(hub.loop.cloud.devices["D1"]?.account == "A1")
    }

    @Test func documentedRequestIsAnsweredWithItemsAndThenTheTime() throws {
        try hub.cloudPut("in1", "5")
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        let heard = hub.heard()
        #expect(heard.count == 2)
        #expect(
            heard.first
                == #"UPSERT {"_type":"Store","sk":"s#in1","deviceId":"D1","key":"in1","value":"5","type":"number","updated":"2026-11-20T23:40:49.312Z"}"#)
        #expect(heard.last == #"SYNCDOWN {"updated":"2026-11-20T23:40:49.312Z"}"#)
    }

    @Test func removalNamesTypeAndSortKeyAlone() throws {
        try hub.cloudPut("in1", "5")
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        try hub.cloudPut("in1", "", isRemoval: true)
        #expect(hub.heard() == [#"REMOVE {"_type":"Store","sk":"s#in1"}"#])
    }

    @Test func changeThatComesAgainUnderANewSequenceIsAnsweredAndStoredOnce() {
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2026-11-20T23:40:48.312Z"))
        hub.say("syncToDynamo", change(2, "a", "1", updated: "2026-11-20T23:40:48.312Z"))
        #expect(hub.loop.cloud.stored.count == 1)
        #expect(hub.heard().filter { $0.contains("\"keys\":[\"s#a\"]") }.count == 2)
    }

    @Test func changeThatComesAgainDoesNotBringARemovedItemBack() throws {
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2026-11-20T23:40:48.312Z"))
        try hub.cloudPut("a", "", isRemoval: true)
        hub.say("syncToDynamo", change(2, "a", "1", updated: "2026-11-20T23:40:48.312Z"))
        #expect(hub.value("a") == nil)
        let heard = hub.heard()
        #expect(heard.contains { $0.hasPrefix(#"SYNC {"seq":2,"keys":["s#a"]"#) })
        // What it was told of the removal may not have come.
        #expect(heard.last == #"REMOVE {"_type":"Store","sk":"s#a"}"#)
    }

    @Test func unknownChangeOlderThanATombstoneLosesAndTheAgentIsTold() throws {
        try hub.cloudPut("a", "x")
        try hub.cloudPut("a", "", isRemoval: true)
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2020-01-01T00:00:00.000Z"))
        #expect(hub.value("a") == nil)
        #expect(hub.heard().contains(#"REMOVE {"_type":"Store","sk":"s#a"}"#))
    }

    @Test func removalIsTheNewestWhenItArrivesDespiteItsOldTime() throws {
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2026-11-20T23:40:48.312Z"))
        try hub.cloudPut("a", "2")
        hub.say("syncToDynamo", change(2, "a", "1", updated: "2026-11-20T23:40:48.312Z", cmd: "remove"))
        #expect(hub.value("a") == nil)
        try hub.cloudPut("a", "3")
        hub.say("syncToDynamo", change(3, "a", "1", updated: "2026-11-20T23:40:48.312Z", cmd: "remove"))
        #expect(hub.value("a") == "3")
    }

    @Test func agentWhoseClockIsSetBackIsStillHeard() {
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2036-01-01T00:00:00.000Z"))
        hub.say("syncToDynamo", change(2, "a", "2", updated: "2026-11-20T23:40:49.000Z"))
        #expect(hub.value("a") == "2")
    }

    @Test func messagesGoDownOneAtATime() throws {
        for index in 0..<5 { try hub.cloudPut("\(index)", "v") }
        hub.loop.holdsAcknowledgements = true
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        for _ in 0..<6 {
            #expect(hub.heard().count == 1)
            for input in hub.loop.takeAcknowledgements() { hub.loop.run(input) }
        }
        #expect(hub.heard().isEmpty)
    }

    @Test(arguments: [nil, 1_000]) func answerComesInMessagesThatTheAgentBears(packet: Int?) throws {
        hub.loop.hub.packetBytesMax = packet
        let keys = (0..<100).map { "k\($0)" + String(repeating: "\u{22}", count: 100) }
        let changes = keys.map { key in
            let item: JSONObject = [
                "_type": "Store", "key": .string(Text(key)), "sk": .string(Text("s#" + key)), "updated": "2026-11-20T23:40:48.312Z",
            ]
            return String(decoding: JSON.object(["cmd": "upsert", "key": .string(Text("s#" + key)), "item": .object(item)]).text, as: UTF8.self)
        }
        hub.say("syncToDynamo", #"{"seq":9,"changes":[\#(changes.joined(separator: ","))]}"#)
        let answers = hub.loop.down.filter { $0.topic.string.hasSuffix("SYNC") }
        #expect(answers.count > 4 && answers.allSatisfy { $0.payload.count <= min(4096, packet ?? .max) })
        let parsed = try answers.map { try JSON.parse($0.payload) }
        #expect(parsed.allSatisfy { $0["seq"]?.integerValue == 9 })
        #expect(parsed.flatMap { $0["keys"]?.arrayValue ?? [] } == keys.map { .string(Text("s#" + $0)) })
    }

    @Test func itemThatTheBrokerCanNotCarryKeepsNothingWaiting() throws {
        hub.loop.hub.packetBytesMax = 4_096
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        try hub.cloudPut("large", String(repeating: "x", count: 5_000))
        try hub.cloudPut("behind", "small")
        let heard = hub.heard()
        #expect(heard.count == 1 && heard[0].hasPrefix("UPSERT") && heard[0].contains("s#behind"))
        #expect(hub.loop.logged.contains { $0.0 == .warning && $0.1.string.contains("s#large is left out") })
    }

    @Test func answerNeverSkipsWhatWasNotSent() throws {
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        hub.loop.holdsAcknowledgements = true
        hub.loop.setWall(hub.loop.now.wall + 60_000)
        try hub.cloudPut("x", "1")
        try hub.cloudPut("y", "1")
        hub.say("syncToDynamo", change(1, "a", "1", updated: "2026-11-20T23:45:00.000Z"))
        for input in hub.loop.takeAcknowledgements() { hub.loop.run(input) }
        let answer = hub.heard().last ?? ""
        #expect(answer.hasPrefix("SYNC "))
        // Asking from there, as after a lost connection, brings both.
        let time = answer.split(separator: "\"").dropLast().last.map(String.init) ?? ""
        hub.loop.holdsAcknowledgements = false
        hub.say("syncDown", "{\"timestamp\":\"\(time)\"}")
        let heard = hub.heard()
        #expect(heard.contains { $0.hasPrefix("UPSERT") && $0.contains("s#x") })
        #expect(heard.contains { $0.hasPrefix("UPSERT") && $0.contains("s#y") })
    }

    @Test func requestBringsWhatIsNewerAndNothingElse() throws {
        try hub.cloudPut("old", "1")
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        let time = hub.heard().last?.split(separator: "\"").dropLast().last.map(String.init) ?? ""
        hub.loop.setWall(hub.loop.now.wall + 60_000)
        hub.loop.restartHub()
        _ = hub.heard()
        try hub.cloudPut("new", "1")
        _ = hub.heard()
        hub.say("syncDown", "{\"timestamp\":\"\(time)\"}")
        let heard = hub.heard()
        #expect(heard.contains { $0.contains("s#new") })
        #expect(!heard.contains { $0.contains("s#old") && $0.hasPrefix("UPSERT") } || heard.count == 3)
        #expect(heard.last?.hasPrefix("SYNCDOWN") == true)
    }

    @Test func timeThatTheHubNeverToldIsNotBelieved() throws {
        try hub.cloudPut("a", "1")
        hub.say("syncDown", #"{"timestamp":"2030-01-01T00:00:00.000Z"}"#)
        #expect(hub.heard().contains { $0.contains("s#a") })
    }

    @Test func hubThatStartsAnewGoesOnWithTheAgent() throws {
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        hub.loop.setWall(hub.loop.now.wall + 60_000)
        _ = try hub.loop.cloud.put("Store", ["key": .string("x"), "value": .string("1"), "deviceId": .string("D1")])
        hub.loop.restartHub()
        let heard = hub.heard()
        #expect(heard.contains { $0.hasPrefix("UPSERT") && $0.contains("s#x") })
        #expect(!heard.contains { $0.hasPrefix("BATCH") })
        try hub.cloudPut("y", "1")
        #expect(hub.heard().count == 1)
    }

    @Test func hubThatStartsAnewTellsTheAgentNoTimeBeforeItAsks() throws {
        try hub.cloudPut("x", "1")
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(hub.heard().last?.hasPrefix(#"SYNCDOWN {"updated":"2026"#) == true)
        hub.loop.setWall(hub.loop.now.wall + 60_000)
        // The broker may have lost what the last hub sent.
        hub.loop.restartHub()
        hub.say("syncToDynamo", Hub.change)
        let told = hub.heard().filter { !$0.hasPrefix("UPSERT") }
        #expect(told.map { String($0.prefix(8)) } == ["SYNCDOWN", "SYNC {\"s"])
        #expect(told.allSatisfy { $0.contains(#""updated":"1970-01-01T00:00:00.000Z""#) })
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(hub.heard().last?.hasPrefix(#"SYNCDOWN {"updated":"2026"#) == true)
    }

    @Test func timeThatIsReadBeforeTheBrokerIsLeftIsNotToldThereafter() throws {
        try hub.cloudPut("x", "1")
        hub.say("syncToDynamo", Hub.change)
        _ = hub.heard()
        hub.loop.holdsAnswers = true
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        hub.loop.run(.connected(devices: Array(hub.loop.cloud.devices.values), feeds: []))
        hub.loop.holdsAnswers = false
        hub.loop.releaseAnswers()
        #expect(hub.heard().last == #"SYNCDOWN {"updated":"1970-01-01T00:00:00.000Z"}"#)
    }

    @Test func whatOnlyComesDownIsNotOlderThanACopyThatCameLate() throws {
        let item: JSONObject = [
            "key": .string("n"), "value": .string("v"), "accountId": .string("A1"),
            "updated": .string("2026-11-20T23:40:00.000Z"),
        ]
        hub.say("syncToDynamo", Hub.change)
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        hub.loop.run(.feedsMoved(try hub.loop.cloud.put("Notice", item)))
        #expect(hub.heard().last?.contains(#""updated":"2027-11-"#) == true)
    }

    @Test func brokerThatTakesNothingEndsTheStreamUntilTheAgentAsksAgain() throws {
        try hub.cloudPut("x", "1")
        hub.loop.holdsAcknowledgements = true
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        for input in hub.loop.takeAcknowledgements(isSent: false) { hub.loop.run(input) }
        hub.loop.holdsAcknowledgements = false
        #expect(!hub.heard().contains { $0.hasPrefix("SYNCDOWN") })
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        #expect(hub.heard().count == 2)
    }

    @Test func broadcastReachesAgentsItemByItemOnTheirOwnTopic() throws {
        hub.say("syncToDynamo", Hub.change)
        hub.say("syncDown", #"{"timestamp":"1970-01-01T00:00:00.000Z"}"#)
        _ = hub.heard()
        let item: JSONObject = ["key": .string("n"), "value": .string("v"), "accountId": .string("A1")]
        hub.loop.run(.feedsMoved(try hub.loop.cloud.put("Notice", item)))
        #expect(hub.loop.down.map { $0.topic } == ["ioto/device/D1/sync/UPSERT"])
    }

    @Test(arguments: ["D2", ""])
    func itemOfAnotherDeviceIsNeitherStoredNorAnswered(device: String) {
        hub.say(
            "syncToDynamo",
            change(1, "a", "1", updated: "2026-11-20T23:40:48.312Z").replacing(#""deviceId":"D1""#, with: #""deviceId":"\#(device)""#))
        #expect(hub.loop.cloud.stored.isEmpty)
        #expect(hub.heard().isEmpty)
    }

    @Test func modelThatDoesNotGoUpIsNotStored() {
        hub.say(
            "syncToDynamo",
            #"{"seq":1,"changes":[{"cmd":"upsert","key":"n#a","item":{"key":"a","deviceId":"D1","accountId":"A1","sk":"n#a","_type":"Notice"}}]}"#)
        #expect(hub.loop.cloud.stored.isEmpty)
    }

    @Test(arguments: [
        "{}", "[]", "null", "7", #"{"seq":1}"#, #"{"seq":"x","changes":[]}"#, #"{"seq":1,"changes":{}}"#,
        #"{"seq":1,"changes":[null,7,{},{"cmd":"upsert"},{"item":{}}]}"#, #"{"timestamp":{}}"#, #"{"timestamp":"x"}"#,
        #"{"v":1}"#, #"{"v":3,"seq":1,"changes":[]}"#,
    ])
    func malformedMessageChangesNothing(payload: String) {
        for verb in ["syncToDynamo", "syncDown", "offline"] { hub.say(verb, payload) }
        #expect(hub.loop.cloud.stored.isEmpty)
        hub.say("syncToDynamo", Hub.change)
        #expect(hub.value("counter") == "1")
    }
}
