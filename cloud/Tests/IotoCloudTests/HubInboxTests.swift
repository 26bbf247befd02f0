import Foundation
import IotoBase
import IotoSync
import Synchronization
import Testing

@testable import IotoCloud

@Suite struct HubInboxTests {
    private func isTheThreads(_ inbox: HubInbox) -> Bool {
        if case .none = inbox.takeSmall() { return true }
        return false
    }

    private func failure() -> HubAnswer { .failed(IotoError(.storage, "")) }

    @Test func messageBeyondTheLoadIsDropped() async throws {
        let inbox = HubInbox(loadMax: 2, patience: 10)
        #expect(inbox.put(message: "a", []))
        #expect(inbox.put(message: "b", []))
        #expect(!inbox.put(message: "c", []))
        #expect(inbox.next()?.count == 2)
        #expect(inbox.put(message: "d", []))
    }

    @Test func messageBeyondTheBytesIsDropped() async throws {
        let inbox = HubInbox(bytesMax: 10, patience: 10)
        #expect(inbox.put(message: "a", [UInt8](repeating: 0, count: 20)))
        #expect(!inbox.put(message: "b", [1]))
        #expect(inbox.next()?.count == 1)
        #expect(inbox.put(message: "c", [UInt8](repeating: 0, count: 9)) && inbox.put(message: "d", [1]))
        #expect(!inbox.put(message: "e", [1]))
    }

    @Test func whatComesBeforeTheSubscriptionIsBoundedInBytes() async throws {
        let inbox = HubInbox(loadMax: .max, bytesMax: .max, patience: 10)
        let session = try BrokerSession(
            broker: try BrokerAddress("mqtt://127.0.0.1:1"), clientID: "cloud", filters: [], inbox: inbox)
        let payload = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<70 { session.mqttReceived("a", payload) }
        session.mqttSubscribed(1, accepted: true)
        #expect(inbox.next()?.count == 1 + BrokerSession.earlyBytesMax / payload.count)
        session.mqttReceived("a", payload)
        #expect(inbox.next()?.count == 1)
    }

    @Test func requestsCountUntilTheyAreAnswered() async throws {
        let inbox = HubInbox(loadMax: 1, patience: 10)
        #expect(inbox.beginRequest())
        #expect(!inbox.put(message: "a", []))
        inbox.endRequest(ticket: 1, failure())
        #expect(inbox.next()?.count == 1)
        #expect(inbox.put(message: "a", []))
    }

    @Test func smallMessageThatComesAloneIsForWhoHasReadIt() async throws {
        let inbox = HubInbox()
        #expect(inbox.put(message: "a", [1]))
        guard case .message("a", [1]) = inbox.takeSmall() else {
            Issue.record("it is not taken")
            return
        }
        // What comes meanwhile is the hub's thread's, once the hub is given back.
        #expect(inbox.put(message: "b", [2]) && isTheThreads(inbox))
        let isBack = Atomic(false)
        let back = try IotoBase.Thread(name: "back") {
            usleep(20_000)
            isBack.store(true, ordering: .relaxed)
            inbox.release()
        }
        #expect(inbox.next()?.count == 1)
        let isBackFirst = isBack.load(ordering: .relaxed)
        #expect(isBackFirst)
        back.join()
        // While that works, too.
        #expect(inbox.put(message: "c", [3]) && isTheThreads(inbox))
    }

    @Test func whatIsNotAloneOrNotSmallIsTheHubsThreads() async throws {
        let inbox = HubInbox()
        #expect(inbox.put(message: "a", []) && inbox.put(message: "b", []) && isTheThreads(inbox))
        #expect(inbox.next()?.count == 2)
        let other = HubInbox()
        #expect(other.put(message: "a", [UInt8](repeating: 0, count: HubInbox.smallBytes + 1)) && isTheThreads(other))
        let third = HubInbox()
        #expect(third.beginRequest() && third.put(message: "a", []) && isTheThreads(third))
    }

    @Test func movesAreGathered() async throws {
        let inbox = HubInbox()
        inbox.put(moved: ["a", "b"])
        inbox.put(moved: ["b", "c"])
        let events = try #require(inbox.next())
        guard events.count == 1, case .moved(let streams) = events[0] else {
            Issue.record("\(events)")
            return
        }
        #expect(streams == ["a", "b", "c"])
    }

    @Test func drainWaitsForTheRequestsThatAreOut() async throws {
        let inbox = HubInbox()
        #expect(inbox.beginRequest())
        inbox.drain()
        #expect(!inbox.put(message: "a", []))
        #expect(!inbox.beginRequest())
        // A thread of its own: next() blocks the one it is called on, which may be the only one that there is for tasks.
        let answer = try IotoBase.Thread(name: "answer") {
            usleep(20_000)
            inbox.endRequest(ticket: 1, .failed(IotoError(.storage, "")))
        }
        #expect(inbox.next()?.count == 1)
        #expect(inbox.next() == nil)
        answer.join()
    }
}
