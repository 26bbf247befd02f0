import Foundation
import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// `blend`: schemas in several files.
@Suite final class BlendTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ioto-blend-\(UUID().uuidString)")

    init() throws {
        try FileManager.default.createDirectory(
            at: folder.appendingPathComponent("sub"), withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }

    private func load(_ name: String = "main.json5") throws -> Schema {
        try Schema.load(Text(folder.path + "/" + name))
    }

    /// The message of the error, with the folder's name taken out.
    private func message(_ name: String = "main.json5") -> String {
        error { try load(name) }.message.replacing(folder.path + "/", with: "")
    }

    private let base = "format: 'onetable:1.1.0', indexes: {primary: {hash: 'id'}}"

    @Test func filesAreBlendedUnderTheOneThatIncludesThem() throws {
        try write("main.json5", "{\(base), blend: ['a.json5', './sub/b.json5'], models: {M: {id: {}, x: {default: 'main'}}}}")
        try write("a.json5", "{params: {nulls: true}, models: {M: {x: {default: 'a'}, y: {default: 'a'}}, A: {id: {}}}}")
        try write("sub/b.json5", "{blend: 'c.json5', params: {isoDates: true}, models: {M: {y: {default: 'b'}}}, process: {A: {sync: 'up'}}}")
        try write("sub/c.json5", "{models: {M: {y: {default: 'c'}, z: {default: 'c'}}}, control: {M: {sync: 'down'}}}")
        let schema = try load()
        #expect(schema.warnings.isEmpty)
        #expect(schema.nulls && schema.isoDates)
        #expect(schema.models.map(\.name) == ["M", "A"])
        #expect(try schema.model("M")?.created("{id: '1'}").contains(#""y":"b""#) == true)
        let body = try object(try #require(schema.model("M")).created("{id: '1'}"))
        #expect(body["x"] == .string("main") && body["y"] == .string("b") && body["z"] == .string("c"))
        #expect(schema.model("M")?.syncsDown == true && schema.model("A")?.syncsUp == true)
    }

    @Test func errorNamesTheFileAndLineOfWhatIsWrong() throws {
        try write("main.json5", "{\(base),\n blend: ['sub/b.json5'],\n models: {M: {id: {}}}}")
        try write("sub/b.json5", "{models: {\n\n M: {\n x: {type: 'strng'}}}}")
        #expect(message() == "sub/b.json5:4: model \"M\": field \"x\": unknown type \"strng\"")
        try write("sub/b.json5", "{models: {M: {x: {}}}, process: {\n X: {}}}")
        #expect(message() == "sub/b.json5:2: process: unknown model \"X\"")
        try write("sub/b.json5", "{models: {M: {x: {}}}, control: {\n\n X: {}}}")
        #expect(message() == "sub/b.json5:3: process: unknown model \"X\"")
        try write("sub/b.json5", "{models: {\n M: }")
        #expect(message().hasPrefix("sub/b.json5: line 2, column"))
        try write("sub/b.json5", "\n[]")
        #expect(message() == "sub/b.json5:2: the schema is not an object")
        try write("sub/b.json5", "{models: {M: {x: {\n sparkle: 1}}}}")
        #expect(try load().warnings.map { $0.string.replacing(folder.path + "/", with: "") }
            == ["sub/b.json5:2: model \"M\": field \"x\": unknown attribute \"sparkle\""])
    }

    @Test func errorInAValueThatIsOverriddenIsTheOverridersOwn() throws {
        try write("main.json5", "{\(base), blend: ['a.json5'],\n models: {M: {id: {},\n x: {type: 'odd'}}}}")
        try write("a.json5", "{models: {M: {x: {type: 'number', required: true}}}}")
        #expect(message() == "main.json5:3: model \"M\": field \"x\": unknown type \"odd\"")
    }

    @Test(arguments: [
        ("['none.json5']", "blend: none.json5: No such file or directory"), ("[5]", "blend: 5 is not the name of a file"),
        ("['']", "blend: \"\" is not the name of a file"), ("{}", "blend: {} is not the name of a file"),
        ("['main.json5']", "blend: \"main.json5\" includes itself"),
        ("['sub/../main.json5']", "blend: \"sub/../main.json5\" includes itself"),
        ("['sub/.././/main.json5']", "blend: \"sub/.././/main.json5\" includes itself"),
    ])
    func wrongIncludesAreRefused(blend: String, problem: String) throws {
        try write("main.json5", "{\(base),\n\n blend: \(blend), models: {}}")
        #expect(message() == "main.json5:3: \(problem)")
        #expect(error { try load() }.code == .schema)
    }

    @Test func circleIsRefusedWhereItCloses() throws {
        try write("main.json5", "{\(base), blend: ['a.json5'], models: {}}")
        try write("a.json5", "{\nblend: ['sub/b.json5']}")
        try write("sub/b.json5", "{\n\nblend: ['../a.json5']}")
        #expect(message() == "sub/b.json5:3: blend: \"../a.json5\" includes itself")
    }

    @Test func fileMayBeIncludedTwice() throws {
        try write("main.json5", "{\(base), blend: ['a.json5', 'b.json5'], models: {}}")
        try write("a.json5", "{blend: ['c.json5']}")
        try write("b.json5", "{blend: ['c.json5']}")
        try write("c.json5", "{models: {C: {id: {}}}}")
        #expect(try load().models.count == 1)
    }

    @Test func depthAndNumberOfFilesHaveLimits() throws {
        func chain(_ count: Int) throws {
            for place in 0..<count {
                let blend = place + 1 < count ? "blend: ['f\(place + 1).json5']," : ""
                try write("f\(place).json5", "{\(blend) \(base), models: {}}")
            }
        }
        try chain(8)
        #expect(try load("f0.json5").models.isEmpty)
        try chain(9)
        #expect(message("f0.json5") == "f7.json5:1: blend: more than 8 files include each other")
        func many(_ count: Int) throws {
            for place in 0..<count { try write("m\(place).json5", "{}") }
            try write("main.json5", "{\(base), models: {}, blend: [\((0..<count).map { "'m\($0).json5'" }.joined(separator: ","))]}")
        }
        try many(31)
        #expect(try load().models.isEmpty)
        try many(32)
        #expect(message() == "main.json5:1: blend: more than 32 files")
    }

    @Test func bytesOfAllFilesCount() throws {
        try write("main.json5", "{\(base), models: {}, blend: ['a.json5']}")
        let size = try Data(contentsOf: folder.appendingPathComponent("main.json5")).count
        try write("a.json5", "{}" + String(repeating: " ", count: Limits.schemaBytesMax - size - 2))
        #expect(try load().models.isEmpty)
        try write("a.json5", "{}" + String(repeating: " ", count: Limits.schemaBytesMax - size - 1))
        #expect(message() == "a.json5: the schema has more than 1048576 bytes")
    }

    @Test func joinedSourceReadsAsTheSame() throws {
        try write("main.json5", "{\(base), blend: ['a.json5'], models: {M: {id: {}}}}")
        try write("a.json5", "{models: {M: {x: {default: 'a'}}}}")
        let source = [UInt8](try Data(contentsOf: folder.appendingPathComponent("main.json5")))
        let joined = try Schema.joined(source: source, name: Text(folder.path + "/main.json5"))
        let schema = try Schema(source: joined, name: "elsewhere.json5")
        #expect(try schema.model("M")?.created("{id: '1'}") == #"{"x":"a","id":"1"}"#)
        #expect(try Schema.joined(source: joined, name: "x") == joined)
    }

    @Test(arguments: [
        ("a/b", "a/b"), ("./a", "a"), ("a/./b", "a/b"), ("a/../b", "b"), ("../a", "../a"), ("../../a", "../../a"),
        ("/a/../b", "/b"), ("a//b", "a/b"), ("/a/b", "/a/b"), ("a/b/../../c", "c"),
    ])
    func pathsHaveOneForm(path: String, normalized: String) {
        #expect(Text(path).normalizedPath == Text(normalized))
    }
}
