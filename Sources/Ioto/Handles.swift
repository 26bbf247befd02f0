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

/// A call on a database, which lasts as long as this value does: closing waits for it.
struct DatabaseCall: ~Copyable {
    let handle: DatabaseHandle
    private let pointer: OpaquePointer
    private let isCounted: Bool

    /// - Throws: `.misuse` when the database is not open.
    init(_ db: OpaquePointer?) throws(IotoError) {
        guard let db else { throw misuse("db is NULL") }
        var isCounted = false
        guard let object = platform_call_begin(db, Int32(PLATFORM_HANDLE_DATABASE), &isCounted) else {
            throw misuse("db is not an open database")
        }
        handle = Unmanaged<DatabaseHandle>.fromOpaque(object).takeUnretainedValue()
        pointer = db
        self.isCounted = isCounted
    }

    var database: Database { handle.database }

    deinit {
        if isCounted { platform_call_end(pointer) }
    }
}

/// The same for an agent.
struct AgentCall: ~Copyable {
    let handle: AgentHandle
    private let pointer: OpaquePointer
    private let isCounted: Bool

    /// - Throws: `.misuse` when the agent is not open.
    init(_ io: OpaquePointer?) throws(IotoError) {
        guard let io else { throw misuse("io is NULL") }
        var isCounted = false
        guard let object = platform_call_begin(io, Int32(PLATFORM_HANDLE_AGENT), &isCounted) else {
            throw misuse("io is not an open agent")
        }
        handle = Unmanaged<AgentHandle>.fromOpaque(object).takeUnretainedValue()
        pointer = io
        self.isCounted = isCounted
    }

    var agent: Agent { handle.agent }

    deinit {
        if isCounted { platform_call_end(pointer) }
    }
}
