import IotoBase
import IotoSchema
import IotoSync

/// What has become of a change that a receipt was asked for.
public struct Receipt: Sendable, Equatable {
    public enum State: Int64, Sendable {
        /// It, or a later change of its item, waits in the outbox.
        case stored = 0
        /// The cloud has it, or a later change of its item, on disk.
        case durable = 1
        /// The cloud has refused it.
        case rejected = 2
        /// A change of the cloud has taken its place.
        case overtaken = 3
    }

    public var state: State
    /// Of a rejection.
    public var code: Int32 = 0
    public var reason: Text = ""
    /// The changes that still wait: their items, and the times of their versions.
    public var waiting: [(key: ItemKey, time: UInt64)] = []

    public static func == (left: Receipt, right: Receipt) -> Bool {
        left.state == right.state && left.code == right.code && left.reason == right.reason
            && left.waiting.count == right.waiting.count
    }
}

/// Receipts: a number is the time of the last version that was issued for the call, so that it is unique in the file.
extension Store {
    /// Runs `body`, whose writes are one transaction, and enters a receipt for the changes that it puts into the outbox.
    ///
    /// - Returns: The receipt; 0 when nothing goes to the cloud.
    public func withReceipt(_ body: () throws(IotoError) -> Void) throws(IotoError) -> Int64 {
        let isOwn = !isInTransaction
        if isOwn { try begin() }
        do throws(IotoError) {
            try beginReceipt()
            try body()
            let receipt = try endReceipt()
            if isOwn { try commit() }
            return receipt
        } catch {
            forgetReceipt()
            // A commit that failed is rolled back already.
            if isOwn, isInTransaction {
                do throws(IotoError) { try rollBack() } catch { Log.error(error.message) }
            }
            throw error
        }
    }

    /// What has become of the changes of a receipt; nil when there is none of that number, or none any more.
    public func receipt(_ number: Int64) throws(IotoError) -> Receipt? {
        try read { (connection) throws(IotoError) in
            let statement = try connection.statement(.readReceipt)
            defer { statement.end() }
            try statement.bind(1, number)
            var receipt: Receipt?
            while try statement.step() {
                guard let state = Receipt.State(rawValue: try statement.integer(0)) else {
                    throw connection.corrupt("a receipt in an unknown state")
                }
                var found = receipt ?? Receipt(state: .durable)
                if state == .stored {
                    found.waiting.append(
                        (ItemKey(hash: try statement.text(3), sort: try statement.text(4)), try statement.bits(5)))
                }
                if Store.weight(state) > Store.weight(found.state) {
                    found.state = state
                    found.code = Int32(truncatingIfNeeded: try statement.integer(1))
                    found.reason = try statement.text(2)
                }
                receipt = found
            }
            return receipt
        }
    }

    /// Of several changes under one receipt, the worst is told.
    private static func weight(_ state: Receipt.State) -> Int {
        switch state {
        case .durable: 0
        case .stored: 1
        case .overtaken: 2
        case .rejected: 3
        }
    }
}

extension StoreTransaction {
    func endReceipt() throws(IotoError) -> Int64 {
        guard let changes = receipted else { return 0 }
        receipted = nil
        hasOpenReceipts = nil
        try use(nil)
        guard let last = changes.last else { return 0 }
        let number = Int64(bitPattern: last.time)
        try modify { () throws(IotoError) in
            for change in changes {
                let statement = try connection.statement(.writeReceipt)
                defer { statement.end() }
                try statement.bind(3, number)
                try statement.bind(4, bits: change.time)
                _ = try statement.step(key: change.key)
                let trim = try connection.statement(.trimOpenReceipts)
                defer { trim.end() }
                try trim.bind(3, StoreLimits.receiptsOfItemMax)
                _ = try trim.step(key: change.key)
            }
        }
        return number
    }

    /// Settles the open receipts of an item's changes up to a version.
    func close(_ key: ItemKey, upTo time: UInt64, _ state: Receipt.State, code: Int32 = 0, reason: Text = "")
        throws(IotoError)
    {
        guard try mayHaveReceipts() else { return }
        let statement = try connection.statement(.closeReceipts)
        defer { statement.end() }
        try statement.bind(3, bits: time)
        try statement.bind(4, state.rawValue)
        try statement.bind(5, Int64(code))
        try statement.bind(6, reason)
        _ = try statement.step(key: key)
    }

    /// Most often there is no open receipt at all, which is looked up once in a transaction.
    func mayHaveReceipts() throws(IotoError) -> Bool {
        if let hasOpenReceipts { return hasOpenReceipts }
        let statement = try connection.statement(.openReceipt)
        defer { statement.end() }
        let found = try statement.step()
        hasOpenReceipts = found
        return found
    }

    /// A version that the cloud answers for goes by another time now, and so do the open receipts up to it.
    func moveReceipts(_ key: ItemKey, from time: UInt64, to newTime: UInt64) throws(IotoError) {
        let statement = try connection.statement(.moveReceipts)
        defer { statement.end() }
        try statement.bind(3, bits: time)
        try statement.bind(4, bits: newTime)
        _ = try statement.step(key: key)
    }

    func trimReceipts() throws(IotoError) {
        let statement = try connection.statement(.trimReceipts)
        defer { statement.end() }
        try statement.bind(1, StoreLimits.receiptsMax)
        try statement.run()
    }
}
