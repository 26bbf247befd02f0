import CIoto
import CPlatform
import IotoBase

/// The calling thread's last error, freed when the thread ends.
private final class LastError {
    let code: Int32
    let text: CText

    init(_ error: IotoError) {
        code = error.code.rawValue
        text = CText(error.message)
    }

    static var current: LastError? {
        platform_thread_value().map { Unmanaged<LastError>.fromOpaque($0).takeUnretainedValue() }
    }

    @inline(never)
    static func set(_ error: IotoError) {
        platform_thread_value_set(Unmanaged.passRetained(LastError(error)).toOpaque()) { value in
            guard let value else { return }
            Unmanaged<LastError>.fromOpaque(value).release()
        }
    }
}

/// Runs the body of an entry point. An error is kept for `dbGetError`, and turned into `failure`.
func entry<Result>(_ failure: Result, _ body: () throws(IotoError) -> Result) -> Result {
    do throws(IotoError) {
        return try body()
    } catch {
        LastError.set(error)
        return failure
    }
}

/// Runs the body of an entry point that returns 0 or a count, and a negative code on failure.
func entryCode(_ body: () throws(IotoError) -> Int32) -> Int32 {
    do throws(IotoError) {
        return try body()
    } catch {
        LastError.set(error)
        return error.code.rawValue
    }
}

func misuse(_ what: Text) -> IotoError { IotoError(.misuse, what) }

func staticCString(_ text: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

@_cdecl("dbGetErrorCode") @implementation
public func dbGetErrorCode() -> Int32 {
    LastError.current?.code ?? 0
}

@_cdecl("dbGetError") @implementation
public func dbGetError(_ db: OpaquePointer?) -> UnsafePointer<CChar>? {
    LastError.current?.text.pointer ?? staticCString("")
}

@_cdecl("ioStrError") @implementation
public func ioStrError(_ code: Int32) -> UnsafePointer<CChar>? {
    staticCString(errorText(Int(code)))
}

@_cdecl("ioVersion") @implementation
public func ioVersion() -> UnsafePointer<CChar>? {
    staticCString("0.1.0")
}

private func errorText(_ code: Int) -> StaticString {
    switch code {
    case DB_OK: "no error"
    case DB_ERR_MISUSE: "the call breaks the contract of the function"
    case DB_ERR_MEMORY: "out of memory"
    case DB_ERR_NOT_FOUND: "item not found"
    case DB_ERR_EXISTS: "an item with this key exists"
    case DB_ERR_JSON: "the text is not JSON"
    case DB_ERR_TIMEOUT: "the time is up"
    case DB_ERR_IO: "a file can't be read or written"
    case DB_ERR_LIMIT: "a limit is reached"
    case DB_ERR_CONFIG: "the configuration is not valid"
    case DB_ERR_STORAGE: "storage error"
    case DB_ERR_FULL: "the disk is full, or a limit is met"
    case DB_ERR_CORRUPT: "the database file is damaged"
    case DB_ERR_BUSY: "another process holds the database"
    case DB_ERR_READ_ONLY: "the database is open for reading only"
    case DB_ERR_FORMAT: "the database file is of a newer version"
    case DB_ERR_SCHEMA: "the schema is not valid"
    case DB_ERR_MODEL: "unknown model"
    case DB_ERR_FIELD: "a property does not fit its field"
    case DB_ERR_DENIED: "the schema does not allow it here"
    case DB_ERR_KEY: "the key can't be computed"
    case DB_ERR_AMBIGUOUS: "more than one item matches"
    case DB_ERR_OFFLINE: "not connected"
    case DB_ERR_PROTOCOL: "the other side broke the protocol"
    case DB_ERR_REJECTED: "the cloud refused the change"
    case DB_ERR_CONFLICT: "a change of the cloud took the place of this one"
    case DB_ERR_FENCED: "another database has gone on as this device"
    default: "unknown error"
    }
}
