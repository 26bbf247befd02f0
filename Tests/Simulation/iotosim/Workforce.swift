import Foundation
import IotoSimulation
import Synchronization

/// One of the processes that share the work: tells on its standard output which seed it begins, and what that has shown.
struct Worker {
    private let options: Options

    init(_ options: Options) { self.options = options }

    func run() -> Int32 {
        let encoder = JSONEncoder()
        let watch = Watch()
        for seed in stride(from: options.first, to: options.range.upperBound, by: Int(options.step)) {
            write(Data("\(seed)\n".utf8))
            watch.begin()
            guard let line = try? encoder.encode(Result(seed, options.make(seed, nil).run())) else { return 1 }
            write(line + Data("\n".utf8))
        }
        return 0
    }

    private func write(_ data: Data) { FileHandle.standardOutput.write(data) }
}

/// Processes that share the seeds. One that dies costs its seed alone, which has failed then.
final class Workforce: @unchecked Sendable {
    private let options: Options
    private let seeds: Range<UInt64>
    private let mutant: String?
    private let take: (Result) -> Bool
    private let lock = NSLock()
    private var isOver = false
    private var processes: [Process] = []

    /// - Parameter take: Takes a result, by one thread at a time, and returns whether to go on.
    init(_ options: Options, seeds: Range<UInt64>, mutant: String?, take: @escaping (Result) -> Bool) {
        self.options = options
        self.seeds = seeds
        self.mutant = mutant
        self.take = take
    }

    func run() {
        let jobs = min(options.jobs, seeds.count)
        DispatchQueue.concurrentPerform(iterations: jobs) { index in
            var next = seeds.lowerBound + UInt64(index)
            while next < seeds.upperBound, !lock.withLock({ isOver }) {
                guard let died = work(from: next, step: UInt64(jobs)) else { return }
                next = died + UInt64(jobs)
            }
        }
    }

    /// - Returns: The seed that a process died of; nil when it came to its end.
    private func work(from first: UInt64, step: UInt64) -> UInt64? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments =
            ["--worker", "--from", "\(first)", "--seeds", "\(seeds.upperBound - first)", "--step", "\(step)"]
            + (mutant.map { ["--mutant", $0] } ?? []) + (options.isSweep ? ["--crashes"] : [])
        let pipe = Pipe()
        process.standardOutput = pipe
        // What a trap says goes with the violation that is reported.
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { fatalError("\(error)") }
        lock.withLock {
            processes.append(process)
            if isOver { stop(process) }
        }
        var seed = first
        var rest = Data()
        while case let data = pipe.fileHandleForReading.availableData, !data.isEmpty {
            rest += data
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let line = rest[rest.startIndex..<end]
                rest = Data(rest[(end + 1)...])
                if let begun = UInt64(String(decoding: line, as: UTF8.self)) {
                    seed = begun
                } else if let result = try? JSONDecoder().decode(Result.self, from: line) {
                    report(result)
                }
            }
        }
        process.waitUntilExit()
        if process.terminationReason == .exit, process.terminationStatus == 0 { return nil }
        report(Result(seed, status: process.terminationStatus))
        return seed
    }

    private func report(_ result: Result) {
        lock.withLock {
            guard !isOver else { return }
            isOver = !take(result)
            if isOver { for process in processes where process.isRunning { stop(process) } }
        }
    }

    /// A process that a thread of a queue has started has its signals blocked: only this one reaches it.
    private func stop(_ process: Process) { kill(process.processIdentifier, SIGKILL) }
}
