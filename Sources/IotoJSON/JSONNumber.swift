import CPlatform
import IotoBase

extension JSON {
    public static func integer(_ value: Int64) -> JSON {
        .number(Text(decimal: value))
    }

    /// A short number that reads back as the same double; nil for NaN and the infinities, which JSON can't write.
    public static func double(_ value: Double) -> JSON? {
        guard value.isFinite else { return nil }
        // A whole number that a double holds exactly is written without an exponent.
        if value.magnitude <= 0x1p53, value != 0 || value.sign == .plus {
            let whole = Int64(value)
            if Double(whole) == value { return .integer(whole) }
        }
        let bytes = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { buffer -> [UInt8] in
            guard let start = buffer.baseAddress else { return [] }
            let length = Int(platform_format_double(value, start))
            return [UInt8](UnsafeRawBufferPointer(start: start, count: max(0, min(length, 32))))
        }
        return .number(Text(bytes))
    }

    /// The value of a number that is whole and fits 64 bits (`5`, `5.0`, `5e2`); nil otherwise.
    public var integerValue: Int64? {
        guard case .number(let literal) = self else { return nil }
        return literal.decimal ?? DecimalLiteral(literal.bytes).whole
    }

    /// A number without its fraction, cut off towards zero; the nearest 64-bit integer when it doesn't fit. Nil
    /// when the value is no number.
    public var truncatedInteger: Int64? {
        guard case .number(let literal) = self else { return nil }
        return literal.decimal ?? DecimalLiteral(literal.bytes).truncated
    }

    /// The double nearest to a number, infinity beyond a double's range (`1e400`). Nil when the value is no number.
    public var doubleValue: Double? {
        guard case .number(let literal) = self else { return nil }
        return literal.withCString { platform_parse_double($0) }
    }
}

/// The number that a valid literal writes: `digits` with a decimal point after the first `pointPlace` of them.
///
/// Worked out on the digits, since a double has only 53 bits for the 64 that are asked for.
struct DecimalLiteral {
    private var isNegative = false
    /// Without leading zeros; empty for zero.
    private var digits: [UInt8] = []
    private var pointPlace = 0
    /// Exponents beyond it, in either direction, are as good as it: no literal has as many digits.
    private static let exponentMax = 1_000_000

    init(_ literal: [UInt8]) {
        var isFraction = false
        var index = 0
        while index < literal.count {
            let byte = literal[index]
            index += 1
            switch byte {
            case UInt8(ascii: "-"):
                isNegative = true
            case UInt8(ascii: "."):
                isFraction = true
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if byte != UInt8(ascii: "0") || !digits.isEmpty {
                    digits.append(byte - UInt8(ascii: "0"))
                    if !isFraction { pointPlace += 1 }
                } else if isFraction {
                    pointPlace -= 1
                }
            default:
                pointPlace += DecimalLiteral.exponent(literal[index...])
                index = literal.count
            }
        }
    }

    private static func exponent(_ digits: ArraySlice<UInt8>) -> Int {
        var exponent = 0
        for byte in digits where byte != UInt8(ascii: "-") && byte != UInt8(ascii: "+") {
            exponent = min(exponent * 10 + Int(byte & 15), exponentMax)
        }
        return digits.first == UInt8(ascii: "-") ? -exponent : exponent
    }

    var whole: Int64? {
        for (place, digit) in digits.enumerated() where place >= pointPlace && digit != 0 { return nil }
        return integer
    }

    var truncated: Int64 {
        integer ?? (isNegative ? .min : .max)
    }

    /// The digits before the point, or nil when they don't fit.
    private var integer: Int64? {
        if digits.isEmpty || pointPlace <= 0 { return 0 }
        // Int64.max has 19 digits; with no more than these the sum below ends soon, whatever the exponent.
        guard pointPlace <= 19 else { return nil }
        var value: Int64 = 0
        for place in 0..<pointPlace {
            let digit = place < digits.count ? Int64(digits[place]) : 0
            let (scaled, overflowed) = value.multipliedReportingOverflow(by: 10)
            // Summed towards the sign, so that Int64.min, which has no positive twin, is read too.
            let (sum, carried) =
                isNegative ? scaled.subtractingReportingOverflow(digit) : scaled.addingReportingOverflow(digit)
            guard !overflowed, !carried else { return nil }
            value = sum
        }
        return value
    }
}
