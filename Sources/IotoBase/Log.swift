import CPlatform

/// Importance of a log line, numbered as syslog does (RFC 5424, 6.2.1).
public enum LogLevel: Int32, Sendable {
    case error = 3
    case warning = 4
    case info = 6
    case debug = 7

    /// The level of this number, or the next one that is more important: what is more important than any is an error.
    public init(upTo number: UInt32) {
        self = number >= 7 ? .debug : number >= 6 ? .info : number >= 4 ? .warning : .error
    }
}

/// Where the library's log lines go: the process-wide sink, stderr by default.
public enum Log {
    public typealias Sink = @Sendable (LogLevel, Text) -> Void

    private static let state = State()

    /// Sets the sink and the least important level that it gets; nil brings back stderr.
    public static func set(_ sink: Sink?, level: LogLevel) {
        state.lock.withLock {
            state.sink = sink
            state.level = level
        }
    }

    public static func error(_ message: @autoclosure () -> Text) { write(.error, message) }
    public static func warning(_ message: @autoclosure () -> Text) { write(.warning, message) }
    public static func info(_ message: @autoclosure () -> Text) { write(.info, message) }
    public static func debug(_ message: @autoclosure () -> Text) { write(.debug, message) }

    @inline(never)
    private static func write(_ level: LogLevel, _ message: () -> Text) {
        let (sink, limit) = state.lock.withLock { (state.sink, state.level) }
        guard level.rawValue <= limit.rawValue else { return }
        // The sink is the firmware's code: it runs with no lock held.
        if let sink {
            sink(level, message())
            return
        }
        let line = "ioto: \(message())\n" as Text
        line.bytes.withUnsafeBytes { platform_log($0.baseAddress, $0.count) }
    }

    private final class State: @unchecked Sendable {
        let lock = Lock()
        var sink: Sink?
        var level = LogLevel.warning
    }
}
