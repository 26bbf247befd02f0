import IotoBase
import IotoSync

/// The acknowledgement of the one change that waits, which is what comes most often while a device works: it has no
/// transaction of its own. The next one begins with it, that of the change to come for one, or `settleLate`.
///
/// Until then the outbox counts as empty, while its row is in the file. A process that dies before finds the change there,
/// sends it once more, and is answered once more.
extension Store {
    final class LateSettlement {
        let settlement: Settlement
        /// The cache's: of the state in which nothing else waited.
        let generation: UInt64

        init(_ settlement: Settlement, _ generation: UInt64) {
            self.settlement = settlement
            self.generation = generation
        }
    }

    public func settleLater(_ settlement: Settlement) throws(IotoError) -> Bool {
        guard let writer, !isInTransaction, settlement.entries.count == 1, let entry = settlement.entries.first,
            case .acknowledged = entry.answer
        else { return false }
        guard try settleLate() else { return false }
        try acquire()
        defer { release() }
        // Nobody writes here now; another process may, and is noticed. The item has not changed since it was sent: it was
        // the last change of all.
        guard let generation = cache.currentGeneration, entry.pending.change.version.writer == replica,
            entry.pending.change.version.time == clock.committed,
            try pendingRange() == entry.pending.position...entry.pending.position,
            try writer.count(.openReceipt) == 0, cache.isCurrent(generation)
        else { return false }
        lock.withLock { late = LateSettlement(settlement, generation) }
        return true
    }

    public func settleLate() throws(IotoError) -> Bool {
        let (isLate, isTaken) = lock.withLock { (late != nil, isHeld) }
        guard isLate else { return true }
        if isTaken { return false }
        try write { (_) throws(IotoError) in }
        return true
    }

    /// Whether nothing waits but what `settleLate` takes out of the outbox.
    var isSettledLate: Bool {
        guard !isInTransaction, let late = lock.withLock({ late }) else { return false }
        return cache.isCurrent(late.generation)
    }

    /// Begins a transaction with what is late. Where the file is damaged that is forgotten: the change still waits then.
    func takeLate(_ transaction: StoreTransaction) throws(IotoError) {
        guard let late = lock.withLock({ late }) else { return }
        do throws(IotoError) {
            try transaction.take(late.settlement)
        } catch {
            if error.code == .corrupt { lock.withLock { self.late = nil } }
            throw error
        }
    }
}
