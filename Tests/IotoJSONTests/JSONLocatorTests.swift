import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONLocatorTests {
    let source = [UInt8](
        """
        // The schema.
        {
            version: '0.0.1',
            models: {
                Device: {
                    id:
                        { type: 'string' },
                    list: [
                        1,
                        { a: 1 }, { b: 2 },
                    ],
                },
            },
        }
        """.utf8)

    @Test(
        arguments: [
            ([], 2), (["version"], 3), (["models"], 4), (["models", "Device"], 5), (["models", "Device", "id"], 6),
            (["models", "Device", "id", "type"], 7), (["models", "Device", "list"], 8),
            (["models", "Device", "list", "0"], 9),
            (["models", "Device", "list", "2", "b"], 10),
        ] as [([Text], Int)])
    func namesTheLineOfTheName(path: [Text], line: Int) {
        #expect(JSONLocator.line(of: path, in: source) == line)
    }

    @Test(
        arguments: [
            (["models", "Fault", "id"], 4), (["models", "Device", "id", "type", "x"], 7),
            (["models", "Device", "list", "3"], 8),
            (["models", "Device", "list", "x", "y"], 8), (["version", "0"], 3),
        ] as [([Text], Int)])
    func namesTheDeepestPartThatExists(path: [Text], line: Int) {
        #expect(JSONLocator.line(of: path, in: source) == line)
    }

    @Test func namesNoLineForWhatIsNotThere() {
        #expect(JSONLocator.line(of: ["nothing", "a"], in: source) == nil)
        #expect(JSONLocator.line(of: ["a"], in: []) == nil)
        #expect(JSONLocator.line(of: ["0"], in: [UInt8("1".utf8.first!)]) == nil)
    }

    @Test func namesTheLastOfRepeatedNames() {
        let source = [UInt8]("{\na: {b: 1},\na: {c:\n 1},\n}".utf8)
        #expect(JSONLocator.line(of: ["a"], in: source) == 3)
        #expect(JSONLocator.line(of: ["a", "b"], in: source) == 3)
    }

    @Test func namesWhatStandsBeforeAnError() {
        #expect(JSONLocator.line(of: ["a", "b"], in: [UInt8]("{\na: {\nb: ]".utf8)) == 3)
        #expect(JSONLocator.line(of: ["a"], in: [UInt8](String(repeating: "{a:", count: 100_000).utf8)) == 1)
        #expect(
            JSONLocator.line(
                of: Array(repeating: "a", count: 1000), in: [UInt8](String(repeating: "{a:\n", count: 1000).utf8))
                == 64)
    }
}
