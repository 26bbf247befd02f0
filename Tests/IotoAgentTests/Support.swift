import Foundation
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import Testing

@testable import IotoAgent

extension Text {
    var string: String { String(decoding: bytes, as: UTF8.self) }
    init(_ string: String) { self.init(Array(string.utf8)) }
}

/// A folder with a database in it, removed at the test's end.
final class Fixture {
    let folder: URL

    init(schema: String = Fixture.schema) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("ioto-agent-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try write("schema.json5", schema)
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    func path(_ name: String) -> Text { Text(folder.appendingPathComponent(name).path) }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }

    func open(_ name: String = "state.db", _ configure: (inout StoreOptions) -> Void = { _ in }) throws -> Database {
        var options = StoreOptions()
        options.durability = .normal
        configure(&options)
        let database = try Database(path: path(name), schemaPath: path("schema.json5"), options: options)
        database.setContext("deviceId", "d1")
        return database
    }

    /// `Note` goes both ways, `Local` stays; `Report` is the cloud's.
    static let schema = """
        {
            format: 'onetable:1.1.0', version: '1.0.0',
            indexes: {primary: {hash: 'pk', sort: 'sk'}},
            models: {
                Note: {
                    pk: {value: 'device#${deviceId}'}, sk: {value: 'note#${id}'}, deviceId: {type: 'string'},
                    id: {type: 'string', required: true}, text: {type: 'string'}, count: {type: 'number'},
                },
                Local: {
                    pk: {value: 'device#${deviceId}'}, sk: {value: 'local#${id}'}, deviceId: {type: 'string'},
                    id: {type: 'string', required: true}, text: {type: 'string'}, seen: {type: 'date'},
                    on: {type: 'boolean'}, extra: {type: 'object'},
                },
                Report: {
                    pk: {value: 'device#${deviceId}'}, sk: {value: 'report#${id}'}, deviceId: {type: 'string'},
                    id: {type: 'string'},
                },
            },
            process: {Note: {sync: 'both'}, Report: {enable: 'cloud'}},
        }
        """
}

func object(_ json: String) throws -> JSONObject {
    try #require(try JSON.parse(Array(json.utf8), syntax: .json5).objectValue)
}

extension Database {
    @discardableResult
    func create(_ model: Text, _ json: String, isUpsert: Bool = false) throws -> Item {
        try create(model, try object(json), isUpsert: isUpsert)
    }

    @discardableResult
    func update(_ model: Text, _ json: String, isUpsert: Bool = false) throws -> Item {
        try update(model, try object(json), isUpsert: isUpsert)
    }

    func get(_ model: Text, _ json: String) throws -> Item { try get(model, try object(json)) }

    /// The ids of the items that match.
    func ids(_ model: Text, _ json: String = "{}", _ options: QueryOptions = QueryOptions()) throws -> [String] {
        try find(model, try object(json), options: options).items.map { $0.value("id")?.stringValue?.string ?? "-" }
    }

    func remove(_ model: Text, _ json: String, isMany: Bool = false) throws -> Int {
        try remove(model, try object(json), isMany: isMany, options: QueryOptions())
    }
}

/// Runs `body` on a thread of its own and waits for it.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result {
    let box = Box<Swift.Result<Result, any Error>>()
    let thread = try IotoBase.Thread(name: "test") { box.value = Swift.Result { try body() } }
    thread.join()
    return try #require(box.value).get()
}

final class Box<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var content: Value?

    var value: Value? {
        get { lock.withLock { content } }
        set { lock.withLock { content = newValue } }
    }
}

/// What a trigger was told, in order.
final class Calls: @unchecked Sendable {
    private let lock = NSLock()
    private var list: [String] = []

    var lines: [String] { lock.withLock { list } }

    func add(_ line: String) { lock.withLock { list.append(line) } }

    /// As `create a`.
    func add(_ call: TriggerCall) {
        add("\(call.kind) \(call.item.value("id")?.stringValue?.string ?? "-")")
    }

    /// Waits until there are so many.
    func wait(for count: Int) -> Bool {
        for _ in 0..<500 where lines.count < count { usleep(10_000) }
        return lines.count >= count
    }
}

extension TriggerIdentity {
    static func test(_ argument: UInt = 0, model: Text? = nil) -> TriggerIdentity {
        TriggerIdentity(procedure: 1, argument: argument, model: model)
    }
}

/// The code of the error that `body` throws.
func code<Result>(_ body: () throws -> Result) -> ErrorCode? {
    do {
        _ = try body()
        return nil
    } catch let error as IotoError {
        return error.code
    } catch {
        Issue.record("\(error)")
        return nil
    }
}

extension Fixture {
    /// Runs SQL behind the library's back, with the program of that name.
    func sqlite(_ sql: String, _ name: String = "state.db") throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["sqlite3", folder.appendingPathComponent(name).path, sql]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }
}

extension Store {
    func scannedCount(_ model: Model) throws -> Int {
        var count = 0
        try scan(Scan(model, range: KeyRange(hash: nil))) { (_) throws(IotoError) in
            count += 1
            return true
        }
        return count
    }
}

extension Database {
    /// Properties given as firmware gives them.
    func properties(
        _ pairs: [(String, String?)], of model: Text, isForItem: Bool = false
    ) throws -> JSONObject {
        let texts = pairs.flatMap { [$0.0, $0.1] }.map { $0.map { CText(Text($0)) } }
        return try withExtendedLifetime(texts) {
            try texts.map { $0?.pointer }.withUnsafeBufferPointer { pointers in
                try properties(
                    pointers.baseAddress!, count: pointers.count, of: model, isForItem: isForItem)
            }
        }
    }
}
