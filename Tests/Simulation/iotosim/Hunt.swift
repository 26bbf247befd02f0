#if IOTO_MUTANTS
    import Foundation
    import IotoBase

    /// Plants one fault after the other in the product: simulations have to find each of them.
    struct Hunt {
        private let options: Options

        init(_ options: Options) { self.options = options }

        func run() -> Int32 {
            let start = Date()
            var survivors = 0
            for mutant in Mutant.allCases {
                let name = "\(mutant)"
                let seen = Sighting()
                Workforce(options, seeds: options.range, mutant: name) { seen.take($0) }.run()
                let text = name.padding(toLength: 22, withPad: " ", startingAt: 0)
                if let found = seen.found {
                    say("\(text) caught by seed \(found.seed): \(found.violation!.split(separator: "\n")[0])")
                } else {
                    survivors += 1
                    say("\(text) SURVIVED \(seen.count) seeds: \(mutant.rawValue)")
                }
            }
            let time = String(format: "%.1f", Date().timeIntervalSince(start))
            say("\(Mutant.allCases.count) mutants in \(time) s, \(survivors) survived")
            return survivors == 0 ? 0 : 1
        }

        private final class Sighting {
            var count = 0
            var found: Result?

            func take(_ result: Result) -> Bool {
                count += 1
                if result.violation != nil { found = result }
                return found == nil
            }
        }
    }
#endif
