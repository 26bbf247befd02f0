import CIoto
import IotoAgent
import IotoBase
import IotoSchema
import IotoStore
import IotoSync

@_cdecl("dbModelCount") @implementation
public func dbModelCount(_ db: OpaquePointer?) -> Int {
    entry(0) { () throws(IotoError) in
        let call = try DatabaseCall(db)
        return call.database.schema.models.count
    }
}

@_cdecl("dbModelAt") @implementation
public func dbModelAt(_ db: OpaquePointer?, _ index: Int) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let models = call.database.schema.models
        return models.indices.contains(index) ? borrow(models[index]) : nil
    }
}

@_cdecl("dbModelEnable") @implementation
public func dbModelEnable(_ model: OpaquePointer?) -> UnsafePointer<CChar>? {
    guard let model else { return staticCString("") }
    switch object(model, Model.self).enable {
    case .cloud: return staticCString("cloud")
    case .device: return staticCString("device")
    case .both: return staticCString("both")
    }
}

@_cdecl("dbModelSync") @implementation
public func dbModelSync(_ model: OpaquePointer?) -> UnsafePointer<CChar>? {
    guard let model else { return staticCString("") }
    let found = object(model, Model.self)
    switch (found.syncsUp, found.syncsDown) {
    case (true, true): return staticCString("both")
    case (true, false): return staticCString("up")
    case (false, true): return staticCString("down")
    case (false, false): return staticCString("none")
    }
}

/// Changes that are read from the file at a time.
private let pageItemsMax = 100
private let pageBytesMax = 1024 * 1024

@_cdecl("dbEachPending") @implementation
public func dbEachPending(
    _ db: OpaquePointer?, _ proc: DbPendingProc?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let store = call.database.store
        guard let proc else { throw misuse("proc is NULL") }
        var position = Int64.min
        var count: Int32 = 0
        while true {
            let page = try store.pendingChanges(after: position, held: [], bytesMax: pageBytesMax, itemsMax: pageItemsMax)
            for pending in page {
                position = pending.position
                guard tell(proc, context, store, pending.change, queued: pending.time, &count) else { return count }
            }
            if page.isEmpty { return count }
        }
    }
}

@_cdecl("dbEachRejected") @implementation
public func dbEachRejected(
    _ db: OpaquePointer?, _ proc: DbPendingProc?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let store = call.database.store
        guard let proc else { throw misuse("proc is NULL") }
        var position: Int64 = 0
        var count: Int32 = 0
        while true {
            let page = try store.rejectedChanges(after: position, itemsMax: pageItemsMax)
            for rejected in page {
                position = rejected.position
                guard tell(proc, context, store, rejected.change, queued: position, &count, rejected) else { return count }
            }
            if page.isEmpty { return count }
        }
    }
}

/// - Parameter count: Of the calls.
/// - Returns: Whether the caller wants more.
private func tell(
    _ proc: DbPendingProc, _ context: UnsafeMutableRawPointer?, _ store: Store, _ change: Change, queued: Int64,
    _ count: inout Int32, _ rejected: RejectedChange? = nil
) -> Bool {
    guard let stored = store.item(of: change) else { return true }
    let item = Item(stored)
    let reason = rejected.map { CText($0.reason) }
    var pending = DbPending()
    pending.size = UInt32(MemoryLayout<DbPending>.size)
    pending.code = rejected?.code ?? 0
    pending.model = stored.model.cName.pointer
    pending.cmd = staticCString(change.isRemoval ? "remove" : "put")
    pending.item = borrow(item)
    // A position is the time of the version that took it: milliseconds and a counter of 16 bits.
    pending.queued_ms = queued >> 16
    pending.changed_ms = Int64(change.version.time >> 16)
    pending.refused_ms = rejected?.time ?? 0
    pending.id = queued
    pending.reason = reason?.pointer ?? staticCString("")
    count += 1
    return withExtendedLifetime((item, reason)) { proc(context, &pending) }
}

@_cdecl("dbCheck") @implementation
public func dbCheck(_ db: OpaquePointer?, _ proc: DbReportProc?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let count = try call.database.store.check { problem in
            let text = CText(problem)
            withExtendedLifetime(text) { proc?(context, text.pointer) }
        }
        return Int32(clamping: count)
    }
}

@_cdecl("dbVacuum") @implementation
public func dbVacuum(_ db: OpaquePointer?) -> Int64 {
    var bytes: Int64 = 0
    let code = entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        bytes = try call.database.store.vacuum()
        return 0
    }
    return code < 0 ? Int64(code) : bytes
}
