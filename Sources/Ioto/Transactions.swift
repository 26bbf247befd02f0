import CIoto
import IotoAgent
import IotoBase

@_cdecl("dbBegin") @implementation
public func dbBegin(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        try call.database.begin()
        return 0
    }
}

@_cdecl("dbCommit") @implementation
public func dbCommit(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        try call.database.commit()
        return 0
    }
}

@_cdecl("dbRollback") @implementation
public func dbRollback(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        try call.database.rollBack()
        return 0
    }
}
