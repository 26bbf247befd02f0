import Foundation
import GRDB
import IotoBase

extension SQLiteStore {
    /// Size that the log has when a commit moves it into the file, with a reserve: each page has a header of 24 bytes.
    private static let logBytes = UInt64(checkpointPages + 200) * 4120
    private static let logStep = 1024 * 1024

    /// Gives the log the room that it is going to take, filled with zeros, where SQLite finds no frames.
    ///
    /// A commit that only overwrites what the file has is on the disk in half the time of one that makes it longer: the file
    /// system has nothing of its own to write then. To be called by who serves. Without room on the disk it is as before.
    public func reserveLog() async throws(IotoError) {
        let path = path + "-wal"
        try await write(isTold: true, .kept) { _ in
            // Nobody else writes to the log, or cuts it back, within this transaction.
            guard let log = FileHandle(forUpdatingAtPath: path) else { return }
            let zeros = Data(count: SQLiteStore.logStep)
            defer { try? log.close() }
            let former = try log.seekToEnd()
            do {
                for _ in stride(from: former, to: SQLiteStore.logBytes, by: zeros.count) { try log.write(contentsOf: zeros) }
                try log.synchronize()
            } catch {
                Log.info("\(path): no room is reserved: \(error.localizedDescription)")
                try? log.truncate(atOffset: former)
            }
        }
    }
}
