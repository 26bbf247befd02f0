import IotoSimulation
import Testing

/// `scripts/simulate` runs a thousand of them, and shows that they find planted faults.
struct SimulationTests {
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func invariantsHoldUnderFaults(seed: UInt64) {
        let violation = Simulation(seed: seed).run().violation
        #expect(violation == nil, "scripts/simulate --seeds 1 --from \(seed) --trace")
    }

    @Test func noCrashInAShortStoryLosesAnything() {
        let sweep = Sweep()
        #expect(sweep.count > 3_000)
        for number in stride(from: 1, through: UInt64(sweep.count), by: 150) {
            let violation = sweep.simulation(number).run().violation
            #expect(violation == nil, "scripts/simulate --crashes --seeds 1 --from \(number) --trace")
        }
    }

    @Test func seedReplaysExactly() {
        var stories: [[String]] = []
        var digests: [UInt64] = []
        for _ in 0..<2 {
            var story: [String] = []
            digests.append(Simulation(seed: 7, storyteller: { story.append($0) }).run().digest)
            stories.append(story)
        }
        #expect(digests[0] == digests[1])
        #expect(stories[0] == stories[1])
        #expect(stories[0].count > 50)
    }

    @Test func tellingTheStoryChangesNothing() {
        #expect(Simulation(seed: 3, storyteller: { _ in }).run().digest == Simulation(seed: 3).run().digest)
    }

    @Test func seedsDiffer() {
        #expect(Simulation(seed: 1).run().digest != Simulation(seed: 2).run().digest)
    }
}
