import CPlatform
import IotoBase
import IotoStore
import IotoSync

/// What has become of a change, as the firmware asks.
public enum ReceiptState: UInt32, Sendable {
    case stored = 1
    case sent = 2
    case durable = 3
    case rejected = 4
    case overtaken = 5
}

extension Agent {
    /// - Throws: `.notFound` when there is no receipt of that number, or none any more.
    public func receipt(_ number: Int64) throws(IotoError) -> (state: ReceiptState, code: Int32, reason: Text) {
        guard let receipt = try database.store.receipt(number) else {
            throw IotoError(.notFound, "no receipt \(number)")
        }
        switch receipt.state {
        case .durable: return (.durable, 0, "")
        case .rejected: return (.rejected, receipt.code, receipt.reason)
        case .overtaken: return (.overtaken, 0, "")
        case .stored: return (lock.withLock { isSent(receipt) } ? .sent : .stored, 0, "")
        }
    }

    /// Whether all that waits is in a message that is on its way.
    private func isSent(_ receipt: Receipt) -> Bool {
        for waiting in receipt.waiting {
            guard sent?.holds(waiting.key, from: waiting.time) ?? false else { return false }
        }
        return true
    }

    /// Sends what is pending, and waits until the cloud has decided.
    ///
    /// - Parameter timeout: Milliseconds; 0 asks and looks.
    /// - Throws: `.notFound`; `.rejected` with the cloud's reason; `.conflict` when a change of the cloud has taken its place;
    ///   `.timeout`; `.offline` when the agent is not started or is stopped meanwhile; `.fenced`.
    public func waitForReceipt(_ number: Int64, timeout: Int64) throws(IotoError) {
        let deadline = platform_monotonic_ms() + max(0, timeout)
        var hasAsked = false
        while true {
            let seen = lock.withLock { status.statistics }
            let (state, code, reason) = try receipt(number)
            switch state {
            case .durable: return
            case .rejected:
                throw IotoError(.rejected, reason.isEmpty ? "the cloud refused the change" : reason, detail: code)
            case .overtaken: throw IotoError(.conflict, "a change of the cloud has taken the place of this one")
            case .stored, .sent: break
            }
            if !hasAsked {
                hasAsked = true
                try sync([.up], timeout: 0)
            }
            try lock.withLock { () throws(IotoError) in
                guard isRunning else { throw IotoError(.offline, "the agent has been stopped") }
                if status.link == .fenced, let error = status.lastError { throw error }
                let left = deadline - platform_monotonic_ms()
                guard left > 0 else { throw IotoError(.timeout, "the cloud has not answered in time") }
                // What has happened since the look is not waited for.
                guard seen == status.statistics else { return }
                // Another process may settle it, which tells nobody here.
                _ = condition.wait(lock, timeout: min(left, 1_000))
            }
        }
    }
}

extension ReplicationStatistics {
    fileprivate static func == (left: ReplicationStatistics, right: ReplicationStatistics) -> Bool {
        left.sentItems == right.sentItems && left.refusedItems == right.refusedItems
            && left.receivedItems == right.receivedItems
    }
}
