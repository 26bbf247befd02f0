import CSQLite
import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// A fleet, a broker and a cloud under faults, all of it from one seed.
///
/// For some minutes of simulated time applications write on both sides while machines, disks, links and clocks fail.
/// Then the faults stop, and everything has to come to rest with the same items everywhere.
public final class Simulation {
    /// How long everything may take to converge once the faults have stopped, in simulated milliseconds.
    static let convergenceMax: Int64 = 30 * 60_000
    /// How long nobody may say anything after that.
    static let silence: Int64 = 120_000

    public let seed: UInt64
    let world: World
    let judge: Judge
    let cloud: Cloud
    let broker: Broker
    var hubs: [Hub] = []
    var devices: [Device] = []
    /// Those that were switched off for good.
    var retired: [Device] = []
    /// Peers that speak version 1 alone.
    var agents: [Agent] = []
    let intruder: Intruder
    /// The faults of this simulation: each seed has its own mixture.
    let mixture: Mixture
    private var appCount = 0
    /// Older states of the cloud's store.
    var backups: [Cloud.State] = []

    /// What happens, where it is not left to chance.
    private let script: Script?

    public convenience init(seed: UInt64, storyteller: ((String) -> Void)? = nil) {
        self.init(seed: seed, script: nil, storyteller: storyteller)
    }

    init(seed: UInt64, script: Script?, storyteller: ((String) -> Void)? = nil) {
        self.seed = seed
        self.script = script
        world = World(seed: seed, storyteller: storyteller)
        mixture = script.map { Mixture($0) } ?? Mixture(&world.random)
        judge = Judge(world)
        broker = Broker(world)
        broker.isLoose = mixture.isLoose
        broker.queueMax = mixture.hasShortQueues ? 8 : 1000
        // What comes in many parts would never all have room in a short queue.
        if seed % 4 == 3, script == nil, !mixture.hasShortQueues { broker.packetBytesMax = 800 }
        cloud = Cloud(world, wall: WallClock(world, offset: world.random.integer(-2_000...2_000), drift: 0))
        judge.cloud = cloud
        cloud.pageMax = mixture.pageMax
        broker.isShared = mixture.isShared
        let storeDelay: ClosedRange<Int64> = 0...world.random.pick([2, 20, 500])
        for number in 1...mixture.hubs {
            let hub = Hub(
                world, number: number, cloud: cloud, broker: broker, link: Link(latency: 1...20, bytesPerSecond: 0),
                judge: judge)
            hub.storeDelay = storeDelay
            hubs.append(hub)
        }
        intruder = Intruder(world, broker)
        for index in 0..<mixture.devices {
            let isSlow = mixture.hasSlowLinks && world.random.chance(400)
            let device = Device(
                world, id: Text("d\(index + 1)"), account: world.random.pick(["a1", "a1", "a2", ""]),
                wall: mixture.clock(world),
                link: Link(
                    latency: world.random.pick([1...10, 20...200, 50...3_000]), bytesPerSecond: isSlow ? 2_000 : 0),
                broker: broker, judge: judge,
                durability: script?.durability ?? (world.random.chance(750) ? .full : .normal),
                // Only a broker that drops pages makes it necessary that devices ask without a sign.
                refreshInterval: mixture.hasShortQueues ? 20 * 60_000 : 100 * 3_600_000)
            devices.append(device)
        }
        for index in 0..<mixture.agents {
            let agent = Agent(
                world, id: Text("v\(index + 1)"), account: world.random.pick(["a1", "a2", ""]),
                // What such an agent passes over is decided by its clock: it must not be ahead.
                wall: WallClock(world, offset: -2_000 - world.random.integer(0...5_000), drift: 0),
                link: Link(latency: world.random.pick([1...10, 20...200]), bytesPerSecond: 0), broker: broker, judge: judge)
            agents.append(agent)
            judge.agents.insert(agent.id)
        }
        cloud.onMoved = { [unowned self] in for hub in hubs { hub.moved($0) } }
        cloud.onStored = { [unowned judge] in judge.cloudStored($0, $1, $2) }
    }

    /// What a simulation has shown.
    public struct Outcome: Sendable {
        public let violation: Violation?
        public let digest: UInt64
        /// Simulated milliseconds.
        public let time: Int64
        /// Changes that devices applied, and that the cloud stored.
        public let applied: Int
        public let stored: Int
        public let faults: [String: Int]
        /// How long convergence took, in simulated milliseconds.
        public let convergence: Int64
        public let events: Int
    }

    /// Writes of the first device's disk until the faults stopped, and requests of the first hub to its store.
    private(set) var operations: (device: Int64, hub: Int64) = (0, 0)

    public func run() -> Outcome {
        for hub in hubs { hub.start() }
        for device in devices { world.after(world.random.integer(0...2_000)) { device.boot() } }
        for agent in agents { world.after(world.random.integer(0...2_000)) { agent.start() } }
        if let script { script.play(self) } else { schedule() }
        world.run(until: mixture.duration)
        operations = (devices[0].disk.operations, hubs[0].requests)
        let convergence = converge()
        let outcome = Outcome(
            violation: world.violation, digest: world.digest, time: world.now, applied: judge.applications,
            stored: judge.storings, faults: world.faults, convergence: convergence,
            events: world.count)
        end()
        return outcome
    }

    /// Everything goes, or it would hold each other for ever.
    private func end() {
        world.end()
        for device in devices + retired { device.shutDown() }
        for agent in agents { agent.end() }
        for hub in hubs { hub.crash() }
        broker.end()
        devices = []
        retired = []
    }

    // MARK: Under way

    private func schedule() {
        world.after(world.random.span(1...mixture.pace)) {
            guard self.world.now < self.mixture.duration else { return }
            self.act()
            self.schedule()
        }
    }

    private func act() {
        if world.random.chance(mixture.faultRate) { return mixture.fault(self) }
        backUpCloud()
        if !agents.isEmpty, world.random.chance(100) { return actOnAgent(world.random.pick(agents)) }
        switch world.random.index(100) {
        case ..<70: world.random.pick(devices).write(ids: mixture.ids)
        case ..<94: writeInCloud()
        case ..<97: world.random.pick(devices).flush()
        default: world.random.pick(devices).catchUp()
        }
    }

    private func writeInCloud() {
        let device = world.random.pick(devices)
        let model = Models.model(world.random.pick([
            "Note", "Note", "Note", "Lamp", "Valve", "Setting", "Setting", "Plan", "Notice", "Report", "Reading",
            "Recipe", "Profile", "Profile",
        ]))
        writeInCloud(
            model, for: device, world.random.integer(1...mixture.ids),
            isRemoval: world.random.chance(model.mergesFields ? 20 : 250))
    }

    /// The cloud's application writes an item of a device, or of its account, or of all, or removes it.
    func writeInCloud(_ model: Model, for device: Device, _ id: Int64, isRemoval: Bool) {
        appCount += 1
        var item: JSONObject = ["id": .string(Text(decimal: id)), "value": .string(Text("c\(appCount)"))]
        if model.field(at: "deviceId") != nil { item["deviceId"] = .string(device.id) }
        if model.field(at: "accountId") != nil {
            guard !device.account.isEmpty else { return }
            item["accountId"] = .string(device.account)
        }
        if model.mergesFields {
            // One field of what there is.
            if let key = try? model.itemKey(of: item), let known = cloud.items[key]?.change, !known.isRemoval {
                item = FieldMerge.object(known.body)
            } else {
                item["value"] = nil
            }
            item[world.random.pick(Models.changedFields(of: model))] = .string(Text("c\(appCount)"))
        }
        cloud.write(model, item, isRemoval: isRemoval)
    }

    /// The cloud's application writes an item anew.
    func writeAnew(_ model: Model, _ body: [UInt8], isRemoval: Bool = false) {
        appCount += 1
        var item = FieldMerge.object(body)
        item["value"] = .string(Text("c\(appCount)"))
        cloud.write(model, item, isRemoval: isRemoval)
    }

    /// A cloud application that has another idea of what goes down.
    func writeRogue() {
        let device = world.random.pick(devices)
        appCount += 1
        let item: JSONObject = [
            "id": .string(Text(decimal: world.random.integer(1...mixture.ids))), "value": .string(Text("c\(appCount)")),
            "deviceId": .string(device.id),
        ]
        cloud.write(Models.model(world.random.pick(["Reading", "Report"])), item, isRemoval: false, isRogue: true)
    }

    // MARK: The end

    /// Stops the faults and waits.
    ///
    /// - Returns: How long it took.
    private func converge() -> Int64 {
        world.tell("JUDGE", "the faults stop")
        let start = world.now
        world.isAtEnd = true
        broker.isFaulty = false
        broker.queueMax = 1000
        for hub in hubs {
            hub.failures = 0
            hub.start()
        }
        for device in devices {
            device.disk.cutAfter = nil
            device.disk.failures = 0
            device.disk.capacity = .max
            device.wall.stopDrifting()
            device.link.restore()
            device.boot()
        }
        for agent in agents { agent.link.restore() }
        retireTwins()
        awaitConvergence()
        let convergence = world.now - start
        // Whatever is written last has to arrive as well, though nothing follows that would make up for it.
        for hub in hubs { hub.storeDelay = 50...500 }
        for round in 0..<4 where world.violation == nil {
            for device in devices {
                world.after(world.random.integer(0...1_000)) { device.catchUp() }
                if round > 1 { world.after(world.random.integer(0...600)) { device.write(ids: self.mixture.ids) } }
            }
            for agent in agents { world.after(world.random.integer(0...1_000)) { self.actOnAgent(agent) } }
            world.after(world.random.integer(300...1_500)) { self.writeInCloud() }
            world.run(until: world.now + 1_500)
            awaitConvergence()
        }
        guard world.violation == nil else { return convergence }
        mend()
        awaitConvergence()
        guard world.violation == nil else { return convergence }
        world.tell("JUDGE", "everything has converged")
        judge.checkKeeping()
        judge.checkCausality()
        for device in devices { judge.checkDigests(device) }
        for device in devices { device.checkReceipts(isOver: true) }
        // A question that was put off is asked all the same.
        let rest = world.now
        repeat { world.run(until: world.now + 10_000) } while devices.contains { $0.hasPlans }
            && world.now - rest < Simulation.convergenceMax && world.violation == nil
        let published = devices.map { $0.published }
        world.run(until: world.now + Simulation.silence)
        for (device, before) in zip(devices, published) {
            world.require(
                device.published == before, .silence, "\(device.who) has sent \(device.published - before) messages more")
        }
        if world.violation == nil, let (who, difference) = firstDifference() {
            world.fail(.convergence, "\(who), after it had converged: \(difference)")
        }
        return convergence
    }

    func awaitConvergence() {
        let start = world.now
        var comes = start
        while world.violation == nil {
            world.run(until: world.now + 5_000)
            guard let (who, difference) = firstDifference() else { return }
            if world.now - start > Simulation.convergenceMax { world.fail(.convergence, "\(who): \(difference)") }
            // As such agents do, which end a connection when nothing comes.
            if world.now - comes >= 60_000 {
                comes = world.now
                for agent in agents { agent.reconnect() }
            }
        }
    }

    private func firstDifference() -> (who: String, difference: String)? {
        for device in devices {
            if let difference = judge.difference(device) { return (device.who, difference) }
        }
        for agent in agents {
            if let difference = judge.difference(agent) { return (agent.who, difference) }
        }
        return nil
    }
}

/// Which faults a seed has, and how many.
struct Mixture {
    let devices: Int
    let duration: Int64
    /// Longest time between two actions.
    let pace: Int64
    let ids: Int64
    /// Faults among 1000 actions.
    let faultRate: Int
    let isLoose: Bool
    let hasShortQueues: Bool
    let hasSlowLinks: Bool
    let hasWrongClocks: Bool
    /// Processes of the hub, and whether they share their subscription.
    let hubs: Int
    /// Peers of version 1. A broker that drops or reorders messages is more than they bear, processes of the hub that share what they
    /// send, and a cloud that loses its store.
    let agents: Int
    let isShared: Bool
    /// Most entries in a page of the cloud's store.
    let pageMax: Int
    let faults: [Fault]

    enum Fault: CaseIterable {
        case kill, cutPower, cutPowerInWrite, restart, failDisk, fillDisk
        case breakConnection, cutLink, restartBroker, loseBroker
        case crashHub, failStore, stepClock, intrude, goRogue, backUp, restore, clone
        case purgeRemovals, loseCloud, disturbAgent
    }

    /// Of a script: no faults but its own.
    init(_ script: Script) {
        (devices, hubs, agents, ids) = (1, 1, 0, 3)
        duration = script.duration
        pace = 1_000
        faultRate = 0
        (isLoose, hasShortQueues, hasSlowLinks, hasWrongClocks, isShared) = (false, false, false, false, false)
        pageMax = script.pageMax
        faults = []
    }

    init(_ random: inout Random) {
        devices = Int(random.integer(1...4))
        pace = random.pick([200, 2_000, 20_000])
        duration = pace * random.integer(30...150)
        ids = random.pick([1, 3, 8])
        faultRate = random.pick([0, 20, 60, 150, 300])
        isLoose = random.chance(250)
        hasShortQueues = random.chance(100)
        hasSlowLinks = random.chance(250)
        hasWrongClocks = random.chance(500)
        hubs = random.pick([1, 1, 2, 3])
        isShared = random.chance(500)
        pageMax = random.pick([3, 20, 500])
        agents = !isLoose && !hasShortQueues && (hubs == 1 || !isShared) && random.chance(250) ? 1 : 0
        var faults: [Fault] = []
        for fault in Fault.allCases where random.chance(fault == .loseCloud ? 150 : 450) {
            if fault != .loseCloud || agents == 0 { faults.append(fault) }
        }
        self.faults = faults
    }

    func clock(_ world: World) -> WallClock {
        guard hasWrongClocks else {
            return WallClock(world, offset: world.random.integer(-500...500), drift: world.random.integer(-50...50))
        }
        let day: Int64 = 86_400_000
        let offset = world.random.pick([
            -World.epoch, 3 * 365 * day, -day, day, -3_600_000, 50_000, -5_000, 0,
        ])
        return WallClock(world, offset: offset, drift: world.random.pick([0, 0, 5_000, -5_000]))
    }

    func fault(_ simulation: Simulation) {
        guard !faults.isEmpty else { return }
        let world = simulation.world
        let device = world.random.pick(simulation.devices)
        let fault = world.random.pick(faults)
        world.count(fault: "\(fault)")
        switch fault {
        case .kill: device.kill()
        case .cutPower: device.cutPower()
        case .cutPowerInWrite: device.disk.cutAfter = world.random.integer(0...30)
        case .restart: device.restart()
        case .failDisk:
            device.disk.failureCode = world.random.pick([SQLITE_IOERR, SQLITE_FULL])
            device.disk.failures = Int(world.random.span(1...20))
        case .fillDisk:
            world.tell(device.who, "its disk is full")
            device.disk.capacity = device.disk.bytes + world.random.integer(0...20_000)
            world.after(world.random.span(1_000...60_000)) { device.disk.capacity = .max }
        case .breakConnection:
            world.tell(device.who, "its connection breaks")
            device.breakConnection()
        case .cutLink:
            world.tell(device.who, "its link is cut")
            device.cutLink(for: world.random.span(1_000...300_000))
        case .restartBroker: simulation.broker.restart(losingSessions: false, downtime: world.random.span(500...30_000))
        case .loseBroker: simulation.broker.restart(losingSessions: true, downtime: world.random.span(500...30_000))
        case .crashHub:
            let hub = world.random.pick(simulation.hubs)
            hub.crash()
            world.after(world.random.span(100...30_000)) { hub.start() }
        case .failStore:
            world.tell("store", "begins to fail")
            for hub in simulation.hubs { hub.failures = 500 }
            world.after(world.random.span(100...20_000)) { for hub in simulation.hubs { hub.failures = 0 } }
        case .stepClock:
            let step: Int64 = world.random.pick([-86_400_000, -60_000, -1_000, 1_000, 55_000, 3_600_000])
            world.tell(device.who, "its clock steps by \(step) ms")
            device.wall.step(by: step)
        case .intrude: simulation.intruder.intrude(simulation.devices.map { $0.id })
        case .goRogue: simulation.writeRogue()
        case .backUp: device.backUp()
        case .restore: device.restore()
        case .clone: simulation.clone(device)
        case .purgeRemovals: simulation.purgeRemovals()
        case .loseCloud: simulation.loseCloud()
        case .disturbAgent: simulation.disturbAgent()
        }
    }
}

/// A device that sends what it must not.
final class Intruder {
    private unowned let world: World
    private let broker: Broker
    private var count = 0

    init(_ world: World, _ broker: Broker) {
        self.world = world
        self.broker = broker
    }

    func intrude(_ victims: [Text]) {
        count += 1
        let isVictim = world.random.chance(500)
        // The broker knows who it is, and lets it publish under its own name only.
        let sender: Text = "x1"
        let owner = isVictim ? world.random.pick(victims) : sender
        let name: Text = world.random.pick(["Note", "Setting", "Secret", "Report", "Reading", "Notice"])
        // Its own items of models that go up are no offence.
        if owner == sender, Models.model(name).syncsUp { return }
        let key = "\(name.string)#\(world.random.integer(1...3))"
        let version = Version(
            time: HybridClock.time(world.trueTime + world.random.pick([0, 1_000, 1 << 40])), writer: 0xBAD)
        let payload = """
            {"v":2,"seq":\(count),"replica":"0000000000000bad","account":"","changes":[{"cmd":"upsert","key":"\(key)",\
            "ver":"\(version.text.string)","item":{"_type":"\(name.string)","sk":"\(key)","id":"\(key.split(separator: "#")[1])",\
            "deviceId":"\(owner.string)","value":"bad"}}]}
            """
        world.tell("x1", "sends \(key) of \(owner.string)")
        broker.route(Message(topic: "ioto/service/" + sender + "/db/syncToDynamo", payload: Array(payload.utf8)))
    }
}
