import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `process`: the options of models. Who stores and sends the items enforces them.
@Suite struct ProcessTests {
    private func options(_ rules: String) throws -> ProcessOptions {
        try #require(try schema("sk: {}", rest: "process: {Fault: {\(rules)}}").model("Fault")).process
    }

    @Test func optionsHaveTheirDefaults() throws {
        let options = try options("")
        #expect(options.enable == .both && options.sync == .none)
        #expect(!options.isMemory && !options.isReserved && options.delay == 0 && options.priority == 0)
        #expect(options.resolve == .latest && !options.mergesFields)
        #expect(options.outboxLimit == nil && options.outboxBytes == nil && options.dailyBytes == nil)
        #expect(options.onFull == .refuse)
    }

    @Test func optionsAreRead() throws {
        let options = try options(
            "mem: true, reserve: true, delay: '5s', resolve: 'device', merge: 'fields', sync: 'both', priority: -5,"
                + "outboxLimit: 100, onFull: 'dropOldest', limits: {outboxBytes: 5000, dailyBytes: 1}, description: 'x'")
        #expect(options.isMemory && options.isReserved && options.delay == 5000 && options.priority == -5)
        #expect(options.resolve == .device && options.mergesFields)
        #expect(options.outboxLimit == 100 && options.outboxBytes == 5000 && options.dailyBytes == 1)
        #expect(options.onFull == .dropOldest)
    }

    @Test(arguments: [
        ("'5s'", 5000), ("'200ms'", 200), ("'2 mins'", 120_000), ("'24h'", 86_400_000), ("'1d'", 86_400_000), ("5", 5000),
        ("'5'", 5000), ("0", 0),
    ])
    func delayIsADuration(delay: String, milliseconds: Int64) throws {
        #expect(try options("delay: \(delay)").delay == milliseconds)
    }

    @Test(arguments: [
        "priority: -1000", "priority: 1000", "outboxLimit: 1", "outboxLimit: 2147483647", "outboxBytes: 1", "dailyBytes: 1099511627776",
    ])
    func numbersAreTakenUpToTheirBorders(rule: String) throws {
        #expect(throws: Never.self) { try options(rule) }
    }

    @Test(arguments: [
        ("delay: '25h'", "delay: \"25h\" is not a duration up to a day, as '5s'"),
        ("delay: '2 days'", "delay: \"2 days\" is not a duration up to a day, as '5s'"),
        ("delay: '86400001ms'", "delay: \"86400001ms\" is not a duration up to a day, as '5s'"),
        ("delay: '99999999999999999999s'", "is not a duration up to a day, as '5s'"),
        ("delay: -1", "delay: -1 is not a duration up to a day, as '5s'"),
        ("delay: true", "delay: true is not a duration up to a day, as '5s'"),
        ("delay: '5 weeks'", "delay: \"5 weeks\" is not a duration up to a day, as '5s'"),
        ("mem: 1", "mem: 1 is not a boolean"), ("reserve: 'x'", "reserve: \"x\" is not a boolean"),
        ("resolve: 'first'", "resolve \"first\" is none of 'latest', 'cloud', 'device', 'callback'"),
        ("merge: 'items'", "merge \"items\" is none of 'fields'"),
        ("priority: 1001", "priority: 1001 is not a whole number from -1000 to 1000"),
        ("priority: -1001", "priority: -1001 is not a whole number from -1000 to 1000"),
        ("outboxLimit: 2147483648", "outboxLimit: 2147483648 is not a whole number from 1 to 2147483647"),
        ("dailyBytes: 1099511627777", "dailyBytes: 1099511627777 is not a whole number from 1 to 1099511627776"),
        ("outboxBytes: 0", "outboxBytes: 0 is not a whole number from 1 to 1099511627776"), ("outboxLimit: 0", "outboxLimit: 0 is not a whole number from 1 to 2147483647"),
        ("onFull: 'drop'", "onFull \"drop\" is none of 'refuse', 'dropOldest'"),
        ("limits: 5", "limits: 5 is not an object"),
        ("limits: {dailyBytes: 0}", "limits: dailyBytes: 0 is not a whole number from 1 to 1099511627776"),
    ])
    func wrongOptionsAreRefused(rules: String, message: String) {
        let found = error { try options(rules) }
        #expect(found.code == .schema)
        #expect(found.message.hasPrefix("schema.json5:9: process: model \"Fault\": "))
        #expect(found.message.hasSuffix(message), "\(found.message)")
    }

    @Test(arguments: [
        ("mem: true, sync: 'up'", "'sync' and 'delay' have no effect on a model in memory"),
        ("merge: 'fields', sync: 'up'", "'merge' has an effect beside sync: 'both' alone"),
        ("limits: {mem: true}", "limits: unknown key \"mem\""), ("overflow: 1", "unknown key \"overflow\""),
    ])
    func optionWithoutEffectWarns(rules: String, message: String) throws {
        let warnings = try schema("sk: {}", rest: "process: {Fault: {\(rules)}}").warnings
        #expect(warnings.last == Text("schema.json5:9: process: model \"Fault\": " + message))
    }

    @Test(arguments: [
        ("00:00-24:00", 0, 86_399_999, -1), ("01:00-05:30", 3_600_000, 19_799_999, 19_800_000),
        ("22:00-02:00", 79_200_000, 7_199_999, 7_200_000), ("23:59-00:00", 86_340_000, 86_399_999, 0),
    ])
    func windowIsAPartOfTheDay(text: String, first: Int64, last: Int64, after: Int64) throws {
        let window = try #require(try options("window: '\(text)', dailyBytes: 5").window)
        #expect(window.contains(first) && window.contains(last))
        #expect(after < 0 || !window.contains(after))
    }

    @Test(arguments: ["", "01:00", "1:00-2:00", "01:00-01:00", "24:00-01:00", "00:00-24:01", "00:60-01:00", "0a:00-01:00", "01-00:02:00"])
    func windowThatIsNoneIsRefused(text: String) {
        #expect(error { try options("window: '\(text)'") }.message.hasSuffix("is not a part of the day, as '01:00-05:30'"))
    }

    @Test func warningsAreSwitchedOff() throws {
        let schema = try schema("sk: {sparkle: 1}", params: "odd: 1, warn: false", rest: "odd: 2")
        #expect(schema.warnings.isEmpty)
    }
}
