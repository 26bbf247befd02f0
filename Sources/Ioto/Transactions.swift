import CIoto
import IotoAgent
import IotoBase

@_cdecl("dbBegin") @implementation
public func dbBegin(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        try database(db).begin()
        return 0
    }
}

@_cdecl("dbCommit") @implementation
public func dbCommit(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        try database(db).commit()
        return 0
    }
}

@_cdecl("dbRollback") @implementation
public func dbRollback(_ db: OpaquePointer?) -> Int32 {
    entryCode { () throws(IotoError) in
        try database(db).rollBack()
        return 0
    }
}
