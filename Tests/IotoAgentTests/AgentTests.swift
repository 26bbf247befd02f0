import Foundation
import IotoBase
import IotoStore
import IotoSync
import Testing

@testable import IotoAgent

@Suite struct AgentTests {
    /// An agent of a database that no broker hears of.
    private func configuration(_ fixture: Fixture) throws -> AgentConfiguration {
        try AgentConfiguration(
            Text(
                """
                {
                    deviceId: 'd1',
                    database: { path: '\(fixture.path("state.db"))', schema: '\(fixture.path("schema.json5"))' },
                    mqtt: { endpoint: '127.0.0.1', port: 1 },
                }
                """))
    }

    /// Descriptors of this process on the database.
    private func descriptors(_ fixture: Fixture) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter {
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
            return target?.hasPrefix(fixture.folder.path) == true
        }.count
    }

    @Test func anAgentThatFailsToOpenLeavesNoDatabaseOpen() throws {
        let fixture = try Fixture()
        var configuration = try configuration(fixture)
        configuration.ceilings.fileBytes = -1
        #expect(code { try Agent(configuration) } == .misuse)
        #expect(try descriptors(fixture) == 0)
        configuration.ceilings.fileBytes = 0
        let agent = try Agent(configuration)
        #expect(try descriptors(fixture) > 0)
        agent.close()
        #expect(try descriptors(fixture) == 0)
    }

    @Test func aStopUnderWayIsWaitedFor() throws {
        let fixture = try Fixture()
        let agent = try Agent(try configuration(fixture))
        let (entered, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let isFirst = Box<Bool>()
        isFirst.value = true
        agent.setObserver {
            guard isFirst.value == true else { return }
            isFirst.value = false
            entered.signal()
            goesOn.wait()
        }
        try agent.start()
        entered.wait()
        // The network thread can't end yet.
        let calls = Calls()
        let stopping = try IotoBase.Thread(name: "test") {
            agent.stop()
            calls.add("stop")
        }
        while agent.lock.withLock({ agent.isRunning }) { usleep(1_000) }
        let begun = Calls()
        let others = [
            try IotoBase.Thread(name: "test") {
                begun.add("start")
                try? agent.start()
                calls.add("start")
            },
            try IotoBase.Thread(name: "test") {
                begun.add("stop")
                agent.stop()
                calls.add("stop")
            },
        ]
        #expect(code { try agent.start(waits: false) } == .offline)
        #expect(code { try agent.sync([.up], timeout: 0) } == .offline)
        #expect(begun.wait(for: 2))
        usleep(100_000)
        #expect(calls.lines.isEmpty)
        goesOn.signal()
        stopping.join()
        for thread in others { thread.join() }
        #expect(calls.lines.count == 3)
        agent.close()
    }

    @Test func whatNobodyWaitsForTakesNoRoom() throws {
        let fixture = try Fixture()
        let agent = try Agent(try configuration(fixture))
        try agent.start()
        for _ in 0..<1_000 { try agent.sync([.up, .down], timeout: 0) }
        #expect(agent.lock.withLock { agent.requests.count } == 0)
        #expect(code { try agent.sync([.up, .down], timeout: 10) } == .timeout)
        #expect(agent.lock.withLock { agent.requests.count } == 0)
        agent.close()
    }

    /// The network thread's own steps, one by one: the application joins again when the thread has looked for that and not yet
    /// reported.
    @Test func aDatabaseThatHasJoinedAgainIsNotReportedAsFenced() throws {
        let fixture = try Fixture()
        let agent = try Agent(try configuration(fixture))
        defer { agent.close() }
        try agent.database.store.setEpoch(Epoch(number: 1, nonce: 1, isFenced: true))
        let session = try NetworkSession(agent, nil)
        defer { session.close() }
        func step() -> (link: Agent.Link, isFailed: Bool) {
            let request = Agent.Request(.down)
            request.target = 1
            agent.requests = [request]
            session.report()
            return (agent.status.link, request.outcome != nil)
        }
        session.begin()
        session.obeyFence()
        #expect(step() == (.fenced, true))
        try agent.rejoin()
        #expect(agent.status.link == .connecting)
        #expect(step() == (.connecting, false))
        session.obeyFence()
        #expect(step() == (.waiting, false) && !agent.hasRejoined)
    }
}
