import IotoBase
import IotoSchema
import IotoSync

/// One of an item's last versions, as `Store.explain` tells it.
public struct ToldVersion {
    public var version: Version
    public var isRemoval: Bool
    /// Written by this database.
    public var isOwn: Bool
    /// How it travelled, and what became of it, in the words of ioto.h.
    public var path: StaticString
    public var fate: StaticString = "current"
    /// Why the cloud refused it.
    public var reason = Text()
}

extension Store {
    /// Tells the last versions of an item, or of a removed one, the newest first: see `Trail`.
    ///
    /// - Returns: Whether anything is known of it.
    public func explain(
        _ key: ItemKey, model: Model, _ visit: (ToldVersion) -> Void
    ) throws(IotoError) -> Bool {
        try flushDelayed()
        return try read { (connection) throws(IotoError) in
            let item = try row(.readItem, key, connection)
            let known = item == nil ? try row(.readTombstone, key, connection) : item
            guard let known, known.model == models.number(model) else { return false }
            let isExpired = known.isOfExpiry
            var told = ToldVersion(
                version: known.version, isRemoval: item == nil && !isExpired,
                isOwn: known.version.writer == replica || known.version == .zero, path: "local")
            if isExpired { told.fate = Trail.Fate.expired.name }
            try tellPath(known, key, connection, &told)
            visit(told)
            told.reason = Text()
            // A file of an older format may be open for reading only.
            guard try connection.integer("PRAGMA user_version") >= 1003 else { return true }
            let trail = try trail(key, item == nil, connection)
            var place = 0
            while let entry = Trail.entry(place, of: trail) {
                place += 1
                (told.version, told.isRemoval, told.isOwn) = (entry.version, entry.isRemoval, entry.version.writer == replica)
                told.fate = entry.fate.name
                switch entry.fate {
                case _ where !told.isOwn: told.path = "down"
                case .overwritten, .expired: told.path = "acknowledged"
                case .restamped: told.path = "up"
                default: told.path = "unsent"
                }
                visit(told)
            }
            return true
        }
    }

    /// How the stored version of an item travels, and why not.
    private func tellPath(
        _ row: StoredRow, _ key: ItemKey, _ connection: Connection, _ told: inout ToldVersion
    ) throws(IotoError) {
        if row.version == .zero { return }
        told.path = "down"
        guard told.isOwn else { return }
        told.path = "waiting"
        if let position = row.position, !isSettledLate {
            if try has(.isPending, position, connection) { return }
            told.path = "aside"
            if try has(.isParked, position, connection) { return }
        }
        told.path = "acknowledged"
        let rejected = try connection.prepare(
            "SELECT reason FROM rejected WHERE hash = ?1 AND sort = ?2 AND time = ?3", isPersistent: false)
        try rejected.bind(3, bits: row.version.time)
        guard try rejected.step(key: key) else { return }
        told.path = "rejected"
        told.reason = try rejected.text(0)
    }

    private func has(_ sql: SQL, _ position: Int64, _ connection: Connection) throws(IotoError) -> Bool {
        let statement = try connection.statement(sql)
        defer { statement.end() }
        try statement.bind(1, position)
        return try statement.step()
    }

    private func trail(_ key: ItemKey, _ isRemoved: Bool, _ connection: Connection) throws(IotoError) -> [UInt8] {
        let statement = try connection.prepare(
            isRemoved
                ? "SELECT trail FROM tombstone WHERE hash = ?1 AND sort = ?2"
                : "SELECT trail FROM item WHERE hash = ?1 AND sort = ?2", isPersistent: false)
        return try statement.step(key: key) && !statement.isNull(0) ? try statement.bytes(0) : []
    }
}

extension StoreTransaction {
    /// What a row was, for the trail of what takes its place under another version; empty: the trail stays as it is.
    @inline(never)
    func trace(_ row: StoredRow, _ fate: Trail.Fate, isRemoval: Bool, under version: Version) -> [UInt8] {
        if row.version == .zero || row.version == version { return [] }
        return Trail.entry(
            row.version, row.isOfExpiry ? .expired : fate, isRemoval: isRemoval && !row.isOfExpiry)
    }
}
