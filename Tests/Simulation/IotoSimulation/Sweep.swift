import IotoBase
import IotoStore

/// A short story of one device and one hub, without chance.
struct Script {
    let name: String
    var durability = Durability.full
    /// Milliseconds.
    let duration: Int64
    var pageMax = 1000
    let play: (Simulation) -> Void
}

/// Short stories, each told once for every write to storage in it: there the device's power goes, or the hub dies, before the
/// request to its store is done or when it is.
public struct Sweep {
    /// One telling.
    struct Case {
        let script: Script
        var operation: Int64 = 0
        /// What is kept of what was not synced.
        var cutSeed: UInt64 = 0
        var request: Int64 = 0
        var isDone = false
    }

    private let cases: [Case]

    /// Tells each story once in peace, to see how many writes there are.
    public init() {
        var cases: [Case] = []
        for script in Script.all {
            let simulation = Simulation(seed: 1, script: script)
            _ = simulation.run()
            for operation in 1...simulation.operations.device {
                // A write has several pages as a rule, any of which may be lost.
                for seed: UInt64 in 0...5 { cases.append(Case(script: script, operation: operation, cutSeed: seed)) }
            }
            for request in 1...simulation.operations.hub {
                for isDone in [false, true] { cases.append(Case(script: script, request: request, isDone: isDone)) }
            }
        }
        self.cases = cases
    }

    public var count: Int { cases.count }

    /// - Parameter number: From 1.
    public func simulation(_ number: UInt64, storyteller: ((String) -> Void)? = nil) -> Simulation {
        let told = cases[Int(number - 1) % cases.count]
        let simulation = Simulation(seed: 1, script: told.script, storyteller: storyteller)
        storyteller?("\(told.script.name), durability \(told.script.durability)")
        if told.operation > 0 {
            simulation.devices[0].disk.cutAt = told.operation
            simulation.devices[0].disk.cutSeed = told.cutSeed
        } else {
            simulation.hubs[0].diesAt = (told.request, told.isDone)
        }
        return simulation
    }
}

extension Script {
    static var all: [Script] { [Durability.full, .normal].flatMap { stories($0) } }

    private static func stories(_ durability: Durability) -> [Script] {
        [
            Script(name: "written before there is a connection", durability: durability, duration: 8_000) { simulation in
                simulation.hold(500, 3_000)
                simulation.at(600) { $0.write("Note", 1) }
                simulation.at(700) { $0.write("Reading", 1) }
                simulation.at(800) { $0.write("Note", 1, isRemoval: true) }
                simulation.at(900) { $0.write("Reading", 2) }
                simulation.at(4_000) { $0.write("Reading", 1) }
            },
            Script(name: "both sides change the same items", durability: durability, duration: 12_000) { simulation in
                let names: [Text] = ["Note", "Lamp", "Valve", "Recipe", "Profile"]
                for name in names { simulation.cloudWrites(100, name, 1) }
                simulation.hold(3_000, 6_000)
                for name in names {
                    simulation.at(3_500) { $0.write(name, 1) }
                    simulation.cloudWrites(4_000, name, 1)
                }
                simulation.at(4_500) { $0.write("Profile", 1) }
            },
            Script(name: "much comes down", durability: durability, duration: 8_000, pageMax: 2) { simulation in
                for id in 1...3 {
                    simulation.cloudWrites(10, "Setting", Int64(id))
                    simulation.cloudWrites(10, "Notice", Int64(id))
                }
                simulation.cloudWrites(4_000, "Setting", 2, isRemoval: true)
            },
            Script(name: "what was removed is forgotten meanwhile", durability: durability, duration: 12_000, pageMax: 2) { simulation in
                for id in 1...3 { simulation.cloudWrites(10, "Note", Int64(id)) }
                simulation.hold(3_000, 6_000)
                simulation.at(3_200) { $0.write("Note", 3) }
                simulation.cloudWrites(3_500, "Note", 1, isRemoval: true)
                simulation.world.after(4_500) { simulation.forgetRemovals() }
            },
            Script(name: "the cloud is set back", durability: durability, duration: 16_000, pageMax: 2) { simulation in
                simulation.cloudWrites(10, "Setting", 1)
                simulation.at(1_000) { $0.write("Note", 1) }
                simulation.world.after(3_000) { simulation.backUp() }
                simulation.at(3_500) { $0.write("Note", 1) }
                simulation.at(3_600) { $0.write("Reading", 1) }
                simulation.cloudWrites(3_700, "Setting", 1)
                simulation.cloudWrites(3_800, "Note", 2)
                simulation.world.after(8_000) { simulation.loseCloud(downtime: 1_000) }
            },
            Script(name: "an orderly stop with changes that wait", durability: durability, duration: 10_000) { simulation in
                simulation.at(1_000) { $0.write("Note", 1) }
                simulation.at(1_010) { $0.restart(after: 500) }
                simulation.cloudWrites(1_200, "Note", 1)
                simulation.at(3_000) { $0.write("Note", 1) }
            },
        ]
    }
}

extension Simulation {
    fileprivate func at(_ time: Int64, _ body: @escaping (Device) -> Void) {
        world.after(time) { [unowned self] in body(devices[0]) }
    }

    fileprivate func cloudWrites(_ time: Int64, _ name: Text, _ id: Int64, isRemoval: Bool = false) {
        world.after(time) { [unowned self] in writeInCloud(Models.model(name), for: devices[0], id, isRemoval: isRemoval) }
    }

    /// Nothing passes over the device's link for a time.
    fileprivate func hold(_ start: Int64, _ end: Int64) {
        world.after(start) { [unowned self] in devices[0].link.isCut = true }
        world.after(end) { [unowned self] in devices[0].link.restore() }
    }
}
