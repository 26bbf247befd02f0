import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// What a hub keeps of all devices together.
@Suite struct HubLoadTests {
    private static func changes(of device: Int, _ sequence: Int, bytes: Int = 10_000) -> HubInput {
        let text = """
            {"v":2,"seq":\(sequence),"replica":"00000000000000d1","account":"a1","changes":[{"ver":"018bcfe5680000\(String(sequence + 16, radix: 16))",\
            "item":{"_type":"Reading","id":"\(sequence)","deviceId":"d\(device)","value":"\(String(repeating: "x", count: bytes))"}}]}
            """
        return .message(topic: Text("ioto/service/d\(device)/db/syncToDynamo"), payload: Array(text.utf8))
    }

    private static func retries(_ loop: Loopback) -> Int {
        loop.down.filter { String(decoding: $0.payload, as: UTF8.self).contains(#""retryAfter":5000"#) }.count
    }

    @Test func whatWaitsOfAllDevicesIsBoundedInBytes() throws {
        let loop = Loopback()
        loop.hub.loadBytesMax = 100_000
        loop.holdsAnswers = true
        for device in 1...50 { loop.run(Self.changes(of: device, 1)) }
        #expect((50_000...100_000).contains(loop.hub.waitingBytes))
        #expect((40...45).contains(Self.retries(loop)))
        for _ in 0..<4 { loop.releaseAnswers() }
        #expect(loop.hub.waitingBytes == 0)
        #expect(loop.cloud.rows.count == 50 - Self.retries(loop))
    }

    @Test func deviceWithMuchToSendLeavesRoomForTheOthers() throws {
        let loop = Loopback()
        loop.hub.loadBytesMax = 100_000
        loop.holdsAnswers = true
        for sequence in 1...20 { loop.run(Self.changes(of: 1, sequence)) }
        #expect(loop.hub.waitingBytes <= 50_000 && Self.retries(loop) >= 15)
        loop.down = []
        for device in 2...4 { loop.run(Self.changes(of: device, 1)) }
        #expect(Self.retries(loop) == 0)
    }

    @Test func changesAtTheStoreCountUntilTheyAreAnswered() throws {
        let loop = Loopback()
        loop.holdsAnswers = true
        loop.run(Self.changes(of: 1, 1))
        loop.releaseAnswers()
        #expect(loop.hub.sessions["d1"]?.queue.isEmpty == true && loop.hub.waitingBytes > 10_000)
        loop.releaseAnswers()
        #expect(loop.hub.waitingBytes == 0 && loop.cloud.rows.count == 1)
    }

    @Test(arguments: ["offline", "connected"]) func sessionThatEndsTakesNothingAlongThatCounts(_ end: String) throws {
        let loop = Loopback()
        loop.holdsAnswers = true
        for sequence in 1...5 { loop.run(Self.changes(of: 1, sequence)) }
        loop.releaseAnswers()
        for sequence in 6...9 { loop.run(Self.changes(of: 1, sequence)) }
        #expect(loop.hub.waitingBytes > 40_000)
        if end == "offline" {
            loop.run(.message(topic: "ioto/service/d1/db/offline", payload: Array("{}".utf8)))
        } else {
            loop.run(.connected(devices: [], feeds: []))
        }
        #expect(loop.hub.waitingBytes == 0)
        loop.releaseAnswers()
        #expect(loop.hub.waitingBytes == 0)
    }

    @Test func messageLargerThanTheBoundIsTakenAlone() throws {
        let loop = Loopback()
        loop.hub.loadBytesMax = 5_000
        loop.run(Self.changes(of: 1, 1))
        #expect(loop.cloud.rows.count == 1 && loop.hub.waitingBytes == 0)
    }

    @Test func backlogOfManyDevicesGoesUpThroughASmallBound() throws {
        let loop = Loopback()
        loop.hub.loadBytesMax = 2_000
        for index in 0..<300 { try loop.replica.put("Note", Text("\(index)"), value: "value") }
        loop.holdsAnswers = true
        loop.connect()
        for round in 0..<400 where loop.replica.pendingCount() > 0 {
            loop.run(Self.changes(of: 2 + round % 5, 1 + round, bytes: 500))
            loop.deliverUp()
            loop.releaseAnswers()
            loop.deliverDown()
            loop.wait(500)
        }
        #expect(loop.replica.pendingCount() == 0)
    }

    @Test func devicesThatAreSilentForLongAreForgotten() throws {
        let loop = Loopback()
        for device in 1...100 { loop.run(Self.changes(of: device, 1, bytes: 1)) }
        #expect(loop.hub.sessions.count == 100)
        loop.now = Instant(monotonic: loop.now.monotonic + HubReplicator.silenceMax - 1, wall: loop.now.wall)
        loop.run(Self.changes(of: 7, 2, bytes: 1))
        #expect(loop.hub.sessions.count == 100)
        loop.now = Instant(monotonic: loop.now.monotonic + 600_000, wall: loop.now.wall)
        loop.run(.feedsMoved([]))
        #expect(Array(loop.hub.sessions.keys) == ["d7"])
    }

    @Test func deviceThatIsThereIsNotForgotten() throws {
        let loop = Loopback.connected()
        for _ in 0..<200 {
            loop.wait(180_000)
            loop.settle()
        }
        try loop.cloudChange("Setting", "1", "live")
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "live")
    }

    @Test func deviceThatComesBackAfterLongIsServed() throws {
        let loop = Loopback.connected()
        loop.disconnect()
        loop.now = Instant(monotonic: loop.now.monotonic + 10 * HubReplicator.silenceMax, wall: loop.now.wall)
        try loop.cloudChange("Setting", "1", "away")
        #expect(loop.hub.sessions.isEmpty)
        loop.comeBack()
        try loop.cloudChange("Setting", "2", "live")
        loop.settle()
        #expect(loop.replica.value("Setting", "1") == "away" && loop.replica.value("Setting", "2") == "live")
    }

    @Test func agentsOfVersion1AreNotForgottenForTheirSilence() throws {
        let loop = Loopback()
        let topic: Text = "ioto/service/d1/db/"
        loop.run(.message(topic: topic + "syncDown", payload: Array(#"{"timestamp":"1970-01-01T00:00:00.000Z"}"#.utf8)))
        loop.now = Instant(monotonic: loop.now.monotonic + 10 * HubReplicator.silenceMax, wall: loop.now.wall)
        loop.down = []
        try loop.cloudChange("Setting", "1", "live")
        #expect(loop.down.contains { $0.topic == "ioto/device/d1/sync/UPSERT" })
    }
}
