import IotoBase
import Testing

@testable import IotoJSON

/// A generator of the same numbers for the same seed (SplitMix64).
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }
}

/// Random values and random damage; a failure names its seed.
@Suite struct JSONFuzzTests {
    private static let scalars: [Unicode.Scalar] = [
        "a", "b", ".", "0", "\"", "\\", "\u{1}", "\n", "\u{7F}", "é", "€", "😀", "/", "'", "\u{2028}",
    ]

    private func text(_ random: inout Random) -> Text {
        var text: [UInt8] = []
        for _ in 0..<random.below(random.below(8) == 0 ? 40 : 6) {
            text += [UInt8](String(JSONFuzzTests.scalars[random.below(JSONFuzzTests.scalars.count)]).utf8)
        }
        return Text(text)
    }

    private func value(_ random: inout Random, _ levels: Int) -> JSON {
        switch random.below(levels > 0 ? 9 : 5) {
        case 0: return .null
        case 1: return .bool(random.below(2) == 0)
        case 2: return .integer(Int64(truncatingIfNeeded: random.next() >> UInt64(random.below(64))))
        case 3: return JSON.double(Double(bitPattern: random.next())) ?? .number("1e400")
        case 4: return .string(text(&random))
        case 5, 6:
            return .array((0..<random.below(6)).map { _ in value(&random, levels - 1) })
        default:
            var object = JSONObject()
            for _ in 0..<random.below(random.below(20) == 0 ? 40 : 6) {
                object[text(&random)] = value(&random, levels - 1)
            }
            return .object(object)
        }
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func whatIsWrittenReadsBackTheSame(seed: UInt64) throws {
        var random = Random(seed: seed)
        let value = value(&random, 5)
        let text = value.text
        let read = try JSON.parse(text)
        #expect(read == value)
        #expect(read.text == text)
        #expect(try JSON.parse(text, syntax: .json5).text == text)
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func scannerAndTreeAgree(seed: UInt64) throws {
        var random = Random(seed: seed)
        let value = value(&random, 5)
        value.text.withUnsafeBytes { bytes in
            for path in paths(of: value) + ["x", "0", "a.b", ""] {
                let raw = JSONScanner.member(path, in: bytes)
                let found = raw.flatMap { JSONScanner.decode(UnsafeRawBufferPointer(rebasing: bytes[$0])) }
                #expect(found == value.value(at: path), "seed \(seed), path \(path)")
            }
        }
    }

    /// The paths to every value below one. A name with a point leads elsewhere, in both readers alike.
    private func paths(of value: JSON) -> [Text] {
        var children: [(Text, JSON)] = []
        if case .object(let object) = value { children = object.members.map { ($0.key, $0.value) } }
        if case .array(let elements) = value { children = elements.enumerated().map { (Text(decimal: $0), $1) } }
        return children.flatMap { name, child in [name] + paths(of: child).map { name + "." + $0 } }
    }

    private static let seeds = [
        #"{"a":[1,-2.5e+3,"x\u00e9\ud83d\ude00\n",true,false,null,{"b":{}}],"long name with é":"0123456789abcdef"}"#,
        "{a: 'x\\x41\\\n', /* c */ $b: [+1, .5, 5., 0xFF,], // d\n 'c': {},}",
        "[[[[[[1]]]]]]", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
    ]

    private func damage(_ bytes: inout [UInt8], _ random: inout Random) {
        let specials = [UInt8]("{}[]\",:\\'/*+-.0eExu\n \u{0}é".utf8) + [0xFF, 0x80, 0xED, 0xF4, 0xE2]
        for _ in 0...random.below(4) {
            let place = random.below(bytes.count + 1)
            switch random.below(4) {
            case 0: bytes.insert(specials[random.below(specials.count)], at: place)
            case 1: if place < bytes.count { bytes.remove(at: place) }
            case 2: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: random.next()) }
            default: bytes.removeLast(min(bytes.count, random.below(5)))
            }
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func damagedTextNeverTraps(seed: UInt64) throws {
        var random = Random(seed: seed)
        for _ in 0..<250 {
            var bytes = [UInt8](JSONFuzzTests.seeds[random.below(JSONFuzzTests.seeds.count)].utf8)
            damage(&bytes, &random)
            for syntax in [JSONSyntax.json, .json5] {
                guard let value = try? JSON.parse(bytes, syntax: syntax) else { continue }
                #expect(try JSON.parse(value.text) == value, "seed \(seed): \(bytes)")
                _ = (value.integerValue, value.truncatedInteger, value.doubleValue)
            }
            bytes.withUnsafeBytes { buffer in
                for path: Text in ["a", "a.2", "a.6.b", "0.0", "long name with é", ""] {
                    if let range = JSONScanner.member(path, in: buffer) {
                        #expect(range.lowerBound >= 0 && range.upperBound <= buffer.count && !range.isEmpty)
                        _ = JSONScanner.decode(UnsafeRawBufferPointer(rebasing: buffer[range]))
                    }
                }
            }
            _ = JSONLocator.line(of: ["a", "6", "b"], in: bytes)
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func randomBytesNeverTrap(seed: UInt64) {
        var random = Random(seed: seed)
        for _ in 0..<500 {
            let bytes = (0..<random.below(24)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            for syntax in [JSONSyntax.json, .json5] { _ = try? JSON.parse(bytes, syntax: syntax) }
            bytes.withUnsafeBytes { _ = JSONScanner.member("a", in: $0) }
        }
    }

    @Test func everyPrefixIsRefusedOrRead() {
        for source in JSONFuzzTests.seeds {
            let bytes = [UInt8](source.utf8)
            for count in 0..<bytes.count {
                #expect(message([UInt8](bytes[..<count]), .json5) != "")
            }
        }
    }
}
