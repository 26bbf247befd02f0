import CIoto
import IotoAgent
import IotoBase
import IotoSchema
import IotoStore
import IotoSync

@_cdecl("ioDigest") @implementation
public func ioDigest(
    _ db: OpaquePointer?, _ stream: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<IoDigest>?, _ proc: IoDigestProc?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try DatabaseCall(db)
        let out = try target(out)
        guard let name = try optionalText(stream, "stream") ?? call.database.context["deviceId"].map({ Stream.device($0) }) else {
            throw misuse("stream is NULL, and there is no deviceId")
        }
        let found = try call.database.store.digest(of: name) { model, key, hash in
            guard let proc else { return true }
            let (first, sort, value) = (CText(key.hash), CText(key.sort), CText(hash.text))
            return withExtendedLifetime((first, sort, value)) {
                proc(context, model.cName.pointer, first.pointer, sort.pointer, value.pointer)
            }
        }
        var digest = IoDigest()
        withUnsafeMutableBytes(of: &digest.value) { fill($0, found.hash.text) }
        digest.items = found.items
        digest.history = found.cursor?.history ?? 0
        digest.cursor = found.cursor?.position ?? 0
        digest.pendingItems = found.pending
        deliver(&digest, to: out)
        return 0
    }
}

@_cdecl("ioExplain") @implementation
public func ioExplain(
    _ db: OpaquePointer?, _ model: UnsafePointer<CChar>?, _ props: UnsafePointer<DbProps>?, _ proc: IoVersionProc?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try Call(db, model, props, nil)
        guard let proc else { throw misuse("proc is NULL") }
        var count: Int32 = 0
        try call.database.explain(call.model, call.properties) { told in
            count += 1
            let (text, reason) = (CText(told.version.text), CText(told.reason))
            var version = IoVersion()
            version.size = UInt32(MemoryLayout<IoVersion>.size)
            version.isOwn = told.isOwn
            version.isRemoval = told.isRemoval
            version.version = text.pointer
            version.time_ms = told.version.milliseconds
            version.path = staticCString(told.path)
            version.fate = staticCString(told.fate)
            version.reason = reason.pointer
            withExtendedLifetime((text, reason)) { proc(context, &version) }
        }
        return count
    }
}
