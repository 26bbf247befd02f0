import Foundation
import IotoBase
import IotoSimulation

/// `iotosim`: runs simulations by their seeds.
enum IotosimCommand {
    static let usage = """
        usage: scripts/simulate [--seeds N] [--from S] [--trace] [--digest]
               scripts/simulate --mutants [--seeds N] [--from S]
               scripts/simulate --mutant NAME [--seeds N] [--from S] [--trace]

          --seeds N      number of simulations (1000), or of tries to find each mutant
          --from S       seed of the first one (1)
          --trace        tell what happens
          --digest       print for each seed what is equal when it is run again
          --mutants      plant faults in the product, one after the other: each has to be found
          --mutant NAME  plant this fault

        The exit status is 0 when nothing was violated, or every mutant was found.
        """

    private struct Options {
        var seeds: UInt64 = 1000
        var first: UInt64 = 1
        var isTold = false
        var printsDigest = false
        var huntsMutants = false
        var mutant: String?
    }

    static func run(_ arguments: [String]) -> Int32 {
        var options = Options()
        var arguments = arguments[...]
        while let argument = arguments.popFirst() {
            switch argument {
            case "--seeds": options.seeds = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--from": options.first = arguments.popFirst().flatMap { UInt64($0) } ?? 0
            case "--trace": options.isTold = true
            case "--digest": options.printsDigest = true
            case "--mutants": options.huntsMutants = true
            case "--mutant": options.mutant = arguments.popFirst() ?? ""
            case "--help", "-h":
                print(usage)
                return 0
            default: return misuse(usage)
            }
        }
        guard options.seeds > 0, options.first <= UInt64.max - options.seeds else { return misuse(usage) }
        // The product's own log lines are part of the story, or noise.
        Log.set({ _, _ in }, level: .error)
        #if IOTO_MUTANTS
            if options.huntsMutants { return hunt(options) }
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
        return simulate(options)
    }

    private static func misuse(_ text: String) -> Int32 {
        FileHandle.standardError.write(Data((text + "\n").utf8))
        return 2
    }

    private static func simulate(_ options: Options) -> Int32 {
        var failed = 0
        var applied = 0
        var stored = 0
        var longest: Int64 = 0
        var simulated: Int64 = 0
        let start = Date()
        for seed in options.first..<options.first + options.seeds {
            let outcome = runSeed(seed, isTold: options.isTold)
            applied += outcome.applied
            stored += outcome.stored
            simulated += outcome.time
            longest = max(longest, outcome.convergence)
            if options.printsDigest { print("seed \(seed): \(String(outcome.digest, radix: 16))") }
            guard let violation = outcome.violation else { continue }
            failed += 1
            print("seed \(seed): violated after \(violation.time) ms: \(violation.invariant.rawValue)")
            print("    \(violation.detail)")
            print("    scripts/simulate \(options.mutant.map { "--mutant \($0) " } ?? "")--seeds 1 --from \(seed) --trace")
        }
        let time = String(format: "%.1f", Date().timeIntervalSince(start))
        print(
            "\(options.seeds) seeds in \(time) s: \(simulated / 3_600_000) hours simulated, \(stored) changes stored, "
                + "\(applied) applied, longest convergence \(longest / 1000) s, \(failed) failed")
        return failed == 0 ? 0 : 1
    }

    private static func runSeed(_ seed: UInt64, isTold: Bool) -> Simulation.Outcome {
        Simulation(seed: seed, storyteller: isTold ? { print($0) } : nil).run()
    }

    #if IOTO_MUTANTS
        private static func hunt(_ options: Options) -> Int32 {
            var survivors = 0
            let start = Date()
            for mutant in Mutant.allCases {
                Mutant.activate(mutant)
                var tries: UInt64 = 0
                var found: (seed: UInt64, violation: Violation)?
                while found == nil, tries < options.seeds {
                    let seed = options.first + tries
                    if let violation = runSeed(seed, isTold: false).violation { found = (seed, violation) }
                    tries += 1
                }
                Mutant.activate(nil)
                let name = "\(mutant)".padding(toLength: 22, withPad: " ", startingAt: 0)
                if let found {
                    print("\(name) caught by seed \(found.seed): \(found.violation.invariant.rawValue)")
                } else {
                    survivors += 1
                    print("\(name) SURVIVED \(tries) seeds: \(mutant.rawValue)")
                }
            }
            let time = String(format: "%.1f", Date().timeIntervalSince(start))
            print("\(Mutant.allCases.count) mutants in \(time) s, \(survivors) survived")
            return survivors == 0 ? 0 : 1
        }
    #endif
}
