import IotoBase
import Testing

@testable import IotoAgent

@Suite struct ConfigurationReaderTests {
    func configuration(_ text: String) throws -> AgentConfiguration { try AgentConfiguration(Text(text)) }

    /// The message of the error that the configuration is refused with.
    func refusal(_ text: String) -> String {
        do {
            _ = try configuration(text)
        } catch let error as IotoError {
            #expect(error.code == .configuration)
            return error.message.string
        } catch {}
        return "accepted"
    }

    @Test func whatIsNotGivenHasItsDefault() throws {
        let read = try configuration("{deviceId: 'd1'}")
        #expect(read.databasePath == "state.db")
        #expect(read.schemaPath == "schema.json5")
        #expect(read.syncDelay == 5000)
        #expect(read.syncLimit == 10240)
        #expect(read.durability == .full)
        #expect(read.mqtt.port == 1883)
        #expect(read.warnings.isEmpty)
    }

    @Test(arguments: [
        ("5", 5000), ("'5'", 5000), ("'5s'", 5000), ("'500ms'", 500), ("'10 mins'", 600_000), ("'1h'", 3_600_000),
        ("0", 0), ("'1 day'", 86_400_000),
    ])
    func durationsHaveUnits(_ text: String, _ milliseconds: Int64) throws {
        #expect(try configuration("{deviceId: 'd', database: {syncDelay: \(text)}}").syncDelay == milliseconds)
    }

    @Test(arguments: ["-1", "'x'", "'5 parsecs'", "1.5", "true", "'2 days'", "99999999999999999999", "[]"])
    func otherDurationsAreRefused(_ text: String) {
        #expect(refusal("{deviceId: 'd', database: {syncDelay: \(text)}}").contains("database.syncDelay"))
    }

    @Test(arguments: [("1", 1), ("'10K'", 10240), ("'1 MB'", 1_048_576), ("100", 100)])
    func sizesHaveUnits(_ text: String, _ bytes: Int) throws {
        #expect(try configuration("{deviceId: 'd', database: {syncLimit: \(text)}}").syncLimit == bytes)
    }

    @Test(arguments: ["0", "'2M'", "'9999999999G'", "'K'"])
    func otherSizesAreRefused(_ text: String) {
        #expect(refusal("{deviceId: 'd', database: {syncLimit: \(text)}}").contains("database.syncLimit"))
    }

    @Test(arguments: [(", packetSize: 20000", 19_932), (", packetSize: '1M'", 1_048_508), (", packetSize: 1092", 1_024), ("", 122_880)])
    func packetsLeaveRoomForTheTopic(_ setting: String, _ bytes: Int) throws {
        // $aws/rules/IotoDevice/ioto/service/d/db/syncToDynamo has 52 bytes, the rest of a packet 16.
        #expect(try configuration("{deviceId: 'd', mqtt: {port: 1883\(setting)}}").mqtt.payloadBytesMax == bytes)
    }

    @Test(arguments: ["0", "1091", "'2M'", "-1", "'x'"])
    func packetsThatHoldNothingAreRefused(_ text: String) {
        #expect(refusal("{deviceId: 'd', mqtt: {packetSize: \(text)}}").contains("mqtt.packetSize"))
    }

    @Test func anErrorNamesItsLine() {
        let message = refusal("{\n  deviceId: 'd',\n  database: {\n    durability: 'loose',\n  },\n}")
        #expect(message.contains("configuration:4: database.durability"), "\(message)")
    }

    @Test(arguments: [
        ("{}", "deviceId"), ("{deviceId: ''}", "deviceId"), ("{deviceId: 5}", "deviceId"), ("{deviceId: 'a/b'}", "deviceId"),
        ("{deviceId: 'd', accountId: '#'}", "accountId"), ("{deviceId: 'd', mqtt: 5}", "mqtt"),
        ("{deviceId: 'd', mqtt: {port: 0}}", "mqtt.port"), ("{deviceId: 'd', mqtt: {port: 65536}}", "mqtt.port"),
        ("{deviceId: 'd', mqtt: {certificate: 'c'}}", "mqtt.certificate"), ("{deviceId: 'd', mqtt: {key: 'k'}}", "mqtt.key"),
        ("{deviceId: 'd', mqtt: {keepalive: '1s'}}", "mqtt.keepalive"),
    ])
    func whatDoesNotFitIsRefusedByName(_ text: String, _ name: String) {
        #expect(refusal(text).contains(name), "\(refusal(text))")
    }

    @Test func textThatIsNoObjectIsRefused() {
        #expect(refusal("{deviceId: ").hasPrefix("configuration"))
        #expect(code { try AgentConfiguration("/nonexistent/ioto.json5") } == .io)
    }

    @Test func unknownSettingsAreWarnedOf() throws {
        let read = try configuration("{deviceId: 'd', databse: {}, mqtt: {prot: 1}, comment: null}")
        #expect(read.warnings.count == 3)
        #expect(read.warnings.contains { $0.string.contains("mqtt.prot") })
    }

    @Test func tlsMovesThePortUnlessItIsGiven() throws {
        #expect(try configuration("{deviceId: 'd', mqtt: {authority: 'ca.pem'}}").mqtt.port == 8883)
        #expect(try configuration("{deviceId: 'd', mqtt: {authority: 'ca.pem', port: 443}}").mqtt.port == 443)
    }

    @Test func pathsAreRelativeToTheFile() throws {
        let fixture = try Fixture()
        try fixture.write("ioto.json5", "{deviceId: 'd', database: {path: 'x.db', schema: '/etc/s.json5'}}")
        let read = try AgentConfiguration(fixture.path("ioto.json5"))
        #expect(read.databasePath == fixture.path("x.db"))
        #expect(read.schemaPath == "/etc/s.json5")
    }

    @Test func ceilingsAreThoseOfTheDatabase() throws {
        let read = try configuration(
            "{deviceId: 'd', database: {sizeMax: '8M', outboxItemsMax: 100, outboxSizeMax: '1M', cacheSize: '512K'}}")
        #expect(read.ceilings.fileBytes == 8 << 20)
        #expect(read.ceilings.outboxItems == 100)
        #expect(read.ceilings.outboxBytes == 1 << 20)
        #expect(read.ceilings.cacheBytes == 512 << 10)
        #expect(read.warnings.isEmpty)
    }
}
