import IotoSync

/// Every decision of a simulation, from one seed.
struct Random {
    private var generator: JitterGenerator

    init(seed: UInt64) {
        generator = JitterGenerator(seed: seed &* 0x9E37_79B9_7F4A_7C15 ^ 0x1070_5EED)
        _ = generator.next()
    }

    mutating func bits() -> UInt64 { generator.next() }

    mutating func integer(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(generator.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    mutating func index(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }

    /// True in `parts` of 1000 cases.
    mutating func chance(_ parts: Int) -> Bool { generator.next() % 1000 < UInt64(parts) }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[index(elements.count)] }

    /// Most often short, seldom long.
    mutating func span(_ range: ClosedRange<Int64>) -> Int64 {
        let wide = integer(range)
        return chance(800) ? range.lowerBound + (wide - range.lowerBound) / 10 : wide
    }
}
