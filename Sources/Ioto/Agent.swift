import CIoto
import CPlatform
import IotoAgent
import IotoBase
import IotoSync

@_cdecl("ioSetLog") @implementation
public func ioSetLog(_ proc: IoLogProc?, _ context: UnsafeMutableRawPointer?, _ level: IoLogLevel) {
    guard let proc else {
        Log.set(nil, level: .warning)
        return
    }
    let sink = LogSink(proc, context)
    Log.set({ level, message in sink.write(level, message) }, level: LogLevel(upTo: level.rawValue))
}

/// The firmware's log callback, which takes calls from any thread.
private final class LogSink: @unchecked Sendable {
    private let proc: IoLogProc
    private let context: UnsafeMutableRawPointer?

    init(_ proc: @escaping IoLogProc, _ context: UnsafeMutableRawPointer?) {
        self.proc = proc
        self.context = context
    }

    func write(_ level: LogLevel, _ message: Text) {
        message.withCString { proc(context, IoLogLevel(UInt32(level.rawValue)), $0) }
    }
}

@_cdecl("ioOpen") @implementation
public func ioOpen(_ config: UnsafePointer<CChar>?) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let agent = try Agent(try AgentConfiguration(try text(config, "config")))
        do throws(IotoError) {
            return try AgentHandle.open(agent)
        } catch {
            agent.close()
            throw error
        }
    }
}

@_cdecl("ioGetDb") @implementation
public func ioGetDb(_ io: OpaquePointer?) -> OpaquePointer? {
    guard let io else { return nil }
    return entry(nil) { () throws(IotoError) in
        let call = try AgentCall(io)
        return call.handle.database
    }
}

@_cdecl("ioStart") @implementation
public func ioStart(_ io: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let isOutside = try !isInside(io)
        let call = try AgentCall(io)
        try call.agent.start(waits: isOutside)
        return 0
    }
}

@_cdecl("ioStop") @implementation
public func ioStop(_ io: OpaquePointer?) {
    entry(()) { () throws(IotoError) in
        guard try !isInside(io) else { throw misuse("an agent can't be stopped from a callback of its own or of its database") }
        let call = try AgentCall(io)
        call.agent.stop()
    }
}

@_cdecl("ioClose") @implementation
public func ioClose(_ io: OpaquePointer?) {
    guard let io else { return }
    entry(()) { () throws(IotoError) in
        guard try !isInside(io) else { throw misuse("an agent can't be closed from a callback of its own or of its database") }
        let db = try database(io)
        guard let handle = shutHandle(io, PLATFORM_HANDLE_AGENT, AgentHandle.self) else {
            throw misuse("io is not an open agent")
        }
        let owned = shutHandle(db, PLATFORM_HANDLE_DATABASE, DatabaseHandle.self)
        // Triggers that still run find the two by their handles.
        withExtendedLifetime((handle, owned)) {
            // Calls that wait for the cloud end by this.
            handle.agent.stop()
            handle.agent.database.prepareToClose()
            platform_handle_drain(io)
            platform_handle_drain(db)
            handle.agent.close()
            platform_handle_free(db)
            platform_handle_free(io)
        }
    }
}

/// The handle of an agent's database.
private func database(_ io: OpaquePointer?) throws(IotoError) -> OpaquePointer {
    let call = try AgentCall(io)
    return call.handle.database
}

/// Whether the calling thread is in a callback of the agent or of its database, or in another call on one of the two.
private func isInside(_ io: OpaquePointer?) throws(IotoError) -> Bool {
    let db = try database(io)
    return platform_is_inside(io) || platform_is_inside(db)
}

@_cdecl("ioRejoin") @implementation
public func ioRejoin(_ io: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        try call.agent.rejoin()
        return 0
    }
}

@_cdecl("ioSync") @implementation
public func ioSync(_ io: OpaquePointer?, _ timeout_ms: Int32) -> Int32 {
    sync(io, [.up, .down], timeout_ms)
}

@_cdecl("ioSyncUp") @implementation
public func ioSyncUp(_ io: OpaquePointer?, _ timeout_ms: Int32) -> Int32 {
    sync(io, [.up], timeout_ms)
}

@_cdecl("ioSyncDown") @implementation
public func ioSyncDown(_ io: OpaquePointer?, _ timeout_ms: Int32) -> Int32 {
    sync(io, [.down], timeout_ms)
}

@_cdecl("ioFlushSync") @implementation
public func ioFlushSync(_ io: OpaquePointer?) -> Int32 {
    sync(io, [.up], 0)
}

private func sync(_ io: OpaquePointer?, _ directions: [SyncDirection], _ timeout_ms: Int32) -> Int32 {
    entryCode { () throws(IotoError) in
        guard timeout_ms >= 0 else { throw misuse("timeout_ms is negative") }
        let call = try AgentCall(io)
        try call.agent.sync(directions, timeout: Int64(timeout_ms))
        return 0
    }
}

@_cdecl("ioGetStatus") @implementation
public func ioGetStatus(_ io: OpaquePointer?, _ out: UnsafeMutablePointer<IoStatus>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        let out = try target(out)
        var status = try cStatus(call.agent)
        deliver(&status, to: out)
        return 0
    }
}

@_cdecl("ioSetStatusProc") @implementation
public func ioSetStatusProc(_ io: OpaquePointer?, _ proc: IoStatusProc?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        let agent = call.agent
        guard let proc else {
            agent.setObserver(nil)
            return 0
        }
        // The observer goes before the agent.
        agent.setObserver { [unowned(unsafe) agent] in
            do throws(IotoError) {
                var status = try cStatus(agent)
                let isMarked = platform_inside_begin(io)
                proc(context, io, &status)
                if isMarked { platform_inside_end() }
            } catch {
                Log.warning(error.message)
            }
        }
        return 0
    }
}

private func cStatus(_ agent: Agent) throws(IotoError) -> IoStatus {
    let status = try agent.currentStatus()
    var out = IoStatus()
    out.size = UInt32(MemoryLayout<IoStatus>.size)
    out.pendingBytes = status.pendingBytes
    out.oldestPending_ms = status.oldestPending
    out.conflicts = status.conflicts
    out.held = status.isHolding
    (out.catchUpDone, out.catchUpTotal) = status.catchUp
    out.link = IoLink(status.link.rawValue)
    out.caughtUp = status.isCaughtUp
    out.pendingItems = status.pendingItems
    out.rejectedItems = status.rejectedItems
    out.sentItems = status.statistics.sentItems
    out.receivedItems = status.statistics.receivedItems
    out.sentBytes = status.sentBytes
    out.receivedBytes = status.receivedBytes
    out.lastUp_ms = status.statistics.lastUp
    out.lastDown_ms = status.statistics.lastDown
    out.connections = status.connections
    guard let error = status.lastError else { return out }
    out.lastError = error.code.rawValue
    withUnsafeMutableBytes(of: &out.lastErrorText) { fill($0, error.message) }
    return out
}
