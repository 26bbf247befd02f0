import CSQLite
import IotoBase
import IotoSchema
import IotoSync

/// All that a device's database holds, read past the store from its file.
struct StoreImage: Equatable {
    struct Row: Equatable {
        var model: Text
        var version: Version
        var isRemoval: Bool
        var body: [UInt8]
    }

    var rows: [ItemKey: Row] = [:]
    /// The keys of `rows` in their order.
    var keys: [ItemKey] = []
    var outbox: [Int64: ItemKey] = [:]
    var cursors: [StreamCursor] = []
    var rejected: Int64 = 0

    func row(_ key: ItemKey) -> Row? { rows[key] }

    /// The item; nil when it was removed.
    func item(_ key: ItemKey) -> Row? {
        guard let row = rows[key], !row.isRemoval else { return nil }
        return row
    }

    func version(_ key: ItemKey) -> Version { rows[key]?.version ?? .zero }

    func cursor(_ stream: Text) -> StreamCursor? { cursors.first { $0.stream == stream } }
}

/// A connection of the judge's own to a device's file, which takes no part in writing.
final class ImageReader {
    private var connection: OpaquePointer?
    private var statements: [OpaquePointer?] = []

    private static let queries = [
        """
        SELECT hash, sort, m.name, time, writer, json, 0 FROM item AS i JOIN model AS m ON m.id = i.model
        UNION ALL
        SELECT hash, sort, m.name, time, writer, json, 1 FROM tombstone AS t JOIN model AS m ON m.id = t.model
        ORDER BY 1, 2, 7
        """,
        "SELECT position, hash, sort FROM outbox ORDER BY position",
        "SELECT stream, history, position FROM cursor ORDER BY stream",
        "SELECT count(*) FROM rejected",
    ]

    init?(_ disk: Disk) {
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE
        guard sqlite3_open_v2(Disk.path, &connection, flags, disk.name) == SQLITE_OK else {
            close()
            return nil
        }
        for query in ImageReader.queries {
            var statement: OpaquePointer?
            guard sqlite3_prepare_v2(connection, query, -1, &statement, nil) == SQLITE_OK else {
                close()
                return nil
            }
            statements.append(statement)
        }
    }

    deinit { close() }

    func close() {
        for statement in statements { sqlite3_finalize(statement) }
        statements = []
        sqlite3_close_v2(connection)
        connection = nil
    }

    /// - Returns: nil when the file can't be read.
    func read(replica: UInt64) -> StoreImage? {
        var image = StoreImage()
        let isRead =
            visit(0) { statement in
                let key = ItemKey(hash: text(statement, 0), sort: text(statement, 1))
                let time = UInt64(bitPattern: sqlite3_column_int64(statement, 3))
                let isOwn = sqlite3_column_type(statement, 4) == SQLITE_NULL
                let writer =
                    isOwn ? (time == 0 ? 0 : replica) : UInt64(bitPattern: sqlite3_column_int64(statement, 4))
                let row = StoreImage.Row(
                    model: text(statement, 2), version: Version(time: time, writer: writer),
                    isRemoval: sqlite3_column_int64(statement, 6) != 0, body: text(statement, 5).bytes)
                // An item hides a tombstone of the same key, which must not be there.
                if image.rows[key] == nil { image.keys.append(key) }
                if image.rows[key] == nil || !row.isRemoval { image.rows[key] = row }
            }
            && visit(1) { statement in
                image.outbox[sqlite3_column_int64(statement, 0)] = ItemKey(
                    hash: text(statement, 1), sort: text(statement, 2))
            }
            && visit(2) { statement in
                image.cursors.append(
                    StreamCursor(
                        stream: text(statement, 0), history: UInt64(bitPattern: sqlite3_column_int64(statement, 1)),
                        position: sqlite3_column_int64(statement, 2)))
            }
            && visit(3) { statement in image.rejected = sqlite3_column_int64(statement, 0) }
        return isRead ? image : nil
    }

    private func visit(_ index: Int, _ body: (OpaquePointer?) -> Void) -> Bool {
        let statement = statements[index]
        defer { sqlite3_reset(statement) }
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: body(statement)
            case SQLITE_DONE: return true
            default: return false
            }
        }
    }

    private func text(_ statement: OpaquePointer?, _ column: Int32) -> Text {
        guard let start = sqlite3_column_text(statement, column) else { return Text() }
        return Text([UInt8](UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))))
    }
}
