import CIoto

/// A code of `ioto.h`. The numbers are permanent and stand in the header alone.
public struct ErrorCode: Equatable, Sendable {
    public let rawValue: Int32

    @usableFromInline
    init(_ constant: Int) {
        rawValue = Int32(truncatingIfNeeded: constant)
    }

    public static let misuse = ErrorCode(DB_ERR_MISUSE)
    public static let memory = ErrorCode(DB_ERR_MEMORY)
    public static let notFound = ErrorCode(DB_ERR_NOT_FOUND)
    public static let exists = ErrorCode(DB_ERR_EXISTS)
    public static let json = ErrorCode(DB_ERR_JSON)
    public static let timeout = ErrorCode(DB_ERR_TIMEOUT)
    public static let io = ErrorCode(DB_ERR_IO)
    public static let limit = ErrorCode(DB_ERR_LIMIT)
    public static let configuration = ErrorCode(DB_ERR_CONFIG)
    public static let storage = ErrorCode(DB_ERR_STORAGE)
    public static let full = ErrorCode(DB_ERR_FULL)
    public static let corrupt = ErrorCode(DB_ERR_CORRUPT)
    public static let busy = ErrorCode(DB_ERR_BUSY)
    public static let readOnly = ErrorCode(DB_ERR_READ_ONLY)
    public static let format = ErrorCode(DB_ERR_FORMAT)
    public static let schema = ErrorCode(DB_ERR_SCHEMA)
    public static let model = ErrorCode(DB_ERR_MODEL)
    public static let field = ErrorCode(DB_ERR_FIELD)
    public static let denied = ErrorCode(DB_ERR_DENIED)
    public static let key = ErrorCode(DB_ERR_KEY)
    public static let ambiguous = ErrorCode(DB_ERR_AMBIGUOUS)
    public static let offline = ErrorCode(DB_ERR_OFFLINE)
    public static let protocolViolation = ErrorCode(DB_ERR_PROTOCOL)
    public static let rejected = ErrorCode(DB_ERR_REJECTED)
    public static let fenced = ErrorCode(DB_ERR_FENCED)
    public static let conflict = ErrorCode(DB_ERR_CONFLICT)
}

/// What went wrong: a code for programs, one impersonal line for people.
///
/// A reference, since it is rarely made and passed on at 1,800 places: one word goes there instead of three.
public final class IotoError: Error, Sendable {
    public let code: ErrorCode
    /// The source's own code: SQLite's extended result code, an errno, or an MQTT reason code; 0 when there is none.
    public let detail: Int32
    public let message: Text

    @inline(never)
    public init(_ code: ErrorCode, _ message: Text, detail: Int32 = 0) {
        self.code = code
        self.message = message
        self.detail = detail
    }

    /// The same error with the place where it was found in front.
    public func prefixed(_ place: Text) -> IotoError {
        IotoError(code, "\(place): \(message)", detail: detail)
    }
}

extension IotoError: CustomStringConvertible {
    public var description: String { message.string }
}
