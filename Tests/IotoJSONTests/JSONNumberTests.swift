import IotoBase
import Testing

@testable import IotoJSON

@Suite struct JSONNumberTests {
    @Test(arguments: [
        "12345678901234567890", "1e400", "-0", "0.10", "1.0", "1E5", "-1.5e-300", "9007199254740993", "0e0",
        "1e99999999999999",
    ])
    func literalsPassThroughUnchanged(literal: String) throws {
        #expect(try compact(literal) == literal)
        #expect(try compact("[\(literal),{\"a\":\(literal)}]") == "[\(literal),{\"a\":\(literal)}]")
    }

    @Test func literalsReachTheLimitAndNoFurther() throws {
        let longest = String(repeating: "7", count: JSON.numberBytesMax)
        #expect(try compact(longest) == longest)
        let error = #expect(throws: IotoError.self) { try parse(longest + "7") }
        #expect(error?.code == .limit)
        #expect(throws: IotoError.self) { try parse(longest + "7", .json5) }
        #expect(throws: IotoError.self) { try parse(longest + ".", .json5) }
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("5", 5), ("5.0", 5), ("5e2", 500), ("500e-2", 5), ("5.25e2", 525), ("0.05e2", 5),
            ("-1.50e1", -15),
            ("9223372036854775807", .max), ("-9223372036854775808", .min), ("9223372036854775807.000", .max),
            ("922337203685477580.7e1", .max),
            ("-9.223372036854775808e18", .min), ("0e999999999", 0), ("0.000", 0), ("1e18", 1_000_000_000_000_000_000),
            ("9007199254740993", 9_007_199_254_740_993), ("100000000000000000000e-20", 1), ("1e0", 1), ("1E+2", 100),
            ("0.0e-5", 0),
        ] as [(String, Int64)])
    func wholeNumbersAreIntegers(literal: String, value: Int64) throws {
        #expect(try parse(literal).integerValue == value)
        #expect(try parse(literal).truncatedInteger == value)
    }

    @Test(
        arguments: [
            ("0.5", 0), ("-0.999", 0), ("5.1", 5), ("-5.9", -5), ("55e-1", 5), ("1e-400", 0),
            ("1e-99999999999999999999", 0), ("123456.789e2", 12_345_678),
            ("9223372036854775808", .max), ("-9223372036854775809", .min), ("1e19", .max), ("-1e400", .min),
            ("1e99999999999999999999", .max),
            ("9223372036854775807.5", .max), ("-9223372036854775808.5", .min), ("18446744073709551616", .max),
            ("12345678901234567890", .max),
        ] as [(String, Int64)])
    func otherNumbersAreTruncatedAndSaturate(literal: String, value: Int64) throws {
        #expect(try parse(literal).integerValue == nil)
        #expect(try parse(literal).truncatedInteger == value)
    }

    @Test func otherTypesHaveNoNumber() {
        for value: JSON in [.null, .bool(true), .string("5"), .array([]), .object([:])] {
            #expect(value.integerValue == nil)
            #expect(value.truncatedInteger == nil)
            #expect(value.doubleValue == nil)
        }
    }

    @Test(arguments: [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (0.1, "0.1"), (-2.5, "-2.5"), (1e15, "1000000000000000"),
        (0x1p53, "9007199254740992"),
        (-0x1p53, "-9007199254740992"), (1.7e12, "1700000000000"), (1.0 / 3, "0.3333333333333333"),
        (.leastNonzeroMagnitude, "4.94065645841247e-324"),
    ])
    func doublesAreWrittenShort(value: Double, literal: String) {
        #expect(JSON.double(value) == .number(Text(literal)))
    }

    @Test func doublesReadBackTheSame() throws {
        var random = Random(seed: 7)
        var values = [
            Double.greatestFiniteMagnitude, -.leastNonzeroMagnitude, 1e16, 1e17, 1e21, 1e22, 0x1p53 + 2, 0.1 + 0.2,
            .pi,
        ]
        while values.count < 2000 {
            let value = Double(bitPattern: random.next())
            if value.isFinite { values.append(value) }
        }
        for value in values {
            let number = try #require(JSON.double(value))
            #expect(try JSON.parse(number.text) == number)
            #expect(number.doubleValue == value)
        }
    }

    @Test func onlyFiniteDoublesAreNumbers() {
        #expect(JSON.double(.nan) == nil)
        #expect(JSON.double(.infinity) == nil)
        #expect(JSON.double(-.infinity) == nil)
    }

    @Test func numbersBeyondADoubleReadAsInfinity() throws {
        #expect(try parse("1e400").doubleValue == .infinity)
        #expect(try parse("-1e400").doubleValue == -.infinity)
        #expect(try parse("1e-400").doubleValue == 0)
    }

    @Test func integersAreWrittenWhole() {
        #expect(JSON.integer(.min) == .number("-9223372036854775808"))
        #expect(JSON.integer(.max).integerValue == .max)
        #expect(JSON.integer(0).text == [UInt8(ascii: "0")])
    }
}
