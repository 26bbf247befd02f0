import CPlatform
import CSQLite
import Foundation
import IotoBase
import IotoSchema
import Synchronization
import Testing

@testable import IotoStore

/// Rows that are read by pages beside SQLite, each held against what SQLite reads in the same snapshot, while everything that
/// writes to such a file writes to it.
///
/// `IOTO_STRESS_SECONDS` has it go on for longer; `IOTO_STRESS_COMMAND` is run by the shell meanwhile, with the file's path, as
/// another process that writes.
@Suite struct PageStressTests {
    typealias Dice = TreeScanTests.Dice

    /// What the threads share.
    final class Run: Sendable {
        let isOver = Atomic<Bool>(false)
        let failures = Mutex<[String]>([])
        let lookups = Atomic<Int>(0)
        let scans = Atomic<Int>(0)
        let rows = Atomic<Int>(0)
        let commits = Atomic<Int>(0)
        let checkpoints = Atomic<Int>(0)
        let sawLongLog = Atomic<Bool>(false)

        func fail(_ reason: String) {
            failures.withLock { if $0.count < 10 { $0.append(reason) } }
            isOver.store(true, ordering: .relaxed)
        }

        /// A thread that does one thing again and again. Others being in the way is part of it.
        func repeats(_ name: String, _ body: @escaping @Sendable () throws -> Void) throws -> IotoBase.Thread {
            try IotoBase.Thread(name: "test") {
                while !self.isOver.load(ordering: .relaxed) {
                    do {
                        try body()
                        // Now and then nobody reads.
                        Foundation.Thread.sleep(forTimeInterval: 0.002)
                    } catch let error as IotoError where error.code == .busy {
                        continue
                    } catch {
                        self.fail("\(name): \(error)")
                    }
                }
            }
        }
    }

    /// A row as text, of which two readers have to say the same.
    static func line(_ row: platform_row) -> String {
        func text(_ start: UnsafePointer<UInt8>?, _ count: Int) -> String {
            String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
        }
        let writer = row.has_writer ? "\(Int64(bitPattern: row.writer))" : "-"
        let position = row.has_position ? "\(row.position)" : "-"
        return "\(text(row.hash, row.hash_bytes))|\(text(row.sort, row.sort_bytes))|\(row.model)|\(Int64(bitPattern: row.time))"
            + "|\(writer)|\(position)|\(text(row.json, row.json_bytes))"
    }

    static let columns: Text =
        "SELECT hash || '|' || sort || '|' || model || '|' || time || '|' || ifnull(writer, '-') || '|' || ifnull(position, '-')"
        + " || '|' || json FROM item "

    /// A number that its thread alone draws from.
    final class Seed: @unchecked Sendable {
        var dice: Dice
        init(_ seed: UInt64) { dice = Dice(state: seed) }

        func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &dice) }

        func nap(_ milliseconds: Int) { Foundation.Thread.sleep(forTimeInterval: Double(number(0..<milliseconds + 1)) / 1000) }
    }

    // MARK: Readers

    /// Looks for keys, all in one snapshot, by pages and through SQLite.
    static func lookUpKeys(_ store: Store, _ seed: Seed, _ run: Run) throws {
        guard let shared = store.sharedHeader else { return run.fail("no header") }
        try store.readers.read { (connection) throws(IotoError) in
            let naps = seed.number(0..<4) == 0
            let statement = try connection.prepare(columns + "WHERE hash = ?1 AND sort = ?2", isPersistent: false)
            for _ in 0..<400 {
                let key = TreeScanTests.randomKey(&seed.dice)
                var row = platform_row()
                let code = try key.hash.bytes.withUnsafeBufferPointer { (hash) throws(IotoError) in
                    try key.sort.bytes.withUnsafeBufferPointer { (sort) throws(IotoError) in
                        try connection.lookUp(UnsafeRawBufferPointer(hash), UnsafeRawBufferPointer(sort), shared, &row)
                    }
                }
                guard code >= 0 else { continue }
                let found = code > 0 ? line(row) : nil
                try statement.bind(1, key.hash)
                try statement.bind(2, key.sort)
                let expected = try statement.step() ? try statement.text(0).string : nil
                statement.end()
                guard found == expected else { return run.fail("\(key): \(found ?? "none") is \(expected ?? "none")") }
                run.lookups.add(1, ordering: .relaxed)
                if naps, seed.number(0..<80) == 0 { seed.nap(15) }
            }
        }
    }

    /// Walks over a model, beside SQLite's own walk in the same snapshot.
    static func scanModel(_ store: Store, _ seed: Seed, _ run: Run) throws {
        guard let shared = store.sharedHeader else { return run.fail("no header") }
        try store.readers.read { (connection) throws(IotoError) in
            let holder = try connection.statement(.itemRoot)
            defer { holder.end() }
            let model = Int64(seed.number(1..<5))
            guard let tree = try connection.openTree(holder, shared, model, nil) else { return }
            defer { platform_tree_close(tree) }
            if !connection.hasSnapshot { run.sawLongLog.store(true, ordering: .relaxed) }
            let statement = try connection.prepare(columns + "WHERE model = ?1 ORDER BY hash, sort", isPersistent: false)
            try statement.bind(1, model)
            let naps = seed.number(0..<3) == 0
            var row = platform_row()
            var last = 1 as Int32
            while last > 0 {
                last = platform_tree_next(tree, &row)
                let found = last > 0 ? line(row) : nil
                let expected = try statement.step() ? try statement.text(0).string : nil
                guard last >= 0, found == expected else {
                    return run.fail("scan, \(last): \(found ?? "none") is \(expected ?? "none")")
                }
                run.rows.add(1, ordering: .relaxed)
                if naps, seed.number(0..<200) == 0 { seed.nap(15) }
            }
            run.scans.add(1, ordering: .relaxed)
        }
    }

    // MARK: Writers

    static func write(_ store: Store, _ models: [Model], _ seed: Seed, _ run: Run) throws {
        if seed.number(0..<15) == 0 {
            // Pages become free, and the file shorter.
            try store.write { (transaction) throws(IotoError) in
                for _ in 0..<600 {
                    let key = TreeScanTests.randomKey(&seed.dice)
                    for model in models {
                        if let item = try transaction.get(key, model: model) { try transaction.remove(item) }
                    }
                }
            }
            try store.maintain { (writer) throws(IotoError) in
                try writer.execute("PRAGMA incremental_vacuum(\(Int64(seed.number(1..<200))))")
            }
        }
        do throws(IotoError) {
            try store.write { (transaction) throws(IotoError) in
                for _ in 0..<seed.number(1..<60) {
                    let key = TreeScanTests.randomKey(&seed.dice)
                    var item: StoredItem?
                    for model in models where item == nil { item = try transaction.get(key, model: model) }
                    if let item, seed.number(0..<3) == 0 {
                        try transaction.remove(item)
                    } else {
                        let model = item?.model ?? models[seed.number(0..<models.count)]
                        _ = try transaction.put(model, key, body: TreeScanTests.randomBody(&seed.dice))
                    }
                }
                if seed.number(0..<6) == 0 { throw IotoError(.misuse, "undone") }
            }
        } catch {
            guard error.message == "undone" else { throw error }
            return
        }
        run.commits.add(1, ordering: .relaxed)
        if seed.number(0..<3) == 0 { seed.nap(10) }
    }

    /// As a tool does that knows nothing of the library: with savepoints, and with transactions that are larger than its memory, so
    /// that frames of what is undone stand behind the log's end.
    static func writeSQL(_ connection: Connection, _ seed: Seed, _ run: Run) throws {
        switch seed.number(0..<10) {
        case 0...4:
            let kinds: [Text] = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]
            try connection.execute("PRAGMA wal_checkpoint(\(kinds[seed.number(0..<4)]))")
            run.checkpoints.add(1, ordering: .relaxed)
            seed.nap(30)
        case 5:
            // Until it is emptied readers keep no snapshots.
            try connection.execute("PRAGMA wal_autocheckpoint = \(Int64(seed.number(0..<2) * 3000))")
        default:
            try connection.execute("BEGIN IMMEDIATE")
            do {
                let isUndone = seed.number(0..<3) == 0
                for round in 0..<seed.number(1..<5) {
                    try connection.execute("SAVEPOINT inner")
                    let rest = seed.number(0..<50)
                    try connection.execute(
                        "UPDATE item SET time = time + 1, json = substr(json, 1, length(json) - 1) || ' }' WHERE length(json) < 70000 AND (time + length(sort)) % 50 = \(Int64(rest))")
                    if isUndone { try connection.execute("UPDATE item SET position = ifnull(position, 0) + 1 WHERE model < 3") }
                    if round % 2 == 0 { try connection.execute("ROLLBACK TO inner") }
                    try connection.execute("RELEASE inner")
                }
                try connection.execute(isUndone ? "ROLLBACK" : "COMMIT")
                run.commits.add(1, ordering: .relaxed)
            } catch {
                if connection.isInTransaction { try connection.execute("ROLLBACK") }
                throw error
            }
            seed.nap(30)
        }
    }

    @Test func whatPagesGiveIsWhatSQLiteGivesWhateverIsWritten() throws {
        let environment = ProcessInfo.processInfo.environment
        let seconds = environment["IOTO_STRESS_SECONDS"].flatMap { Double($0) } ?? 3
        let fixture = try Fixture()
        let stores = [try fixture.open(), try fixture.open()]
        let models = try ["Fault", "Setting", "Shared", "Local"].map { try fixture.model($0) }
        let tool = try Connection(path: fixture.path, mode: .writer(.normal))
        try tool.setPageCache(40)
        // Who empties the log keeps writers waiting while it waits for readers.
        sqlite3_busy_timeout(tool.handle, 20)
        let run = Run()
        let first = UInt64.random(in: 0..<1000)
        func seed(_ number: UInt64) -> Seed { Seed(first << 8 | number) }
        for _ in 0..<20 { try PageStressTests.write(stores[0], models, seed(1), run) }

        var threads: [IotoBase.Thread] = []
        for (number, store) in stores.enumerated() {
            let seeds = (0..<4).map { seed(UInt64(10 * number + $0)) }
            threads.append(try run.repeats("write") { try PageStressTests.write(store, models, seeds[0], run) })
            threads.append(try run.repeats("gets") { try PageStressTests.lookUpKeys(store, seeds[1], run) })
            threads.append(try run.repeats("scans") { try PageStressTests.scanModel(store, seeds[2], run) })
            threads.append(try run.repeats("more gets") { try PageStressTests.lookUpKeys(store, seeds[3], run) })
        }
        let toolSeed = seed(3)
        nonisolated(unsafe) let ownTool = tool
        threads.append(try run.repeats("tool") { try PageStressTests.writeSQL(ownTool, toolSeed, run) })
        var other: Process?
        if let command = environment["IOTO_STRESS_COMMAND"] {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            process.arguments = ["-c", "exec " + command + " \"$0\"", fixture.path.string]
            try process.run()
            other = process
        }
        let end = Date().addingTimeInterval(seconds)
        while Date() < end, !run.isOver.load(ordering: .relaxed) { Foundation.Thread.sleep(forTimeInterval: 0.05) }
        run.isOver.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        // It may have all other signals blocked, as this thread has.
        if let other { kill(other.processIdentifier, SIGKILL) }
        other?.waitUntilExit()
        #expect(run.failures.withLock { $0 } == [], "seed \(first)")
        let (lookups, scans) = (run.lookups.load(ordering: .relaxed), run.scans.load(ordering: .relaxed))
        let (commits, checkpoints) = (run.commits.load(ordering: .relaxed), run.checkpoints.load(ordering: .relaxed))
        #expect(lookups > 500 && scans > 5 && commits > 20 && checkpoints > 5)
        if seconds > 3 {
            print("\(lookups) gets, \(scans) scans of \(run.rows.load(ordering: .relaxed)) rows, \(commits) commits,",
                "\(checkpoints) checkpoints, long log: \(run.sawLongLog.load(ordering: .relaxed))")
        }
        #expect(try tool.text("PRAGMA integrity_check") == "ok")
    }
}
