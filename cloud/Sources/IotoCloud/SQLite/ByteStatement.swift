import GRDB
import GRDBSQLite
import IotoBase

/// A statement of a connection's cache, whose texts are bytes on the way in and out: GRDB would make a `String` of each.
/// Parameters count from 1, columns from 0.
struct ByteStatement {
    private let statement: Statement
    private let connection: SQLiteConnection?

    private var pointer: OpaquePointer { statement.sqliteStatement }

    init(_ sql: String, in db: Database) throws {
        statement = try db.cachedStatement(sql: sql)
        connection = db.sqliteConnection
        renew()
    }

    /// Makes it ready for another run.
    func renew() {
        sqlite3_reset(pointer)
        sqlite3_clear_bindings(pointer)
    }

    var parameters: Int32 { sqlite3_bind_parameter_count(pointer) }

    // MARK: Parameters

    func bind(_ index: Int32, _ value: Int64?) throws {
        try check(value.map { sqlite3_bind_int64(pointer, index, $0) } ?? sqlite3_bind_null(pointer, index))
    }

    func bind(_ index: Int32, bits: UInt64) throws {
        try bind(index, Int64(bitPattern: bits))
    }

    func bind(_ index: Int32, _ text: Text?) throws {
        try bind(index, text?.bytes)
    }

    /// Binds a copy of a text's bytes, or NULL.
    func bind(_ index: Int32, _ bytes: [UInt8]?) throws {
        guard let bytes else { return try check(sqlite3_bind_null(pointer, index)) }
        try check(
            bytes.withUnsafeBytes { bytes in
                // SQLite takes a null pointer for NULL, and an empty array may have no storage.
                guard let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self) else {
                    return sqlite3_bind_text(pointer, index, "", 0, nil)
                }
                return sqlite3_bind_text64(
                    pointer, index, start, UInt64(bytes.count), ByteStatement.transient, UInt8(SQLITE_UTF8))
            })
    }

    /// Binds a copy of bytes that are no text.
    func bind(_ index: Int32, blob bytes: [UInt8]) throws {
        try check(
            bytes.withUnsafeBytes { bytes in
                sqlite3_bind_blob64(pointer, index, bytes.baseAddress, UInt64(bytes.count), ByteStatement.transient)
            })
    }

    /// Binds a key to this parameter and the next one.
    func bind(_ index: Int32, key: (hash: Text, sort: Text)) throws {
        try bind(index, key.hash.bytes)
        try bind(index + 1, key.sort.bytes)
    }

    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    // MARK: Steps

    /// - Returns: Whether there is a row. When there is none the statement is ready to be run again.
    func step() throws -> Bool {
        switch sqlite3_step(pointer) {
        case SQLITE_ROW: return true
        case SQLITE_DONE:
            sqlite3_reset(pointer)
            return false
        default:
            let error = failure()
            sqlite3_reset(pointer)
            throw error
        }
    }

    /// Runs a statement that has no rows.
    func run() throws {
        while try step() {}
    }

    /// Ends a reading before the last row.
    func end() {
        sqlite3_reset(pointer)
    }

    private func check(_ code: Int32) throws {
        if code != SQLITE_OK { throw failure() }
    }

    private func failure() -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)),
            message: sqlite3_errmsg(connection).map { String(cString: $0) }, sql: statement.sql)
    }

    // MARK: Columns

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(pointer, column) == SQLITE_NULL }
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(pointer, column) }
    func bits(_ column: Int32) -> UInt64 { UInt64(bitPattern: integer(column)) }
    func size(_ column: Int32) -> Int { Int(sqlite3_column_bytes(pointer, column)) }
    func text(_ column: Int32) -> Text { Text(bytes(column)) }
    func optionalText(_ column: Int32) -> Text? { isNull(column) ? nil : text(column) }

    /// A text's bytes; none of NULL.
    func bytes(_ column: Int32) -> [UInt8] {
        // As a blob the text is not copied to be given a NUL.
        guard let start = sqlite3_column_blob(pointer, column) else { return [] }
        return copyBytes(UnsafeRawBufferPointer(start: start, count: size(column)))
    }
}
