import Foundation
import IotoBase
import IotoSchema
import Synchronization
import Testing

@testable import IotoStore

@Suite struct StoreThreadTests {
    /// Runs `body` on so many threads and waits for all of them.
    func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
        let failures = Mutex<[String]>([])
        var threads: [IotoBase.Thread] = []
        for index in 0..<count {
            threads.append(
                try IotoBase.Thread(name: "test") {
                    do {
                        try body(index)
                    } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                })
        }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
    }

    @Test func aReaderDoesNotWaitForAWriter() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        try store.put(fault, "1", 1)
        try store.write { (transaction) throws(IotoError) in
            _ = try transaction.put(fault, key(fault, "1"), body: body("1", 2))
            var seen: String?
            let thread = try IotoBase.Thread(name: "reader") {
                seen = try? string(store.get(fault, "1")?.body)
            }
            // The transaction goes on only when the reader is done.
            thread.join()
            #expect(seen == string(body("1", 1)))
        }
        #expect(string(try store.get(fault, "1")?.body) == string(body("1", 2)))
    }

    @Test func manyThreadsReadAndWrite() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let recorder = Recorder()
        store.setObserver(recorder)
        try onThreads(8) { thread in
            for round in 0..<50 {
                try store.put(fault, "\(thread)", round)
                guard string(try store.get(fault, "\(thread)")?.body) == string(body("\(thread)", round)) else {
                    throw IotoError(.notFound, "a thread does not see what it wrote")
                }
                _ = try store.scanned(fault)
            }
        }
        #expect(recorder.commits == 400)
        #expect(try store.pendingCount() == 8)
        let versions = recorder.events.compactMap { $0.after?.version.time }
        #expect(versions == versions.sorted())
        #expect(Set(versions).count == 400)
    }

    @Test func moreThreadsThanReadersScanWithinScans() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in 0..<5 { try store.put(fault, "\(id)") }
        let count = Atomic<Int>(0)
        try onThreads(3 * Limits.readersMax) { _ in
            try store.scan(fault, hash: nil, sortPrefix: "", after: nil, isReversed: false) {
                (item) throws(IotoError) in
                try store.scan(fault, hash: nil, sortPrefix: "", after: item.key, isReversed: false) {
                    (_) throws(IotoError) in
                    count.add(1, ordering: .relaxed)
                    return true
                }
                return true
            }
        }
        #expect(count.load(ordering: .relaxed) == 3 * Limits.readersMax * 10)
    }

    @Test func aStoreClosedUnderItsReadersEndsTheirCallsWithAnError() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        for id in 0..<50 { try store.put(fault, "\(id)") }
        try onThreads(6) { thread in
            if thread == 0 {
                usleep(20_000)
                store.close()
                return
            }
            do {
                while true {
                    if thread == 1 { try store.put(fault, "1") }
                    if try store.scanned(fault).count != 50 { throw IotoError(.corrupt, "items are missing") }
                }
            } catch let error as IotoError where error.code == .misuse {}
        }
    }

    @Test func anotherProcessThatWritesForTooLongIsAnError() throws {
        let fixture = try Fixture()
        let store = try fixture.open()
        let fault = try fixture.model("Fault")
        let other = try Connection(path: fixture.path, mode: .writer(.normal))
        try other.run(.begin)
        try store.writer?.execute("PRAGMA busy_timeout = 50")
        expectError(.busy) { try store.put(fault, "1") }
        try other.run(.rollback)
        try store.put(fault, "1")
        #expect(try store.get(fault, "1") != nil)
    }
}
