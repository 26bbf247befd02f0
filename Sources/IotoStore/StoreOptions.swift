import CPlatform
import IotoBase

/// When a commit is on the disk.
public enum Durability: Sendable {
    /// When the call returns: a power failure loses nothing that returned.
    case full
    /// Soon after: the death of the process loses nothing, a power failure may lose the last moments, never the
    /// consistency of the file. What is sent to the cloud is on the disk before it is sent.
    case normal
}

public struct StoreOptions: Sendable {
    public var durability = Durability.full
    /// Open a file that exists for reading only.
    public var isReadOnly = false
    /// Remove every item, pending change and cursor first.
    public var isReset = false
    /// Recover the file when it is damaged, see `StoreRecovery`.
    public var isRecovering = false
    /// Unix milliseconds.
    public var wallClock: @Sendable () -> Int64 = { platform_wall_ms() }
    /// Milliseconds that only go forward, from some moment on.
    public var monotonicClock: @Sendable () -> Int64 = { platform_monotonic_ms() }
    /// Name of the SQLite VFS that the file is on; nil: the default one, the operating system's files.
    public var vfs: Text?
    /// Where the id of a new database comes from.
    public var random: @Sendable () -> UInt64 = { SystemRandom.uint64() }

    /// Age from which the cloud may have forgotten a removal, in milliseconds.
    public var forgottenAfter = StoreLimits.knownAfter

    public init() {}
}
