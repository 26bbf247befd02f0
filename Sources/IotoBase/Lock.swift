import CPlatform

/// A mutex. It owns an allocation of its own, since a pthread mutex must not move.
public final class Lock: @unchecked Sendable {
    private let mutex: OpaquePointer

    public init() {
        mutex = platform_mutex_new().orOutOfMemory()
    }

    deinit {
        platform_mutex_free(mutex)
    }

    public func lock() { platform_mutex_lock(mutex) }
    public func unlock() { platform_mutex_unlock(mutex) }

    public func withLock<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        platform_mutex_lock(mutex)
        defer { platform_mutex_unlock(mutex) }
        return try body()
    }

    fileprivate var pointer: OpaquePointer { mutex }
}

/// A condition variable, used with the lock that guards what is waited for.
public final class Condition: @unchecked Sendable {
    private let condition: OpaquePointer

    public init() {
        condition = platform_condition_new().orOutOfMemory()
    }

    deinit {
        platform_condition_free(condition)
    }

    public func wait(_ lock: Lock) {
        platform_condition_wait(condition, lock.pointer)
    }

    /// - Returns: False when `timeout` milliseconds have passed.
    public func wait(_ lock: Lock, timeout: Int64) -> Bool {
        platform_condition_wait_for(condition, lock.pointer, timeout)
    }

    public func broadcast() {
        platform_condition_broadcast(condition)
    }
}

extension Optional where Wrapped == OpaquePointer {
    /// The pointer; where a few bytes can't be had there is nothing left that could report it, as in Swift's allocator.
    fileprivate func orOutOfMemory() -> OpaquePointer {
        guard let self else { fatalError("out of memory") }
        return self
    }
}
