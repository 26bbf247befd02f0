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
        return error.message.string
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

extension JSONParserTests {
    @Test func keepsTheOrderOfMembers() throws {
        #expect(try compact(#"{"z":1,"a":2,"m":{"y":0,"b":0}}"#) == #"{"z":1,"a":2,"m":{"y":0,"b":0}}"#)
    }

    @Test func lastOfRepeatedNamesWinsAtTheFirstPlace() throws {
        #expect(try compact(#"{"a":1,"b":2,"a":3}"#) == #"{"a":3,"b":2}"#)
        #expect(try compact(#"{"a":1,"\u0061":3}"#) == #"{"a":3}"#)
    }

    @Test(arguments: [23, 24, 25, 60, 3000])
    func repeatedNamesAreFoundAmongManyMembers(count: Int) throws {
        let members = (0..<count).map { "\"m\($0)\":\($0)" }.joined(separator: ",")
        let again = (0..<count).map { "\"m\($0)\":\"x\($0)\"" }.joined(separator: ",")
        let object = try #require(try parse("{\(members),\(again)}").objectValue)
        #expect(object.count == count)
        #expect(object.members.last?.key.string == "m\(count - 1)")
        #expect(object.members.last?.value == .string(Text("x\(count - 1)")))
        #expect(object.members.first?.value == .string("x0"))
    }

    // A quadratic search of two hundred thousand names takes many minutes, a linear one less than a second.
    @Test(.timeLimit(.minutes(1))) func manyMembersAreReadInLinearTime() throws {
        let members = (0..<200_000).map { "\"\($0)\":1" }.joined(separator: ",")
        #expect(try parse("{\(members)}").objectValue?.count == 200_000)
    }

    @Test func skipsAByteOrderMark() throws {
        #expect(try JSON.parse([0xEF, 0xBB, 0xBF, 0x31]) == .number("1"))
        #expect(message([0xEF, 0xBB]) != "")
        #expect(message([0x31, 0xEF, 0xBB, 0xBF]) == "line 1, column 2: unexpected text after the value")
    }

    @Test func emptyTextIsAnError() {
        #expect(message("") == "line 1, column 1: the text ends too early")
        #expect(message(" \n ") == "line 2, column 2: the text ends too early")
        #expect(throws: IotoError.self) {
            try JSON.parse(UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }

    @Test func errorsNameLineAndColumn() {
        #expect(message("{\n  \"a\": 1,\n  \"bé\" 2\n}") == "line 3, column 8: expected ':' after the member name")
        #expect(message("[1,\r\n\r\n2 3]") == "line 3, column 3: expected ',' or ']' after the element")
        #expect(message("[1,\r\r2 3]") == "line 3, column 3: expected ',' or ']' after the element")
    }

    @Test(arguments: [
        ("{\"a\":1", "the text ends too early"), ("[", "the text ends too early"), ("{", "the text ends too early"),
        ("[1,]", "a comma may not stand before the closing bracket"),
        ("{\"a\":1,}", "a comma may not stand before the closing bracket"),
        ("[,1]", "expected a value"), ("[1,,2]", "expected a value"), ("]", "expected a value"),
        ("{a:1}", "expected a member name in double quotes"), ("{'a':1}", "expected a member name in double quotes"),
        ("{1:1}", "expected a member name in double quotes"),
        ("{\"a\":1 \"b\":2}", "expected ',' or '}' after the member"),
        ("{\"a\",1}", "expected ':' after the member name"), ("[1}", "expected ',' or ']' after the element"),
        ("1 2", "unexpected text after the value"), ("{}}", "unexpected text after the value"),
        ("nul", "expected a value"), ("nulL", "expected a value"), ("nullx", "unexpected text after the value"),
        ("True", "expected a value"), ("NaN", "expected a value"), ("Infinity", "expected a value"),
        ("'a'", "expected a value"), ("// c\n1", "expected a value"),
        ("1 /* c */", "unexpected text after the value"),
        ("\u{A0}1", "expected a value"), ("\u{0}", "expected a value"), ("1\u{0}", "unexpected text after the value"),
        ("\u{B}1", "expected a value"),
    ])
    func refusesWhatIsNotJSON(source: String, reason: String) {
        #expect(message(source).hasSuffix(": " + reason), "\(message(source))")
    }

    @Test(arguments: [
        ("01", "a number may not start with a zero and another digit"),
        ("-01", "a number may not start with a zero and another digit"),
        ("-", "the text ends too early"), ("1.", "the text ends too early"), ("1e", "the text ends too early"),
        ("1e+", "the text ends too early"), ("-x", "malformed number"), ("1.x", "malformed number"),
        ("1.e1", "malformed number"),
        ("[1e]", "malformed number"), ("+1", "expected a value"), (".5", "expected a value"),
        ("0x10", "unexpected text after the value"), ("1.5.5", "unexpected text after the value"),
        ("--1", "malformed number"),
    ])
    func refusesMalformedNumbers(source: String, reason: String) {
        #expect(message(source).hasSuffix(": " + reason), "\(message(source))")
    }

    @Test func nestsToTheLimitAndNoDeeper() throws {
        func nested(_ open: String, _ close: String, _ count: Int) -> String {
            String(repeating: open, count: count) + "1" + String(repeating: close, count: count)
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            #expect(try parse(nested(open, close, Limits.nestingMax)).depth == Limits.nestingMax)
            let error = #expect(throws: IotoError.self) { try parse(nested(open, close, Limits.nestingMax + 1)) }
            #expect(error?.code == .limit)
            #expect(error?.message.string.hasSuffix("nested deeper than 64 levels") == true)
        }
    }

    @Test func siblingsDoNotAddToTheNesting() throws {
        let wide = Array(repeating: "[{}]", count: 1000).joined(separator: ",")
        #expect(try parse("[\(wide)]").depth == 3)
    }

    @Test(arguments: [JSONSyntax.json, .json5])
    func hostileNestingIsRefused(syntax: JSONSyntax) {
        for open in ["[", "{\"a\":", "[{\"\":"] {
            let source = [UInt8](String(repeating: open, count: 300_000).utf8)
            #expect(message(source, syntax).hasSuffix("nested deeper than 64 levels"))
        }
    }

    @Test func errorsOfFormHaveTheCodeOfJSON() {
        let error = #expect(throws: IotoError.self) { try parse("{") }
        #expect(error?.code == .json)
    }
}
