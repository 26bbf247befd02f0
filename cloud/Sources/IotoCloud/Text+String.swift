import IotoBase

extension Text.StringInterpolation {
    /// In the cloud, messages may be made of strings: here the Unicode tables are at hand.
    public mutating func appendInterpolation(_ value: String) {
        appendInterpolation(Text(value))
    }

    public mutating func appendInterpolation(_ error: any Error) {
        appendInterpolation(Text(String(describing: error)))
    }
}
