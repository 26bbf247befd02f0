import IotoBase

extension Store {
    /// Held while a backup is made: two that go to one place would take each other's parts for their own.
    private static let saving = Lock()

    /// Writes a copy of the database, as it is committed now, to a file of its own. Others read and write meanwhile. A file
    /// that is there is replaced when the copy is complete, in one step.
    ///
    /// - Throws: `.exists` when a database is open at that place, or was left without being closed; `.misuse` within a
    ///   transaction, and when it is the database's own place; `.full`, `.io`.
    /// - Complexity: In the size of the file.
    public func save(to target: Text) throws(IotoError) {
        guard !target.isEmpty, target.isValidUTF8, target != path else {
            throw IotoError(.misuse, "\(path): a backup needs a file of its own")
        }
        guard !isInTransaction else { throw IotoError(.misuse, "\(path): a transaction is under way on this thread") }
        try flushDelayed()
        _ = try settleLate()
        // A log that stands beside the file would be taken for the copy's.
        guard Files.size(target + "-wal") == nil else {
            throw IotoError(.exists, "\(target): a database is open there, or was not closed")
        }
        let part = target + ".part"
        Store.saving.lock()
        defer { Store.saving.unlock() }
        try Files.removeDatabase(part)
        do throws(IotoError) {
            try copy(to: part)
            try Files.sync(part)
            try Files.replace(target, by: part)
        } catch {
            try? Files.removeDatabase(part)
            throw error
        }
    }

    private func copy(to part: Text) throws(IotoError) {
        // A connection of its own: those for reading are few.
        let source = try Connection(path: path, mode: options.isReadOnly ? .readOnly : .reader, meter: meter)
        defer { source.close() }
        do {
            let target = try Connection(path: part, mode: .copy)
            defer { target.close() }
            try source.execute("BEGIN")
            try source.copy(to: target)
            try source.execute("COMMIT")
        }
        // Without a log, so that the copy is this one file.
        let target = try Connection(path: part, mode: .writer(.full))
        defer { target.close() }
        try StoreFormat.writeMeta(target, StoreFormat.metaCopy, bits: 1)
        guard try target.text("PRAGMA journal_mode = DELETE") == "delete" else {
            throw IotoError(.io, "\(part): the copy can't be closed")
        }
    }
}
