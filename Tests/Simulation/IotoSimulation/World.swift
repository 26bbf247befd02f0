import IotoBase

/// What every part of a simulation shares: the time, what happens next, and what was found wrong.
///
/// Time stands still while something happens, and leaps to what is next.
final class World {
    /// True Unix time at the simulation's start.
    static let epoch: Int64 = 1_800_000_000_000
    /// Things that may happen in one simulation: more is a loop.
    private static let eventsMax = 400_000

    private struct Event {
        let time: Int64
        let number: Int
        let body: () -> Void
    }

    /// Milliseconds since the simulation's start.
    private(set) var now: Int64 = 0
    var random: Random
    private(set) var violation: Violation?
    /// The faults have stopped.
    var isAtEnd = false
    private var heap: [Event] = []
    private var count = 0
    private var storyteller: ((String) -> Void)?
    /// Of all that was told to `mark`: equal when two runs are.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    /// How often faults of each kind took place.
    private(set) var faults: [String: Int] = [:]

    init(seed: UInt64, storyteller: ((String) -> Void)?) {
        random = Random(seed: seed)
        self.storyteller = storyteller
    }

    var trueTime: Int64 { World.epoch + now }

    // MARK: Events

    func after(_ delay: Int64, _ body: @escaping () -> Void) {
        count += 1
        let event = Event(time: now + max(0, delay), number: count, body: body)
        heap.append(event)
        var child = heap.count - 1
        while child > 0, World.precedes(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Lets happen what happens until `time`.
    func run(until time: Int64) {
        while let next = heap.first, next.time <= time, violation == nil {
            removeFirst()
            now = next.time
            if count > World.eventsMax { fail(.activity, "more than \(World.eventsMax) events") }
            next.body()
        }
        now = max(now, time)
    }

    /// Nothing happens any more.
    func end() {
        heap = []
        storyteller = nil
    }

    private static func precedes(_ left: Event, _ right: Event) -> Bool {
        left.time != right.time ? left.time < right.time : left.number < right.number
    }

    private func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if World.precedes(heap[child], heap[least]) { least = child }
            }
            if least == parent { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }

    // MARK: The story

    var isTold: Bool { storyteller != nil }

    func tell(_ who: String, _ text: @autoclosure () -> String) {
        guard let storyteller else { return }
        let seconds = String(now / 1000)
        let milliseconds = String(now % 1000)
        let time = seconds + "." + String(repeating: "0", count: 3 - milliseconds.count) + milliseconds
        storyteller(
            String(repeating: " ", count: max(0, 9 - time.count)) + time + "  "
                + who + String(repeating: " ", count: max(1, 8 - who.count)) + text())
    }

    func mark(_ bytes: [UInt8]) {
        for byte in bytes { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
        mark(now)
    }

    func mark(_ number: Int64) {
        digest = (digest ^ UInt64(bitPattern: number)) &* 0x100_0000_01B3
    }

    func count(fault: String) { faults[fault, default: 0] += 1 }

    // MARK: Violations

    /// Notes what must not be; the first one ends the simulation.
    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = Violation(invariant: invariant, detail: detail(), time: now)
        tell("JUDGE", "violated: \(invariant.rawValue): \(violation!.detail)")
    }

    func require(_ condition: Bool, _ invariant: Invariant, _ detail: @autoclosure () -> String) {
        if !condition { fail(invariant, detail()) }
    }
}

/// What holds at every step, or at the end.
public enum Invariant: String, Sendable {
    case durability = "what the store has confirmed is there after a crash"
    case triggers = "every applied version fires its trigger once"
    case once = "each change is applied once"
    case order = "an item's version never goes back, so no delete comes back"
    case identity = "one version is one change"
    case cursors = "a cursor never moves back in one history"
    case direction = "the directions of the schema hold"
    case tenancy = "a device gets what is its own, and nothing else"
    case acknowledgement = "what is acknowledged is in the cloud"
    case receipts = "a receipt never lies"
    case flush = "a flush that is done has everything in the cloud"
    case catchUp = "a catch-up that is done has everything on the device"
    case bounds = "queues stay bounded"
    case activity = "nobody spins"
    case convergence = "when the faults stop, everything converges"
    case silence = "when all is said, nobody talks"
    case opening = "a database opens after every crash"
}

public struct Violation: Sendable {
    public let invariant: Invariant
    public let detail: String
    /// Milliseconds since the simulation's start.
    public let time: Int64
}

/// A machine's wall clock: wrong by some offset, and by some drift.
final class WallClock: @unchecked Sendable {
    private let world: World
    private var offset: Int64
    /// Parts in a million.
    private var drift: Int64
    private var since: Int64

    init(_ world: World, offset: Int64, drift: Int64) {
        self.world = world
        self.offset = offset
        self.drift = drift
        since = world.now
    }

    var time: Int64 { world.trueTime + offset + (world.now - since) * drift / 1_000_000 }

    func step(by milliseconds: Int64) { offset += milliseconds }
    func stopDrifting() { offset += (world.now - since) * drift / 1_000_000; drift = 0 }
}
