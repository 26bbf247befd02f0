import Foundation
import IotoBase
import IotoSimulation

/// `iotosim`: runs simulations by their seeds.
enum IotosimCommand {
    static let usage = """
        usage: scripts/simulate [--seeds N] [--from S] [--jobs J] [--trace] [--digest]
               scripts/simulate --crashes [--seeds N] [--from S] [--trace]
               scripts/simulate --mutants [--seeds N] [--from S] [--jobs J]
               scripts/simulate --mutant NAME [--seeds N] [--from S] [--trace]

          --seeds N      number of simulations (1000), or of tries to find each mutant
          --from S       seed of the first one (1)
          --jobs J       processes that share the work; one for each processor unless given
          --trace        tell what happens, one simulation after the other
          --digest       print for each seed what is equal when it is run again
          --crashes      short stories, each with a crash at every write to storage in turn, instead of chance
          --mutants      plant faults in the product, one after the other: each has to be found
          --mutant NAME  plant this fault

        The exit status is 0 when nothing was violated, or every mutant was found.
        """

    static func run(_ arguments: [String]) -> Int32 {
        var options = Options()
        var arguments = arguments[...]
        var hasSeeds = false
        while let argument = arguments.popFirst() {
            switch argument {
            case "--seeds":
                hasSeeds = true
                options.seeds = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--from": options.first = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--jobs": options.jobs = arguments.popFirst().flatMap { Int($0) } ?? 0
            case "--trace": options.isTold = true
            case "--digest": options.printsDigest = true
            case "--crashes": options.isSweep = true
            case "--mutants": options.huntsMutants = true
            case "--mutant": options.mutant = arguments.popFirst() ?? ""
            // Of the processes that share the work.
            case "--worker": options.isWorker = true
            case "--step": options.step = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--help", "-h":
                say(usage)
                return 0
            default: return misuse(usage)
            }
        }
        guard options.seeds > 0, options.first <= UInt64.max - options.seeds, (1...256).contains(options.jobs),
            options.step > 0
        else { return misuse(usage) }
        // The product's own log lines are part of the story, or noise.
        Log.set({ _, _ in }, level: .error)
        #if IOTO_MUTANTS
            if options.huntsMutants { return Hunt(options).run() }
            if let name = options.mutant {
                guard let mutant = Mutant.allCases.first(where: { "\($0)" == name }) else {
                    return misuse("mutants: " + Mutant.allCases.map { "\($0)" }.joined(separator: ", "))
                }
                Mutant.activate(mutant)
            }
        #else
            if options.huntsMutants || options.mutant != nil {
                return misuse("this build has no mutants: use scripts/simulate")
            }
        #endif
        if options.isSweep {
            let sweep = Sweep()
            if !hasSeeds { options.seeds = UInt64(sweep.count) }
            options.make = { sweep.simulation($0, storyteller: $1) }
        }
        if options.isWorker { return Worker(options).run() }
        return Campaign(options).run()
    }

    private static func misuse(_ text: String) -> Int32 {
        FileHandle.standardError.write(Data((text + "\n").utf8))
        return 2
    }
}

struct Options {
    var seeds: UInt64 = 1000
    var first: UInt64 = 1
    var jobs = ProcessInfo.processInfo.activeProcessorCount
    var isTold = false
    var printsDigest = false
    var huntsMutants = false
    var mutant: String?
    var isWorker = false
    /// Every crash of short stories, by its number.
    var isSweep = false
    var make: (UInt64, ((String) -> Void)?) -> Simulation = { Simulation(seed: $0, storyteller: $1) }
    /// Of a worker: from one seed of its own to the next.
    var step: UInt64 = 1

    var range: Range<UInt64> { first..<first + seeds }

    func commandLine(seed: UInt64) -> String {
        "scripts/simulate " + (isSweep ? "--crashes " : "") + (mutant.map { "--mutant \($0) " } ?? "") + "--seeds 1 --from \(seed) --trace"
    }
}

/// Prints a line at once, for those who watch.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
