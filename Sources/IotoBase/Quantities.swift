extension Text {
    /// Milliseconds of a duration as schemas and configurations write it: a number of seconds, or one with a unit, as `5s`,
    /// `500ms`, `10 mins`; the largest number when it is longer than that, nil when the text is no duration.
    public var duration: Int64? {
        let units: StaticString =
            "ms msec msecs s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days"
        return quantity(units, default: "s") { place in
            place < 3 ? 1 : place < 8 ? 1000 : place < 13 ? 60_000 : place < 18 ? 3_600_000 : Instant.dayLength
        }
    }

    /// Bytes of a size: a number of them, or one with a unit, as `131072`, `128K`, `1 MB`, of which each is 1024 of the one
    /// before; the largest number when it is larger than that, nil when the text is no size.
    public var size: Int64? {
        quantity("b B byte bytes k K kb KB m M mb MB g G gb GB", default: "B") { place in 1 << Int64(place / 4 * 10) }
    }

    /// A number times what its unit stands for, which `scale` gives by the unit's place among `units`.
    @inline(never)
    private func quantity(_ units: StaticString, default: Text, _ scale: (Int) -> Int64) -> Int64? {
        let digits = bytes.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        var unit = Text([UInt8](bytes.dropFirst(digits.count).drop { $0 == UInt8(ascii: " ") }))
        if unit.isEmpty { unit = `default` }
        guard let number = Text(digits).decimal, let place = place(of: unit, in: units) else { return nil }
        let (product, isTooLarge) = number.multipliedReportingOverflow(by: scale(place))
        return isTooLarge ? .max : product
    }
}
