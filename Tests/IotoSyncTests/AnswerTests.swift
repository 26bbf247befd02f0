import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// The answers to changes: what they may hold is bounded, whatever is asked.
@Suite struct AnswerTests {
    private func message(_ sequence: Int, _ changes: [String]) -> HubInput {
        let text = """
            {"v":2,"seq":\(sequence),"replica":"00000000000000d1","account":"a1","changes":[\(changes.joined(separator: ","))]}
            """
        return .message(topic: "ioto/service/d1/db/syncToDynamo", payload: Array(text.utf8))
    }

    private func version(_ number: Int) -> Text { Version(time: UInt64(number) << 16, writer: 0xD1).text }

    private func answers(_ loop: Loopback, _ name: Text) throws -> [JSON] {
        try loop.down.flatMap { try JSON.parse($0.payload)[name]?.arrayValue ?? [] }
    }

    @Test func answerIsNeverLargerThanADeviceMaySend() throws {
        let loop = Loopback()
        // While the store looks for the device, everything comes.
        loop.holdsAnswers = true
        let command = String(repeating: "ü", count: 500)
        for sequence in 1...5 {
            let changes = (0..<500).map { index in
                #"{"cmd":"\#(command)","ver":"\#(version(sequence * 1000 + index))","item":{"_type":"Note","id":"1","deviceId":"d1"}}"#
            }
            loop.run(message(sequence, changes))
        }
        loop.releaseAnswers()
        #expect(loop.down.count > 1)
        #expect(loop.down.allSatisfy { $0.payload.count <= Limits.publishBytesMax })
        let rejections = try answers(loop, "rejected")
        #expect(rejections.count == 2500)
        #expect(rejections.last?["ver"]?.stringValue == version(5499))
        // What is refused counts to what is taken together: each message has an answer of its own.
        #expect(Set(try loop.down.map { try JSON.parse($0.payload)["seq"]?.integerValue }) == [1, 2, 3, 4, 5])
        #expect(rejections.allSatisfy { (1...512).contains($0["reason"]?.stringValue?.count ?? 0) })
        #expect(rejections.allSatisfy { $0["reason"]?.stringValue?.isValidUTF8 ?? false })
    }

    @Test func largeAnswerSettlesAllItNames() throws {
        let loop = Loopback()
        let key = String(repeating: "k", count: 900)
        for index in 0..<400 {
            let id = "\(key)\(index)"
            try loop.replica.put("Note", Text(id), value: "x")
        }
        loop.holdsAnswers = true
        loop.connect()
        for _ in 0..<200 {
            loop.settle()
            loop.releaseAnswers()
        }
        #expect(loop.replica.pendingCount() == 0 && loop.cloud.rows.count == 400)
        #expect(loop.publishedDown.allSatisfy { $0.count <= Limits.publishBytesMax })
    }

    @Test func partsHoldTheWholeAnswerAndNoMoreThanTheirShare() throws {
        var ack = AckMessage(sequence: 7, keys: [], versions: [], rejections: [], time: 9)
        for index in 0..<1_000 {
            let version = Version(time: UInt64(index), writer: 1)
            ack.versions.append(version)
            ack.keys.append(Text(String(repeating: "\u{1}", count: 900)))
            ack.rejections.append(.init(version: version, code: -1, reason: Text(String(repeating: "\"", count: 512))))
            ack.again.append(NewVersion(version: version, newVersion: version))
        }
        let body = Array(#"{"id":"\#(String(repeating: "x", count: 250_000))"}"#.utf8)
        let key = ItemKey(hash: "device#d1", sort: "note#x")
        let other = Change(model: "Note", key: key, version: .zero, isRemoval: false, body: body)
        ack.met = [MetChange(version: .zero, other: other), MetChange(version: .zero, other: other, taken: 4)]
        ack.advance = FeedAdvance(stream: "device/d1", history: 1, previous: 2, cursor: 3)
        let codec = WireCodec(schema: TestSchema.schema)
        let parts = codec.parts(of: ack, bytesMax: HubReplicator.pageBytesMax)
        #expect(parts.flatMap { $0.versions } == ack.versions && parts.flatMap { $0.keys } == ack.keys)
        #expect(parts.flatMap { $0.rejections }.count == 1_000 && parts.flatMap { $0.again } == ack.again)
        #expect(parts.flatMap { $0.met } == ack.met && parts.compactMap { $0.advance } == [ack.advance])
        for part in parts {
            #expect(part.sequence == 7 && part.time == 9)
            let limit = part.met.isEmpty ? Limits.publishBytesMax : 255_000
            #expect(codec.encode(part).count <= limit)
        }
    }
}
