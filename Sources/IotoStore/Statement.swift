import CSQLite
import IotoBase
import IotoSchema

/// A prepared statement. Parameters count from 1, columns from 0.
///
/// It is used only while its connection lives. The content of a file is not trusted: a column of another type than
/// the library writes is `.corrupt`.
final class Statement {
    private let pointer: OpaquePointer
    private unowned(unsafe) let connection: Connection
    var isBorrowed = false

    init(_ pointer: OpaquePointer, connection: Connection) {
        self.pointer = pointer
        self.connection = connection
    }

    deinit {
        sqlite3_finalize(pointer)
    }

    /// Ends the use that `Connection.statement` began.
    func end() {
        // A failed step has told its error already; reset repeats it.
        sqlite3_reset(pointer)
        sqlite3_clear_bindings(pointer)
        isBorrowed = false
    }

    /// Ends a use that has bound every parameter, as the next one will.
    func endAllBound() {
        sqlite3_reset(pointer)
        isBorrowed = false
    }

    // MARK: Parameters

    func bind(_ index: Int32, _ value: Int64) throws(IotoError) {
        try check(sqlite3_bind_int64(pointer, index, value))
    }

    /// Binds a number, or NULL.
    func bind(_ index: Int32, _ value: Int64?) throws(IotoError) {
        guard let value else { return try check(sqlite3_bind_null(pointer, index)) }
        try bind(index, value)
    }

    /// Binds 64 bits, which SQLite keeps as a signed number.
    func bind(_ index: Int32, bits value: UInt64) throws(IotoError) {
        try bind(index, Int64(bitPattern: value))
    }

    /// Binds a copy of the text.
    func bind(_ index: Int32, _ text: Text) throws(IotoError) {
        try bind(index, text.bytes)
    }

    /// Binds a copy of the text's bytes.
    func bind(_ index: Int32, _ bytes: [UInt8]) throws(IotoError) {
        try check(
            bytes.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress, let count = Int32(exactly: bytes.count) else {
                    return bytes.isEmpty ? ioto_sqlite_bind_text_static(pointer, index, nil, 0) : SQLITE_TOOBIG
                }
                return ioto_sqlite_bind_text(pointer, index, start, count)
            })
    }

    /// Binds the empty blob, which is above every text.
    func bindAboveText(_ index: Int32) throws(IotoError) {
        try check(sqlite3_bind_zeroblob(pointer, index, 0))
    }

    /// Binds bytes that stay where they are until the statement has been stepped.
    private func bindInPlace(_ index: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        // SQLite takes a null pointer for NULL, and an empty array may have no storage.
        guard let start = bytes.baseAddress, !bytes.isEmpty else {
            return ioto_sqlite_bind_text_static(pointer, index, nil, 0)
        }
        guard let count = Int32(exactly: bytes.count) else { return SQLITE_TOOBIG }
        return ioto_sqlite_bind_text_static(pointer, index, start, count)
    }

    // MARK: Steps

    /// - Returns: Whether there is a row.
    func step() throws(IotoError) -> Bool {
        try hasRow(sqlite3_step(pointer))
    }

    /// Runs a statement that has no rows.
    func run() throws(IotoError) {
        while try step() {}
    }

    /// Steps once with a key as parameters 1 and 2, without copying it.
    ///
    /// - Returns: Whether there is a row.
    func step(key: ItemKey) throws(IotoError) -> Bool {
        let code = key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in stepCode(hash, sort) }
        }
        return try hasRow(code)
    }

    /// The same for a key whose texts stand elsewhere.
    func step(_ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer) throws(IotoError) -> Bool {
        try hasRow(stepCode(hash, sort))
    }

    private func stepCode(_ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer) -> Int32 {
        var code = bindInPlace(1, hash)
        if code == SQLITE_OK { code = bindInPlace(2, sort) }
        return code == SQLITE_OK ? sqlite3_step(pointer) : code
    }

    /// Steps once with a key as parameters 1 and 2 and a body as parameter 3, without copying them.
    func run(key: ItemKey, body: [UInt8]) throws(IotoError) {
        let code = key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in
                body.withUnsafeBytes { body in
                    var code = bindInPlace(1, hash)
                    if code == SQLITE_OK { code = bindInPlace(2, sort) }
                    if code == SQLITE_OK { code = bindInPlace(3, body) }
                    return code == SQLITE_OK ? sqlite3_step(pointer) : code
                }
            }
        }
        _ = try hasRow(code)
    }

    private func hasRow(_ code: Int32) throws(IotoError) -> Bool {
        if code == SQLITE_ROW { return true }
        if code == SQLITE_DONE { return false }
        throw connection.error(code, Text(cString: sqlite3_sql(pointer)))
    }

    private func check(_ code: Int32) throws(IotoError) {
        guard code == SQLITE_OK else { throw connection.error(code, "bind") }
    }

    // MARK: Columns

    func isNull(_ column: Int32) -> Bool {
        sqlite3_column_type(pointer, column) == SQLITE_NULL
    }

    func integer(_ column: Int32) throws(IotoError) -> Int64 {
        guard sqlite3_column_type(pointer, column) == SQLITE_INTEGER else { throw mistyped(column) }
        return sqlite3_column_int64(pointer, column)
    }

    func optionalInteger(_ column: Int32) throws(IotoError) -> Int64? {
        isNull(column) ? nil : try integer(column)
    }

    func bits(_ column: Int32) throws(IotoError) -> UInt64 {
        UInt64(bitPattern: try integer(column))
    }

    func text(_ column: Int32) throws(IotoError) -> Text {
        Text(try bytes(column))
    }

    func bytes(_ column: Int32) throws(IotoError) -> [UInt8] {
        copyBytes(try rawBytes(column))
    }

    /// A text's bytes where SQLite has them, until the next step.
    func rawBytes(_ column: Int32) throws(IotoError) -> UnsafeRawBufferPointer {
        guard sqlite3_column_type(pointer, column) == SQLITE_TEXT else { throw mistyped(column) }
        // As a blob the text is not copied to be given a NUL.
        let start = sqlite3_column_blob(pointer, column)
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(pointer, column)))
    }

    private func mistyped(_ column: Int32) -> IotoError {
        guard let name = sqlite3_column_name(pointer, column) else {
            return connection.error(SQLITE_NOMEM, "read")
        }
        return connection.corrupt("column '\(Text(cString: name))' holds a value of another type")
    }
}
