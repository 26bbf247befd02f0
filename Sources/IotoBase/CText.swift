/// A NUL-terminated text for C, which lives as long as this object.
public final class CText: @unchecked Sendable {
    public let pointer: UnsafePointer<CChar>

    public init(_ text: Text) {
        pointer = UnsafePointer(CText.copy(text))
    }

    deinit {
        pointer.deallocate()
    }

    /// A NUL-terminated copy of the text that the caller deallocates.
    public static func copy(_ text: Text) -> UnsafeMutablePointer<CChar> {
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: text.count + 1)
        for (index, byte) in text.bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
        copy[text.count] = 0
        return copy
    }
}
