import CIoto
import IotoAgent
import IotoBase
import IotoStore

@_cdecl("dbSetLimits") @implementation
public func dbSetLimits(_ db: OpaquePointer?, _ limits: UnsafePointer<DbLimits>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        var ceilings = Ceilings()
        if let limits {
            let given = try sized(limits, "limits", limits.pointee.size)
            ceilings.fileBytes = given.fileBytes
            ceilings.outboxItems = given.outboxItems
            ceilings.outboxBytes = given.outboxBytes
            ceilings.cacheBytes = given.cacheBytes
            ceilings.memoryBytes = given.memoryBytes
        }
        try call.database.setCeilings(ceilings)
        return 0
    }
}

@_cdecl("dbGetStats") @implementation
public func dbGetStats(_ db: OpaquePointer?, _ out: UnsafeMutablePointer<DbStats>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let out = try target(out)
        let statistics = try call.database.statistics()
        var stats = DbStats()
        stats.items = statistics.items
        stats.tombstones = statistics.tombstones
        stats.outboxItems = statistics.outboxItems
        stats.outboxBytes = statistics.outboxBytes
        stats.rejectedItems = statistics.rejectedItems
        stats.fileBytes = statistics.fileBytes
        stats.logBytes = statistics.logBytes
        stats.freeBytes = statistics.freeBytes
        stats.bytesWritten = statistics.bytesWritten
        stats.fsyncs = statistics.syncs
        stats.commits = statistics.commits
        stats.refused = statistics.refused
        stats.dropped = statistics.dropped
        stats.cacheHits = statistics.cacheHits
        stats.cacheMisses = statistics.cacheMisses
        stats.cacheBytes = statistics.cacheBytes
        stats.memoryBytes = statistics.memoryBytes
        deliver(&stats, to: out)
        return 0
    }
}

@_cdecl("dbSave") @implementation
public func dbSave(_ db: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        try call.database.store.save(to: try text(path, "path"))
        return 0
    }
}
