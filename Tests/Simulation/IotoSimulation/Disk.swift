import CSQLite
import CSimulatedDisk
import Synchronization

/// The disk of one device.
final class Disk {
    static let path = "/state.db"
    private static let names = Names()

    let name: String
    private var handle: OpaquePointer?
    private let world: World
    private let who: String

    /// Operations until the power goes; nil: it stays.
    var cutAfter: Int64?
    /// The operation at which the power goes, counted from the first; nil: at none.
    var cutAt: Int64?
    /// What is kept then of what was not synced; nil: as chance has it.
    var cutSeed: UInt64?
    /// Operations that fail from now on, and how.
    var failures = 0
    var failureCode: Int32 = SQLITE_IOERR
    /// Whether something failed since this was last set to false.
    var hasFailed = false
    /// Bytes that the files may have; what goes beyond is `SQLITE_FULL`.
    var capacity = Int64.max
    private(set) var operations: Int64 = 0

    init(_ world: World, who: String, forgetsOnFailedSync: Bool) {
        self.world = world
        self.who = who
        name = Disk.names.next()
        handle = simulated_disk_new(
            name,
            { context, operation, file, bytes in
                Unmanaged<Disk>.fromOpaque(context!).takeUnretainedValue().fate(operation, bytes)
            }, Unmanaged.passUnretained(self).toOpaque())
        precondition(handle != nil)
        simulated_disk_set_forgets(handle, forgetsOnFailedSync)
    }

    deinit {
        simulated_disk_free(handle)
    }

    private func fate(_ operation: simulated_disk_operation, _ bytes: Int64) -> Int32 {
        operations += 1
        if operations == cutAt {
            world.tell(who, "the power goes at operation \(operations)")
            return Int32(SIMULATED_DISK_CUT)
        }
        if let left = cutAfter {
            cutAfter = left - 1
            if left <= 0 {
                cutAfter = nil
                world.tell(who, "the power goes")
                return Int32(SIMULATED_DISK_CUT)
            }
        }
        if failures > 0 {
            failures -= 1
            // What a failing deletion leaves is a file that the next opening knows how to treat.
            hasFailed = true
            world.tell(who, "disk: \(operation.word) fails")
            return operation == SIMULATED_DISK_SYNC && failureCode == SQLITE_FULL ? SQLITE_IOERR : failureCode
        }
        if operation == SIMULATED_DISK_WRITE, capacity < Int64.max, simulated_disk_bytes(handle) + bytes > capacity {
            hasFailed = true
            world.tell(who, "disk: full")
            return SQLITE_FULL
        }
        return SQLITE_OK
    }

    var isDead: Bool { simulated_disk_is_dead(handle) }
    var isSynced: Bool { simulated_disk_is_synced(handle) }
    var bytes: Int64 { simulated_disk_bytes(handle) }

    func kill() { simulated_disk_kill(handle) }
    func cutPower(seed: UInt64) { simulated_disk_cut_power(handle, cutSeed ?? seed) }
    func boot() {
        cutAfter = nil
        simulated_disk_boot(handle)
    }
    func take(imageOf other: Disk) { simulated_disk_copy(handle, other.handle) }
}

extension simulated_disk_operation {
    fileprivate var word: String {
        switch self {
        case SIMULATED_DISK_WRITE: "a write"
        case SIMULATED_DISK_SYNC: "a sync"
        case SIMULATED_DISK_TRUNCATE: "a truncation"
        default: "a deletion"
        }
    }
}



/// Names that no two disks of the process have.
private final class Names: Sendable {
    private let count = Atomic<Int>(0)
    func next() -> String { "ioto-disk-\(count.wrappingAdd(1, ordering: .relaxed).newValue)" }
}
