import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// A device whose service speaks only version 1: played message by message.
struct Version1DeviceTests {
    private let loop = Loopback()

    /// What the device has sent since the last call: verb and payload.
    private func sent() -> [(verb: String, json: JSON)] {
        defer { loop.up = [] }
        return loop.up.map { message in
            (message.topic.string.components(after: "/db/"), (try? JSON.parse(message.payload)) ?? .null)
        }
    }

    /// Connects and lets the service answer the request to catch up, as it does: in version 1.
    private func connect() {
        loop.connect()
        _ = sent()
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        _ = sent()
    }

    private func item(_ id: String, _ value: String, updated: String = "2023-11-14T22:13:21.000Z", model: String = "Setting") -> String {
        #"{"_type":"\#(model)","sk":"\#(model.lowercased())#\#(id)","id":"\#(id)","value":"\#(value)","deviceId":"x","accountId":"y","updated":"\#(updated)"}"#
    }

    @Test func answerToTheFirstRequestWithoutAVersionMakesItAskAgainFromItsOwnTime() {
        loop.connect()
        #expect(sent().map { $0.verb } == ["syncDown"])
        loop.receive("UPSERT", item("early", "1"))
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        let asked = sent()
        #expect(asked.map { $0.verb } == ["syncDown"])
        #expect(asked.first?.json["timestamp"]?.stringValue == "1970-01-01T00:00:00.000Z")
        #expect(!loop.device.isCaughtUp)
        loop.receive("UPSERT", item("early", "1"))
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        #expect(loop.replica.value("Setting", "early") == "1")
        #expect(loop.device.isCaughtUp)
    }

    @Test func timeThatWasToldIsAskedFromAfterARestart() {
        connect()
        loop.restartDevice()
        loop.connect()
        #expect(sent().first?.json["timestamp"]?.stringValue == "2023-11-14T22:00:00.000Z")
    }

    @Test(arguments: ["INSERT", "UPSERT", "MODIFY"])
    func itemIsTakenOver(verb: String) {
        connect()
        loop.receive(Text(verb), item("1", "a"))
        #expect(loop.replica.value("Setting", "1") == "a")
        loop.receive(Text(verb), item("1", "a"))
        #expect(loop.replica.applied.count == 1)
        loop.receive(Text(verb), item("1", "b", updated: "2023-11-14T22:13:20.000Z"))
        #expect(loop.replica.value("Setting", "1") == "b")
    }

    @Test func whatTheServiceSendsBackIsWhatTheDeviceHas() throws {
        connect()
        try loop.change("Note", "1", "a")
        try loop.flush()
        let change = try #require(sent().first { $0.verb == "syncToDynamo" }?.json["changes"]?.arrayValue?.first)
        let item = try #require(change["item"])
        // It was given what agents of version 1 send, of which the model knows nothing.
        #expect(item["accountId"]?.stringValue == "a1" && item["updated"] != nil)
        let back = try loop.device.codec.unversioned(item, isRemoval: false, context: loop.device.context)
        #expect(back.body == loop.replica.rows.values.first?.change.body)
    }

    @Test func removalByTypeAndSortKeyAlone() {
        connect()
        loop.receive("UPSERT", item("1", "a"))
        loop.receive("REMOVE", #"{"_type":"Setting","sk":"setting#1"}"#)
        #expect(loop.replica.value("Setting", "1") == nil)
    }

    @Test(arguments: ["Reading", "Secret", "Report", "Unknown"])
    func itemOfAModelThatDoesNotComeDownIsNotTaken(model: String) {
        connect()
        loop.receive("UPSERT", item("1", "evil", model: model))
        #expect(loop.replica.rows.isEmpty)
    }

    @Test func changesGoUpWithoutVersionsAndAreClearedByKeyAndSequence() throws {
        connect()
        try loop.change("Note", "1", "a")
        try loop.flush()
        let message = try #require(sent().first)
        #expect(message.verb == "syncToDynamo")
        #expect(message.json["v"] == nil && message.json["replica"] == nil)
        let change = try #require(message.json["changes"]?.arrayValue?.first)
        #expect(change["cmd"] == "upsert" && change["key"] == "note#1" && change["ver"] == nil)
        let item = try #require(change["item"])
        #expect(item["_type"] == "Note" && item["sk"] == "note#1" && item["value"] == "a" && item["deviceId"] == "d1")
        #expect(item["accountId"] == "a1" && item["updated"]?.stringValue == "2023-11-14T22:13:20.000Z" && item["pk"] == nil)
        let sequence = try #require(message.json["seq"]?.integerValue)
        loop.receive("SYNC", #"{"seq":\#(sequence &+ 1),"keys":["note#1"],"updated":"2023-11-14T22:13:20.000Z"}"#)
        loop.receive("SYNC", #"{"seq":\#(sequence),"keys":["note#2"],"updated":"2023-11-14T22:13:20.000Z"}"#)
        #expect(loop.replica.pendingCount() == 1)
        loop.receive("SYNC", #"{"seq":\#(sequence),"keys":["note#1"],"updated":"2023-11-14T22:13:20.000Z"}"#)
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func answerDoesNotClearANewerChange() throws {
        connect()
        try loop.change("Note", "1", "a")
        try loop.flush()
        let sequence = try #require(sent().first?.json["seq"]?.integerValue)
        try loop.change("Note", "1", "b")
        loop.receive("SYNC", #"{"seq":\#(sequence),"keys":["note#1"],"updated":"2023-11-14T22:13:20.000Z"}"#)
        #expect(loop.replica.pendingCount() == 1)
        loop.wait(10_000)
        #expect(sent().last?.json["changes"]?.arrayValue?.first?["item"]?["value"] == "b")
    }

    @Test func timeOfAnAnswerDoesNotSkipWhatHasNotCome() throws {
        connect()
        try loop.change("Note", "1", "a")
        try loop.flush()
        let sequence = try #require(sent().first?.json["seq"]?.integerValue)
        loop.receive("SYNC", #"{"seq":\#(sequence),"keys":["note#1"],"updated":"2023-11-14T22:13:20.000Z"}"#)
        loop.disconnect()
        loop.connect()
        #expect(sent().first { $0.verb == "syncDown" }?.json["timestamp"]?.stringValue == "2023-11-14T22:00:00.000Z")
    }

    @Test func pendingChangeOutlivesAnOlderItemAndYieldsToANewerOne() throws {
        connect()
        try loop.change("Note", "1", "mine")
        loop.receive("UPSERT", item("1", "older", updated: "2023-11-14T22:13:19.000Z", model: "Note"))
        #expect(loop.replica.value("Note", "1") == "mine")
        loop.receive("UPSERT", item("1", "newer", updated: "2023-11-14T22:13:21.000Z", model: "Note"))
        #expect(loop.replica.value("Note", "1") == "newer")
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func serviceThatAnswersInVersion2IsBelievedInThatAlone() throws {
        loop.connect()
        loop.settle()
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        loop.receive("UPSERT", item("1", "a"))
        #expect(loop.replica.rows.isEmpty)
        #expect(loop.up.isEmpty)
    }

    @Test func forgedAnswerOfVersion1IsForgottenWhenTheHubAnswers() throws {
        loop.connect()
        loop.receive("SYNCDOWN", #"{"updated":"2023-11-14T22:00:00.000Z"}"#)
        _ = try loop.cloud.put("Setting", "1", value: "true")
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "true")
        loop.receive("UPSERT", item("1", "evil"))
        #expect(loop.replica.value("Setting", "1") == "true")
        try loop.change("Note", "1", "a")
        try loop.flush()
        #expect(sent().last?.json["v"] == .integer(2))
    }

    @Test func timeInTheFarFutureIsNotTaken() {
        connect()
        loop.receive("SYNCDOWN", #"{"updated":"9999-12-31T23:59:59.999Z"}"#)
        loop.disconnect()
        loop.connect()
        #expect(sent().first?.json["timestamp"]?.stringValue == "2023-11-14T22:00:00.000Z")
    }

    @Test(arguments: [
        "{}", "[]", #"{"_type":7}"#, #"{"_type":"Setting"}"#, #"{"_type":"Setting","sk":7}"#, #"{"_type":"Setting","sk":""}"#,
        #"{"_type":"Setting","sk":"setting#2","id":"1"}"#, #"{"seq":1,"keys":7}"#, #"{"updated":7}"#, #"{"updated":"x"}"#,
        #"{"_type":"Setting","id":"1","value":{}}"#,
    ])
    func malformedMessageChangesNothing(payload: String) {
        connect()
        loop.receive("UPSERT", item("keep", "1"))
        for verb: Text in ["SYNC", "SYNCDOWN", "INSERT", "UPSERT", "MODIFY", "REMOVE"] { loop.receive(verb, payload) }
        #expect(loop.replica.rows.count == 1)
        #expect(loop.replica.value("Setting", "keep") == "1")
    }
}

extension JSON: ExpressibleByStringLiteral {
    public init(stringLiteral value: StaticString) { self = .string(Text("\(value)")) }
}

extension String {
    fileprivate func components(after separator: String) -> String {
        guard let range = self.ranges(of: separator).last else { return "" }
        return String(self[range.upperBound...])
    }
}
