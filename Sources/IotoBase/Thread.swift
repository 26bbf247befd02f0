import CPlatform

/// A thread of the library. Every signal is blocked in it: the firmware's handlers run on the firmware's threads.
public final class Thread: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Starts a thread.
    ///
    /// - Parameter name: At most 15 bytes, as the kernel shows it.
    /// - Throws: `.memory` when the system has no thread to give.
    public init(name: Text, _ body: @escaping () -> Void) throws(IotoError) {
        let context = Unmanaged.passRetained(ThreadBody(body))
        var handle: OpaquePointer?
        let code = name.withCString { name in
            platform_thread_start(
                &handle, name,
                { context in
                    guard let context else { return }
                    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
                },
                context.toOpaque())
        }
        guard code == 0, let handle else {
            context.release()
            throw IotoError(.memory, "a thread can't be started: \(systemErrorText(code))", detail: code)
        }
        self.handle = handle
    }

    /// Waits for the thread to end. To be called once.
    public func join() {
        platform_thread_join(handle)
    }

    public static var currentIdentity: UInt { UInt(platform_thread_id()) }
}

private final class ThreadBody {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

/// Text of an errno.
public func systemErrorText(_ code: Int32) -> Text {
    var buffer = [CChar](repeating: 0, count: 128)
    return buffer.withUnsafeMutableBufferPointer { buffer in
        guard let text = platform_error_text(code, buffer.baseAddress, buffer.count) else { return "" }
        return Text(cString: text)
    }
}
