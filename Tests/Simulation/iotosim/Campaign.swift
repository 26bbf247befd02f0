import Foundation
import IotoSimulation

/// Many simulations, one after the other or by several processes, and what they have shown.
final class Campaign {
    private let options: Options
    private var results: [Result] = []

    init(_ options: Options) { self.options = options }

    func run() -> Int32 {
        let start = Date()
        let isAlone = options.isTold || options.seeds == 1
        if isAlone {
            for seed in options.range {
                let simulation = options.make(seed, options.isTold ? { say($0) } : nil)
                take(Result(seed, simulation.run()))
            }
        } else {
            Workforce(options, seeds: options.range, mutant: options.mutant) { self.take($0); return true }.run()
        }
        report(Date().timeIntervalSince(start))
        return results.contains { $0.violation != nil } ? 1 : 0
    }

    private func take(_ result: Result) {
        results.append(result)
        if options.printsDigest { say("seed \(result.seed): \(String(result.digest, radix: 16))") }
        guard let violation = result.violation else { return }
        say("seed \(result.seed): \(violation)")
        say("    \(options.commandLine(seed: result.seed))")
    }

    private func report(_ time: TimeInterval) {
        var faults: [String: Int] = [:]
        for result in results { faults.merge(result.faults) { $0 + $1 } }
        if options.seeds > 1, !faults.isEmpty {
            say("faults: " + faults.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
        }
        let hours = results.reduce(0) { $0 + $1.time } / 3_600_000
        say(
            "\(results.count) seeds in \(String(format: "%.1f", time)) s: \(hours) hours simulated, "
                + "\(results.reduce(0) { $0 + $1.stored }) changes stored, \(results.reduce(0) { $0 + $1.applied }) applied, "
                + "longest convergence \((results.map { $0.convergence }.max() ?? 0) / 1000) s, at most \(results.map { $0.events }.max() ?? 0) events, "
                + "\(results.count { $0.violation != nil }) failed")
    }
}

/// What one simulation has shown, on one line.
struct Result: Codable {
    let seed: UInt64
    var violation: String?
    var digest: UInt64 = 0
    var time: Int64 = 0
    var applied = 0
    var stored = 0
    var convergence: Int64 = 0
    var events = 0
    var faults: [String: Int] = [:]

    init(_ seed: UInt64, _ outcome: Simulation.Outcome) {
        self.seed = seed
        violation = outcome.violation.map { "violated after \($0.time) ms: \($0.invariant.rawValue)\n    \($0.detail)" }
        digest = outcome.digest
        time = outcome.time
        applied = outcome.applied
        stored = outcome.stored
        convergence = outcome.convergence
        faults = outcome.faults
        events = outcome.events
    }

    /// The process died of it, or was ended by its own watch.
    init(_ seed: UInt64, status: Int32) {
        self.seed = seed
        violation =
            status == Watch.status ? "does not come to its end in \(Watch.secondsMax) s" : "the product traps: status \(status)"
    }
}
