import CPlatform
import Foundation
import IotoBase
import IotoMQTT
import Testing

/// libmosquitto raises SIGPIPE and changes the process's action for it: the firmware must see neither.
@Suite(.serialized) struct SigpipeTests {
    @Test func heldSignalOfAWriteIsNotDelivered() throws {
        let count = try withHandler {
            let socket = try brokenSocket()
            defer { close(socket) }
            let held = platform_sigpipe_hold()
            #expect(write(socket, "x", 1) == -1)
            #expect(platform_errno() == EPIPE)
            platform_sigpipe_release(held)
        }
        #expect(count == 0)
    }

    @Test func signalOutsideOfTheHoldIsDelivered() throws {
        let count = try withHandler {
            let socket = try brokenSocket()
            defer { close(socket) }
            platform_sigpipe_release(platform_sigpipe_hold())
            #expect(write(socket, "x", 1) == -1)
        }
        #expect(count == 1)
    }

    @Test func blockedSignalStaysBlocked() throws {
        let count = try withHandler {
            var only = sigset_t()
            var before = sigset_t()
            sigemptyset(&only)
            sigaddset(&only, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &only, &before)
            platform_sigpipe_release(platform_sigpipe_hold())
            var now = sigset_t()
            pthread_sigmask(SIG_SETMASK, &before, &now)
            #expect(sigismember(&now, SIGPIPE) == 1)
        }
        #expect(count == 0)
    }

    @Test func clientLeavesTheActionAlone() throws {
        let broker = try Broker()
        let count = try withHandler {
            let recorder = try Recorder(broker, "d1")
            try recorder.connect()
            broker.kill()
            usleep(50_000)
            // The goodbye is written to a connection that is gone.
            _ = try recorder.client.publish(MQTTMessage(topic: "a", payload: [1]), qos: 1)
            recorder.client.close()
            // Clients of other tests are made meanwhile: wait until none is between two actions.
            platform_sigpipe_action_save()
            var now = sigaction()
            sigaction(SIGPIPE, nil, &now)
            platform_sigpipe_action_restore()
            #expect(unsafeBitCast(now.__sigaction_handler.sa_handler, to: Int.self) > 1)
        }
        #expect(count == 0)
    }

    private func withHandler(_ body: () throws -> Void) throws -> Int {
        var mine = sigaction()
        var before = sigaction()
        mine.__sigaction_handler.sa_handler = { _ in delivered += 1 }
        delivered = 0
        sigaction(SIGPIPE, &mine, &before)
        defer { sigaction(SIGPIPE, &before, nil) }
        try body()
        return delivered
    }

    private func brokenSocket() throws -> Int32 {
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
            throw TestFailure("no socket pair can be had")
        }
        close(pair[1])
        return pair[0]
    }
}

nonisolated(unsafe) private var delivered = 0
