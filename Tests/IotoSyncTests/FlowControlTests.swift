import IotoBase
import IotoSchema
import Testing

@testable import IotoSync

/// "Not now": the hub says when to come again.
struct FlowControlTests {
    private func retry(_ loop: Loopback) -> String? {
        loop.down.last.map { String(decoding: $0.payload, as: UTF8.self) }
    }

    @Test func failureOfTheStoreIsToldAndTheChangeComesAgain() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        loop.cloud.failure = IotoError(.full, "disk full")
        try loop.flush()
        loop.deliverUp()
        #expect(retry(loop)?.contains(#""retryAfter":2000"#) == true)
        loop.deliverDown()
        loop.wait(1_999)
        #expect(loop.up.isEmpty)
        loop.wait(600)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "a")
    }

    @Test func waitIsAskedForTheVeryMessage() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        loop.receive("SYNC", #"{"v":2,"seq":1,"retryAfter":3000000}"#)
        loop.wait(5_000)
        #expect(!loop.up.isEmpty)
    }

    @Test func noHubHasADeviceWaitForMoreThanAnHourOrSpin() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        let sequence = loop.device.up.sequence
        loop.up.removeAll()
        loop.receive("SYNC", "{\"v\":2,\"seq\":\(sequence),\"retryAfter\":\(Int64.max)}")
        loop.wait(3_600_000 / 4 * 5)
        #expect(!loop.up.isEmpty)
        loop.up.removeAll()
        loop.receive("SYNC", "{\"v\":2,\"seq\":\(loop.device.up.sequence),\"retryAfter\":0}")
        loop.wait(50)
        #expect(loop.up.isEmpty)
    }

    @Test func catchUpWaitsToo() throws {
        let loop = Loopback()
        _ = try loop.cloud.put("Setting", "1", value: "a")
        loop.cloud.failure = IotoError(.busy, "busy")
        loop.connect()
        loop.deliverUp()
        #expect(retry(loop)?.contains("retryAfter") == true)
        loop.deliverDown()
        loop.wait(2_500)
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "a")
    }

    @Test func whatWaitsOfADeviceIsBoundedInBytes() throws {
        let loop = Loopback.connected()
        loop.holdsAnswers = true
        let padding = String(repeating: "x", count: 900_000)
        let first = #"{"v":2,"seq":1,"replica":"00000000000000d1","account":"a1","changes":[{"ver":"018bcfe568000000","item":{"_type":"Reading","id":"1","deviceId":"d1"}}]}"#
        let large = Array(first.replacing(#""_type""#, with: #""value":"\#(padding)","_type""#).utf8)
        let small = Compression.deflate(large)
        #expect(small.count < 10_000)
        let topic: Text = "ioto/service/d1/db/syncToDynamo"
        loop.run(.message(topic: topic, payload: Array(first.utf8)))
        let session = try #require(loop.hub.sessions["d1"])
        for _ in 0..<40 { loop.run(.message(topic: topic, payload: small)) }
        #expect(session.queue.count == 40 && session.queueBytes <= DeviceSession.queueBytesMax)
        #expect(session.queue.contains { $0.read != nil } && session.queue.contains { $0.read == nil })
        loop.down = []
        for _ in 0..<20 { loop.run(.message(topic: topic, payload: large)) }
        #expect(session.queue.count < 50 && session.queueBytes <= DeviceSession.queueBytesMax)
        #expect(loop.down.count > 10 && retry(loop)?.contains(#""retryAfter":5000"#) == true)
    }

    @Test func refusalOfAMessageIsToldUntilOneIsTaken() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        loop.up.removeAll()
        let sequence = loop.device.up.sequence
        loop.receive("SYNC", #"{"v":2,"seq":\#(sequence + 1),"retryAfter":300000,"code":-203,"reason":"of another"}"#)
        loop.receive("SYNC", #"{"v":2,"seq":\#(sequence),"retryAfter":300000,"code":-203,"reason":"wrong account"}"#)
        #expect(loop.device.lastError?.code == .denied && loop.device.lastError?.message.string.hasSuffix("wrong account") == true)
        loop.wait(299_000)
        #expect(loop.up.isEmpty)
        loop.wait(80_000)
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "a" && loop.device.lastError == nil)
    }

    @Test func deviceOfAnotherAccountHearsOfIt() throws {
        let loop = Loopback()
        loop.cloud.devices["d1"] = DeviceRecord(id: "d1", account: "b", replica: 0xD1)
        try loop.replica.put("Reading", "1", value: "a")
        loop.connect()
        loop.settle()
        #expect(loop.device.lastError?.code == .denied && loop.cloud.rows.isEmpty && loop.replica.pendingCount() == 1)
        loop.wait(60_000)
        #expect(loop.up.isEmpty)
        loop.cloud.devices["d1"]?.account = "a1"
        loop.restartHub()
        loop.deliverDown()
        loop.wait(2_000)
        loop.settle()
        #expect(loop.device.lastError == nil && loop.cloud.value("Reading", "1") == "a")
    }

    @Test func deviceOfAnotherAccountThatSendsNothingHearsOfIt() throws {
        let loop = Loopback()
        loop.cloud.devices["d1"] = DeviceRecord(id: "d1", account: "b", replica: 0xD1)
        loop.connect()
        loop.settle()
        #expect(loop.device.lastError?.code == .denied && !loop.device.isCaughtUp)
        loop.cloud.devices["d1"]?.account = "a1"
        loop.restartHub()
        loop.deliverDown()
        loop.wait(2_000)
        loop.settle()
        #expect(loop.device.lastError == nil && loop.device.isCaughtUp)
    }

    @Test func devicesAreAskedToComeAsFastAsTheBrokerTakesIt() throws {
        let loop = Loopback()
        let ids = (0..<15_000).map { Text("d\($0)" as String) }
        let devices = ids.map { DeviceRecord(id: $0, account: "a1", replica: 1) }
        loop.holdsAcknowledgements = true
        loop.run(.connected(devices: devices, feeds: []))
        #expect(loop.down.count == HubReplicator.pleadingMax)
        // What the broker's queue had no room for comes again, when there may be some.
        for input in loop.takeAcknowledgements(isSent: false) { loop.run(input) }
        #expect(loop.down.count == HubReplicator.pleadingMax && loop.unacknowledged.isEmpty)
        loop.run(.message(topic: "ioto/service/d1/db/syncDown", payload: []))
        #expect(loop.unacknowledged.count == 1)
        loop.down.removeFirst(HubReplicator.pleadingMax)
        while !loop.unacknowledged.isEmpty {
            #expect(loop.unacknowledged.count <= HubReplicator.pleadingMax)
            for input in loop.takeAcknowledgements() { loop.run(input) }
        }
        #expect(loop.down.count == 15_000)
        #expect(Set(loop.down.map { $0.topic }) == Set(ids.map { Topics.down(device: $0, "BATCH") }))
        // Those of a connection that is gone don't count.
        loop.down = []
        loop.run(.connected(devices: devices, feeds: []))
        let late = loop.takeAcknowledgements()
        loop.run(.connected(devices: devices, feeds: []))
        for input in late { loop.run(input) }
        #expect(loop.down.count == 2 * HubReplicator.pleadingMax)
    }

    @Test func fullQueueIsTold() throws {
        let loop = Loopback.connected()
        try loop.change("Reading", "1", "a")
        try loop.flush()
        let message = try #require(loop.up.last)
        loop.holdsAnswers = true
        loop.down.removeAll()
        for _ in 0..<70 { loop.run(.message(topic: message.topic, payload: message.payload)) }
        #expect(retry(loop)?.contains(#""retryAfter":5000"#) == true)
        loop.releaseAnswers()
        #expect(loop.cloud.value("Reading", "1") == "a")
    }
}
