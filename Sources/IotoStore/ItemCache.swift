import CPlatform
import CSQLite
import IotoBase
import IotoSchema

/// The items that were read last, by key: a get that finds its item here asks SQLite for nothing.
///
/// What it holds is the committed state of the file as of the header of the log that it knows. Every look compares that
/// header with the one in the memory that all processes share: a commit of anyone makes them differ. Commits of this
/// store are followed item by item, commits of others empty the cache.
///
/// An item that was read is put in with the ticket of the look that missed it. A ticket is good while no commit has
/// happened since, so that a reader that was overtaken by a writer doesn't put the older state back.
///
/// Eviction goes by the clock: an item that was found since the hand's last round stays for another. Once the cache is
/// full, an item is put in when it is missed for the second time, so that reads of ever other items don't drive out those
/// that are read again.
final class ItemCache: @unchecked Sendable {
    struct Statistics: Sendable {
        var hits: Int64 = 0
        var misses: Int64 = 0
        var items = 0
        var bytes = 0
    }

    private struct Entry {
        var item: StoredItem?
        var hash: UInt32 = 0
        /// The next of the same bucket, or of the free ones; -1: none.
        var next: Int32 = -1
        var isUsed = false
    }

    /// What an item takes beside its key and its body: objects, arrays, the entry. Measured, not exact.
    static let itemOverhead = 192
    /// Missed keys that are remembered; a power of two.
    private static let missedMax = 16384

    private var bytesMax: Int
    private let seed = SystemRandom.uint64()
    private let lock = Lock()
    /// The header that the processes share; nil: nothing is kept.
    private var shared: UnsafeRawPointer?
    /// The state that the entries are of.
    private var known = ioto_log_header()
    /// Changes with `known`. A ticket is the generation that it was issued in.
    private var generation: UInt64 = 0
    /// A transaction of this store is under way: nobody else can commit.
    private var isWriting = false
    private var entries: [Entry] = []
    /// First entries, by hash; -1: none. Their number is a power of two.
    private var buckets: [Int32] = []
    private var free: Int32 = -1
    private var hand = 0
    /// Hashes of keys that were missed last, since the cache is full.
    private var missed: [Int32] = []
    private var statistics = Statistics()

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    /// Begins to keep items.
    ///
    /// - Parameter shared: The header in shared memory, which has to stay there until `close`.
    func open(_ shared: UnsafeRawPointer) {
        lock.withLock {
            self.shared = shared
            ioto_log_header_read(shared, &known)
            generation += 1
        }
    }

    /// Drops everything, for good.
    func close() {
        lock.withLock {
            shared = nil
            removeAll()
        }
    }

    /// Sets the memory that the items may take.
    func limit(to bytes: Int) {
        lock.withLock {
            bytesMax = bytes
            removeAll()
        }
    }

    var currentStatistics: Statistics { lock.withLock { statistics } }

    // MARK: Reading

    /// The item of a key, as it is committed now; nil when it is not here.
    ///
    /// - Parameter ticket: For `insert` after a miss; 0 when what is read must not be kept.
    func find(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, _ ticket: inout UInt64
    ) -> StoredItem? {
        lock.lock()
        defer { lock.unlock() }
        ticket = 0
        guard let shared, follow(shared) else { return nil }
        let sum = platform_hash(seed, hash.baseAddress, hash.count, sort.baseAddress, sort.count)
        if let place = place(sum, hash, sort) {
            entries[place].isUsed = true
            statistics.hits += 1
            return entries[place].item
        }
        statistics.misses += 1
        if isFirstMiss(sum) { return nil }
        ticket = generation
        return nil
    }

    /// Whether a key that is missed has to wait for the next time.
    private func isFirstMiss(_ sum: UInt32) -> Bool {
        guard bytesMax - statistics.bytes < bytesMax / 16 else { return false }
        if missed.isEmpty { missed = [Int32](repeating: 0, count: ItemCache.missedMax) }
        let slot = Int(sum % UInt32(ItemCache.missedMax))
        let isFirst = missed[slot] != Int32(bitPattern: sum)
        missed[slot] = Int32(bitPattern: sum)
        return isFirst
    }

    /// Keeps an item that was read after the look that gave the ticket.
    func insert(_ item: StoredItem, _ ticket: UInt64) {
        lock.lock()
        defer { lock.unlock() }
        guard let shared, ticket == generation, ioto_log_header_is(shared, &known) else { return }
        put(item)
    }

    /// The item of a key as the transaction that is under way finds it, unless it has changed it.
    func findWithinWrite(_ key: ItemKey) -> StoredItem? {
        lock.lock()
        defer { lock.unlock() }
        guard shared != nil, isWriting else { return nil }
        return key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in place(hash, sort).flatMap { entries[$0].item } }
        }
    }

    /// Whether the entries are of the present state, once they have been emptied where they were not.
    private func follow(_ shared: UnsafeRawPointer) -> Bool {
        if ioto_log_header_is(shared, &known) { return true }
        // The transaction under way has begun a new log, or is committing: `endWrite` sees to that.
        if isWriting { return false }
        renew(shared)
        return true
    }

    private func renew(_ shared: UnsafeRawPointer) {
        removeAll()
        ioto_log_header_read(shared, &known)
        generation += 1
    }

    // MARK: Writing

    /// A change of a transaction: the item as it will be, or nil when it will be gone or is not known.
    typealias Change = (key: ItemKey, item: StoredItem?)

    /// To be called once the transaction is the one that writes to the file, before its first read.
    ///
    /// - Returns: The generation of the state that it finds; nil when that is not known.
    func beginWrite() -> UInt64? {
        lock.lock()
        defer { lock.unlock() }
        guard let shared else { return nil }
        if !ioto_log_header_is(shared, &known) { renew(shared) }
        isWriting = true
        return generation
    }

    /// To be called after the commit, before anyone is told of it.
    ///
    /// - Parameter changes: Of items; nil when they are too many to be told.
    /// - Returns: The generation of the state that it has left, for `isCurrent`; nil when that is not known.
    func endWrite(_ changes: [Change]?) -> UInt64? {
        lock.lock()
        defer { lock.unlock() }
        isWriting = false
        guard let shared else { return nil }
        guard let header = moved(shared) else { return generation }
        let commits = commits(upTo: header)
        // More than one commit, or none where there had to be one: it was not this transaction alone.
        guard let changes, commits == 1 || (commits == 0 && changes.isEmpty) else {
            renew(shared)
            return nil
        }
        for (key, item) in changes { replace(key, item) }
        known = header
        generation += 1
        return generation
    }

    /// Whether nobody has committed since the state of this generation, in this process or another.
    func isCurrent(_ generation: UInt64) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        guard let shared else { return false }
        return generation == self.generation && ioto_log_header_is(shared, &known)
    }

    /// That of the state as it is committed now; nil: not known.
    var currentGeneration: UInt64? {
        lock.lock()
        defer { lock.unlock() }
        guard let shared, ioto_log_header_is(shared, &known) else { return nil }
        return generation
    }

    /// To be called when the transaction was rolled back.
    func abandonWrite() {
        lock.lock()
        defer { lock.unlock() }
        isWriting = false
        guard let shared, let header = moved(shared) else { return }
        guard commits(upTo: header) == 0 else { return renew(shared) }
        // It had begun a new log.
        known = header
        generation += 1
    }

    /// The header, when it is another one. It is read once: what it may hold of a commit that is being made then differs
    /// from the one that this commit leaves.
    private func moved(_ shared: UnsafeRawPointer) -> ioto_log_header? {
        if ioto_log_header_is(shared, &known) { return nil }
        var header = ioto_log_header()
        ioto_log_header_read(shared, &header)
        return header
    }

    private func commits(upTo header: ioto_log_header) -> UInt32 {
        var header = header
        return ioto_log_header_change(&header) &- ioto_log_header_change(&known)
    }

    private func replace(_ key: ItemKey, _ item: StoredItem?) {
        let found = key.hash.bytes.withUnsafeBytes { hash in
            key.sort.bytes.withUnsafeBytes { sort in place(hash, sort) }
        }
        // What nobody has read is not worth a place.
        guard let found else { return }
        remove(found)
        if let item { put(item) }
    }

    // MARK: The table

    private func place(_ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer) -> Int? {
        place(platform_hash(seed, hash.baseAddress, hash.count, sort.baseAddress, sort.count), hash, sort)
    }

    private func place(_ sum: UInt32, _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer) -> Int? {
        guard !buckets.isEmpty else { return nil }
        var index = buckets[home(sum)]
        while index >= 0 {
            let place = Int(index)
            if entries[place].hash == sum, let key = entries[place].item?.key,
                key.hash.bytes.withUnsafeBytes({ compareBytes($0, hash) == 0 }),
                key.sort.bytes.withUnsafeBytes({ compareBytes($0, sort) == 0 })
            {
                return place
            }
            index = entries[place].next
        }
        return nil
    }

    private func home(_ sum: UInt32) -> Int { Int(sum & UInt32(buckets.count - 1)) }

    private func put(_ item: StoredItem) {
        let bytes = ItemCache.size(item)
        // One that would drive everything else out stays out itself.
        guard bytes <= bytesMax / 8 else { return }
        let (sum, found) = item.key.hash.bytes.withUnsafeBytes { hash in
            item.key.sort.bytes.withUnsafeBytes { sort in
                (platform_hash(seed, hash.baseAddress, hash.count, sort.baseAddress, sort.count), place(hash, sort))
            }
        }
        if let found { remove(found) }
        while statistics.bytes + bytes > bytesMax { evict() }
        if statistics.items >= buckets.count { grow() }
        let index: Int
        if free >= 0 {
            index = Int(free)
            free = entries[index].next
        } else {
            index = entries.count
            entries.append(Entry())
        }
        let bucket = home(sum)
        entries[index] = Entry(item: item, hash: sum, next: buckets[bucket])
        buckets[bucket] = Int32(index)
        statistics.items += 1
        statistics.bytes += bytes
    }

    /// Takes out the next entry that was not found since the hand passed it last. There is one.
    private func evict() {
        while true {
            if hand >= entries.count { hand = 0 }
            let place = hand
            hand += 1
            guard entries[place].item != nil else { continue }
            guard entries[place].isUsed else { return remove(place) }
            entries[place].isUsed = false
        }
    }

    private func remove(_ place: Int) {
        guard let item = entries[place].item else { return }
        let bucket = home(entries[place].hash)
        if buckets[bucket] == Int32(place) {
            buckets[bucket] = entries[place].next
        } else {
            var previous = Int(buckets[bucket])
            while entries[previous].next != Int32(place) { previous = Int(entries[previous].next) }
            entries[previous].next = entries[place].next
        }
        entries[place] = Entry(next: free)
        free = Int32(place)
        statistics.items -= 1
        statistics.bytes -= ItemCache.size(item)
    }

    private func removeAll() {
        entries = []
        buckets = []
        missed = []
        free = -1
        hand = 0
        statistics.items = 0
        statistics.bytes = 0
    }

    private func grow() {
        buckets = [Int32](repeating: -1, count: max(64, buckets.count * 2))
        for place in entries.indices where entries[place].item != nil {
            let bucket = home(entries[place].hash)
            entries[place].next = buckets[bucket]
            buckets[bucket] = Int32(place)
        }
    }

    static func size(_ item: StoredItem) -> Int {
        item.body.count + item.key.hash.count + item.key.sort.count + itemOverhead
    }
}
