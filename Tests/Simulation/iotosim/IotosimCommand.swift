import Foundation
import IotoSimulation

/// `iotosim`: runs simulations by their seeds.
enum IotosimCommand {
    static let usage = """
        usage: scripts/simulate [--seeds N] [--from S] [--trace] [--mutants] [--mutant NAME] [--digest]

          --seeds N      number of simulations (1000)
          --from S       seed of the first one (1)
          --trace        tell what happens
          --digest       print what is equal when two runs of a seed are
          --mutants      plant faults in the product, one after the other: each has to be found
          --mutant NAME  plant this fault
        """

    static func run(_ arguments: [String]) -> Int32 {
        var seeds: UInt64 = 1000
        var first: UInt64 = 1
        var isTold = false
        var printsDigest = false
        var arguments = arguments[...]
        while let argument = arguments.popFirst() {
            switch argument {
            case "--seeds": seeds = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--from": first = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--trace": isTold = true
            case "--digest": printsDigest = true
            case "--help":
                print(usage)
                return 0
            default:
                FileHandle.standardError.write(Data((usage + "\n").utf8))
                return 2
            }
        }
        return simulate(first..<first + seeds, isTold: isTold, printsDigest: printsDigest)
    }

    private static func simulate(_ seeds: Range<UInt64>, isTold: Bool, printsDigest: Bool) -> Int32 {
        var failed = 0
        var applied = 0
        var stored = 0
        var longest: Int64 = 0
        var simulated: Int64 = 0
        let start = Date()
        for seed in seeds {
            let outcome = runSeed(seed, isTold: isTold)
            applied += outcome.applied
            stored += outcome.stored
            simulated += outcome.time
            longest = max(longest, outcome.convergence)
            if printsDigest { print("seed \(seed): \(String(outcome.digest, radix: 16))") }
            guard let violation = outcome.violation else { continue }
            failed += 1
            print("seed \(seed): violated after \(violation.time) ms: \(violation.invariant.rawValue)")
            print("    \(violation.detail)")
            print("    scripts/simulate --seeds 1 --from \(seed) --trace")
        }
        let time = String(format: "%.1f", Date().timeIntervalSince(start))
        print(
            "\(seeds.count) seeds in \(time) s, \(simulated / 3_600_000) hours simulated, \(stored) changes stored, "
                + "\(applied) applied, longest convergence \(longest / 1000) s, \(failed) failed")
        return failed == 0 ? 0 : 1
    }

    static func runSeed(_ seed: UInt64, isTold: Bool) -> Simulation.Outcome {
        Simulation(seed: seed, storyteller: isTold ? { print($0) } : nil).run()
    }
}
