extension Text {
    /// Milliseconds of a duration as schemas and configurations write it: a number of seconds, or one with a unit, as `5s`,
    /// `500ms`, `10 mins`; the largest number when it is longer than that, nil when the text is no duration.
    @inline(never)
    public var duration: Int64? {
        let digits = bytes.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        var unit = Text([UInt8](bytes.dropFirst(digits.count).drop { $0 == UInt8(ascii: " ") }))
        if unit.isEmpty { unit = "s" }
        let units: StaticString =
            "ms msec msecs s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days"
        guard let number = Text(digits).decimal, let place = place(of: unit, in: units) else { return nil }
        let scale: Int64 =
            place < 3 ? 1 : place < 8 ? 1000 : place < 13 ? 60_000 : place < 18 ? 3_600_000 : Instant.dayLength
        let (product, isTooLong) = number.multipliedReportingOverflow(by: scale)
        return isTooLong ? .max : product
    }
}
