/// Dates as ISO 8601 writes them in UTC: `2026-11-20T23:40:48.312Z`. Proleptic Gregorian calendar, no leap seconds.
public enum ISODate {
    /// Unix milliseconds of 0000-01-01 and of the last one of 9999: what the four-digit form can write.
    public static let range: ClosedRange<Int64> = -62_167_219_200_000...253_402_300_799_999

    /// The date as text; a time outside the years 0 to 9999 is written as the nearest one within.
    public static func text(_ time: Int64) -> Text {
        let time = min(max(time, range.lowerBound), range.upperBound)
        let day = floorDivide(time, Instant.dayLength)
        let inDay = time - day * Instant.dayLength
        let date = civil(fromDay: day)
        var text = Text()
        text.bytes.reserveCapacity(24)
        appendDigits(date.year, 4, to: &text)
        text.append(UInt8(ascii: "-"))
        appendDigits(date.month, 2, to: &text)
        text.append(UInt8(ascii: "-"))
        appendDigits(date.day, 2, to: &text)
        text.append(UInt8(ascii: "T"))
        appendDigits(inDay / 3_600_000, 2, to: &text)
        text.append(UInt8(ascii: ":"))
        appendDigits(inDay / 60_000 % 60, 2, to: &text)
        text.append(UInt8(ascii: ":"))
        appendDigits(inDay / 1000 % 60, 2, to: &text)
        text.append(UInt8(ascii: "."))
        appendDigits(inDay % 1000, 3, to: &text)
        text.append(UInt8(ascii: "Z"))
        return text
    }

    /// Unix milliseconds of `YYYY-MM-DD`, or of `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z`, `±HH:MM` or nothing (UTC)
    /// behind it; nil when the text is no date.
    public static func parse(_ text: Text) -> Int64? {
        var scanner = DigitScanner(bytes: text.bytes)
        guard let year = scanner.digits(4), scanner.skip("-"),
            let month = scanner.digits(2), scanner.skip("-"),
            let day = scanner.digits(2),
            (1...12).contains(month), day >= 1, day <= daysIn(month: month, year: year)
        else { return nil }
        var time = dayNumber(year: year, month: month, day: day) * Instant.dayLength
        if scanner.isAtEnd { return time }

        guard scanner.skip("T") || scanner.skip(" "),
            let hour = scanner.digits(2), scanner.skip(":"),
            let minute = scanner.digits(2), hour < 24, minute < 60
        else { return nil }
        time += hour * 3_600_000 + minute * 60_000
        if scanner.skip(":") {
            guard let second = scanner.digits(2), second < 60 else { return nil }
            time += second * 1000
            if scanner.skip(".") {
                guard let fraction = scanner.fraction() else { return nil }
                time += fraction
            }
        }
        if scanner.isAtEnd || (scanner.skip("Z") && scanner.isAtEnd) { return time }
        let isEast = scanner.skip("+")
        guard isEast || scanner.skip("-"),
            let hours = scanner.digits(2), hours < 24
        else { return nil }
        _ = scanner.skip(":")
        guard let minutes = scanner.digits(2), minutes < 60, scanner.isAtEnd else { return nil }
        let offset = hours * 3_600_000 + minutes * 60_000
        return isEast ? time - offset : time + offset
    }

    private static func appendDigits(_ number: Int64, _ width: Int, to text: inout Text) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    private static func floorDivide(_ number: Int64, _ divisor: Int64) -> Int64 {
        let quotient = number / divisor
        return number % divisor < 0 ? quotient - 1 : quotient
    }

    private static func daysIn(month: Int64, year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: return 30
        case 2: return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: return 31
        }
    }

    /// Days since 1970-01-01. Years run from March, so that the leap day is the last one; 400 years have 146,097 days.
    private static func dayNumber(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = floorDivide(year, 400)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func civil(fromDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}

private struct DigitScanner {
    let bytes: [UInt8]
    var index = 0

    var isAtEnd: Bool { index == bytes.count }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    mutating func digits(_ count: Int) -> Int64? {
        guard index + count <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[index..<index + count] {
            let digit = byte &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        index += count
        return value
    }

    /// Milliseconds of a decimal fraction of a second; digits behind the third are cut off.
    mutating func fraction() -> Int64? {
        var value: Int64 = 0
        var scale: Int64 = 100
        let start = index
        while index < bytes.count {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            value += Int64(digit) * scale
            scale /= 10
            index += 1
        }
        return index > start ? value : nil
    }
}
