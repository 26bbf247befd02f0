import Foundation
import IotoBase
import IotoSchema
import Synchronization
import Testing

@testable import IotoStore

/// The snapshots that readers keep between reads.
@Suite struct SnapshotTests {
    private func fill(_ store: Store, _ model: Model, _ count: Int) throws {
        try store.begin()
        for index in 0..<count { try store.put(model, "\(index)", 0) }
        try store.commit()
    }

    /// Whether the log can be emptied: no snapshot needs it.
    private func canEmptyLog(_ fixture: Fixture) throws -> Bool {
        let connection = try Connection(path: fixture.path, mode: .writer(.normal))
        defer { connection.close() }
        try connection.execute("PRAGMA busy_timeout = 0")
        return try connection.integer("PRAGMA wal_checkpoint(TRUNCATE)") == 0
    }

    @Test func aSnapshotThatNobodyReadsFromIsEnded() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try fill(store, fault, 50)
        var isKept = false
        for round in 0..<100 where !isKept {
            try store.put(fault, "\(round)", 0)
            for index in 0..<50 { _ = try store.get(fault, "\(index)") }
            isKept = try !canEmptyLog(fixture)
        }
        #expect(isKept, "else there is nothing to be seen here")
        var isEmptied = false
        for _ in 0..<100 where !isEmptied {
            Foundation.Thread.sleep(forTimeInterval: 0.02)
            isEmptied = try canEmptyLog(fixture)
        }
        #expect(isEmptied)
        // And the next one is taken as the first was.
        try store.put(fault, "1", 1)
        for index in 0..<50 { _ = try store.get(fault, "\(index)") }
        #expect(string(try store.get(fault, "1")?.body) == string(body("1", 1)))
    }

    @Test func aScanSeesOneStateThoughTheSnapshotIsShared() throws {
        let fixture = try Fixture()
        let (store, other) = (try fixture.open(), try fixture.open())
        let fault = try fixture.model("Fault")
        try fill(store, fault, 20)
        for index in 0..<20 { _ = try store.get(fault, "\(index)") }
        var seen: [String?] = []
        try store.scan(fault, hash: nil, sortPrefix: "", after: nil, isReversed: false) { (item) throws(IotoError) in
            if seen.isEmpty {
                try other.write { (transaction) throws(IotoError) in
                    _ = try transaction.put(fault, key(fault, "9"), body: body("9", 1))
                }
            }
            seen.append(string(item.body))
            return true
        }
        #expect(seen.count == 20 && seen.contains(string(body("9", 0))))
        #expect(string(try store.get(fault, "9")?.body) == string(body("9", 1)))
    }

    /// Readers that never rest must not make the log of a writer grow without end.
    @Test func theLogStaysShortWhileThreadsRead() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        // More than the cache of items holds, so that each read goes to the file.
        let text = String(repeating: "x", count: 20_000)
        func large(_ id: Int, _ value: Int) -> [UInt8] { Array(#"{"id":"\#(id)","value":\#(value),"text":"\#(text)"}"#.utf8) }
        let count = 2 * Limits.itemCacheBytesMax / 20_000
        for index in 0..<count {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "\(index)"), body: large(index, 0))
            }
        }
        let isDone = Atomic<Bool>(false)
        let failures = Mutex<[String]>([])
        var threads: [IotoBase.Thread] = []
        for _ in 0..<2 {
            threads.append(
                try IotoBase.Thread(name: "test") {
                    do {
                        var index = 0
                        while !isDone.load(ordering: .relaxed) {
                            _ = try store.get(fault, "\(index % count)")
                            index += 1
                        }
                    } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                })
        }
        var longest = 0
        for round in 1..<4000 {
            try store.write { (transaction) throws(IotoError) in
                _ = try transaction.put(fault, key(fault, "\(round % 7)"), body: large(round % 7, round))
            }
            if round % 50 == 0 {
                let attributes = try FileManager.default.attributesOfItem(atPath: fixture.path.string + "-wal")
                longest = max(longest, attributes[.size] as? Int ?? 0)
            }
        }
        isDone.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        // 4,000 changes write 100 MB to the log.
        #expect(longest < 24_000_000)
    }
}
