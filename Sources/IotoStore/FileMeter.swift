import CPlatform
import CSQLite
import IotoBase
import Synchronization

/// Counts what SQLite writes to the files of one database, and how often it waits for the disk.
///
/// A write that finds no room fails as `SQLITE_FULL`, whatever the reason. It stands between SQLite and its own file system
/// layer (sqlite.org/vfs.html): a copy of that layer under a name of its own, whose files are the layer's, but for the methods
/// that count before they pass the call on, and those of the log, see `HeldFrames`.
final class FileMeter: @unchecked Sendable {
    private static let count = Atomic<UInt32>(0)

    /// Guards the counters, which are read together.
    private let lock = Lock()
    private var bytes: Int64 = 0
    private var syncs: Int64 = 0
    private let layer: UnsafeMutablePointer<MeteredLayer>
    private let nameText: CText

    /// - Parameter base: Name of the layer that does the work; nil: SQLite's default.
    /// - Parameter isDefault: Databases that are opened from now on go through it that name no layer.
    /// - Throws: `.storage` when SQLite has no such layer, or does not take this one.
    init(base name: Text? = nil, isDefault: Bool = false) throws(IotoError) {
        let found = name.map { $0.withCString { sqlite3_vfs_find($0) } } ?? sqlite3_vfs_find(nil)
        guard let base = found else {
            throw IotoError(.storage, "the SQLite library has no file system layer")
        }
        let number = FileMeter.count.wrappingAdd(1, ordering: .relaxed).newValue
        nameText = CText("ioto-" + Text(decimal: Int64(number)))
        layer = .allocate(capacity: 1)
        layer.initialize(to: MeteredLayer(vfs: base.pointee, base: base, meter: nil, tail: 0))
        // What is kept beside a file lies behind it.
        let alignment = Int32(MemoryLayout<MeteredFile>.alignment)
        let tail = (base.pointee.szOsFile + alignment - 1) / alignment * alignment
        layer.pointee.tail = Int(tail)
        layer.pointee.vfs.szOsFile = tail + Int32(MemoryLayout<MeteredFile>.size)
        layer.pointee.vfs.zName = nameText.pointer
        layer.pointee.vfs.pNext = nil
        layer.pointee.vfs.xOpen = openMetered
        layer.pointee.meter = Unmanaged.passUnretained(self)
        let code = sqlite3_vfs_register(vfs, isDefault ? 1 : 0)
        guard code == SQLITE_OK else {
            throw IotoError(.storage, "SQLite does not take a file system layer", detail: code)
        }
    }

    deinit {
        // Every open file keeps its meter, so that none is open here.
        sqlite3_vfs_unregister(vfs)
        layer.deallocate()
    }

    /// Bytes written to the database and its log (the shared memory beside them is not written), and calls of fsync(2).
    var written: (bytes: Int64, syncs: Int64) { lock.withLock { (bytes, syncs) } }

    fileprivate func didWrite(_ count: Int32) {
        lock.withLock { bytes += Int64(count) }
    }

    fileprivate func didSync() {
        lock.withLock { syncs += 1 }
    }

    /// The layer's name, for `sqlite3_open_v2`.
    var name: UnsafePointer<CChar> { nameText.pointer }

    private var vfs: UnsafeMutablePointer<sqlite3_vfs> {
        UnsafeMutableRawPointer(layer).assumingMemoryBound(to: sqlite3_vfs.self)
    }
}

/// The layer, as SQLite sees it, and what it needs to know. The functions that are not replaced work on the copy as on the
/// original.
private struct MeteredLayer {
    var vfs: sqlite3_vfs
    let base: UnsafeMutablePointer<sqlite3_vfs>
    var meter: Unmanaged<FileMeter>?
    /// Offset of `MeteredFile` from a file's beginning.
    var tail: Int
}

/// What lies behind a file.
private struct MeteredFile {
    /// The file's methods, some of which are replaced.
    var methods: sqlite3_io_methods
    let original: UnsafePointer<sqlite3_io_methods>
    let meter: Unmanaged<FileMeter>
    /// Of the log.
    var held = HeldFrames()
    /// Of the log, how long its file is at least; and whether this connection is the one that may write to it.
    var room: Int64 = 0
    var isWriting = false
    /// Of the log the database, and of the database the log, while both are open.
    var other: UnsafeMutablePointer<sqlite3_file>?
}

private func openMetered(
    _ vfs: UnsafeMutablePointer<sqlite3_vfs>?, _ name: UnsafePointer<CChar>?,
    _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32, _ outFlags: UnsafeMutablePointer<Int32>?
) -> Int32 {
    guard let vfs, let file else { return SQLITE_MISUSE }
    let layer = UnsafeMutableRawPointer(vfs).assumingMemoryBound(to: MeteredLayer.self).pointee
    guard let open = layer.base.pointee.xOpen, let meter = layer.meter else { return SQLITE_MISUSE }
    let code = open(layer.base, name, file, flags, outFlags)
    // A file without methods is not closed by SQLite; one whose opening failed may have them.
    guard let original = file.pointee.pMethods else { return code }
    var methods = original.pointee
    methods.xClose = closeMetered
    methods.xWrite = writeMetered
    methods.xSync = syncMetered
    if flags & SQLITE_OPEN_WAL != 0 {
        methods.xWrite = writeLog
        methods.xRead = readLog
        methods.xTruncate = truncateLog
        methods.xFileSize = sizeOfLog
    } else if flags & SQLITE_OPEN_MAIN_DB != 0 {
        methods.xShmLock = lockMetered
    }
    let place = UnsafeMutableRawPointer(file).advanced(by: layer.tail).assumingMemoryBound(to: MeteredFile.self)
    place.initialize(to: MeteredFile(methods: methods, original: original, meter: meter.retain()))
    // The methods stand first, so that the rest is found from them.
    file.pointee.pMethods = UnsafeRawPointer(place).assumingMemoryBound(to: sqlite3_io_methods.self)
    if flags & SQLITE_OPEN_WAL != 0, let name, let database = sqlite3_database_file_object(name) {
        place.pointee.other = database
        metered(database).pointee.other = file
    }
    return code
}

private func metered(_ file: UnsafeMutablePointer<sqlite3_file>) -> UnsafeMutablePointer<MeteredFile> {
    UnsafeMutableRawPointer(mutating: file.pointee.pMethods).assumingMemoryBound(to: MeteredFile.self)
}

private func closeMetered(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    if let database = metered(file).pointee.other { metered(database).pointee.other = nil }
    metered(file).pointee.held.free()
    let own = metered(file).pointee
    file.pointee.pMethods = own.original
    defer { own.meter.release() }
    return own.original.pointee.xClose(file)
}

private func writeMetered(
    _ file: UnsafeMutablePointer<sqlite3_file>?, _ data: UnsafeRawPointer?, _ bytes: Int32, _ offset: sqlite3_int64
) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let own = metered(file)
    own.pointee.meter._withUnsafeGuaranteedRef { $0.didWrite(bytes) }
    let code = own.pointee.original.pointee.xWrite(file, data, bytes, offset)
    // SQLite takes a quota, or the process's limit on a file's size, for a broken disk.
    return code & 0xFF == SQLITE_IOERR && platform_is_full(platform_errno()) ? SQLITE_FULL : code
}

private func syncMetered(_ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let own = metered(file)
    own.pointee.meter._withUnsafeGuaranteedRef { $0.didSync() }
    let code = writeHeld(file)
    if code == SQLITE_OK, own.pointee.isWriting { reserveRoom(file) }
    return code == SQLITE_OK ? own.pointee.original.pointee.xSync(file, flags) : code
}

// MARK: The log

/// Whoever may write to the log no longer has committed or rolled back. What is held then is of a transaction that is
/// gone, and must not be written over another one's frames.
private func lockMetered(_ file: UnsafeMutablePointer<sqlite3_file>?, _ first: Int32, _ count: Int32, _ flags: Int32) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let own = metered(file)
    // The first lock is the writer's (sqlite.org/walformat.html, 2.3.1).
    let log = first == 0 ? own.pointee.other.map { metered($0) } : nil
    if let log, flags & SQLITE_SHM_UNLOCK != 0 {
        log.pointee.held.drop()
        log.pointee.isWriting = false
    }
    let code = own.pointee.original.pointee.xShmLock(file, first, count, flags)
    if let log, code == SQLITE_OK, flags & SQLITE_SHM_LOCK != 0 { log.pointee.isWriting = true }
    return code
}

/// Before a commit is synced that has made the log's file longer: makes it as long again, with zeros, in which SQLite finds no
/// frames. The commits to come overwrite what the file has, and are on the disk in half the time, since the file system has
/// nothing of its own to write. It is not tried where the disk has no room for it.
private func reserveRoom(_ file: UnsafeMutablePointer<sqlite3_file>) {
    let own = metered(file)
    guard own.pointee.held.end > own.pointee.room, let zeros = own.pointee.held.zeros() else { return }
    let bytes = ioto_sqlite_reserve(
        file, own.pointee.original, own.pointee.held.end, zeros, Int32(HeldFrames.room), &own.pointee.room)
    own.pointee.meter._withUnsafeGuaranteedRef { $0.didWrite(bytes) }
}

/// Writes the frames that are held. When that fails they are gone, as what SQLite writes is.
private func writeHeld(_ file: UnsafeMutablePointer<sqlite3_file>) -> Int32 {
    let own = metered(file)
    if own.pointee.held.isEmpty { return SQLITE_OK }
    let (data, bytes, offset) = own.pointee.held.release()
    return writeMetered(file, data, bytes, offset)
}

private func writeLog(
    _ file: UnsafeMutablePointer<sqlite3_file>?, _ data: UnsafeRawPointer?, _ bytes: Int32, _ offset: sqlite3_int64
) -> Int32 {
    guard let file, let data else { return SQLITE_MISUSE }
    let own = metered(file)
    if own.pointee.held.precedes(Int(bytes), offset) {
        let code = writeHeld(file)
        if code != SQLITE_OK { return code }
    }
    if own.pointee.held.hold(data, Int(bytes), offset) {
        return own.pointee.held.isComplete ? writeHeld(file) : SQLITE_OK
    }
    let code = writeHeld(file)
    return code == SQLITE_OK ? writeMetered(file, data, bytes, offset) : code
}

private func readLog(
    _ file: UnsafeMutablePointer<sqlite3_file>?, _ out: UnsafeMutableRawPointer?, _ bytes: Int32, _ offset: sqlite3_int64
) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let code = writeHeld(file)
    return code == SQLITE_OK ? metered(file).pointee.original.pointee.xRead(file, out, bytes, offset) : code
}

private func truncateLog(_ file: UnsafeMutablePointer<sqlite3_file>?, _ bytes: sqlite3_int64) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let code = writeHeld(file)
    return code == SQLITE_OK ? metered(file).pointee.original.pointee.xTruncate(file, bytes) : code
}

private func sizeOfLog(
    _ file: UnsafeMutablePointer<sqlite3_file>?, _ out: UnsafeMutablePointer<sqlite3_int64>?
) -> Int32 {
    guard let file else { return SQLITE_MISUSE }
    let code = writeHeld(file)
    return code == SQLITE_OK ? metered(file).pointee.original.pointee.xFileSize(file, out) : code
}
