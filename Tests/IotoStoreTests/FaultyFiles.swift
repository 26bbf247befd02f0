import CSQLite
import Foundation
import IotoBase
import Synchronization

@testable import IotoStore

/// A file system layer under SQLite whose reads fail when they are told to.
final class FaultyFiles: @unchecked Sendable {
    /// Reads that go well before one fails; below 0: none does.
    let readsLeft = Atomic<Int>(-1)
    /// Whether those behind it fail as well.
    let lasts = Atomic<Bool>(false)
    let name: Text = "faulty-\(Int64.random(in: 0...Int64.max))"
    private let text: CText
    private let layer: UnsafeMutablePointer<sqlite3_vfs>
    /// What SQLite's own files do: of the database, and of its log.
    private let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 2)
    private var originals: [UnsafePointer<sqlite3_io_methods>?] = [nil, nil]
    nonisolated(unsafe) private static var current: FaultyFiles?

    /// One at a time, which is to be ended.
    init() throws {
        let base = sqlite3_vfs_find(nil)!
        text = CText(name)
        layer = .allocate(capacity: 1)
        layer.initialize(to: base.pointee)
        layer.pointee.zName = text.pointer
        layer.pointee.pNext = nil
        FaultyFiles.current = self
        layer.pointee.xOpen = { _, name, file, flags, outFlags in
            guard let faulty = FaultyFiles.current, let file else { return SQLITE_IOERR }
            let base = sqlite3_vfs_find(nil)!
            let code = base.pointee.xOpen(base, name, file, flags, outFlags)
            guard let own = file.pointee.pMethods, flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL) != 0 else { return code }
            let kind = flags & SQLITE_OPEN_WAL != 0 ? 1 : 0
            let methods = faulty.methods + kind
            if faulty.originals[kind] == nil {
                faulty.originals[kind] = own
                methods.initialize(to: own.pointee)
                methods.pointee.xRead = { file, out, bytes, offset in FaultyFiles.current!.read(file, out, bytes, offset) }
            }
            file.pointee.pMethods = UnsafePointer(methods)
            return code
        }
        sqlite3_vfs_register(layer, 0)
    }

    /// No file may be open any more.
    func end() {
        sqlite3_vfs_unregister(layer)
        FaultyFiles.current = nil
        layer.deallocate()
        methods.deallocate()
    }

    private func read(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ out: UnsafeMutableRawPointer?, _ bytes: Int32, _ offset: sqlite3_int64
    ) -> Int32 {
        let left = readsLeft.load(ordering: .relaxed)
        if left == 0 {
            if !lasts.load(ordering: .relaxed) { readsLeft.store(-1, ordering: .relaxed) }
            return SQLITE_IOERR | 1 << 8
        }
        if left > 0 { readsLeft.store(left - 1, ordering: .relaxed) }
        // The layer between keeps the methods of this one elsewhere; both kinds read alike.
        return originals[0]!.pointee.xRead(file, out, bytes, offset)
    }
}
