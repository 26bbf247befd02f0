import IotoBase
import IotoJSON
import IotoSchema
import IotoSync
import Testing

@testable import IotoCloud

/// What the store does with items whose `ttl` is over.
@Suite struct ExpiryTests {
    /// 2026-11-21, in milliseconds.
    static let now: Int64 = 1_795_219_200_000
    let test: TestStore
    let schema: Schema

    init() throws {
        test = try TestStore()
        schema = try ExpiryTests.schema(ttl: true)
    }

    static func schema(ttl: Bool) throws -> Schema {
        let source: Text = """
            {
              version: '1', indexes: { primary: { hash: 'pk', sort: 'sk' } },
              models: {
                Setting: {
                  pk: { type: 'string', value: 'h' }, sk: { type: 'string', value: 'setting#${id}' },
                  deviceId: { type: 'string' }, id: { type: 'string' }, until: { type: 'date', ttl: \(ttl ? "true" : "false") },
                },
                Up: {
                  pk: { type: 'string', value: 'up' }, sk: { type: 'string', value: 'up#${id}' },
                  id: { type: 'string' }, until: { type: 'date', ttl: \(ttl ? "true" : "false") },
                },
              },
              process: { Setting: { sync: 'both' }, Up: { sync: 'up' } },
            }
            """
        return try Schema(source: source.bytes, name: "schema.json5")
    }

    private var expiry: CloudExpiry { CloudExpiry(store: test.store, schema: schema) }

    /// Has device d1 bring an item that expires so many seconds after `now`.
    private func put(_ id: Text, in seconds: Int64, time: UInt64 = 100) async throws {
        let until = Text(decimal: ExpiryTests.now / 1000 + seconds)
        let body: Text = "{\"id\":\"\(id)\",\"deviceId\":\"d1\",\"until\":\(until)}"
        #expect(try await test.apply(change(id, time: time, body: body)).stored == 1)
    }

    private func isThere(_ id: Text) async throws -> Bool {
        try await test.store.item(key(id)).map { !$0.isRemoval } ?? false
    }

    @Test func anExpiredItemIsRemovedAndTheFeedTellsIt() async throws {
        try await put("over", in: 0)
        try await put("soon", in: 1)
        #expect(try await expiry.sweep(now: ExpiryTests.now) == 1)
        let tombstone = try #require(try await test.store.item(key("over")))
        #expect(tombstone.isRemoval && tombstone.version == Version(time: 101, writer: test.store.writer))
        #expect(tombstone.body == Text("{\"id\":\"over\",\"deviceId\":\"d1\"}").bytes)
        #expect(try await isThere("soon"))
        let page = try await test.page("device/d1", after: 2)
        #expect(page.entries.map { $0.change } == [tombstone])
        #expect(try await expiry.sweep(now: ExpiryTests.now) == 0)
        #expect(try await expiry.sweep(now: ExpiryTests.now + 1000) == 1)
        #expect(try await test.store.clock().last > HybridClock.time(ExpiryTests.now - 86_400_000))
    }

    @Test func anItemThatOnlyGoesUpIsRemovedWithoutAFeed() async throws {
        let up = StreamedChange(
            change: Change(
                model: "Up", key: ItemKey(hash: "up", sort: "up#1"), version: Version(time: 5, writer: 7), isRemoval: false,
                body: Text("{\"id\":\"1\",\"until\":1600000000}").bytes), stream: nil)
        try await test.apply(up)
        #expect(try await expiry.sweep(now: ExpiryTests.now) == 1)
        #expect(try await test.store.items(model: "Up", after: nil, limit: 10).isEmpty)
        #expect(try await test.page("device/d1").entries.isEmpty)
    }

    @Test func whatADeviceMadeOfTheItemMeanwhileStays() async throws {
        try await put("a", in: -10)
        #expect(try await expiry.sweep(now: ExpiryTests.now) == 1)
        // It was away, and had extended the item in time.
        try await put("a", in: 3600, time: 102)
        #expect(try await isThere("a"))
        #expect(try await expiry.sweep(now: ExpiryTests.now) == 0)
    }

    @Test func anItemThatChangesDuringTheSweepStays() async throws {
        try await put("a", in: -10)
        let stale = try #require(try await test.store.item(key("a")))
        try await put("a", in: 3600, time: 200)
        let removal = LocalWrite(
            model: "Setting", key: stale.key, isRemoval: true, body: stale.body, stream: "device/d1", owner: "d1",
            expected: stale.version)
        let none = LocalWrite(
            model: "Setting", key: key("none"), isRemoval: true, body: [], stream: nil, owner: "", expected: nil)
        #expect(try await test.store.expire([removal, none]) == 0)
        #expect(try await isThere("a"))
        #expect(try await test.store.item(key("none")) == nil)
    }

    @Test func nothingExpiresWithoutATTLNorByAClockThatIsNotSet() async throws {
        try await put("a", in: -10)
        #expect(try await expiry.sweep(now: 1_000_000_000) == 0)
        let other = CloudExpiry(store: test.store, schema: try ExpiryTests.schema(ttl: false))
        #expect(try await other.sweep(now: ExpiryTests.now) == 0)
        #expect(try await isThere("a"))
    }

    @Test func aSweepGoesThroughAllItemsInSteps() async throws {
        let count = 2 * CloudExpiry.stepItems + 3
        let changes = (0..<count).map { index in
            let body: Text =
                switch index {
                case 0: "{\"id\":\"i0\",\"until\":[nul}"
                case _ where index % 5 == 0: "{\"id\":\"i\(index)\"}"
                default: "{\"id\":\"i\(index)\",\"until\":1600000000}"
                }
            return change("i\(index)", time: 100 + UInt64(index), body: body)
        }
        let answer = await test.store.answer(.apply(changes, device: "d1"))
        guard case .applied = answer else { throw UnexpectedAnswer(answer: answer) }
        let kept = (0..<count).count { $0 % 5 == 0 }
        #expect(try await expiry.sweep(now: ExpiryTests.now) == count - kept)
        #expect(try await test.store.items(model: "Setting", after: nil, limit: 5000).count == kept)
    }
}
