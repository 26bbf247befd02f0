import Foundation
import GRDB
import IotoBase

extension SQLiteStore {
    /// Pages that are copied between two reports.
    private static let backupStep: CInt = 1000

    /// Copies the store as it is at this moment into a new file, also while another process serves it.
    ///
    /// - Parameter progress: Gets the part that is done, from 0 to 1.
    /// - Throws: `.exists` when there is a file at `copy`; `.notFound`, `.format`, `.corrupt` as the store's file is; `.full`,
    ///   `.io`. Nothing is at `copy` then.
    public static func backUp(_ path: String, to copy: String, progress: @escaping (Double) -> Void) throws(IotoError) {
        try self.copy(path, to: copy, progress) { _ in }
    }

    /// Makes the store at `path` of a copy, under a new history: that tells every device that the cloud has lost what came
    /// after the copy. Of each device the database that comes first goes on, whichever came last before.
    ///
    /// - Throws: As `backUp`; `.exists` when the store is still there.
    public static func restore(_ path: String, from copy: String, progress: @escaping (Double) -> Void) throws(IotoError) {
        try self.copy(copy, to: path, progress) { db in
            try StoreFormat.setMeta("history", Int64(bitPattern: SystemRandom.uint64()), in: db)
            // Which databases have come since it does not know, and must fence none of them.
            try db.execute(sql: "UPDATE device SET epoch = 0, nonce = 0")
        }
    }

    private static func copy(
        _ path: String, to target: String, _ progress: @escaping (Double) -> Void, _ finish: (Database) throws -> Void
    ) throws(IotoError) {
        let files = FileManager.default
        guard files.fileExists(atPath: path) else { throw IotoError(.notFound, "\(path): there is no store") }
        // A log without its file would be taken for the new one's.
        for name in [target, target + "-wal"] where files.fileExists(atPath: name) {
            throw IotoError(.exists, "\(name): there is a file already; move it away first")
        }
        let part = target + ".part"
        do {
            try Files.removeDatabase(Text(part))
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(Double(Limits.busyTimeout) / 1000)
            let source = try DatabaseQueue(path: path, configuration: configuration)
            let made = try DatabaseQueue(path: part)
            // The devices' data stays with whom it is for.
            if let mode = try files.attributesOfItem(atPath: path)[.posixPermissions] {
                try files.setAttributes([.posixPermissions: mode], ofItemAtPath: part)
            }
            // One transaction: of one moment, whoever writes meanwhile.
            try source.read { from in
                let kind = try StoreFormat.kind(of: from)
                try StoreFormat.check(kind, path: path)
                guard case .store = kind else { throw IotoError(.format, "\(path): the file is not a store") }
                let finding = try String.fetchOne(from, sql: "PRAGMA quick_check(1)") ?? ""
                guard finding == "ok" else { throw IotoError(.corrupt, "\(path): the store is damaged: \(finding)") }
                try made.writeWithoutTransaction { to in
                    try from.backup(to: to, pagesPerStep: backupStep) {
                        progress(Double($0.completedPageCount) / Double(max($0.totalPageCount, 1)))
                    }
                    // One file, with no log beside it.
                    try to.execute(sql: "PRAGMA journal_mode = DELETE")
                    try finish(to)
                }
            }
            try source.close()
            try made.close()
            try Files.sync(Text(part))
            try Files.replace(Text(target), by: Text(part))
        } catch {
            try? Files.removeDatabase(Text(part))
            throw IotoError.of(error, path: path)
        }
    }
}
