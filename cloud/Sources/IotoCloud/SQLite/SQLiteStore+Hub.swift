import GRDB
import IotoBase
import IotoSync

extension SQLiteStore {
    public func answer(_ request: HubRequest) async -> HubAnswer {
        let (isWrite, use, body) = work(request)
        do throws(IotoError) {
            return isWrite ? try await write(isTold: true, use, body) : try await read(use, body)
        } catch {
            return .failed(error)
        }
    }

    public func answerNow(_ request: HubRequest) -> HubAnswer? {
        let (isWrite, use, body) = work(request)
        do throws(IotoError) {
            return try now(isWrite: isWrite, use, body)
        } catch {
            return .failed(error)
        }
    }

    /// What a request takes, within a transaction.
    private func work(
        _ request: HubRequest
    ) -> (isWrite: Bool, use: JournalUse, body: @Sendable (Database) throws -> HubAnswer) {
        let history = history
        switch request {
        case .openDevice(let device):
            return (true, .kept, { db in .device(try SQLiteStore.open(device, in: db)) })
        case .apply(let changes, let device, let record):
            return (
                true, .kept,
                { [self] db in
                    if let record { try SQLiteStore.device(device, in: db)?.admit(record) }
                    return try apply(changes, device: device, in: db)
                }
            )
        case .readFeed(let stream, let position, let bytesMax, let itemsMax):
            return (
                false, .kept,
                { db in .page(try SQLiteStore.page(of: stream, history, from: .after(position), bytesMax, itemsMax, in: db)) }
            )
        case .readFeedSince(let stream, let time, let bytesMax, let itemsMax):
            return (
                false, .merged,
                { db in .page(try SQLiteStore.page(of: stream, history, from: .since(time), bytesMax, itemsMax, in: db)) }
            )
        }
    }

    public func devices() async throws(IotoError) -> [DeviceRecord] {
        try await read(.kept) { db in
            try Row.fetchAll(db, sql: "SELECT \(deviceColumns) FROM device ORDER BY id").map(SQLiteStore.device)
        }
    }

    /// Enters a device, or notes that it was seen. The first account that it names is its account for good.
    private static func open(_ device: DeviceRecord, in db: Database) throws -> DeviceRecord {
        let record = try SQLiteStore.device(device.id, in: db)?.following(device) ?? device
        try db.cachedStatement(sql: "REPLACE INTO device(\(deviceColumns), seen) VALUES(?, ?, ?, ?, ?, ?, ?, ?)").execute(
            arguments: [
                record.id.string, record.account.string, Int64(bitPattern: record.replica), record.synced, record.epoch,
                Int64(bitPattern: record.nonce), Int64(bitPattern: record.former), Instant.now.wall,
            ])
        return record
    }

    private func apply(_ changes: [StreamedChange], device: Text, in db: Database) throws -> HubAnswer {
        let clock = try SQLiteStore.clock(in: db)
        var arbiter = Arbiter(device: device, clock: clock, writer: writer, history: history, wall: Instant.now.wall)
        if changes.contains(where: { $0.known != nil }) {
            let forgotten: Int64? = try StoreFormat.meta("forgotten", in: db)
            arbiter.forgotten = UInt64(bitPattern: forgotten ?? 0)
        }
        var feed = FeedWriter(db: db, history: history)
        if try !journal(changes, device: device, &arbiter, &feed) {
            try SQLiteStore.merge(in: db)
            try SQLiteStore.store(changes, &arbiter, &feed)
        }
        try feed.finish()
        // The clock stays ahead of all that is stored, so that the cloud's next write of an item is newer.
        if arbiter.clock.last != clock.last { try SQLiteStore.setClock(arbiter.clock, in: db) }
        return arbiter.answer(feed.advances)
    }

    /// Stores a request's changes as is decided, each in the items' table.
    private static func store(_ changes: [StreamedChange], _ arbiter: inout Arbiter, _ feed: inout FeedWriter) throws {
        let db = feed.db
        // Whether the next item is likely to be one that is not stored yet: then it is tried without a look.
        var expectsNew = true
        for entry in changes {
            if expectsNew {
                var attempt = arbiter
                if case .store(let item) = attempt.decide(entry, over: nil, position: nil) {
                    feed.time = attempt.clock.last
                    if try SQLiteStore.insert(item, feed: &feed) {
                        arbiter = attempt
                        continue
                    }
                }
            }
            let key = entry.change.key
            let current = try SQLiteStore.stored(key, in: db)
            expectsNew = current == nil
            switch arbiter.decide(entry, over: current?.item, position: current?.position) {
            case .pass: break
            case .mark(let marks): try SQLiteStore.setMarks(marks, of: key, in: db)
            case .note(let trail): try SQLiteStore.setTrail(trail, of: key, in: db)
            case .store(let item):
                feed.time = arbiter.clock.last
                try SQLiteStore.replace(current?.item, by: item, feed: &feed)
            }
        }
    }

    private static func device(_ id: Text, in db: Database) throws -> DeviceRecord? {
        try Row.fetchOne(
            db.cachedStatement(sql: "SELECT \(deviceColumns) FROM device WHERE id = ?"), arguments: [id.string]
        ).map(SQLiteStore.device)
    }

    private static func device(_ row: Row) -> DeviceRecord {
        var record = DeviceRecord(
            id: Text(row[0] as String), account: Text(row[1] as String),
            replica: UInt64(bitPattern: row[2] as Int64), synced: row[3])
        (record.epoch, record.nonce) = (row[4], UInt64(bitPattern: row[5] as Int64))
        record.former = UInt64(bitPattern: row[6] as Int64)
        return record
    }
}

private let deviceColumns = "id, account, replica, synced, epoch, nonce, former"
