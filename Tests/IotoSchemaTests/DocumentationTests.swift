import Foundation
import Testing

@testable import IotoSchema

/// docs/SCHEMA.md has a row for each element that the reader knows.
@Suite struct DocumentationTests {
    /// The names in the first column of the tables of a section.
    private func rows(_ section: String) throws -> Set<String> {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/SCHEMA.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        let part = try #require(text.components(separatedBy: "\n## ").first { $0.hasPrefix(section) })
        var names: Set<String> = []
        for line in part.split(separator: "\n") where line.hasPrefix("| ") {
            let cell = line.split(separator: "|").first ?? ""
            for (place, name) in cell.split(separator: "`", omittingEmptySubsequences: false).enumerated() where place % 2 == 1 {
                names.insert(String(name))
            }
        }
        return names
    }

    /// Those that the reader does not warn of as unknown.
    private func known(_ names: [String], _ warnings: (String) throws -> Schema) -> [String] {
        names.filter { name in
            guard let schema = try? warnings(name) else { return true }
            return !schema.warnings.contains { $0.string.contains("unknown") }
        }
    }

    @Test func eachAttributeOfAFieldHasARow() throws {
        let rows = try rows("Attributes of a field")
        let source = "required unique hidden isoDates nulls filter partial ttl value generate uuid schema items validate scope map "
            + "encode crypt fixed pack type default enum description reference comment timestamp"
        let names = source.split(separator: " ").map(String.init)
        for name in FieldFlags.names.description.split(separator: " ") { #expect(names.contains(String(name)), "\(name)") }
        #expect(known(names) { try schema("sk: {value: 'f#${id}'}, id: {}, f: {\($0): null}") } == names)
        #expect(Set(names).subtracting(rows).isEmpty, "\(Set(names).subtracting(rows))")
        #expect(rows.subtracting(names).isEmpty, "\(rows.subtracting(names))")
    }

    @Test func eachOptionOfAModelHasARow() throws {
        let rows = try rows("Process")
        #expect(known(rows.sorted()) { try schema("sk: {}", rest: "process: {Fault: {\($0): 5}}") } == rows.sorted())
    }

    @Test func eachParameterHasARow() throws {
        let rows = try rows("Parameters")
        #expect(known(rows.sorted()) { try schema("sk: {}", params: "\($0): 5") } == rows.sorted())
    }
}
