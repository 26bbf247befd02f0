import IotoBase
import IotoSchema

/// What a schema wants kept beside the items, in the table `idx`: an entry leads from a key to an item.
///
/// | kind | hash, sort of an entry |
/// |---|---|
/// | a secondary index of the schema | the item's key in it |
/// | a unique field | the scope, the value |
/// | expiry | "", when the item expires: 15 digits, Unix milliseconds |
///
/// An index's number is a hash of how its entries are made. A definition that changes is another index; and whoever opens
/// a file can tell from the numbers in it whether its entries are those that its own schema wants.
struct StoreIndexes {
    enum Rule {
        /// Place among the model's secondary indexes.
        case secondary(Int)
        case unique(Field)
        case expiry
    }

    struct Definition {
        let id: Int64
        let name: Text
    }

    /// One entry of an item.
    struct Entry: Equatable {
        let id: Int64
        let key: ItemKey
    }

    let definitions: [Definition]
    /// Stands for all of them in `meta`: what is there says whose entries the file has.
    let fingerprint: UInt64
    /// Of the index of expiry; nil when no model has a ttl.
    let expiry: Int64?
    /// By the model's ordinal.
    private let rules: [[(id: Int64, rule: Rule)]]
    private let secondary: [Text: Int64]

    /// Part of every number: to be raised when entries are made another way.
    private static let revision = 1

    init(_ schema: Schema) {
        var builder = Builder(modelCount: schema.models.count)
        for (place, index) in (schema.models.first?.secondaryIndexes ?? []).enumerated() {
            builder.addSecondary(place, index.name, schema.models)
        }
        for model in schema.models {
            for field in model.uniqueFields { builder.addUnique(field, model) }
        }
        expiry = builder.addExpiry(schema.models)
        definitions = builder.definitions
        rules = builder.rules
        secondary = builder.secondary
        fingerprint = StoreIndexes.fingerprint(builder.definitions.map { $0.id })
    }

    /// The number of a secondary index; nil when no model is in it.
    func id(_ index: Index) -> Int64? { secondary[index.name] }

    /// Whether items of the model have entries at all.
    @inline(never)
    func covers(_ model: Model) -> Bool { !rules[model.ordinal].isEmpty }

    /// Whether items of the model have entries in one of these indexes.
    @inline(never)
    func covers(_ model: Model, _ ids: [Int64]) -> Bool {
        for (id, _) in rules[model.ordinal] where ids.contains(id) { return true }
        return false
    }

    /// The entries of a stored item, in the order of the definitions.
    @inline(never)
    func entries(_ model: Model, _ body: [UInt8]) -> [Entry] {
        var entries: [Entry] = []
        for (id, rule) in rules[model.ordinal] {
            switch rule {
            case .secondary(let place):
                if let key = model.secondaryKey(place, ofBody: body) { entries.append(Entry(id: id, key: key)) }
            case .unique(let field):
                // A value that is longer than a key can be comes from elsewhere alone.
                guard let key = model.uniqueKey(of: field, inBody: body), StoreIndexes.isKept(key) else { continue }
                entries.append(Entry(id: id, key: key))
            case .expiry:
                if let time = body.withUnsafeBytes({ model.expiry(ofBody: $0) }) {
                    entries.append(Entry(id: id, key: StoreIndexes.expiryKey(time)))
                }
            }
        }
        return entries
    }

    /// The unique fields of a model, with the numbers of their indexes.
    @inline(never)
    func unique(_ model: Model) -> [(id: Int64, field: Field)] {
        var fields: [(id: Int64, field: Field)] = []
        for (id, rule) in rules[model.ordinal] {
            if case .unique(let field) = rule { fields.append((id, field)) }
        }
        return fields
    }

    static func isKept(_ key: ItemKey) -> Bool {
        key.hash.count <= Limits.keyBytesMax && key.sort.count <= Limits.keyBytesMax
    }

    /// 15 digits order as the times do, up to the year 33,658.
    @inline(never)
    static func expiryKey(_ time: Int64) -> ItemKey {
        var digits = Text(decimal: max(0, min(time, 999_999_999_999_999)))
        digits.bytes.insert(contentsOf: repeatElement(UInt8(ascii: "0"), count: 15 - digits.count), at: 0)
        return ItemKey(hash: Text(), sort: digits)
    }

    @inline(never)
    static func fingerprint(_ ids: [Int64]) -> UInt64 {
        var fingerprint = Fingerprint()
        for id in ids.sorted() { fingerprint.add(Int(truncatingIfNeeded: id)) }
        // 0 says that the entries are nobody's.
        return max(1, fingerprint.value)
    }

    private struct Builder {
        var definitions: [Definition] = []
        var rules: [[(id: Int64, rule: Rule)]]
        var secondary: [Text: Int64] = [:]

        init(modelCount: Int) {
            rules = [[(id: Int64, rule: Rule)]](repeating: [], count: modelCount)
        }

        @inline(never)
        private mutating func define(_ name: Text, _ description: Fingerprint) -> Int64 {
            var description = description
            description.add(name)
            description.add(StoreIndexes.revision)
            // 31 bits take four bytes of an entry; two indexes of the same number move on to the next ones.
            var id = max(1, Int64(description.value >> 33))
            while definitions.contains(where: { $0.id == id }) { id += 1 }
            definitions.append(Definition(id: id, name: name))
            return id
        }

        mutating func addSecondary(_ place: Int, _ name: Text, _ models: [Model]) {
            let members = models.filter { $0.isInIndex(place) }
            guard !members.isEmpty else { return }
            var description = Fingerprint()
            for model in members { model.describeIndex(place, to: &description) }
            let id = define("index " + name, description)
            secondary[name] = id
            for model in members { rules[model.ordinal].append((id, .secondary(place))) }
        }

        mutating func addUnique(_ field: Field, _ model: Model) {
            var description = Fingerprint()
            model.describeUnique(field, to: &description)
            let id = define("unique " + model.name + "." + field.name, description)
            rules[model.ordinal].append((id, .unique(field)))
        }

        mutating func addExpiry(_ models: [Model]) -> Int64? {
            let members = models.filter { $0.ttlField != nil }
            guard !members.isEmpty else { return nil }
            var description = Fingerprint()
            for model in members {
                description.add(model.name)
                description.add(model.ttlField?.name ?? Text())
            }
            let id = define("expiry", description)
            for model in members { rules[model.ordinal].append((id, .expiry)) }
            return id
        }
    }
}

// MARK: - Making them anew

extension StoreIndexes {
    /// Sees to it that the file has the entries that this schema wants, and no others: in one transaction, so that whatever
    /// ends the process half-way leaves what was there before.
    func update(_ connection: Connection, _ models: ModelTable) throws(IotoError) {
        if try isCurrent(connection) { return }
        try StoreFormat.transaction(connection) { () throws(IotoError) in
            // Another process may have been faster.
            if try isCurrent(connection) { return }
            let kept = try clear(connection)
            let missing = definitions.filter { !kept.contains($0.id) }
            for definition in missing {
                let statement = try connection.prepare(
                    "INSERT INTO idxdef(id, name) VALUES(?1, ?2)", isPersistent: false)
                try statement.bind(1, definition.id)
                try statement.bind(2, definition.name)
                try statement.run()
            }
            if !missing.isEmpty { try fill(missing, connection, models) }
            try StoreFormat.writeMeta(connection, StoreFormat.metaIndexes, bits: fingerprint)
            try connection.execute(StoreFormat.markIndexed)
        }
    }

    private func isCurrent(_ connection: Connection) throws(IotoError) -> Bool {
        guard try StoreFormat.readMeta(connection, StoreFormat.metaIndexes) == fingerprint else { return false }
        return try StoreFormat.isIndexed(connection)
    }

    /// Removes the entries that are of no use, with their definitions.
    ///
    /// - Returns: The numbers of those that stay.
    private func clear(_ connection: Connection) throws(IotoError) -> [Int64] {
        var stored: [Int64] = []
        let statement = try connection.prepare("SELECT id FROM idxdef", isPersistent: false)
        while try statement.step() { stored.append(try statement.integer(0)) }
        // Entries that a writer of another schema, or an older library, has not kept are none.
        let isIndexed = try StoreFormat.isIndexed(connection)
        let isWhole =
            try StoreFormat.readMeta(connection, StoreFormat.metaIndexes) == StoreIndexes.fingerprint(stored)
        let kept = isWhole && isIndexed ? stored.filter { id in definitions.contains { $0.id == id } } : []
        if kept.isEmpty {
            try connection.execute("DELETE FROM idx")
            try connection.execute("DELETE FROM idxdef")
            return []
        }
        for id in stored where !kept.contains(id) {
            try connection.execute("DELETE FROM idx WHERE index_id = " + Text(decimal: id))
            try connection.execute("DELETE FROM idxdef WHERE id = " + Text(decimal: id))
        }
        return kept
    }

    /// Enters every item that there is.
    private func fill(
        _ missing: [Definition], _ connection: Connection, _ models: ModelTable
    ) throws(IotoError) {
        let ids = missing.map { $0.id }
        var count: Int64 = 0
        let statement = try connection.prepare("SELECT model, hash, sort, json FROM item", isPersistent: false)
        while try statement.step() {
            count += 1
            if count % StoreLimits.indexingReport == 0 {
                Log.info("\(connection.path): the indexes are made anew: \(count) items")
            }
            guard let model = models.model(try statement.integer(0)), covers(model, ids) else { continue }
            let key = ItemKey(hash: try statement.text(1), sort: try statement.text(2))
            for entry in entries(model, try statement.bytes(3)) where ids.contains(entry.id) {
                try connection.write(.addEntry, entry, key)
            }
        }
        for definition in missing {
            Log.info("\(connection.path): \(definition.name) is made anew, from \(count) items")
        }
    }
}

extension Connection {
    /// Adds (`.addEntry`) or removes (`.removeEntry`) an entry.
    func write(_ sql: SQL, _ entry: StoreIndexes.Entry, _ key: ItemKey) throws(IotoError) {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.bind(3, entry.id)
        try statement.bind(4, entry.key.hash)
        try statement.bind(5, entry.key.sort)
        _ = try statement.step(key: key)
    }
}

// MARK: - Keeping them

extension StoreTransaction {
    /// Brings the entries of an item up to date with a change of it. To be called with every change of a row of `item`.
    func reindex(_ key: ItemKey, from before: StoredRow?, to after: StoredItem?) throws(IotoError) {
        let indexes = store.indexes
        let former = before.flatMap { store.models.model($0.model) }
        guard (former.map { indexes.covers($0) } ?? false) || (after.map { indexes.covers($0.model) } ?? false)
            || !isIndexed
        else { return }
        guard isIndexed else { return try disown() }
        var old: [StoreIndexes.Entry] = []
        if let former, let before { old = indexes.entries(former, before.body) }
        var new: [StoreIndexes.Entry] = []
        if let after { new = indexes.entries(after.model, after.body) }
        for entry in old where !new.contains(entry) { try connection.write(.removeEntry, entry, key) }
        for entry in new where !old.contains(entry) { try connection.write(.addEntry, entry, key) }
    }

    /// Notes that the entries in the file are no longer kept: by a writer whose schema wants others.
    private func disown() throws(IotoError) {
        guard !hasDisowned else { return }
        hasDisowned = true
        try StoreFormat.writeMeta(connection, StoreFormat.metaIndexes, bits: 0)
    }

    /// Looks whether the unique values of an item that is to be stored are free. Values that it has already are not
    /// looked at: two items that came from the cloud may share one.
    ///
    /// - Throws: `.exists` naming the field; `.limit` when a value is longer than a key can be.
    func checkUnique(_ model: Model, _ key: ItemKey, _ body: [UInt8], over before: StoredItem?) throws(IotoError) {
        for (id, field) in store.indexes.unique(model) {
            guard let value = model.uniqueKey(of: field, inBody: body) else { continue }
            if let before, model.uniqueKey(of: field, inBody: before.body) == value { continue }
            guard StoreIndexes.isKept(value) else {
                throw twin(.limit, model, field, "a unique value has at most \(Limits.keyBytesMax) bytes")
            }
            guard isIndexed else { throw store.notIndexed() }
            for holder in try holders(id, value) where holder != key {
                guard let row = try store.row(.readItem, holder, connection), store.live(row, holder, model) != nil else {
                    continue
                }
                throw twin(.exists, model, field, "another item has the value \"\(value.sort)\"")
            }
        }
    }

    @inline(never)
    private func twin(_ code: ErrorCode, _ model: Model, _ field: Field, _ message: Text) -> IotoError {
        IotoError(code, "model \"\(model.name)\": field \"\(field.name)\": \(message)")
    }

    /// An item of the cloud is stored with whatever values it has; that another item has one of them is told to the log.
    func warnOfTwins(_ item: StoredItem) throws(IotoError) {
        guard isIndexed else { return }
        for (id, field) in store.indexes.unique(item.model) {
            guard let value = item.model.uniqueKey(of: field, inBody: item.body), try holders(id, value).count > 1 else {
                continue
            }
            Log.warning(twin(.exists, item.model, field, "the cloud has given two items one value").message)
        }
    }

    private func holders(_ id: Int64, _ value: ItemKey) throws(IotoError) -> [ItemKey] {
        let statement = try connection.statement(.readHolders)
        defer { statement.end() }
        try statement.bind(3, id)
        var keys: [ItemKey] = []
        var isRow = try statement.step(key: value)
        while isRow {
            keys.append(ItemKey(hash: try statement.text(0), sort: try statement.text(1)))
            isRow = try statement.step()
        }
        return keys
    }
}

extension Store {
    /// Makes the indexes anew where the schema wants others than the file has. A disk that is full keeps no one from his
    /// items: they are found by their primary keys then.
    func updateIndexes(_ writer: Connection) throws(IotoError) {
        do throws(IotoError) {
            try indexes.update(writer, models)
            isIndexed = true
        } catch {
            guard error.code == .full else { throw error }
            Log.error("\(path): there is no room to make the indexes anew; items are found by their primary keys alone")
        }
    }

    /// Takes notice of what other processes have done since the last transaction of this one. To be called as a write
    /// transaction begins.
    func noticeOthers(_ writer: Connection) throws(IotoError) {
        guard try clock.begin(writer) else { return }
        gauge = nil
        lock.withLock { edits += 1 }
        isIndexed = try StoreFormat.readMeta(writer, StoreFormat.metaIndexes) == indexes.fingerprint
    }

    func notIndexed() -> IotoError {
        IotoError(
            .busy, "\(path): the indexes are not those of this schema; they are made when the database is opened for writing")
    }
}
