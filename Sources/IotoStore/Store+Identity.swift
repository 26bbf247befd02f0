import IotoBase
import IotoSchema
import IotoSync
import Synchronization

/// Whose database this is, and which one of its life.
extension Store {
    public func epoch() throws(IotoError) -> Epoch {
        try read { (connection) throws(IotoError) in
            let bits = try StoreFormat.findMeta(connection, StoreFormat.metaEpoch)
            return Epoch(
                number: Int64(bitPattern: bits >> 2), nonce: try StoreFormat.findMeta(connection, StoreFormat.metaNonce),
                isConfirmed: bits & 1 != 0, isFenced: bits & 2 != 0)
        }
    }

    public func setEpoch(_ epoch: Epoch) throws(IotoError) {
        let bits = UInt64(bitPattern: epoch.number) << 2 | (epoch.isConfirmed ? 1 : 0) | (epoch.isFenced ? 2 : 0)
        try writeDurably { (connection) throws(IotoError) in
            try StoreFormat.writeMeta(connection, StoreFormat.metaEpoch, bits: bits)
            try StoreFormat.writeMeta(connection, StoreFormat.metaNonce, bits: epoch.nonce)
        }
    }

    public func counter(_ name: Text) throws(IotoError) -> UInt64 {
        try read { (connection) throws(IotoError) in try StoreFormat.findMeta(connection, "sent " + name) }
    }

    public func setCounter(_ name: Text, _ bits: UInt64) throws(IotoError) {
        try write { (transaction) throws(IotoError) in
            try StoreFormat.writeMeta(transaction.connection, "sent " + name, bits: bits)
        }
    }

    /// Gives the database a new id, as if it had been made now, with the items that it has: what was written until now is another's.
    /// A reader beside this may still tell the id from before.
    public func renewIdentity() throws(IotoError) {
        var renewed: UInt64 = 0
        try writeDurably { (connection) throws(IotoError) in
            renewed = try StoreFormat.renewReplica(connection, options.random)
        }
        identity.store(renewed, ordering: .relaxed)
    }

    /// Notes whose database it is. One that was another device's gets a new id.
    public func assign(to device: Text) throws(IotoError) {
        var fingerprint = Fingerprint()
        fingerprint.add(device)
        let owner = max(1, fingerprint.value)
        let known = try read { (connection) throws(IotoError) in try StoreFormat.findMeta(connection, StoreFormat.metaOwner) }
        guard known != owner else { return }
        if known != 0 { try renewIdentity() }
        try writeDurably { (connection) throws(IotoError) in
            try StoreFormat.writeMeta(connection, StoreFormat.metaOwner, bits: owner)
        }
    }

    /// A transaction that is on the disk when this returns, whatever the store's durability.
    private func writeDurably(_ body: (Connection) throws(IotoError) -> Void) throws(IotoError) {
        try maintain { (connection) throws(IotoError) in
            try connection.setDurability(.full)
            let result: Result<Void, IotoError>
            do throws(IotoError) {
                result = .success(try StoreFormat.transaction(connection) { () throws(IotoError) in try body(connection) })
            } catch {
                result = .failure(error)
            }
            try connection.setDurability(options.durability)
            try result.get()
        }
    }

    /// The hub's clock, as it was heard of last, or up to a day before; 0: never.
    func lastHubTime() throws(IotoError) -> UInt64 {
        if isInTransaction { return hubTime }
        try acquire()
        defer { release() }
        return hubTime
    }
}
