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
        guard let out, out.pointee.size >= MemoryLayout<UInt32>.size else {
            throw misuse("out is NULL or has no size")
        }
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
        digest.size = out.pointee.size
        withUnsafeMutableBytes(of: &digest.value) { fill($0, found.hash.text) }
        digest.items = found.items
        digest.history = found.cursor?.history ?? 0
        digest.cursor = found.cursor?.position ?? 0
        digest.pendingItems = found.pending
        let bytes = min(Int(digest.size), MemoryLayout<IoDigest>.size)
        withUnsafeBytes(of: &digest) { source in
            UnsafeMutableRawPointer(out).copyMemory(from: UnsafeRawPointer(source.baseAddress!), byteCount: bytes)
        }
        return 0
    }
}
