import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoSync

/// docs/SYNC-PROTOCOL.md names the members that the codec writes and wants, and no others.
@Suite struct DocumentedMembersTests {
    /// A row of the table of members.
    private struct Row {
        var messages: [String]
        var members: [String]
        /// Those of the member's own value.
        var inner: [String]
        var isNeeded: Bool
    }

    private let codec = WireCodec(schema: TestSchema.schema)

    private func rows() throws -> [Row] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/SYNC-PROTOCOL.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        let part = try #require(text.components(separatedBy: "\n## ").first { $0.hasPrefix("Members") })
        var rows: [Row] = []
        for line in part.split(separator: "\n").filter({ $0.hasPrefix("|") }).dropFirst(2) {
            let cells = line.dropFirst().split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            let messages = cells[0].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
            func names(_ cell: String) -> [String] {
                let parts = cell.split(separator: "`", omittingEmptySubsequences: false)
                return parts.indices.filter { $0 % 2 == 1 }.map { String(parts[$0]) }
            }
            rows.append(
                Row(
                    messages: messages.isEmpty ? rows.last?.messages ?? [] : messages, members: names(cells[1]),
                    inner: names(cells[2]), isNeeded: cells[1].contains("*")))
        }
        return rows
    }

    private var change: Change {
        let model = TestSchema.schema.model("Note")!
        let item = try! model.makeItem(["id": .string("1"), "deviceId": .string("d1")], context: [:], now: 1)
        var change = Change(
            model: "Note", key: item.key, version: Version(time: 5 << 16, writer: 7), isRemoval: false, body: item.text)
        change.own = 5
        change.isKnown = true
        change.stamps = ["id": .string("0000000000050000")]
        return change
    }

    private func up() throws -> JSON {
        let seen = StreamCursor(stream: "device/d1", history: 1, position: 2)
        return try JSON.parse(
            codec.encode(
                UpMessage(
                    sequence: 1, replica: 7, account: "a1", changes: [change], epoch: Epoch(number: 1, nonce: 2), isBrief: true,
                    inflates: true, seen: seen)))
    }

    private func request() throws -> JSON {
        var request = CatchUpRequest(
            number: 1, replica: 7, account: "a1", cursors: [StreamCursor(stream: "device/d1", history: 1, position: 2)],
            epoch: Epoch(number: 1, nonce: 2))
        request.snapshots["device/d1"] = 3
        request.seen["device/d1"] = 4
        request.whole = "device/d1"
        return try JSON.parse(codec.encode(request, timestamp: 5))
    }

    private func answer(replica: UInt64? = nil) throws -> JSON {
        let version = Version(time: 5 << 16, writer: 7)
        return try JSON.parse(
            codec.encode(
                AckMessage(
                    sequence: 1, keys: ["k"], versions: [version], rejections: [.init(version: version, code: -1, reason: "r")],
                    time: 5 << 16, replica: replica, advance: FeedAdvance(stream: "device/d1", history: 1, previous: 2, cursor: 3),
                    met: [MetChange(version: version, other: change), MetChange(version: version, other: change, taken: 4)],
                    again: [NewVersion(version: version, newVersion: version)])))
    }

    private func page() throws -> [UInt8] {
        codec.encode(
            PageMessage(
                answers: 1, stream: "device/d1", history: 1, previous: 2, cursor: 3, hasMore: true, isReset: true, isWhole: true,
                without: 7, floor: 1, end: 9, time: 5 << 16, changes: [change]))
    }

    private func names(_ json: JSON?) -> [String] { json?.objectValue?.members.map { $0.0.string } ?? [] }

    @Test func membersThatAreWrittenAndThoseThatAreNamedAreTheSame() throws {
        let retry = try JSON.parse(codec.encodeRetry(1, after: 2, IotoError(.denied, "no")))
        let fence = try JSON.parse(codec.encodeFence(1))
        let topics = Topics(device: "d1", account: "a1")
        let whole = try JSON.parse({ () -> [UInt8] in
            var output: [UInt8] = []
            codec.append(change, to: &output)
            return output
        }())
        let messages: [String: [JSON]] = [
            "syncToDynamo": [try up()], "syncDown": [try request()],
            "offline": [try JSON.parse(DeviceReplicator<MemoryReplica>.farewell(topics).payload)],
            "SYNC": [try answer(), try answer(replica: 7), retry, fence],
            "BATCH": [try JSON.parse(page()), retry, fence, try JSON.parse(HubReplicator.plea)], "change": [whole],
        ]
        let rows = try rows()
        for (message, written) in messages {
            let named = rows.filter { $0.messages.contains(message) || message != "change" && $0.messages == ["all"] }
            #expect(Set(written.flatMap { names($0) }) == Set(named.flatMap(\.members)), "\(message)")
        }
        for (member, message) in [("cursors", "syncDown")] + ["rejected", "again", "overruled", "won", "feed"].map({ ($0, "SYNC") }) {
            let row = try #require(rows.first { $0.messages.contains(message) && $0.members == [member] })
            let value = try #require(messages[message]?.first?[Text(member)])
            let inner = value.arrayValue?.first ?? (member == "cursors" ? value["device/d1"] : value)
            #expect(Set(names(inner)) == Set(row.inner), "\(member)")
        }
    }

    @Test func messagesWithoutAMemberThatIsMarkedAreRefused() throws {
        let rows = try rows()
        func marked(_ message: String) -> [String] {
            rows.filter { $0.isNeeded && $0.messages.contains(message) }.flatMap(\.members)
        }
        func lacking(_ json: JSON, _ member: String) -> JSON {
            var object = json.objectValue ?? JSONObject()
            object[Text(member)] = nil
            return .object(object)
        }
        _ = try codec.decodeUp(try up())
        _ = try codec.decodeCatchUp(try request())
        for member in names(try up()) {
            let isRefused = (try? codec.decodeUp(lacking(up(), member))) == nil
            #expect(isRefused == marked("syncToDynamo").contains(member), "\(member)")
        }
        for member in names(try request()) {
            let isRefused = (try? codec.decodeCatchUp(lacking(request(), member))) == nil
            #expect(isRefused == marked("syncDown").contains(member), "\(member)")
        }
        for member in names(try answer()) {
            #expect((lacking(try answer(), member).hubTime == nil) == marked("SYNC").contains(member), "\(member)")
        }
        for member in names(try JSON.parse(page())) where member != "v" {
            let message = try codec.parse(JSON.object(lacking(JSON.parse(page()), member).objectValue ?? JSONObject()).text)
            let isRefused = (try? codec.decodePage(message, context: Context())) == nil
            #expect(isRefused == marked("BATCH").contains(member), "\(member)")
        }
        for member in ["ver", "item", "cmd", "key", "own", "at", "known"] {
            var output: [UInt8] = []
            codec.append(change, to: &output)
            let json = lacking(try JSON.parse(output), member)
            let isRefused = (try? codec.change(json, context: Context())) == nil
            #expect(isRefused == marked("change").contains(member), "\(member)")
        }
    }
}
