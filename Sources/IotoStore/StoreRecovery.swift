import CSQLite
import IotoBase
import IotoSchema
import IotoSync

/// Makes a sound database of a damaged one.
///
/// Every readable item, tombstone and change that waits is read out of the damaged file into a new one, which then takes its
/// place; the damaged one is kept beside it. The new one has an id of its own and follows the cloud's streams from the
/// beginning: what was lost here comes back from the cloud, where the cloud has it.
struct StoreRecovery {
    private let source: Connection
    private let target: Connection
    private var items = 0
    /// Rows that were read but hold what the library would not write.
    private var spoiled = 0
    private var gaps = 0
    private var written = 0
    private var highest: UInt64 = 0

    /// Recovers the database at `path` if it is damaged, which reads all of it.
    ///
    /// - Throws: `.corrupt` when the file is something else than a database of this library; `.format` when it is of a newer
    ///   version; what keeps the new file from being written. The damaged one is then where it was.
    static func run(_ path: Text, random: () -> UInt64) throws(IotoError) {
        let part = path + ".part"
        guard Files.size(path) ?? 0 > 0 else { return }
        guard let damage = try damage(of: path) else { return }
        Log.error("\(damage.message); recovering what can be read")
        try removeFiles(part)
        do throws(IotoError) {
            try salvage(path, part, random)
            try Files.sync(part)
        } catch {
            try? removeFiles(part)
            throw error
        }
        let kept = try keep(path)
        // A log of the damaged file must not be taken for the new one's.
        if Files.size(path + "-wal") != nil { try Files.replace(kept + "-wal", by: path + "-wal") }
        try Files.remove(path + "-shm")
        try Files.replace(path, by: part)
        Log.error("\(path): recovered; the damaged file is kept as \(kept)")
    }

    static func removeFiles(_ path: Text) throws(IotoError) {
        for suffix: Text in ["", "-wal", "-shm", "-journal"] { try Files.remove(path + suffix) }
    }

    /// - Returns: What is wrong with the file; nil when nothing is.
    private static func damage(of path: Text) throws(IotoError) -> IotoError? {
        do throws(IotoError) {
            let connection = try Connection(path: path, mode: .reader)
            defer { connection.close() }
            try StoreFormat.check(connection)
            _ = try StoreFormat.readMeta(connection, StoreFormat.metaReplica)
            _ = try StoreFormat.readMeta(connection, StoreFormat.metaClock)
            let finding = try connection.text("PRAGMA quick_check(1)")
            guard finding != "ok" else { return nil }
            // The finding stands on the last line.
            let line = finding.bytes.lastIndex(of: 10).map { Text(finding.bytes[($0 + 1)...]) } ?? finding
            return connection.corrupt(line)
        } catch {
            // A sound file of somebody else's is none of ours to recover.
            guard error.code == .corrupt, error.detail != 0 else { throw error }
            return error
        }
    }

    private static func keep(_ path: Text) throws(IotoError) -> Text {
        for number in 1...StoreLimits.damagedFilesMax {
            let name = path + ".corrupt-" + Text(decimal: Int64(number))
            do throws(IotoError) {
                try Files.keep(path, as: name)
                return name
            } catch {
                guard error.code == .exists else { throw error }
            }
        }
        throw IotoError(.exists, "\(path): too many damaged files are kept beside it")
    }

    private static func salvage(_ path: Text, _ part: Text, _ random: () -> UInt64) throws(IotoError) {
        let target = try Connection(path: part, mode: .writer(.normal))
        defer { target.close() }
        try StoreFormat.prepare(target, random: random)
        do throws(IotoError) {
            let source = try Connection(path: path, mode: .reader)
            defer { source.close() }
            // With this SQLite reads a file that lacks its end, and a schema of which it understands a part.
            try source.execute("PRAGMA writable_schema = ON")
            var recovery = StoreRecovery(source: source, target: target)
            try recovery.copyAll()
        } catch {
            // Nothing can be read at all.
            guard error.code == .corrupt else { throw error }
            StoreFormat.rollBack(target)
            Log.error("\(error.message); no item could be recovered")
        }
        guard try target.text("PRAGMA journal_mode = DELETE") == "delete" else {
            throw IotoError(.io, "\(part): the new file can't be closed")
        }
    }

    private init(source: Connection, target: Connection) {
        self.source = source
        self.target = target
    }

    private mutating func copyAll() throws(IotoError) {
        try target.run(.begin)
        try copyModels()
        for table: Text in ["item", "tombstone"] { try copyItems(table) }
        try copyQueue()
        // No time that was given is given again.
        let clock = (try? StoreFormat.readMeta(source, StoreFormat.metaClock)) ?? 0
        if clock < HybridClock.timeMax { highest = max(highest, clock) }
        try StoreFormat.writeMeta(target, StoreFormat.metaClock, bits: highest)
        try target.run(.commit)
        Log.error(
            "\(source.path): \(items) items recovered, \(spoiled) unreadable, \(gaps) gaps between them")
    }

    /// The numbers of the models, without which no item says what it is.
    private mutating func copyModels() throws(IotoError) {
        let rows = try source.prepare("SELECT id, name FROM model", isPersistent: false)
        try target.execute("DELETE FROM model WHERE name <> ''")
        try target.execute("UPDATE model SET id = 1000000")
        while try rows.step() {
            let name = try rows.text(1)
            if name.isEmpty { continue }
            let insert = try target.prepare("INSERT INTO model(id, name, sent) VALUES(?1, ?2, 0)", isPersistent: false)
            try insert.bind(1, try rows.integer(0))
            try insert.bind(2, name)
            try insert.run()
        }
    }

    // MARK: Items

    /// Reads the items in the order of their keys up to a place that can't be read, then from the end back to it, then looks
    /// for readable ones between the two.
    private mutating func copyItems(_ table: Text) throws(IotoError) {
        let low = ItemKey(hash: "", sort: "")
        guard let first = try copy(table, after: low, before: nil, isReversed: false) else { return }
        gaps += 1
        let last = try copy(table, after: first.last ?? low, before: nil, isReversed: true)
        guard let last else { return }
        var probes = StoreLimits.recoveryProbes
        try probe(table, after: first.last ?? low, before: last.last, &probes)
    }

    /// Where a row could not be read.
    private struct Stop {
        /// The last key before it.
        let last: ItemKey?
    }

    /// Copies the items between two keys, neither included.
    ///
    /// - Returns: Where it had to stop; nil when it came to the end.
    private mutating func copy(
        _ table: Text, after low: ItemKey, before high: ItemKey?, isReversed: Bool
    ) throws(IotoError) -> Stop? {
        var last: ItemKey?
        do throws(IotoError) {
            let rows = try source.prepare(
                "SELECT model, time, writer, position, json, hash, sort FROM " + table
                    + " WHERE (hash, sort) > (?1, ?2)" + (high == nil ? "" : " AND (hash, sort) < (?3, ?4)")
                    + (isReversed ? " ORDER BY hash DESC, sort DESC" : " ORDER BY hash, sort"), isPersistent: false)
            try rows.bind(1, low.hash)
            try rows.bind(2, low.sort)
            if let high {
                try rows.bind(3, high.hash)
                try rows.bind(4, high.sort)
            }
            while try rows.step() {
                guard let hash = try? rows.text(5), let sort = try? rows.text(6) else {
                    spoiled += 1
                    continue
                }
                let key = ItemKey(hash: hash, sort: sort)
                last = key
                try put(table, key, rows)
            }
            return nil
        } catch {
            guard error.code == .corrupt else { throw error }
            return Stop(last: last)
        }
    }

    /// Copies the row that `rows` stands on, unless it is no item.
    private mutating func put(_ table: Text, _ key: ItemKey, _ rows: Statement) throws(IotoError) {
        guard let row = try? StoredRow(rows, source, replica: 0), row.version.time < HybridClock.timeMax,
            row.body.count <= Limits.itemBytesMax, key.hash.count <= Limits.keyBytesMax,
            key.sort.count <= Limits.keyBytesMax
        else {
            spoiled += 1
            return
        }
        highest = max(highest, row.version.time)
        let statement = try target.statement(table == "item" ? .writeItem : .writeTombstone)
        defer { statement.end() }
        try statement.bind(4, row.model)
        try statement.bind(5, bits: row.version.time)
        try statement.bind(6, row.version.writer == 0 ? nil : Int64(bitPattern: row.version.writer))
        try statement.bind(7, row.position)
        try writeRow(statement, key, row.body)
        if table == "item" { items += 1 }
    }

    private mutating func writeRow(_ statement: Statement, _ key: ItemKey, _ body: [UInt8]) throws(IotoError) {
        try statement.run(key: key, body: body)
        written += 1
        guard written % StoreLimits.recoveryStep == 0 else { return }
        statement.end()
        try target.run(.commit)
        try target.run(.begin)
    }

    /// Looks for readable items between two keys, at the middle and again on either side.
    private mutating func probe(
        _ table: Text, after low: ItemKey, before high: ItemKey?, _ probes: inout Int
    ) throws(IotoError) {
        // Wide ones first: each round halves what is left.
        var open = [(low, high)]
        var place = 0
        while place < open.count, probes > 0 {
            let (low, high) = open[place]
            place += 1
            guard let middle = KeyMiddle.between(low, high) else { continue }
            probes -= 1
            let up = try copy(table, after: middle, before: high, isReversed: false)
            let down = try copy(table, after: low, before: middle, isReversed: true)
            if let up { open.append((up.last ?? middle, high)) }
            if let down { open.append((low, down.last ?? middle)) }
        }
    }

    // MARK: Queue

    /// The changes that wait, and where they can't all be read, every change made here: to send one twice does no harm.
    private mutating func copyQueue() throws(IotoError) {
        for table: Text in ["outbox", "parked"] {
            do throws(IotoError) {
                let rows = try source.prepare("SELECT position, hash, sort FROM " + table, isPersistent: false)
                while try rows.step() {
                    let insert = try target.prepare(
                        "INSERT OR IGNORE INTO " + table + "(position, hash, sort) VALUES(?1, ?2, ?3)", isPersistent: false)
                    try insert.bind(1, try rows.integer(0))
                    try insert.bind(2, try rows.text(1))
                    try insert.bind(3, try rows.text(2))
                    try insert.run()
                }
            } catch {
                guard error.code == .corrupt else { throw error }
                Log.error("\(source.path): the queue is damaged; every change made here is sent again")
                for rows: Text in ["item", "tombstone"] {
                    try target.execute(
                        "INSERT OR IGNORE INTO outbox(position, hash, sort) SELECT position, hash, sort FROM " + rows
                            + " WHERE writer IS NULL AND position > 0")
                }
            }
        }
        // What leads to nothing any more would stand in the way.
        for table: Text in ["outbox", "parked"] {
            try target.execute(
                "DELETE FROM " + table + " WHERE NOT EXISTS (SELECT 1 FROM item AS i WHERE i.hash = " + table
                    + ".hash AND i.sort = " + table + ".sort) AND NOT EXISTS (SELECT 1 FROM tombstone AS t WHERE t.hash = "
                    + table + ".hash AND t.sort = " + table + ".sort)")
        }
    }
}

/// A key half-way between two others.
enum KeyMiddle {
    /// Bytes behind the common prefix that are looked at.
    private static let depth = 12

    /// - Parameter high: nil: above every key.
    /// - Returns: A key above `low` and below `high`; nil when there is none to be found.
    static func between(_ low: ItemKey, _ high: ItemKey?) -> ItemKey? {
        if let high, high.hash == low.hash {
            guard let sort = between(low.sort.bytes, high.sort.bytes) else { return nil }
            return ItemKey(hash: low.hash, sort: Text(sort))
        }
        if let hash = between(low.hash.bytes, high?.hash.bytes) { return ItemKey(hash: Text(hash), sort: "") }
        // Hashes next to each other: what is above `low` in its own.
        guard let sort = between(low.sort.bytes, nil) else { return nil }
        return ItemKey(hash: low.hash, sort: Text(sort))
    }

    private static func between(_ low: [UInt8], _ high: [UInt8]?) -> [UInt8]? {
        var prefix = 0
        if let high {
            while prefix < low.count, prefix < high.count, low[prefix] == high[prefix] { prefix += 1 }
        }
        // The two as fractions of a few digits behind what they have in common; half of the sum.
        var sum = [Int](repeating: 0, count: depth)
        for place in 0..<depth {
            let at = prefix + place
            let a = at < low.count ? Int(low[at]) : 0
            let b = high.map { at < $0.count ? Int($0[at]) : 0 } ?? 255
            sum[place] = a + b
        }
        var digits: [UInt8] = []
        var carry = 0
        // Halved from the left; what an addition carries goes up first.
        for place in stride(from: depth - 1, to: 0, by: -1) where sum[place] > 255 {
            sum[place] -= 256
            sum[place - 1] += 1
        }
        for place in 0..<depth {
            let value = sum[place] + carry * 256
            digits.append(UInt8(truncatingIfNeeded: min(255, value / 2)))
            carry = value % 2
        }
        let middle = Array((low.count >= prefix ? low : high ?? low).prefix(prefix)) + digits
        guard low.lexicographicallyPrecedes(middle) else { return nil }
        if let high, !middle.lexicographicallyPrecedes(high) { return nil }
        return middle
    }
}
