import CIoto
import CPlatform
import IotoAgent
import IotoBase

/// What a `Db *` stands for.
final class DatabaseHandle {
    let database: Database
    /// It belongs to an agent, which closes it.
    let isAgents: Bool

    init(_ database: Database, isAgents: Bool) {
        self.database = database
        self.isAgents = isAgents
    }

    /// The handle of an open database.
    static func open(_ database: Database, isAgents: Bool) throws(IotoError) -> OpaquePointer {
        try openHandle(PLATFORM_HANDLE_DATABASE, DatabaseHandle(database, isAgents: isAgents))
    }
}

/// What an `Io *` stands for.
final class AgentHandle {
    let agent: Agent
    /// The handle of the agent's database.
    let database: OpaquePointer

    init(_ agent: Agent, database: OpaquePointer) {
        self.agent = agent
        self.database = database
    }

    static func open(_ agent: Agent) throws(IotoError) -> OpaquePointer {
        let database = try DatabaseHandle.open(agent.database, isAgents: true)
        do throws(IotoError) {
            return try openHandle(PLATFORM_HANDLE_AGENT, AgentHandle(agent, database: database))
        } catch {
            _ = shutHandle(database, PLATFORM_HANDLE_DATABASE, DatabaseHandle.self)
            platform_handle_free(database)
            throw error
        }
    }
}

private func openHandle<Object: AnyObject>(_ kind: Int, _ object: Object) throws(IotoError) -> OpaquePointer {
    let retained = Unmanaged.passRetained(object)
    guard let handle = platform_handle_open(Int32(truncatingIfNeeded: kind), retained.toOpaque()) else {
        retained.release()
        throw IotoError(.limit, "more than \(Int(PLATFORM_HANDLES_MAX)) databases and agents are open")
    }
    return handle
}

/// Refuses calls on a handle from now on.
///
/// - Returns: What it stood for; nil when it is not open.
func shutHandle<Object: AnyObject>(_ handle: OpaquePointer, _ kind: Int, _ type: Object.Type) -> Object? {
    platform_handle_shut(handle, Int32(truncatingIfNeeded: kind)).map {
        Unmanaged<Object>.fromOpaque($0).takeRetainedValue()
    }
}

/// A call on what a handle stands for, which lasts as long as this value does: closing waits for it.
private struct HandleCall: ~Copyable {
    let object: UnsafeMutableRawPointer
    private let pointer: OpaquePointer
    private let isCounted: Bool

    /// - Throws: `.misuse` when it is not open.
    init(_ handle: OpaquePointer?, _ kind: Int) throws(IotoError) {
        guard let handle else { throw misuse(kind == PLATFORM_HANDLE_AGENT ? "io is NULL" : "db is NULL") }
        var isCounted = false
        guard let object = platform_call_begin(handle, Int32(truncatingIfNeeded: kind), &isCounted) else {
            throw misuse(kind == PLATFORM_HANDLE_AGENT ? "io is not an open agent" : "db is not an open database")
        }
        self.object = object
        pointer = handle
        self.isCounted = isCounted
    }

    deinit {
        if isCounted { platform_call_end(pointer) }
    }
}

/// A call on a database.
struct DatabaseCall: ~Copyable {
    let handle: DatabaseHandle
    private let call: HandleCall

    init(_ db: OpaquePointer?) throws(IotoError) {
        call = try HandleCall(db, PLATFORM_HANDLE_DATABASE)
        handle = Unmanaged<DatabaseHandle>.fromOpaque(call.object).takeUnretainedValue()
    }

    var database: Database { handle.database }
}

/// The same for an agent.
struct AgentCall: ~Copyable {
    let handle: AgentHandle
    private let call: HandleCall

    init(_ io: OpaquePointer?) throws(IotoError) {
        call = try HandleCall(io, PLATFORM_HANDLE_AGENT)
        handle = Unmanaged<AgentHandle>.fromOpaque(call.object).takeUnretainedValue()
    }

    var agent: Agent { handle.agent }
}
