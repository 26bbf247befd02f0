#if !hasFeature(Embedded)
import CSQLite
import IotoBase

/// The store's way with the log, for databases of a process that are not the store's own: a transaction is one write, and a
/// synced one does not make the file longer each time, see `FileMeter`.
public enum DefaultLayer {
    private static let meter: FileMeter? = {
        ioto_sqlite_uncounted()
        do throws(IotoError) {
            return try FileMeter(isDefault: true)
        } catch {
            Log.info(error.message)
            return nil
        }
    }()

    /// Has databases that are opened from now on go this way. May be called again.
    public static func install() {
        _ = meter
    }
}
#endif
