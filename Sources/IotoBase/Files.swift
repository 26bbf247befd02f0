import CPlatform

/// The few file operations that the library needs beside SQLite's.
public enum Files {
    /// Reads a whole file.
    ///
    /// - Throws: `.io` with the path when it can't be read or is larger than `bytesMax`.
    public static func read(_ path: Text, bytesMax: Int) throws(IotoError) -> [UInt8] {
        var data: UnsafeMutablePointer<UInt8>?
        var count = 0
        let code = path.withCString { platform_read_file($0, bytesMax, &data, &count) }
        guard code == 0, let data else {
            throw IotoError(.io, "\(path): \(systemErrorText(code))", detail: code)
        }
        defer { platform_free(data) }
        return copyBytes(UnsafeRawBufferPointer(start: data, count: count))
    }

    /// Size of a file in bytes, or nil when there is none.
    public static func size(_ path: Text) -> Int64? {
        let size = path.withCString { platform_file_size($0) }
        return size < 0 ? nil : size
    }

    /// Removes a file, if there is one.
    public static func remove(_ path: Text) throws(IotoError) {
        try check(path.withCString { platform_remove_file($0) }, path)
    }

    /// Puts a file in the place of another, which need not be there, and makes that durable.
    public static func replace(_ path: Text, by other: Text) throws(IotoError) {
        try check(other.withCString { from in path.withCString { platform_replace_file(from, $0) } }, path)
    }

    /// Removes a database file and those that SQLite puts beside it.
    public static func removeDatabase(_ path: Text) throws(IotoError) {
        try check(path.withCString { platform_remove_database($0) }, path)
    }

    /// Puts a database file in the place of another, which is kept beside it.
    ///
    /// - Returns: The other's new name.
    public static func exchangeDatabase(_ path: Text, by other: Text) throws(IotoError) -> Text {
        var kept = [CChar](repeating: 0, count: 4096)
        try check(
            other.withCString { part in
                path.withCString { platform_exchange_database($0, part, &kept, kept.count) }
            }, path)
        return Text(cString: kept)
    }

    /// Writes a file's content to the disk.
    public static func sync(_ path: Text) throws(IotoError) {
        try check(path.withCString { platform_sync_file($0) }, path)
    }

    private static func check(_ code: Int32, _ path: Text) throws(IotoError) {
        guard code != 0 else { return }
        let kind: ErrorCode = platform_is_full(code) ? .full : platform_is_taken(code) ? .exists : .io
        throw IotoError(kind, "\(path): \(systemErrorText(code))", detail: code)
    }

    /// `path`, taken from the folder of the file `base` when it is relative.
    public static func resolve(_ path: Text, besideFile base: Text) -> Text {
        if path.bytes.first == UInt8(ascii: "/") { return path }
        guard let slash = base.bytes.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return Text(base.bytes[...slash]) + path
    }
}
