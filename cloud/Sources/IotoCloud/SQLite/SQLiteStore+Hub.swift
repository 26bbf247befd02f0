import GRDB
import IotoBase
import IotoSync

extension SQLiteStore {
    public func answer(_ request: HubRequest) async -> HubAnswer {
        do throws(IotoError) {
            switch request {
            case .openDevice(let device):
                return .device(try await open(device))
            case .apply(let changes, let device):
                return try await apply(changes, device: device)
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
        try await write { db in
            let known = try Row.fetchOne(
                db.cachedStatement(sql: "SELECT \(deviceColumns) FROM device WHERE id = ?"), arguments: [device.id.string])
            let record = try known.map { row in try SQLiteStore.device(row).following(device) } ?? device
            try db.cachedStatement(sql: "REPLACE INTO device(\(deviceColumns), seen) VALUES(?, ?, ?, ?, ?, ?, ?)").execute(
                arguments: [
                    record.id.string, record.account.string, Int64(bitPattern: record.replica), record.synced, record.epoch,
                    Int64(bitPattern: record.nonce), Instant.now.wall,
                ])
            return record
        }
    }

    /// Stores the changes that are newer than what is stored: the last writer wins, by version, and a change that comes
    /// again changes nothing. What belongs to another device, or to none, is not this device's to change.
    private func apply(
        _ changes: [StreamedChange], device: Text
    ) async throws(IotoError) -> HubAnswer {
        let (writer, history) = (writer, history)
        return try await write { db in
            var clock = try SQLiteStore.clock(in: db)
            let before = clock.last
            var feed = FeedWriter(db: db, history: history)
            var stored = 0
            var refused: [Version] = []
            var overruled: [OverruledChange] = []
            for var entry in changes {
                let current = try SQLiteStore.stored(entry.change.key, in: db)
                if let current, current.owner != device {
                    refused.append(entry.change.version)
                    continue
                }
                var marks = current?.marks ?? []
                if let arrival = entry.arrival {
                    let ruling = arrival.ruling(entry.change, stored: current?.change, marks: marks)
                    marks = arrival.marks(after: entry.change, marks)
                    if ruling == .overruled, let current {
                        overruled.append(OverruledChange(version: entry.change.version, winner: current.change))
                        try SQLiteStore.setMarks(marks, of: entry.change.key, in: db)
                    }
                    guard ruling == .store else { continue }
                    if let current { clock.observe(current.change.version.time) }
                    entry.change.version = Version(
                        time: clock.next(wall: Instant.now.wall), writer: entry.change.version.writer)
                }
                let sent = entry.change
                var trace: [UInt8] = []
                var fate = Trail.Fate.overwritten
                if let rule = entry.rule, let current {
                    let position = try current.stream.flatMap { try SQLiteStore.position(of: current.change.key, in: $0, db) }
                    switch rule.ruling(
                        entry.change, stored: current.change, position: position, history: history, own: current.own) {
                    case .compare: break
                    case .known: continue
                    case .overruled:
                        overruled.append(OverruledChange(version: sent.version, winner: current.change))
                        try SQLiteStore.note(sent, lostTo: current, in: db)
                        continue
                    case .stamp:
                        if current.change.version.writer != sent.version.writer { fate = .lost }
                        if sent.version <= current.change.version {
                            clock.observe(current.change.version.time)
                            entry.change.version = Version(
                                time: clock.next(wall: Instant.now.wall), writer: sent.version.writer)
                            overruled.append(OverruledChange(version: sent.version, winner: entry.change))
                            trace = Trail.entry(sent.version, .restamped, isRemoval: sent.isRemoval)
                        }
                    }
                }
                if entry.merges {
                    guard let merged = entry.merged(
                        over: current?.change, clock: &clock, wall: Instant.now.wall, writer: writer)
                    else {
                        if let current { try SQLiteStore.note(sent, lostTo: current, in: db) }
                        continue
                    }
                    entry.change = merged
                    if merged.version != sent.version {
                        trace = Trail.entry(sent.version, .joined, isRemoval: false)
                        fate = .merged
                    }
                }
                if let current, entry.change.version <= current.change.version {
                    try SQLiteStore.note(sent, lostTo: current, in: db)
                    continue
                }
                clock.observe(entry.change.version.time)
                feed.time = clock.last
                try SQLiteStore.replace(current, by: entry.change, stream: entry.stream, owner: device, feed: &feed, fate: fate, trace: trace)
                if let rule = entry.rule { try SQLiteStore.setOwn(rule.sent, of: entry.change.key, in: db) }
                if entry.arrival != nil { try SQLiteStore.setMarks(marks, of: entry.change.key, in: db) }
                stored += 1
            }
            try feed.finish()
            // The clock stays ahead of all that is stored, so that the cloud's next write of an item is newer.
            if clock.last != before { try SQLiteStore.setClock(clock, in: db) }
            return .applied(stored: stored, refused: refused, advances: feed.advances, overruled: overruled)
        }
    }

    private static func device(_ row: Row) -> DeviceRecord {
        var record = DeviceRecord(
            id: Text(row[0] as String), account: Text(row[1] as String),
            replica: UInt64(bitPattern: row[2] as Int64), synced: row[3])
        (record.epoch, record.nonce) = (row[4], UInt64(bitPattern: row[5] as Int64))
        return record
    }
}

private let deviceColumns = "id, account, replica, synced, epoch, nonce"
