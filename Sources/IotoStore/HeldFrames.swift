import CSQLite
import IotoBase

/// Frames of the write-ahead log (sqlite.org/walformat.html, 2) that SQLite has written and the file does not have yet.
/// SQLite writes the header and the page of each by a call of its own; together those of a transaction are one call of the
/// system, and for a small transaction these calls take most of its time.
///
/// They are written with the frame that commits them, whose write tells whether that went well, and before anything else is
/// done with the file. Nobody needs them earlier: readers go by the log's index, which names no frame before its
/// transaction has committed, and the transaction's own reads come this way. When the process dies before, so does the
/// transaction, as it would have. What is held of a transaction that is rolled back is dropped before another may write.
struct HeldFrames {
    /// Those of the files of this library; frames of others are not held.
    private static let pageBytes = 4096
    private static let headerBytes = 24
    private static let logHeaderBytes: Int64 = 32
    private static let frameBytes = headerBytes + pageBytes
    /// Most bytes that are held.
    static let room = 16 * frameBytes

    private var memory: UnsafeMutableRawPointer?
    private var start: Int64 = 0
    private var count = 0
    /// Whether the last frame ends a transaction.
    private var isCommit = false
    /// Where ends what was written of this log. A header before it is one that SQLite corrects, and no page follows it.
    private(set) var end: Int64 = 0

    var isEmpty: Bool { count == 0 }

    /// Whether what is held has to be written first.
    func precedes(_ bytes: Int, _ offset: Int64) -> Bool {
        count > 0 && (offset != start + Int64(count) || count + bytes > HeldFrames.room)
    }

    /// Takes what SQLite writes.
    ///
    /// - Returns: Whether it is held.
    mutating func hold(_ data: UnsafeRawPointer, _ bytes: Int, _ offset: Int64) -> Bool {
        let last = end
        // A new log begins with its header.
        end = offset == 0 ? Int64(bytes) : max(last, offset + Int64(bytes))
        if count % HeldFrames.frameBytes == 0 {
            let place = (offset - HeldFrames.logHeaderBytes) % Int64(HeldFrames.frameBytes)
            guard bytes == HeldFrames.headerBytes, place == 0, offset >= last else { return false }
            if memory == nil { memory = sqlite3_malloc(Int32(HeldFrames.room)) }
            if count == 0 { start = offset }
            // The size of the database, in a frame that commits.
            isCommit = data.loadUnaligned(fromByteOffset: 4, as: UInt32.self) != 0
        } else if bytes != HeldFrames.pageBytes {
            return false
        }
        guard let memory else { return false }
        memory.advanced(by: count).copyMemory(from: data, byteCount: bytes)
        count += bytes
        return true
    }

    /// Whether a transaction is complete.
    var isComplete: Bool { isCommit && count % HeldFrames.frameBytes == 0 }

    /// What is held, and is no longer.
    mutating func release() -> (data: UnsafeMutableRawPointer?, bytes: Int32, offset: Int64) {
        defer { count = 0 }
        return (memory, Int32(count), start)
    }

    /// As many zeros as can be held, where nothing is; nil: nothing was ever held.
    func zeros() -> UnsafeMutableRawPointer? {
        memory?.initializeMemory(as: UInt8.self, repeating: 0, count: HeldFrames.room)
        return memory
    }

    /// Forgets what is held.
    mutating func drop() {
        if count > 0 { end = start }
        count = 0
    }

    mutating func free() {
        sqlite3_free(memory)
        memory = nil
    }
}
