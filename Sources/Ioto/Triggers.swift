import CIoto
import CPlatform
import IotoAgent
import IotoBase
import IotoSchema

@_cdecl("dbAddTrigger") @implementation
public func dbAddTrigger(
    _ db: OpaquePointer?, _ proc: DbTriggerProc?, _ model: UnsafePointer<CChar>?,
    _ arg: UnsafeMutableRawPointer?, _ events: Int32
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        guard let proc else { throw misuse("proc is NULL") }
        let events = TriggerEvents(rawValue: events)
        guard !events.isEmpty, TriggerEvents.all.isSuperset(of: events) else {
            throw misuse("events must be a sum of DB_ON_*")
        }
        try call.database.addTrigger(try identity(proc, arg, model), events: events) { call in
            let isMarked = platform_inside_begin(db)
            proc(
                arg, db, borrow(call.model), borrow(call.item), nil, command(call), call.events.rawValue)
            if isMarked { platform_inside_end() }
        }
        return 0
    }
}

@_cdecl("dbAddCallback") @implementation
public func dbAddCallback(
    _ db: OpaquePointer?, _ proc: DbTriggerProc?, _ model: UnsafePointer<CChar>?,
    _ arg: UnsafeMutableRawPointer?, _ events: Int32
) -> Int32 {
    dbAddTrigger(db, proc, model, arg, events)
}

@_cdecl("dbRemoveTrigger") @implementation
public func dbRemoveTrigger(
    _ db: OpaquePointer?, _ proc: DbTriggerProc?, _ model: UnsafePointer<CChar>?, _ arg: UnsafeMutableRawPointer?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        guard let proc else { throw misuse("proc is NULL") }
        return Int32(clamping: call.database.removeTrigger(try identity(proc, arg, model)))
    }
}

private func identity(
    _ proc: @escaping DbTriggerProc, _ arg: UnsafeMutableRawPointer?, _ model: UnsafePointer<CChar>?
) throws(IotoError) -> TriggerIdentity {
    TriggerIdentity(
        procedure: UInt(bitPattern: unsafeBitCast(proc, to: UnsafeRawPointer.self)), argument: UInt(bitPattern: arg),
        model: try optionalText(model, "model"))
}

private func command(_ call: TriggerCall) -> UnsafePointer<CChar> {
    switch call.kind {
    case .create: staticCString("create")
    case .update: staticCString("update")
    case .remove, .expired: staticCString("remove")
    // What has happened is told by the event; the command is what was done, or what has won.
    case .rejected, .full, .conflict: staticCString(call.isRemoval ? "remove" : "update")
    }
}

@_cdecl("dbTriggerBefore") @implementation
public func dbTriggerBefore(_ item: OpaquePointer?) -> OpaquePointer? {
    Ioto.item(item)?.trigger?.before.map { borrow($0) }
}

@_cdecl("dbTriggerLoser") @implementation
public func dbTriggerLoser(_ item: OpaquePointer?) -> OpaquePointer? {
    Ioto.item(item)?.trigger?.loser.map { borrow($0) }
}

@_cdecl("dbTriggerOrigin") @implementation
public func dbTriggerOrigin(_ item: OpaquePointer?) -> DbOrigin {
    Ioto.item(item)?.trigger?.isRemote == true ? DB_ORIGIN_REMOTE : DB_ORIGIN_LOCAL
}

@_cdecl("dbTriggerReason") @implementation
public func dbTriggerReason(_ item: OpaquePointer?) -> UnsafePointer<CChar>? {
    Ioto.item(item)?.trigger?.reason ?? staticCString("")
}

// MARK: Conflicts

@_cdecl("dbSetResolver") @implementation
public func dbSetResolver(_ db: OpaquePointer?, _ proc: DbResolveProc?, _ arg: UnsafeMutableRawPointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        guard let proc else {
            try call.database.setResolver(nil)
            return 0
        }
        try call.database.setResolver { (conflict, mine, theirs) in
            let isMarked = platform_inside_begin(db)
            proc(
                arg, db, borrow(conflict.model), mine.map { borrow($0) }, theirs.map { borrow($0) }, borrow(conflict))
            if isMarked { platform_inside_end() }
        }
        return 0
    }
}

@_cdecl("dbResolve") @implementation
public func dbResolve(_ conflict: OpaquePointer?, _ props: UnsafePointer<DbProps>?) -> Int32 {
    entryCode { () throws(IotoError) in
        guard let conflict else { throw misuse("conflict is NULL") }
        let found = object(conflict, Conflict.self)
        try found.resolve(try properties(props, found.database, found.model.name, isForItem: false))
        return 0
    }
}

// MARK: Delivery by the firmware's loop

@_cdecl("dbGetFd") @implementation
public func dbGetFd(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        return try call.database.triggerDescriptor()
    }
}

@_cdecl("dbDispatch") @implementation
public func dbDispatch(_ db: OpaquePointer?, _ max_ms: Int32) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        return Int32(clamping: try call.database.dispatch(timeMax: Int64(max_ms)))
    }
}

@_cdecl("ioGetFd") @implementation
public func ioGetFd(_ io: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        return try call.agent.database.triggerDescriptor()
    }
}

@_cdecl("ioDispatch") @implementation
public func ioDispatch(_ io: OpaquePointer?, _ max_ms: Int32) -> Int32 {
    entryCode { () throws(IotoError) in
        // The triggers are the database's, and so is the call.
        let call = try AgentCall(io)
        return dbDispatch(call.handle.database, max_ms)
    }
}
