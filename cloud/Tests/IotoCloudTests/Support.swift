import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// A folder that goes with its owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "ioto-cloud-tests-" + UUID().uuidString
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { path + "/" + name }
}

struct UnexpectedAnswer: Error {
    let answer: HubAnswer
}

/// A store in a folder of its own.
struct TestStore {
    let folder = TemporaryFolder()
    let store: SQLiteStore

    init() throws {
        store = try SQLiteStore(path: folder.file("cloud.db"))
    }

    init(journal: Journal) throws {
        store = try SQLiteStore(path: folder.file("cloud.db"), mode: .create, journal: journal)
    }

    /// Applies changes as device `device`.
    @discardableResult
    func apply(
        _ changes: StreamedChange..., device: Text = "d1"
    ) async throws -> (stored: Int, refused: [Version], advances: [FeedAdvance]) {
        let answer = await store.answer(.apply(changes, device: device))
        guard case .applied(let stored, let refused, let advances, _, _) = answer else {
            throw UnexpectedAnswer(answer: answer)
        }
        return (stored, refused, advances)
    }

    func page(
        _ stream: Text, after position: Int64 = 0, bytesMax: Int = 1 << 20, itemsMax: Int = 1000
    ) async throws -> FeedPage {
        let answer = await store.answer(
            .readFeed(stream: stream, after: position, bytesMax: bytesMax, itemsMax: itemsMax))
        guard case .page(let page) = answer else { throw UnexpectedAnswer(answer: answer) }
        return page
    }

    func open(_ id: Text, account: Text = "", replica: UInt64 = 1) async throws -> DeviceRecord {
        let answer = await store.answer(.openDevice(DeviceRecord(id: id, account: account, replica: replica)))
        guard case .device(let record) = answer else { throw UnexpectedAnswer(answer: answer) }
        return record
    }
}

/// A change of the item `setting#<id>`.
func change(
    _ id: Text, time: UInt64, writer: UInt64 = 7, removal: Bool = false, body: Text? = nil, stream: Text? = "device/d1"
) -> StreamedChange {
    StreamedChange(
        change: Change(
            model: "Setting", key: key(id), version: Version(time: time, writer: writer), isRemoval: removal,
            body: (body ?? Text("{\"id\":\"\(id)\"}")).bytes),
        stream: stream)
}

func key(_ id: Text) -> ItemKey { ItemKey(hash: "h", sort: "setting#" + id) }

let testSchemaText = """
    {
      version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } },
      models: {
        Reading: {
          pk: { type: 'string', value: 'device#${deviceId}' }, sk: { type: 'string', value: 'reading#${id}' },
          deviceId: { type: 'string', required: true }, id: { type: 'string', required: true, generate: 'ulid' },
          value: { type: 'number' },
        },
        Setting: {
          pk: { type: 'string', value: 'setting#' }, sk: { type: 'string', value: 'setting#${id}' },
          deviceId: { type: 'string' }, accountId: { type: 'string' },
          id: { type: 'string', required: true }, value: { type: 'number' }, note: { type: 'string' },
        },
        Secret: {
          pk: { type: 'string', value: 'secret#' }, sk: { type: 'string', value: 'secret#${id}' },
          id: { type: 'string', required: true },
        },
      },
      process: { Reading: { sync: 'up' }, Setting: { sync: 'both' }, Secret: { enable: 'device' } },
    }
    """

func testSchema() throws -> Schema {
    try Schema(source: Text(testSchemaText).bytes, name: "schema.json5")
}

/// Waits until `condition` holds.
///
/// - Returns: False when it still does not after `timeout`.
func eventually(
    within timeout: Duration = .seconds(10), _ condition: () async throws -> Bool
) async rethrows -> Bool {
    let deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(10))
    }
    return try await condition()
}

/// Expects an error of that code.
func expect(
    _ code: ErrorCode, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch {
        #expect((error as? IotoError)?.code == code, "\(error)", sourceLocation: sourceLocation)
    }
}
