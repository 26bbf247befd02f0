import CIoto
import CPlatform
import IotoAgent
import IotoBase
import IotoSchema
import IotoStore

@_cdecl("dbOpen") @implementation
public func dbOpen(
    _ path: UnsafePointer<CChar>?, _ schema: UnsafePointer<CChar>?, _ flags: Int32
) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let known = Int32(DB_READ_ONLY | DB_OPEN_RESET | DB_DURABILITY_NORMAL | DB_RECOVER)
        guard flags & ~known == 0 else { throw misuse("unknown flags") }
        var options = StoreOptions()
        options.isReadOnly = flags & Int32(DB_READ_ONLY) != 0
        options.isReset = flags & Int32(DB_OPEN_RESET) != 0
        options.isRecovering = flags & Int32(DB_RECOVER) != 0
        options.durability = flags & Int32(DB_DURABILITY_NORMAL) != 0 ? .normal : .full
        let database = try Database(
            path: try text(path, "path"), schemaPath: try text(schema, "schema"), options: options)
        do throws(IotoError) {
            return try DatabaseHandle.open(database, isAgents: false)
        } catch {
            database.close()
            throw error
        }
    }
}

@_cdecl("dbClose") @implementation
public func dbClose(_ db: OpaquePointer?) {
    guard let db else { return }
    entry(()) { () throws(IotoError) in
        guard !platform_is_inside(db) else { throw misuse("a database can't be closed from within a call on it") }
        guard try !isAgents(db) else { throw misuse("the database of an agent is closed by ioClose") }
        guard let handle = shutHandle(db, PLATFORM_HANDLE_DATABASE, DatabaseHandle.self) else {
            throw misuse("db is not an open database")
        }
        // Triggers that still run find it by its handle.
        withExtendedLifetime(handle) {
            handle.database.prepareToClose()
            platform_handle_drain(db)
            handle.database.close()
            platform_handle_free(db)
        }
    }
}

private func isAgents(_ db: OpaquePointer) throws(IotoError) -> Bool {
    let call = try DatabaseCall(db)
    return call.handle.isAgents
}

@_cdecl("dbAddContext") @implementation
public func dbAddContext(
    _ db: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let name = try text(name, "name")
        guard !name.isEmpty else { throw misuse("name is empty") }
        call.database.setContext(name, try optionalText(value, "value"))
        return 0
    }
}

@_cdecl("dbRemoveExpired") @implementation
public func dbRemoveExpired(_ db: OpaquePointer?, _ notify: Bool) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        return Int32(clamping: try call.database.removeExpired(isSilent: !notify))
    }
}

@_cdecl("dbGetModel") @implementation
public func dbGetModel(_ db: OpaquePointer?, _ name: UnsafePointer<CChar>?) -> OpaquePointer? {
    entry(nil) { () throws(IotoError) in
        let call = try DatabaseCall(db)
        return borrow(try call.database.model(try text(name, "name")))
    }
}

@_cdecl("dbModelName") @implementation
public func dbModelName(_ model: OpaquePointer?) -> UnsafePointer<CChar>? {
    guard let model else { return staticCString("") }
    return object(model, Model.self).cName.pointer
}
