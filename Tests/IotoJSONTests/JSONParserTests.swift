import IotoBase
import Testing

@testable import IotoJSON

/// Reads a source given as a string.
func parse(_ source: String, _ syntax: JSONSyntax = .json) throws(IotoError) -> JSON {
    try JSON.parse([UInt8](source.utf8), syntax: syntax)
}

/// The value written as compact JSON.
func compact(_ source: String, _ syntax: JSONSyntax = .json) throws(IotoError) -> String {
    Text(try parse(source, syntax).text).string
}

/// The message of the error that a source gives, "" when it gives none.
func message(_ source: [UInt8], _ syntax: JSONSyntax = .json) -> String {
    do throws(IotoError) {
        _ = try JSON.parse(source, syntax: syntax)
        return ""
    } catch {
        return error.message
    }
}

func message(_ source: String, _ syntax: JSONSyntax = .json) -> String {
    message([UInt8](source.utf8), syntax)
}

@Suite struct JSONParserTests {
    @Test func readsEveryType() throws {
        let value = try parse(#" { "a" : [ null , true , false , -1.5e+3 , "x" , { } , [ ] ] } "#)
        #expect(
            value
                == .object([
                    "a": .array([
                        .null, .bool(true), .bool(false), .number("-1.5e+3"), .string("x"), .object([:]), .array([]),
                    ])
                ]))
    }

    @Test(arguments: ["null", "true", "false", "0", "\"\"", "[]", "{}", " \t\r\n[\n1 , 2 ] "])
    func takesAnyValueAtTheTop(source: String) throws {
        _ = try parse(source)
    }
}
