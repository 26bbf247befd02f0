import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// 2026-11-20T23:40:48.312Z
let testTime: Int64 = 1_795_218_048_312

/// A wall clock that stands until it is set.
final class TestClock: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Int64 = testTime

    var time: Int64 {
        get { lock.withLock { value } }
        set { lock.withLock { value = newValue } }
    }
}

/// A folder with a database in it, removed at the test's end.
final class Fixture {
    let folder: URL
    let clock = TestClock()
    let schema: Schema

    init(_ schema: Schema? = nil) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("ioto-store-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        self.schema = try schema ?? Fixture.schema()
    }

    /// Under a schema whose Notes go both ways, and expire when `until` says so.
    static func expiring() throws -> Fixture {
        let source = """
            {
                version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } }, process: { Note: { sync: 'both' } },
                models: { Note: {
                    pk: { value: 'device#d1' }, sk: { value: 'note#${id}' }, id: { type: 'string' },
                    until: { type: 'date', ttl: true },
                } },
            }
            """
        return try Fixture(try Schema(source: Array(source.utf8), name: "s"))
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    var path: Text { path("state.db") }

    func path(_ name: String) -> Text { Text(folder.appendingPathComponent(name).path) }

    func open(
        _ name: String = "state.db", schema: Schema? = nil, _ configure: (inout StoreOptions) -> Void = { _ in }
    ) throws -> Store {
        var options = StoreOptions()
        let clock = clock
        options.durability = .normal
        options.wallClock = { clock.time }
        configure(&options)
        return try Store(path: path(name), schema: schema ?? self.schema, options: options)
    }

    /// Copies the files as a power failure would leave them (but for what the kernel had not written yet).
    func copy(_ name: String = "state.db", to copy: String) throws {
        for suffix in ["", "-wal"] {
            let source = folder.appendingPathComponent(name + suffix)
            if FileManager.default.fileExists(atPath: source.path) {
                try FileManager.default.copyItem(at: source, to: folder.appendingPathComponent(copy + suffix))
            }
        }
    }

    func model(_ name: String) throws -> Model { try #require(schema.model(Text(name))) }

    /// `Fault` goes up, `Setting` comes down, `Shared` both, `Local` stays; `sync` overrides the first's.
    static func schema(faultSync: String = "up", without: Set<String> = []) throws -> Schema {
        let processes = [
            "Fault": "{enable: 'both', sync: '\(faultSync)'}", "Setting": "{enable: 'both', sync: 'down'}",
            "Shared": "{enable: 'both', sync: 'both'}", "Local": "{enable: 'device'}",
        ].filter { !without.contains($0.key) }.sorted { $0.key < $1.key }
        let models = processes.map { name, _ in
            "\(name): {pk: {value: 'device#d1'}, sk: {value: '\(name.lowercased())#${id}'}, id: {type: 'string'}}"
        }
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0',
                indexes: {primary: {hash: 'pk', sort: 'sk'}},
                models: {\(models.joined(separator: ", "))},
                process: {\(processes.map { "\($0.key): \($0.value)" }.joined(separator: ", "))},
            }
            """
        return try Schema(source: Array(source.utf8), name: "schema.json5")
    }
}

/// The key `device#d1`, `<model in lower case>#<id>`.
func key(_ model: Model, _ id: String) -> ItemKey {
    ItemKey(hash: "device#d1", sort: Text(model.name.string.lowercased() + "#" + id))
}

/// The body `{"id":"<id>","value":<value>}`.
func body(_ id: String, _ value: Int = 0) -> [UInt8] {
    Array(#"{"id":"\#(id)","value":\#(value)}"#.utf8)
}

func string(_ bytes: [UInt8]?) -> String? {
    bytes.map { String(decoding: $0, as: UTF8.self) }
}

extension Store {
    @discardableResult
    func put(_ model: Model, _ id: String, _ value: Int = 0) throws -> StoredItem {
        try write { (transaction) throws(IotoError) in
            try transaction.put(model, key(model, id), body: body(id, value))
        }
    }

    func remove(_ model: Model, _ id: String) throws {
        try write { (transaction) throws(IotoError) in
            guard let item = try transaction.get(key(model, id), model: model) else {
                throw IotoError(.notFound, "no item")
            }
            try transaction.remove(item)
        }
    }

    func get(_ model: Model, _ id: String) throws -> StoredItem? {
        try get(key(model, id), model: model)
    }

    func pending() throws -> [PendingChange] {
        try pendingChanges(after: .min, bytesMax: .max, itemsMax: .max)
    }

    func answer(_ changes: [PendingChange], _ answer: Settlement.Answer, hubTime: UInt64 = 0) throws {
        try settle(
            Settlement(entries: changes.map { Settlement.Entry(pending: $0, answer: answer) }, hubTime: hubTime))
    }

    func scanned(
        _ model: Model, hash: Text? = "device#d1", prefix: Text = "", after: ItemKey? = nil, isReversed: Bool = false
    ) throws -> [String] {
        var sorts: [String] = []
        try scan(model, hash: hash, sortPrefix: prefix, after: after, isReversed: isReversed) {
            (item) throws(IotoError) in
            sorts.append(item.key.sort.string)
            return true
        }
        return sorts
    }

    /// Runs SQL behind the store's back, in the writer's connection.
    func damage(_ sql: String) throws {
        try #require(writer).execute(Text(sql))
    }

    func number(_ sql: String) throws -> Int64 {
        try #require(writer).integer(Text(sql))
    }
}

extension Store {
    /// Visits items of a model by primary key: those whose sort key begins with `sortPrefix`.
    func scan(
        _ model: Model, hash: Text?, sortPrefix: Text, after: ItemKey?, isReversed: Bool,
        _ visit: (StoredItem) throws(IotoError) -> Bool
    ) throws(IotoError) {
        let range = KeyRange(hash: hash, prefix: sortPrefix)
        let scan = Scan(model, range: range, after: after.map { ScanPosition(item: $0) }, isReversed: isReversed)
        try self.scan(scan) { (row) throws(IotoError) in try visit(try row.item()) }
    }
}

/// Remembers what it is told.
final class Recorder: StoreObserver {
    var events: [StoreEvent] = []
    var commits = 0

    func storeDidCommit(_ events: [StoreEvent]) {
        commits += 1
        self.events += events
    }

    /// For example `create fault#1`, with `remote` in front where the cloud made the change.
    var lines: [String] {
        events.map { "\($0.isRemote ? "remote " : "")\($0.kind) \($0.key.sort.string)" }
    }
}

/// The error that `body` throws.
func error<Result>(_ body: () throws -> Result, sourceLocation: SourceLocation = #_sourceLocation) -> IotoError {
    do {
        _ = try body()
    } catch let error as IotoError {
        return error
    } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
        return IotoError(.misuse, "")
    }
    Issue.record("no error", sourceLocation: sourceLocation)
    return IotoError(.misuse, "")
}

func expectError<Result>(
    _ code: ErrorCode, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result
) {
    let found = error(body, sourceLocation: sourceLocation)
    #expect(found.code == code, "\(found.message.string)", sourceLocation: sourceLocation)
    #expect(!found.message.bytes.contains(10), sourceLocation: sourceLocation)
}
