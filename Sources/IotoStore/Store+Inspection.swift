import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// What tools ask of a database file: its state, its soundness, its space.
extension Store {
    /// The item of a change, or what remains of it; nil when the schema has no such model.
    public func item(of change: Change) -> StoredItem? {
        guard let model = schema.model(change.model) else { return nil }
        return StoredItem(model: model, key: change.key, body: change.body, version: change.version)
    }

    /// Looks for damage: in the structure of the file, in the items and their keys, in the outbox. Of one snapshot.
    ///
    /// - Parameter report: Told of each problem, of `StoreLimits.problemsMax` at most.
    /// - Returns: The number of problems.
    /// - Throws: What keeps the file from being read, but not `.corrupt`, which is a problem found.
    /// - Complexity: O(size of the file).
    public func check(_ report: @escaping (Text) -> Void) throws(IotoError) -> Int {
        var findings = Findings(report: report)
        do throws(IotoError) {
            try read { (connection) throws(IotoError) in
                try checkStructure(connection, &findings)
                try checkItems(connection, &findings)
                try checkOutbox(connection, &findings)
            }
        } catch {
            guard error.code == .corrupt else { throw error }
            findings.add(error.message)
        }
        return findings.count
    }

    private struct Findings {
        let report: (Text) -> Void
        var count = 0

        var isFull: Bool { count >= StoreLimits.problemsMax }

        mutating func add(_ problem: Text) {
            guard !isFull else { return }
            count += 1
            report(problem)
        }
    }

    private func checkStructure(_ connection: Connection, _ findings: inout Findings) throws(IotoError) {
        let statement = try connection.prepare(
            "PRAGMA integrity_check(" + Text(decimal: Int64(StoreLimits.problemsMax)) + ")", isPersistent: false)
        while try statement.step() {
            let line = try statement.text(0)
            if line != "ok" { findings.add("\(path): \(line)") }
        }
    }

    private func checkItems(_ connection: Connection, _ findings: inout Findings) throws(IotoError) {
        let statement = try connection.prepare(
            "SELECT model, time, writer, position, json, hash, sort FROM item", isPersistent: false)
        while !findings.isFull, try statement.step() {
            do throws(IotoError) {
                try checkItem(statement, connection)
            } catch {
                // Memory that is short says nothing of the item.
                if error.code == .memory { throw error }
                findings.add(error.message)
            }
        }
    }

    private func checkItem(_ statement: Statement, _ connection: Connection) throws(IotoError) {
        let key = ItemKey(hash: try statement.text(5), sort: try statement.text(6))
        do throws(IotoError) {
            let row = try StoredRow(statement, connection, replica: replica)
            guard let model = models.model(row.model) else { return }
            guard case .object(let properties) = try JSON.parse(row.body) else {
                throw IotoError(.corrupt, "not an object")
            }
            let expected = try model.itemKey(of: properties)
            guard expected != key else { return }
            throw IotoError(.corrupt, "its properties give the key '\(expected.hash)' '\(expected.sort)'")
        } catch {
            throw IotoError(error.code, "item '\(key.hash)' '\(key.sort)': \(error.message)")
        }
    }

    private func checkOutbox(_ connection: Connection, _ findings: inout Findings) throws(IotoError) {
        let statement = try connection.prepare(
            """
            SELECT o.hash, o.sort FROM outbox AS o \
            LEFT JOIN item AS i ON i.hash = o.hash AND i.sort = o.sort \
            LEFT JOIN tombstone AS t ON t.hash = o.hash AND t.sort = o.sort \
            WHERE i.hash IS NULL AND t.hash IS NULL
            """, isPersistent: false)
        while !findings.isFull, try statement.step() {
            findings.add(
                "outbox: the change of '\(try statement.text(0))' '\(try statement.text(1))' leads to no item")
        }
    }

    /// Gives free pages back to the file system, step by step, and empties the log as far as readers allow.
    ///
    /// - Returns: The number of bytes.
    /// - Throws: `.readOnly`; `.busy`; `.misuse` within a transaction.
    public func vacuum() throws(IotoError) -> Int64 {
        guard !isInTransaction else { throw IotoError(.misuse, "\(path): a transaction is under way on this thread") }
        var bytes: Int64 = 0
        var isDone = false
        while !isDone {
            try maintain { (connection) throws(IotoError) in
                let pages = try connection.integer("PRAGMA page_count")
                try connection.execute("PRAGMA incremental_vacuum(" + Text(decimal: StoreLimits.vacuumStep) + ")")
                let given = pages - (try connection.integer("PRAGMA page_count"))
                bytes += max(0, given) * (try connection.integer("PRAGMA page_size"))
                let free = try connection.integer("PRAGMA freelist_count")
                isDone = given <= 0 || free == 0
            }
            giveWay()
        }
        // The file itself shrinks when the log is moved into it. Writers wait meanwhile, and so nobody is waited for.
        try maintain { (connection) throws(IotoError) in
            connection.checkpoint()
            readers.withoutReaders { connection.truncateLog() }
        }
        return bytes
    }
}
