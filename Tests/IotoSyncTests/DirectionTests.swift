import IotoBase
import Testing

@testable import IotoSync

/// What the schema's `enable` and `sync` allow, on both sides.
struct DirectionTests {
    @Test func downModelChangedOnTheDeviceDoesNotGoUp() throws {
        let loop = Loopback.connected()
        try loop.change("Setting", "1", "local")
        loop.wait(10_000)
        loop.settle()
        #expect(loop.cloud.stored.isEmpty)
    }

    @Test func upModelChangedInTheCloudDoesNotComeDown() throws {
        let loop = Loopback.connected()
        try loop.cloudChange("Reading", "1", "cloud")
        loop.settle()
        #expect(loop.replica.rows.isEmpty)
    }

    @Test func deviceModelNeverAppearsOnTheWire() throws {
        let loop = Loopback()
        loop.connect()
        try loop.change("Secret", "1", "marker-of-the-secret")
        try loop.change("Reading", "1", "public")
        try loop.flush()
        loop.settle()
        #expect(loop.cloud.value("Reading", "1") == "public")
        for payload in loop.published {
            #expect(!String(decoding: payload, as: UTF8.self).contains("marker-of-the-secret"))
        }
    }

    @Test func bothModelGoesBothWaysAndTheLastWriterWins() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "1", "device")
        try loop.flush()
        loop.settle()
        try loop.cloudChange("Note", "1", "cloud")
        loop.settle()
        #expect(loop.replica.value("Note", "1") == "cloud")
        try loop.change("Note", "1", "device again")
        try loop.flush()
        loop.settle()
        #expect(loop.cloud.value("Note", "1") == "device again")
    }

    @Test func removalInTheCloudBeatsAnOlderChangeOfTheDevice() throws {
        let loop = Loopback.connected()
        try loop.change("Note", "1", "a")
        try loop.flush()
        loop.settle()
        loop.disconnect()
        try loop.change("Note", "1", "b")
        try loop.cloudChange("Note", "1", "", isRemoval: true)
        loop.connect()
        loop.settle()
        #expect(loop.cloud.value("Note", "1") == nil)
        #expect(loop.replica.value("Note", "1") == nil)
        #expect(loop.replica.pendingCount() == 0)
    }
}
