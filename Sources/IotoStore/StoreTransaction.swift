import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Synchronization

/// What `Store.write` gives its closure: reads that see what the transaction has written, and writes. It is used on the
/// thread of `write` alone, and not after it.
public final class StoreTransaction {
    let store: Store
    /// The file's, or that of the models in memory, whichever is used at this moment.
    private(set) var connection: Connection
    /// The connection of the models in memory, once the transaction has used it.
    private(set) var memory: Connection?
    var events: [StoreEvent] = []
    var isEnded = false
    /// Whether an earlier try found no room.
    var isRetry = false
    /// Changes that are to be gathered in memory once the transaction is over, and bytes of them.
    var staged: [StoredItem] = []
    var stagedBytes = 0
    /// Whether what has gathered is part of the transaction, and nothing is gathered any more.
    var isThrough = false
    /// Changes that had gathered and met a ceiling.
    var refused: Int64 = 0
    /// Counts what has been written, to tell a call that failed before its first write from others.
    var changes: Int64 = 0
    /// Items that were written, for the cache of items; nil: too many.
    private(set) var written: [ItemCache.Change]? = []
    /// Changes that gave way to later ones in the outbox.
    var dropped: Int64 = 0
    /// Whether something was removed, which may leave pages free.
    private(set) var hasRemoved = false
    /// A write that failed half-way: the transaction can only be rolled back, even when its caller goes on.
    var failure: IotoError?
    /// The change that met a ceiling.
    var refusal: Refusal?
    /// Whether the file says by now that its indexes are not kept.
    var hasDisowned = false
    /// What was read last, for the write that most often follows; nil: nothing since the last write.
    private var lastRead: (key: ItemKey, row: StoredRow?)?

    /// What the firmware has decided; nil: it is not asked.
    var resolutions: [Resolution]?
    /// What came from the cloud last was new here.
    var meetsNew = true
    /// Whether a row was changed or removed that a change in the outbox may be of.
    var hasEdited = false
    /// What comes is of a hub that has lost what it had.
    var isSetBack = false
    /// What comes was applied before.
    var isKnown = false
    /// The changes that have entered the outbox since a receipt was asked for; nil: none was.
    var receipted: [(key: ItemKey, time: UInt64)]?
    /// Whether the file has receipts of changes that wait; nil: to be looked up.
    var hasOpenReceipts: Bool?

    init(_ store: Store, _ connection: Connection) {
        self.store = store
        self.connection = connection
    }

    /// Turns to the connection of a model's items; nil: the file's. The memory's is kept until the transaction is over.
    func use(_ model: Model?) throws(IotoError) {
        guard let pool = store.memory else { return }
        var wanted = store.writer
        if let model, model.process.isMemory {
            if memory == nil {
                let borrowed = try pool.borrow()
                do throws(IotoError) {
                    try borrowed.run(.begin)
                } catch {
                    pool.giveBack(borrowed)
                    throw error
                }
                memory = borrowed
            }
            wanted = memory
        }
        guard let wanted, wanted !== connection else { return }
        connection = wanted
        lastRead = nil
    }

    /// Ends the part of the transaction that is in memory.
    func endMemory(commits: Bool) {
        guard let memory else { return }
        self.memory = nil
        if commits {
            do throws(IotoError) {
                try memory.run(.commit)
            } catch {
                Log.error("changes of models in memory are lost: \(error.message)")
            }
        }
        // Nothing is left open, whatever happened; a full memory has ended it by itself.
        StoreFormat.rollBack(memory)
        store.memory?.giveBack(memory)
    }

    /// Whether the indexes are kept: of models in memory they always are.
    var isIndexed: Bool { connection === memory || store.isIndexed }

    // MARK: Reading

    /// As `Store.get`.
    public func get(_ key: ItemKey, model: Model) throws(IotoError) -> StoredItem? {
        try checkUse()
        if model.isDelayed, !isThrough, let change = gathered(key) { return store.live(change, model) }
        try use(model)
        let row = try current(key)
        lastRead = (key, row)
        guard let row else { return nil }
        return store.live(row, key, model)
    }

    // MARK: Writing

    /// Stores an item, new or in place of the one with its key.
    ///
    /// The change of a model that is sent to the cloud gets a version and enters the outbox, unless an earlier change
    /// of the item waits there. The change of a model that only comes down keeps the version of the cloud's last one,
    /// so that the next one wins.
    ///
    /// An item that has expired is as good as none: it is told to have, and the new one is created in its place.
    ///
    /// - Parameter body: The item's properties as JSON text.
    /// - Throws: `.limit` when key or body is too large; `.exists` when an item of another model has the key, or one of
    ///   the same model has a unique value.
    public func put(_ model: Model, _ key: ItemKey, body: [UInt8]) throws(IotoError) -> StoredItem {
        try checkUse()
        try checkSize(model, key, body)
        try use(model)
        let before = try current(key)
        if let before, before.model != store.models.number(model), let other = store.models.model(before.model),
            !store.isExpired(other, before.body)
        {
            throw IotoError(.exists, "an item of model \"\(other.name)\" has the same key")
        }
        if try gathers(model, body.count) {
            let item = StoredItem(model: model, key: key, body: body, version: .zero)
            staged.append(item)
            return item
        }
        try checkUnique(model, key, body, over: before.flatMap { store.item($0, key, model) })
        do throws(IotoError) {
            if store.mayBeFull(model) {
                let known = before == nil && model.isReplicated ? try tombstone(key) : before
                try makeRoom(for: model, over: known, size: body.count, isRemoval: false)
            }
            return try modify { () throws(IotoError) in try put(model, key, body, over: before) }
        } catch {
            noteRefusal(StoredItem(model: model, key: key, body: body, version: .zero), error)
            throw error
        }
    }

    /// Stores a new item, without a look for another one of its key where the insertion itself tells that.
    ///
    /// - Returns: nil when there is an item of the model with that key.
    /// - Throws: As `put`.
    public func create(_ model: Model, _ key: ItemKey, body: [UInt8]) throws(IotoError) -> StoredItem? {
        try checkUse()
        try checkSize(model, key, body)
        try use(model)
        if !model.isDelayed, model.uniqueFields.isEmpty, !store.mayBeFull(model) {
            do throws(IotoError) {
                if let item = try modify({ () throws(IotoError) in try insert(model, key, body) }) { return item }
                changes -= 1
            } catch {
                noteRefusal(StoredItem(model: model, key: key, body: body, version: .zero), error)
                throw error
            }
        }
        guard try get(key, model: model) == nil else { return nil }
        return try put(model, key, body: body)
    }

    private func checkSize(_ model: Model, _ key: ItemKey, _ body: [UInt8]) throws(IotoError) {
        guard body.count <= Limits.itemBytesMax else {
            throw IotoError(
                .limit, "model \"\(model.name)\": an item of \(body.count) bytes; \(Limits.itemBytesMax) are allowed")
        }
        guard key.hash.count <= Limits.keyBytesMax, key.sort.count <= Limits.keyBytesMax else {
            throw IotoError(
                .limit, "model \"\(model.name)\": a key has more than \(Limits.keyBytesMax) bytes")
        }
    }

    /// Removes an item, as it is stored now. Of models that are replicated a tombstone stays.
    ///
    /// - Throws: `.notFound` when there is no such item any more; `.corrupt` when what is stored is not JSON.
    public func remove(_ item: StoredItem) throws(IotoError) {
        try checkUse()
        try use(item.model)
        if try gathers(item.model, 0) {
            guard try get(item.key, model: item.model) != nil else { throw missing(item) }
            return staged.append(StoredItem(model: item.model, key: item.key, body: [], version: .zero))
        }
        guard let row = try current(item.key), let before = store.item(row, item.key, item.model) else {
            throw missing(item)
        }
        let remains = before.model.isReplicated ? JSON.object(before.model.keyProperties(of: try before.properties())).text : nil
        do throws(IotoError) {
            if let remains, store.mayBeFull(item.model) {
                try makeRoom(for: item.model, over: row, size: remains.count, isRemoval: true)
            }
            try modify { () throws(IotoError) in try remove(before, row, remains) }
        } catch {
            noteRefusal(before, error)
            throw error
        }
    }

    private func missing(_ item: StoredItem) -> IotoError {
        IotoError(.notFound, "model \"\(item.model.name)\": the item does not exist")
    }

    /// Inserts an item that has neither a row nor a tombstone; nil, and nothing is written, when it has one.
    private func insert(_ model: Model, _ key: ItemKey, _ body: [UInt8]) throws(IotoError) -> StoredItem? {
        var version = Version.zero
        var position: Int64?
        if model.syncsUp {
            version = try nextVersion()
            position = store.lanes.position(version.time, model.ordinal)
        }
        let item = StoredItem(model: model, key: key, body: body, version: version, position: position)
        if !model.isReplicated {
            let statement = try connection.statement(.insertUnsent)
            defer { statement.endAllBound() }
            try statement.bind(4, store.models.number(model))
            try statement.run(key: key, body: body)
        } else {
            try write(.insertItem, item, position: position, nil)
        }
        guard connection.changes > 0 else { return nil }
        if let position { try enter(model, key, body.count, version, position) }
        if model.mergesFields { try stampFields(item, over: nil, isWaiting: false) }
        try reindex(key, from: nil, to: item)
        note(.create, before: nil, after: item)
        return item
    }

    private func put(
        _ model: Model, _ key: ItemKey, _ body: [UInt8], over before: StoredRow?
    ) throws(IotoError) -> StoredItem {
        var version = Version.zero
        var position: Int64?
        var isWaiting = false
        var isOfGrave = false
        var trace: [UInt8]?
        if model.isReplicated {
            let known = before == nil ? try tombstone(key) : before
            var previous = known
            isOfGrave = before == nil && known != nil
            if let known, known.isOfExpiry { previous?.position = nil }
            version = previous?.version ?? .zero
            position = previous?.position
            if model.syncsUp { (version, position) = try enqueue(model, key, body.count, previous) }
            isWaiting = before != nil && position == previous?.position
            if let known {
                trace = self.trace(
                    known, position == known.position ? .unsent : .overwritten, isRemoval: isOfGrave, under: version)
            }
        }
        let item = StoredItem(model: model, key: key, body: body, version: version, position: position)
        if model.mergesFields { try stampFields(item, over: before, isWaiting: isWaiting, isOfGrave: isOfGrave) }
        try write(.writeItem, item, position: position, trace)
        if isOfGrave { try run(.deleteTombstone, key) }
        try reindex(key, from: before, to: item)
        let replaced = before.flatMap { store.live($0, key, model) }
        if replaced == nil { noteExpired(before, key) }
        note(replaced == nil ? .create : .update, before: replaced, after: item)
        return item
    }

    /// - Parameter remains: Body of the tombstone; nil: none is needed.
    private func remove(_ item: StoredItem, _ row: StoredRow, _ remains: [UInt8]?) throws(IotoError) {
        hasRemoved = true
        try forgetStamps(item.key, item.model)
        try reindex(item.key, from: row, to: nil)
        if let remains {
            var version = item.version
            var position = row.position
            if item.model.syncsUp {
                (version, position) = try enqueue(item.model, item.key, remains.count, row)
            }
            // An item that the cloud never had leaves nothing that a change of the cloud could be compared with.
            if version != .zero {
                let tombstone = StoredItem(model: item.model, key: item.key, body: remains, version: version)
                try write(
                    .writeTombstone, tombstone, position: position,
                    trace(row, position == row.position ? .unsent : .overwritten, isRemoval: false, under: version))
            }
        }
        try run(.deleteItem, item.key)
        note(.remove, before: item, after: nil)
    }

    /// A new version for a change, which stands in the outbox already or enters it at its end.
    ///
    /// - Parameters:
    ///   - size: Bytes that the item has by the change.
    ///   - previous: The item's row before it, or its tombstone's.
    func enqueue(
        _ model: Model, _ key: ItemKey, _ size: Int, _ previous: StoredRow?
    ) throws(IotoError) -> (Version, Int64) {
        // The clock has seen every version of this file; of one that was edited it has not.
        if let previous { store.clock.observe(previous.version.time) }
        let version = try nextVersion()
        if let previous, let position = previous.position, try isPending(position) {
            receipted?.append((key, version.time))
            let number = store.models.number(model)
            if previous.model != number { store.gauge = nil }
            store.gauge?.add(number, items: 0, bytes: Int64(size - previous.body.count))
            return (version, position)
        }
        let end = store.lanes.position(version.time, model.ordinal)
        try enter(model, key, size, version, end)
        return (version, end)
    }

    private func nextVersion() throws(IotoError) -> Version {
        Version(time: try store.clock.next(connection), writer: store.replica)
    }

    /// Puts a change into the outbox, at its end.
    private func enter(
        _ model: Model, _ key: ItemKey, _ size: Int, _ version: Version, _ position: Int64
    ) throws(IotoError) {
        receipted?.append((key, version.time))
        try append(key, at: position)
        store.gauge?.add(store.models.number(model), items: 1, bytes: Int64(size))
    }

    // MARK: Steps of transactions

    /// The item's row of whatever model.
    func current(_ key: ItemKey) throws(IotoError) -> StoredRow? {
        if let lastRead, lastRead.key == key { return lastRead.row }
        if connection !== memory, !hasWritten(key), let item = store.cache.findWithinWrite(key) {
            return StoredRow(item, model: store.models.number(item.model))
        }
        return try store.row(.readItem, key, connection)
    }

    /// Whether the item may have been written. Where the answer would take longer than a read, it is yes.
    private func hasWritten(_ key: ItemKey) -> Bool {
        guard let written, written.count <= 8 else { return true }
        for change in written where change.key == key { return true }
        return false
    }

    /// Takes note of an item that is written: each statement that writes one is followed by this.
    func didWrite(_ key: ItemKey, _ item: StoredItem?) {
        guard connection !== memory, let count = written?.count else { return }
        guard count < StoreLimits.followedChangesMax else {
            written = nil
            return
        }
        written?.append((key, item))
    }

    func tombstone(_ key: ItemKey) throws(IotoError) -> StoredRow? {
        try store.row(.readTombstone, key, connection)
    }

    /// Writes a row of `item` (`.writeItem`, `.insertItem`) or `tombstone` (`.writeTombstone`).
    ///
    /// - Parameter trace: For the trail; nil: there was nothing before.
    func write(_ sql: SQL, _ item: StoredItem, position: Int64?, _ trace: [UInt8]?) throws(IotoError) {
        let statement = try connection.statement(sql)
        defer { statement.endAllBound() }
        try statement.bind(4, store.models.number(item.model))
        try statement.bind(5, bits: item.version.time)
        let isOwn = item.version.writer == store.replica || item.version == .zero
        try statement.bind(6, isOwn ? nil : Int64(bitPattern: item.version.writer))
        try statement.bind(7, position)
        if let trace { try statement.bind(8, trace) } else if sql != .insertItem { try statement.bind(8, nil) }
        try statement.run(key: item.key, body: item.body)
        if sql != .insertItem { hasEdited = true }
        if sql == .writeItem { didWrite(item.key, item.position == position ? item : nil) }
    }

    func append(_ key: ItemKey, at position: Int64) throws(IotoError) {
        let statement = try connection.statement(.enqueue)
        defer { statement.end() }
        try statement.bind(3, position)
        _ = try statement.step(key: key)
    }

    func isPending(_ position: Int64) throws(IotoError) -> Bool {
        let statement = try connection.statement(.isPending)
        defer { statement.end() }
        try statement.bind(1, position)
        return try statement.step()
    }

    /// Takes a row out of the outbox that leads to the item of this row.
    func dequeue(_ position: Int64, _ row: StoredRow) throws(IotoError) {
        try dequeue(position)
        store.gauge?.add(row.model, items: -1, bytes: -Int64(row.body.count))
    }

    /// Takes a row out of the outbox, whose weight the caller sees to.
    func dequeue(_ position: Int64) throws(IotoError) {
        let statement = try connection.statement(.dequeue)
        defer { statement.end() }
        try statement.bind(1, position)
        try statement.run()
    }

    func run(_ sql: SQL, _ key: ItemKey) throws(IotoError) {
        let statement = try connection.statement(sql)
        defer { statement.end() }
        _ = try statement.step(key: key)
        hasEdited = true
        if sql == .deleteItem { didWrite(key, nil) }
    }

    /// Runs a change of several rows. When one fails, the rest must not be committed without it.
    func modify<Result>(_ body: () throws(IotoError) -> Result) throws(IotoError) -> Result {
        lastRead = nil
        changes += 1
        do throws(IotoError) {
            return try body()
        } catch {
            failure = failure ?? error
            throw error
        }
    }

    /// Tells of an item that has expired and gives way before it is removed.
    func noteExpired(_ row: StoredRow?, _ key: ItemKey) {
        guard let row, let model = store.models.model(row.model), let item = store.item(row, key, model),
            store.isExpired(model, item.body)
        else { return }
        note(.expired, before: item, after: nil)
    }

    @inline(never)
    func note(
        _ kind: StoreEvent.Kind, before: StoredItem?, after: StoredItem?, isRemote: Bool = false, reason: Text = ""
    ) {
        // An event keeps its items until the commit. The first one always stands for the transaction, should it be refused.
        if !events.isEmpty, let item = after ?? before, StoreEvent.isForTriggersAlone(kind, item.model, isRemote: isRemote),
            !store.isWatched.load(ordering: .relaxed)
        {
            return
        }
        guard let event = StoreEvent(kind, before: before, after: after, isRemote: isRemote, reason: reason) else { return }
        events.append(event)
    }

    func noteRefusal(_ item: StoredItem, _ error: IotoError) {
        if error.code == .full { refusal = Refusal(item: item, reason: error.message) }
    }

    /// Marks that a removal of the cloud may have left pages free.
    func noteRemoval() { hasRemoved = true }

    func checkUse() throws(IotoError) {
        if let failure { throw failure }
        guard !isEnded else { throw IotoError(.misuse, "the transaction is over") }
    }
}
