import Foundation
import Synchronization

/// Ends a worker whose simulation runs without an end within one step: what happens is bounded by `World`, and a step is not.
final class Watch: Sendable {
    /// Exit status of a worker that it has ended.
    static let status: Int32 = 75
    /// A simulation takes a tenth of a second, and a hundred times that on a machine that is busy with others.
    static let secondsMax = 120

    private let deadline = Mutex(Date.distantFuture)

    init() {
        Thread.detachNewThread { [self] in
            while true {
                Thread.sleep(forTimeInterval: 1)
                if Date() > deadline.withLock({ $0 }) { _exit(Watch.status) }
            }
        }
    }

    /// Another simulation begins.
    func begin() { deadline.withLock { $0 = Date(timeIntervalSinceNow: TimeInterval(Watch.secondsMax)) } }
}
