import Testing

@testable import IotoBase

@Suite struct LogTests {
    @Test(arguments: [
        (UInt32(0), LogLevel.error), (3, .error), (4, .warning), (5, .warning), (6, .info), (7, .debug), (8, .debug), (UInt32.max, .debug),
    ])
    func anyNumberIsALevel(_ number: UInt32, _ level: LogLevel) {
        #expect(LogLevel(upTo: number) == level)
    }
}
