import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONWriterTests {
    @Test func escapesWhatJSONDemands() {
        let text = Text("\"\\/\u{8}\t\n\u{C}\r\u{1}\u{1F}\u{7F}é😀\u{2028}")
        #expect(Text(JSON.string(text).text) == Text(#""\"\\/\b\t\n\f\r\u0001\u001f"# + "\u{7F}é😀\u{2028}\""))
    }

    @Test func everyASCIICharacterReadsBack() throws {
        for byte in UInt8(1)..<0x80 {
            for count in [1, 7, 8, 9] {
                let value = JSON.string(Text([UInt8](repeating: byte, count: count)))
                #expect(try JSON.parse(value.text) == value)
            }
        }
    }

    @Test func writesWithoutSpace() throws {
        #expect(try compact(" { \"a\" : [ 1 , 2 , { } ] , \"\" : \"\" } ") == #"{"a":[1,2,{}],"":""}"#)
    }

    @Test func appendsToTheOutput() {
        var output: [UInt8] = [0x78]
        JSON.bool(true).write(to: &output)
        JSON.write(string: "a\"", to: &output)
        [0x62, 0x0A].withUnsafeBytes { JSON.write(string: UnsafeRawBufferPointer(rebasing: $0[0..<1]), to: &output) }
        JSON.write(string: UnsafeRawBufferPointer(start: nil, count: 0), to: &output)
        #expect(Text(output) == #"xtrue"a\"""b""""#)
    }
}
