#if IOTO_MUTANTS
    import Foundation
    import IotoBase

    /// Plants one fault after the other in the product: simulations have to find each of them.
    struct Hunt {
        private let options: Options

        init(_ options: Options) { self.options = options }

        func run() -> Int32 {
            let start = Date()
            // Where each was found last: most often it is there still. What is not there is looked for.
            let free = Mutant.allCases.filter { !tryHint($0) }
            let survivors = free.filter { !hunt($0) }
            let time = String(format: "%.1f", Date().timeIntervalSince(start))
            say("\(Mutant.allCases.count) mutants in \(time) s, \(survivors.count) survived")
            return survivors.isEmpty ? 0 : 1
        }

        private func tryHint(_ mutant: Mutant) -> Bool {
            guard let seed = Hunt.hints["\(mutant)"], let found = look(for: mutant, in: seed..<seed + 1).found else { return false }
            tell(mutant, found)
            return true
        }

        private func hunt(_ mutant: Mutant) -> Bool {
            let seen = look(for: mutant, in: options.range)
            if let found = seen.found {
                tell(mutant, found)
            } else {
                say("\(name(mutant)) SURVIVED \(seen.count) seeds: \(mutant.rawValue)")
            }
            return seen.found != nil
        }

        private func look(for mutant: Mutant, in seeds: Range<UInt64>) -> Sighting {
            let seen = Sighting()
            Workforce(options, seeds: seeds, mutant: "\(mutant)") { seen.take($0) }.run()
            return seen
        }

        private func tell(_ mutant: Mutant, _ found: Result) {
            say("\(name(mutant)) caught by seed \(found.seed): \(found.violation!.split(separator: "\n")[0])")
        }

        private func name(_ mutant: Mutant) -> String { "\(mutant)".padding(toLength: 22, withPad: " ", startingAt: 0) }

        private final class Sighting {
            var count = 0
            var found: Result?

            func take(_ result: Result) -> Bool {
                count += 1
                if result.violation != nil { found = result }
                return found == nil
            }
        }

        /// Seeds by the names of mutants.
        private static let hints: [String: UInt64] = [
            "ackClearsNewer": 7, "ackOfLaterTryIgnored": 10, "cursorBeforeItems": 9, "tombstoneIgnored": 5,
            "noTombstone": 1, "versionIgnored": 2, "clockNotPersisted": 11, "outboxRowLost": 3,
            "deviceTrustsDirection": 11, "hubTrustsDirection": 21, "hubTrustsOwner": 24, "neverResent": 6,
            "gapIgnored": 3, "advanceUnchecked": 10, "hubAcksBeforeStoring": 1, "questionForgotten": 9, "pleaIgnored": 2,
            "moveMissed": 7, "sentBeforeDurable": 94, "neverSynced": 2, "eventTwice": 1, "stampStored": 9,
            "purgedEarly": 16, "ownLeftOut": 86, "fenceIgnored": 48, "rollbackKept": 2, "snapshotKeepsMissing": 34,
            "snapshotTakesPending": 5, "unnamedForgotten": 34, "floorIgnored": 69, "wholeItemWins": 50,
            "joinedSteppedOver": 32, "resolutionUnversioned": 16, "heldBlocksQueue": 87, "digestWithoutUp": 1, "lossTakenForRemoval": 47,
            "removalsUnsent": 47, "snapshotEndsEarly": 41,
        ]
    }
#endif
