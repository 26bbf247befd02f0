import CPlatform
import CSQLite
import IotoBase
import IotoSchema
import IotoSync

/// Reading items by the pages that they stand in, beside SQLite and in the snapshot that it holds.
extension Connection {
    /// Where the pages stand of the snapshot that the first step of `holder` (`.itemRoot`) takes, and which is the root of the items.
    ///
    /// - Parameter shared: The header of the log in shared memory.
    /// - Returns: nil when that is not known.
    private func pages(_ holder: Statement, _ shared: UnsafeRawPointer) throws(IotoError) -> (platform_pages, UInt32)? {
        // Nobody has committed between a header that is read before the snapshot is taken and one like it that is read
        // afterwards, so that the snapshot is of that state.
        var header = snapshot ?? ioto_log_header()
        if snapshot == nil {
            guard !isInTransaction else { return nil }
            ioto_log_header_read(shared, &header)
        }
        guard try holder.step(), let root = UInt32(exactly: try holder.integer(0)) else { return nil }
        var pages = platform_pages()
        pages.frames = ioto_log_header_frames(&header)
        guard ioto_log_moved(shared, &header, &pages.moved), let file = ioto_sqlite_file(handle, false),
            let log = ioto_sqlite_file(handle, true)
        else { return nil }
        pages.database = file
        pages.log = log
        pages.read = ioto_sqlite_read
        pages.index = ioto_sqlite_log_index
        return (pages, root)
    }

    /// Begins a walk over a model's items, of the snapshot that the first step of `holder` (`.itemRoot`) takes.
    ///
    /// - Returns: nil when it is not known where its pages stand.
    func openTree(
        _ holder: Statement, _ shared: UnsafeRawPointer, _ model: Int64, _ needle: [UInt8]?
    ) throws(IotoError) -> OpaquePointer? {
        guard let (found, root) = try pages(holder, shared) else { return nil }
        var pages = found
        guard let needle else { return platform_tree_open(&pages, root, model, nil, 0) }
        return needle.withUnsafeBytes { platform_tree_open(&pages, root, model, $0.baseAddress, $0.count) }
    }

    /// Looks for a row in the snapshot that is kept between reads.
    ///
    /// - Returns: 1: `row` is it, until the next look; 0: there is none; -1: it is to be asked of SQLite.
    func lookUp(
        _ hash: UnsafeRawBufferPointer, _ sort: UnsafeRawBufferPointer, _ shared: UnsafeRawPointer, _ row: inout platform_row
    ) throws(IotoError) -> Int32 {
        guard var header = snapshot, isInTransaction else { return -1 }
        if !isLookingUp {
            lookups += 1
            // It pays when there are some of them: the more of them the more frames there are to sort.
            let frames = Int(ioto_log_rest(shared, &header))
            guard lookups >= StoreLimits.lookupsBefore + frames / StoreLimits.framesPerLookup else { return -1 }
            lookups = 0
            let holder = try statement(.itemRoot)
            defer { holder.end() }
            if lookup == nil { lookup = platform_lookup_new(UInt32(clamping: lookupPages)) }
            guard let lookup, let (found, root) = try pages(holder, shared) else { return -1 }
            var pages = found
            guard platform_lookup_begin(lookup, &pages, root) else { return -1 }
            isLookingUp = true
        }
        let code = platform_lookup_find(lookup, hash.baseAddress, hash.count, sort.baseAddress, sort.count, &row)
        if code < 0 { isLookingUp = false }
        return code
    }

    func checkBody(_ body: UnsafeRawBufferPointer) throws(IotoError) {
        guard body.first == UInt8(ascii: "{"), body.last == UInt8(ascii: "}") else {
            throw corrupt("an item's text is not an object")
        }
    }
}

extension platform_row {
    var key: ItemKey {
        ItemKey(
            hash: Text(UnsafeRawBufferPointer(start: hash, count: hash_bytes)),
            sort: Text(UnsafeRawBufferPointer(start: sort, count: sort_bytes)))
    }

    var body: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: json, count: json_bytes) }

    /// As `StoredRow.version`.
    func version(replica: UInt64) -> Version {
        Version(time: time, writer: has_writer ? writer : time == 0 ? 0 : replica)
    }
}
