import IotoBase
import IotoJSON
import IotoSchema
import Testing

@testable import IotoStore
@testable import IotoSync

/// Devices with their real databases, a hub with a store in memory, and queues in the place of the broker. Each has a clock of
/// its own, which the test sets.
final class Fleet {
    final class Member {
        let id: Text
        let fixture: Fixture
        var store: Store
        fileprivate var replicator: DeviceReplicator<Store>
        let recorder = Recorder()
        fileprivate var seed: UInt64

        private let monotonic: TestClock

        fileprivate init(_ id: Text, _ schema: Schema, seed: UInt64, _ monotonic: TestClock) throws {
            self.id = id
            self.seed = seed
            self.monotonic = monotonic
            fixture = try Fixture(schema)
            store = try fixture.open { $0.monotonicClock = { monotonic.time } }
            store.setObserver(recorder)
            replicator = Member.replicator(store, id, schema, seed)
        }

        fileprivate static func replicator(
            _ store: Store, _ id: Text, _ schema: Schema, _ seed: UInt64
        ) -> DeviceReplicator<Store> {
            DeviceReplicator(
                storage: store, schema: schema, configuration: .init(topics: Topics(device: id, account: "a1")), seed: seed)
        }

        fileprivate func reopen(_ name: String) throws {
            let monotonic = monotonic
            store = try fixture.open(name) { $0.monotonicClock = { monotonic.time } }
        }

        var wall: Int64 {
            get { fixture.clock.time }
            set { fixture.clock.time = newValue }
        }

        var device: DeviceReplicator<Store> { replicator }

        /// Writes as the database does: under the schema, with its times.
        @discardableResult
        func put(_ name: Text, _ id: Text, _ value: Text) throws -> Version {
            let model = try #require(fixture.schema.model(name))
            var context = Context()
            context.set("deviceId", self.id)
            let item = try model.makeItem(
                ["id": .string(id), "value": .string(value)], context: context, now: store.timeOfDay())
            return try store.write { (transaction) throws(IotoError) in
                try transaction.put(model, item.key, body: item.text).version
            }
        }

        func remove(_ name: Text, _ id: Text) throws {
            let (model, key) = try place(name, id)
            try store.write { (transaction) throws(IotoError) in
                guard let item = try transaction.get(key, model: model) else { throw IotoError(.notFound, "no item") }
                try transaction.remove(item)
            }
        }

        func item(_ name: Text, _ id: Text) throws -> JSONObject? {
            let (model, key) = try place(name, id)
            return try store.get(key, model: model)?.properties()
        }

        func value(_ name: Text, _ id: Text) throws -> Text? { try item(name, id)?["value"]?.stringValue }

        private func place(_ name: Text, _ id: Text) throws -> (Model, ItemKey) {
            let model = try #require(fixture.schema.model(name))
            return (model, ItemKey(hash: "device#" + self.id, sort: Text(name.string.lowercased()) + "#" + id))
        }
    }

    let schema: Schema
    let cloud = MemoryHubStore()
    private var hub: HubReplicator
    private(set) var members: [Member] = []
    private let monotonic = TestClock()
    /// The true time.
    var time: Int64 = testTime
    /// On their way, both ways.
    var up: [Publication] = []
    var down: [Publication] = []

    init(_ schema: Schema? = nil) throws {
        self.schema = try schema ?? Fleet.schema()
        cloud.schema = self.schema
        monotonic.time = 1_000
        hub = HubReplicator(schema: self.schema, clock: HybridClock())
        run(.connected(devices: [], feeds: []))
    }

    func add(_ id: Text = "d1") throws -> Member {
        let member = try Member(id, schema, seed: UInt64(members.count + 7), monotonic)
        members.append(member)
        return member
    }

    private func now(_ member: Member) -> Instant { Instant(monotonic: monotonic.time, wall: member.wall) }

    func connect(_ member: Member) {
        member.replicator.connected(now(member))
        collect(member)
    }

    func disconnect(_ member: Member) {
        member.replicator.disconnected(now(member))
        (up, down) = ([], [])
    }

    /// The process dies, and another opens the same files.
    func kill(_ member: Member) throws {
        member.seed += 100
        let name = "copy\(member.seed).db"
        try member.fixture.copy(member.store.path.string.split(separator: "/").last.map(String.init) ?? "", to: name)
        member.store.close()
        try member.reopen(name)
        member.store.setObserver(member.recorder)
        member.replicator = Member.replicator(member.store, member.id, schema, member.seed)
        (up, down) = ([], [])
    }

    /// The device tells its replicator of what was written.
    func changed(_ member: Member) {
        member.replicator.changed(bytes: 10, now(member))
        collect(member)
    }

    /// Time goes by for all of them.
    func wait(_ milliseconds: Int64) {
        monotonic.time += milliseconds
        time += milliseconds
        for member in members {
            member.wall += milliseconds
            member.replicator.tick(now(member))
            collect(member)
        }
    }

    /// Sends what waits, and lets everything through until all are silent.
    func settle() throws {
        for member in members where member.replicator.isConnected {
            _ = try member.replicator.flush(now(member))
            collect(member)
        }
        for _ in 0..<200 where !up.isEmpty || !down.isEmpty { deliver() }
    }

    func deliver() {
        let (rising, falling) = (up, down)
        (up, down) = ([], [])
        for message in rising { run(.message(topic: message.topic, payload: message.payload)) }
        for message in falling {
            for member in members {
                member.replicator.received(message.topic, message.payload, now(member))
                collect(member)
            }
        }
    }

    /// A cloud application writes an item of a device.
    func cloudPut(_ name: Text, _ id: Text, _ value: Text, of device: Text = "d1", isRemoval: Bool = false) throws {
        cloud.wall = time
        run(.feedsMoved(try cloud.put(name, id, device: device, value: value, isRemoval: isRemoval)))
    }

    func run(_ input: HubInput) {
        cloud.wall = time
        var inputs = [input]
        while !inputs.isEmpty {
            for effect in hub.handle(inputs.removeFirst(), now: Instant(monotonic: monotonic.time, wall: time)) {
                switch effect {
                case .publish(let publication): down.append(publication)
                case .request(let ticket, let request):
                    let answer = cloud.answer(request)
                    inputs.append(.answer(ticket: ticket, answer))
                    if case .applied(_, _, let advances, _, _) = answer { inputs.append(.feedsMoved(advances.map { $0.stream })) }
                case .requestLater(let ticket, let request, _): inputs.append(.answer(ticket: ticket, cloud.answer(request)))
                case .log: break
                }
            }
        }
    }

    private func collect(_ member: Member) {
        up += member.replicator.takePublications()
    }

    /// `Note` goes both ways, `Alarm` up, `Setting` down; all say when they were made and changed.
    static func schema() throws -> Schema {
        let models = ["Note", "Alarm", "Setting"].map { name in
            """
            \(name): {
                pk: {value: 'device#${deviceId}'}, sk: {value: '\(name.lowercased())#${id}'}, id: {type: 'string'},
                deviceId: {type: 'string'}, value: {type: 'string'},
            }
            """
        }
        let source = """
            {
                format: 'onetable:1.1.0', version: '1.0.0', indexes: {primary: {hash: 'pk', sort: 'sk'}},
                params: {timestamps: true, isoDates: true},
                models: {\(models.joined(separator: ", "))},
                process: {Note: {sync: 'both'}, Alarm: {sync: 'up'}, Setting: {sync: 'down'}},
            }
            """
        return try Schema(source: Array(source.utf8), name: "fleet.json5")
    }
}
