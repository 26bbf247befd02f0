import GRDB
import IotoBase
import IotoSync

extension SQLiteStore {
    public func answer(_ request: HubRequest) async -> HubAnswer {
        do throws(IotoError) {
            switch request {
            case .openDevice(let device):
                return .device(try await open(device))
            case .apply(let changes, let device, let record):
                return try await apply(changes, device: device, by: record)
            case .readFeed(let stream, let position, let bytesMax, let itemsMax):
                return .page(
                    try await readFeed(stream: stream, from: .after(position), bytesMax: bytesMax, itemsMax: itemsMax))
            case .readFeedSince(let stream, let time, let bytesMax, let itemsMax):
                return .page(
                    try await readFeed(stream: stream, from: .since(time), bytesMax: bytesMax, itemsMax: itemsMax))
            }
        } catch {
            return .failed(error)
        }
    }

    public func devices() async throws(IotoError) -> [DeviceRecord] {
        try await read { db in
            try Row.fetchAll(db, sql: "SELECT \(deviceColumns) FROM device ORDER BY id").map(SQLiteStore.device)
        }
    }

    /// Enters a device, or notes that it was seen. The first account that it names is its account for good.
    private func open(_ device: DeviceRecord) async throws(IotoError) -> DeviceRecord {
        try await write(isTold: true) { db in
            let record = try SQLiteStore.device(device.id, in: db)?.following(device) ?? device
            try db.cachedStatement(sql: "REPLACE INTO device(\(deviceColumns), seen) VALUES(?, ?, ?, ?, ?, ?, ?, ?)").execute(
                arguments: [
                    record.id.string, record.account.string, Int64(bitPattern: record.replica), record.synced, record.epoch,
                    Int64(bitPattern: record.nonce), Int64(bitPattern: record.former), Instant.now.wall,
                ])
            return record
        }
    }

    private func apply(
        _ changes: [StreamedChange], device: Text, by record: DeviceRecord?
    ) async throws(IotoError) -> HubAnswer {
        let (writer, history) = (writer, history)
        return try await write(isTold: true) { db in
            if let record { try SQLiteStore.device(device, in: db)?.admit(record) }
            let clock = try SQLiteStore.clock(in: db)
            var arbiter = Arbiter(
                device: device, clock: clock, writer: writer, history: history, wall: Instant.now.wall)
            var feed = FeedWriter(db: db, history: history)
            for entry in changes {
                let key = entry.change.key
                let current = try SQLiteStore.stored(key, in: db)
                var position: Int64?
                if entry.rule != nil, let stream = current?.stream {
                    position = try SQLiteStore.position(of: key, in: stream, db)
                }
                switch arbiter.decide(entry, over: current, position: position) {
                case .pass: break
                case .mark(let marks): try SQLiteStore.setMarks(marks, of: key, in: db)
                case .note(let trail): try SQLiteStore.setTrail(trail, of: key, in: db)
                case .store(let item):
                    feed.time = arbiter.clock.last
                    try SQLiteStore.replace(current, by: item, feed: &feed)
                }
            }
            try feed.finish()
            // The clock stays ahead of all that is stored, so that the cloud's next write of an item is newer.
            if arbiter.clock.last != clock.last { try SQLiteStore.setClock(arbiter.clock, in: db) }
            return arbiter.answer(feed.advances)
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
