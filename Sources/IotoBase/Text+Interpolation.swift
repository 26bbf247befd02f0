/// Messages are texts, too: `"model \"\(name)\" has \(count) fields"` is put together from bytes, in few instructions at
/// each place, where `String` would bring several hundred bytes of code to every message.
extension Text: ExpressibleByStringInterpolation {
    public struct StringInterpolation: StringInterpolationProtocol {
        var text = Text()

        /// Nothing is made room for: the counts would be two more arguments of every message.
        @inlinable
        @inline(__always)
        public init(literalCapacity: Int, interpolationCount: Int) {
            self.init()
        }

        @inline(never)
        @usableFromInline
        init() {}

        /// Between two values, and at either end, there is a literal even where it is empty.
        @inlinable
        @inline(__always)
        public mutating func appendLiteral(_ literal: StaticString) {
            if literal.utf8CodeUnitCount > 0 { append(literal) }
        }

        @inline(never)
        @usableFromInline
        mutating func append(_ literal: StaticString) {
            literal.withUTF8Buffer { text.bytes.append(contentsOf: $0) }
        }

        @inline(never)
        public mutating func appendInterpolation(_ value: consuming Text) {
            text.append(value)
        }

        @inline(never)
        @_disfavoredOverload
        public mutating func appendInterpolation(_ value: StaticString) {
            appendLiteral(value)
        }

        @inline(never)
        public mutating func appendInterpolation(_ value: Int64) {
            text.appendDecimal(value)
        }

        @inlinable
        public mutating func appendInterpolation<Number: FixedWidthInteger & SignedInteger>(_ value: Number) {
            appendInterpolation(Int64(value))
        }
    }

    @inline(never)
    public init(stringInterpolation: StringInterpolation) {
        self = stringInterpolation.text
    }
}
