import CIoto
import IotoAgent
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

@_cdecl("dbRetryRejected") @implementation
public func dbRetryRejected(
    _ db: OpaquePointer?, _ id: Int64, _ props: UnsafePointer<DbProps>?, _ params: UnsafePointer<DbParams>?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let database = call.database
        let parameters = try parameters(params)
        try receipted(database, parameters) { () throws(IotoError) in
            try database.retryRejected(id) { (model) throws(IotoError) -> JSONObject in
                try properties(props, database, model.name, isForItem: false)
            }
        }
        return 0
    }
}

@_cdecl("dbDiscardRejected") @implementation
public func dbDiscardRejected(_ db: OpaquePointer?, _ id: Int64) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        try call.database.store.discardRejected(id)
        return 0
    }
}

/// Runs a change, under a receipt where the caller wants one. On failure there is none.
func receipted(
    _ database: Database, _ parameters: DbParams, _ body: () throws(IotoError) -> Void
) throws(IotoError) {
    guard let out = parameters.receipt else { return try body() }
    out.pointee = 0
    out.pointee = try database.withReceipt(body)
}

// MARK: Receipts

@_cdecl("ioGetReceipt") @implementation
public func ioGetReceipt(_ io: OpaquePointer?, _ receipt: Int64, _ out: UnsafeMutablePointer<IoReceipt>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        let out = try target(out)
        var found = IoReceipt()
        let (state, code, reason) = try call.agent.receipt(receipt)
        found.state = IoReceiptState(state.rawValue)
        found.code = code
        withUnsafeMutableBytes(of: &found.reason) { fill($0, reason) }
        deliver(&found, to: out)
        return 0
    }
}

@_cdecl("ioWaitReceipt") @implementation
public func ioWaitReceipt(_ io: OpaquePointer?, _ receipt: Int64, _ timeout_ms: Int32) -> Int32 {
    entryCode { () throws(IotoError) in
        guard timeout_ms >= 0 else { throw misuse("timeout_ms is negative") }
        let call = try AgentCall(io)
        try call.agent.waitForReceipt(receipt, timeout: Int64(timeout_ms))
        return 0
    }
}
