import Foundation
import IotoBase
import IotoStore
import Testing

@testable import IotoAgent

@Suite struct TriggerDispatcherTests {
    @Test func aTriggerIsToldItsModelAndEventsOnly() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let notes = Calls()
        let all = Calls()
        let remote = Calls()
        try database.addTrigger(.test(1, model: "Note"), events: .change) { notes.add($0) }
        try database.addTrigger(.test(2), events: .commit) { all.add($0) }
        try database.addTrigger(.test(3), events: [.remote, .rejected]) { remote.add($0) }
        try database.create("Note", "{id: 'a'}")
        try database.create("Local", "{id: 'b'}")
        _ = try database.remove("Note", "{id: 'a'}")
        database.close()
        #expect(notes.lines == ["create a", "remove a"])
        #expect(all.lines == ["create a", "create b", "remove a"])
        #expect(remote.lines == [])
    }

    @Test func aTriggerOfAnUnknownModelIsRefused() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        #expect(code { try database.addTrigger(.test(model: "None"), events: .change) { _ in } } == .model)
        database.close()
    }

    @Test func removalCountsAndEndsTheCalls() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        try database.addTrigger(.test(1), events: .change) { calls.add($0) }
        try database.create("Note", "{id: 'a'}")
        #expect(calls.wait(for: 3))
        #expect(database.removeTrigger(.test()) == 2)
        #expect(database.removeTrigger(.test()) == 0)
        try database.create("Note", "{id: 'b'}")
        database.close()
        #expect(calls.lines == ["create a", "create a", "create a", "create b"])
    }

    @Test func theLoopGetsWhatWaitsInOrder() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        #expect(code { try database.dispatch(timeMax: 0) } == .misuse)
        let descriptor = try database.triggerDescriptor()
        #expect(try database.triggerDescriptor() == descriptor)
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        for id in ["a", "b", "c"] { try database.create("Note", "{id: '\(id)'}") }
        usleep(20_000)
        #expect(calls.lines == [])
        #expect(isReadable(descriptor))
        #expect(try database.dispatch(timeMax: 0) == 1)
        #expect(calls.lines == ["create a"])
        #expect(isReadable(descriptor))
        #expect(try database.dispatch(timeMax: -1) == 2)
        #expect(calls.lines == ["create a", "create b", "create c"])
        #expect(!isReadable(descriptor))
        database.close()
    }

    @Test func aTriggerOnTheLoopMayWriteAndIsToldLater() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        _ = try database.triggerDescriptor()
        try database.addTrigger(.test(model: "Note"), events: .change) { call in
            calls.add(call)
            _ = try? database.create("Local", "{id: 'x'}", isUpsert: true)
        }
        try database.addTrigger(.test(model: "Local"), events: .change) { calls.add($0) }
        try database.create("Note", "{id: 'a'}")
        #expect(try database.dispatch(timeMax: -1) == 2)
        #expect(calls.lines == ["create a", "create x"])
        database.close()
    }

    @Test func aTriggerOnTheThreadCannotHandItsThreadOver() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        try database.addTrigger(.test(), events: .change) { _ in
            calls.add(code { try database.triggerDescriptor() } == .misuse ? "refused" : "taken")
        }
        try database.create("Note", "{id: 'a'}")
        database.close()
        #expect(calls.lines == ["refused"])
    }

    @Test func closingDeliversWhatTheLoopLeft() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        _ = try database.triggerDescriptor()
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        try database.create("Note", "{id: 'a'}")
        try database.create("Note", "{id: 'b'}")
        database.close()
        #expect(calls.lines == ["create a", "create b"])
    }

    @Test func theQueueIsBoundedOnTheLoopsOwnThread() throws {
        let fixture = try Fixture()
        let database = try fixture.open()
        let calls = Calls()
        _ = try database.triggerDescriptor()
        try database.addTrigger(.test(), events: .change) { calls.add($0) }
        for id in 0..<(Limits.triggerQueueMax - 1) { try database.create("Local", "{id: '\(id)'}") }
        #expect(calls.lines.count == 0)
        try database.create("Local", "{id: 'full'}")
        #expect(calls.lines.count == 1)
        database.close()
        #expect(calls.lines.count == Limits.triggerQueueMax)
    }

    private func isReadable(_ descriptor: Int32) -> Bool {
        var set = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&set, 1, 0) == 1
    }
}
