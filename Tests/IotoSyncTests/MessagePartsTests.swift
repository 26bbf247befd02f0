import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// Messages that are larger than the broker's packets.
@Suite struct MessagePartsTests {
    private static let message = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    private static func parts(_ number: UInt64 = 7, bytesMax: Int = 1_000) -> [[UInt8]] {
        MessageParts.split(message, number, bytesMax: bytesMax)
    }

    private static func part(_ number: UInt64, _ size: UInt64, _ start: UInt64, _ count: Int = 1) -> [UInt8] {
        [MessageParts.mark] + Text.hexadecimal(number).bytes + Text.hexadecimal(size << 32 | start).bytes
            + [UInt8](repeating: 1, count: count)
    }

    @Test(arguments: [1_000, 1_033, 10_033, 10_032, 34]) func partsJoinToTheMessage(bytesMax: Int) {
        var joiner = PartJoiner()
        let parts = Self.parts(bytesMax: bytesMax)
        #expect(parts.allSatisfy { $0.count <= bytesMax })
        #expect(parts.dropLast().allSatisfy { joiner.join($0) == nil && !joiner.isMissing })
        #expect(joiner.join(parts[parts.count - 1]) == Self.message && !joiner.isMissing)
    }

    @Test func partsThatComeTwiceAreNoLoss() {
        var joiner = PartJoiner()
        var joined: [[UInt8]] = []
        let parts = Self.parts()
        for (index, part) in parts.enumerated() {
            for again in parts[0...index] {
                if let message = joiner.join(again) { joined.append(message) }
                #expect(!joiner.isMissing)
            }
            if let message = joiner.join(part) { joined.append(message) }
        }
        #expect(joined == [Self.message])
    }

    @Test func lostPartIsNoticedAndTheNextMessageComes() {
        let parts = Self.parts()
        for lost in parts.indices {
            var joiner = PartJoiner()
            var missing = 0
            for (index, part) in (parts + Self.parts(8)).enumerated() where index != lost {
                let message = joiner.join(part)
                if joiner.isMissing { missing += 1 }
                #expect((message == Self.message) == (index == 2 * parts.count - 1))
            }
            #expect(missing >= 1)
        }
    }

    @Test func partsOfTwoMessagesAreNeverMixed() {
        var joiner = PartJoiner()
        for (one, other) in zip(Self.parts(), Self.parts(8)) {
            #expect(joiner.join(one) == nil)
            #expect(joiner.join(other) == nil && joiner.isMissing)
        }
    }

    @Test func partsInTheWrongOrderAreDropped() {
        var joiner = PartJoiner()
        for part in Self.parts().reversed() {
            #expect(joiner.join(part) == nil)
        }
    }

    @Test func hostilePartsAreNoMessage() {
        let size = UInt64(Limits.messageBytesMax)
        let parts = [
            [], [MessageParts.mark], Self.part(1, 1, 0, 0), Self.part(1, 2, 0, 3), Self.part(1, 0, 0), Self.part(0, 0, 0),
            Self.part(1, size + 1, 0), Self.part(1, 0xFFFF_FFFF, 0), Self.part(1, 0xFFFF_FFFF, 0xFFFF_FFFF), Self.part(1, 4, 5),
            Self.part(1, 4, 0x8000_0000), [MessageParts.mark] + [UInt8](repeating: UInt8(ascii: "x"), count: 60),
        ]
        for part in parts {
            var joiner = PartJoiner()
            #expect(joiner.join(part) == nil && joiner.isMissing)
            #expect(joiner.join(Self.part(1, 1, 0)) == [1])
        }
    }

    @Test func largestMessageIsJoinedAndNoLargerOne() {
        for (size, isTaken) in [(Limits.messageBytesMax, true), (Limits.messageBytesMax + 1, false)] {
            var joiner = PartJoiner()
            var joined: [UInt8]?
            for part in MessageParts.split([UInt8](repeating: 2, count: size), 1, bytesMax: 100_000) {
                if let message = joiner.join(part) { joined = message }
            }
            #expect((joined?.count == size) == isTaken)
        }
    }

    // MARK: Hub and device

    private static let large = Text(String(repeating: "x", count: 30_000))
    private static let packet = 8_192

    private static func limited(joins: Bool = true) -> Loopback {
        let loop = Loopback()
        loop.hub.packetBytesMax = packet
        loop.isOld = !joins
        loop.connect()
        loop.settle()
        return loop
    }

    private static func fits(_ loop: Loopback) -> Bool { loop.publishedDown.allSatisfy { $0.count < packet } }

    @Test func largeItemsComeDownInPartsAndWhatIsBehindThem() throws {
        let loop = Self.limited()
        try loop.cloudChange("Setting", "live", Self.large)
        try loop.cloudChange("Setting", "behind", "small")
        loop.settle()
        #expect(loop.replica.value("Setting", "live") == Self.large)
        #expect(loop.replica.value("Setting", "behind") == "small")
        loop.disconnect()
        try loop.cloudChange("Setting", "away", Self.large)
        loop.comeBack()
        #expect(loop.replica.value("Setting", "away") == Self.large)
        #expect(Self.fits(loop))
    }

    @Test func lostPartOfAPageIsAskedForAnew() throws {
        for lost in 0..<3 {
            let loop = Self.limited()
            try loop.cloudChange("Setting", "large", Self.large)
            #expect(loop.down.count == 4)
            loop.down.remove(at: lost)
            loop.settle()
            #expect(loop.replica.value("Setting", "large") == Self.large)
        }
    }

    @Test func lostEndOfAPageIsNoticedByTheNextOne() throws {
        let loop = Self.limited()
        try loop.cloudChange("Setting", "large", Self.large)
        loop.down.removeLast()
        try loop.cloudChange("Setting", "behind", "small")
        loop.settle()
        #expect(loop.replica.value("Setting", "large") == Self.large && loop.replica.value("Setting", "behind") == "small")
    }

    @Test func connectionThatEndsWithinAMessageLeavesNothingOfIt() throws {
        let loop = Self.limited()
        try loop.cloudChange("Setting", "large", Self.large)
        let rest = loop.down.removeLast()
        loop.deliverDown()
        loop.disconnect()
        loop.connect()
        loop.device.received(rest.topic, rest.payload, loop.now)
        #expect(loop.replica.value("Setting", "large") == nil)
        loop.settle()
        #expect(loop.replica.value("Setting", "large") == Self.large)
    }

    @Test func largeItemForAllComesInTheAnswersToThePlea() throws {
        let loop = Self.limited()
        try loop.cloudChange("Notice", "large", Self.large, device: nil)
        try loop.cloudChange("Notice", "behind", "small", device: nil)
        loop.settle()
        loop.wait(1_000)
        loop.settle()
        #expect(loop.replica.value("Notice", "large") == Self.large && loop.replica.value("Notice", "behind") == "small")
        #expect(Self.fits(loop))
    }

    @Test func largeItemThatOverrulesAChangeComesInParts() throws {
        let loop = Self.limited()
        loop.disconnect()
        try loop.replica.put("Note", "met", value: "device")
        loop.cloud.wall += 1_000
        try loop.cloudChange("Note", "met", Self.large)
        loop.connect()
        loop.settle()
        loop.wait(5_000)
        loop.settle()
        #expect(loop.replica.value("Note", "met") == Self.large && loop.replica.pendingCount() == 0)
        #expect(loop.replica.rejected.isEmpty && Self.fits(loop))
    }

    @Test func deviceThatJoinsNothingHearsOfTheItemAndGetsWhatIsBehindIt() throws {
        let loop = Self.limited(joins: false)
        try loop.cloudChange("Setting", "live", Self.large)
        try loop.cloudChange("Setting", "behind-live", "small")
        loop.settle()
        #expect(loop.replica.value("Setting", "live") == nil && loop.replica.value("Setting", "behind-live") == "small")
        #expect(loop.device.lastError?.code == .protocolViolation)
        #expect(loop.logged.contains { $0.0 == .warning && $0.1.string.contains("setting#live is left out") })
        loop.disconnect()
        for index in 0..<20 { try loop.cloudChange("Setting", "away-\(index)", index == 7 ? Self.large : "small") }
        loop.comeBack()
        for index in 0..<20 { #expect((loop.replica.value("Setting", "away-\(index)") == "small") == (index != 7)) }
        #expect(loop.device.isCaughtUp && Self.fits(loop))
    }

    @Test func snapshotTakesNoItemFromADeviceThatItCanNotName() throws {
        let loop = Self.limited(joins: false)
        try loop.cloudChange("Setting", "grows", "small")
        try loop.cloudChange("Setting", "stays", "small")
        loop.settle()
        loop.disconnect()
        try loop.cloudChange("Setting", "grows", Self.large)
        for stream in loop.cloud.heads.keys { loop.cloud.floors[stream] = loop.cloud.heads[stream] }
        loop.comeBack()
        #expect(loop.device.isCaughtUp)
        #expect(loop.replica.value("Setting", "grows") == "small" && loop.replica.value("Setting", "stays") == "small")
    }

    @Test func changeThatNoAnswerCanSettleIsRefusedForADeviceThatJoinsNothing() throws {
        let loop = Self.limited(joins: false)
        loop.disconnect()
        try loop.replica.put("Note", "met", value: "device")
        try loop.replica.put("Note", "alone", value: "device")
        loop.cloud.wall += 1_000
        try loop.cloudChange("Note", "met", Self.large)
        loop.connect()
        loop.settle()
        loop.wait(5_000)
        loop.settle()
        #expect(loop.replica.pendingCount() == 0 && loop.replica.rejected.map { $0.code } == [ErrorCode.limit.rawValue])
        #expect(loop.cloud.value("Note", "alone") == "device" && loop.cloud.value("Note", "met") == Self.large)
        #expect(Self.fits(loop))
    }

    @Test func brokerThatTellsNothingCarriesWhatADeviceMaySend() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Setting", "large", Text(String(repeating: "x", count: 250_000)))
        #expect(loop.down.count == 3 && loop.down.allSatisfy { $0.payload.count <= Limits.publishBytesMax })
        loop.settle()
        #expect(loop.replica.value("Setting", "large")?.count == 250_000)
    }
}
