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
        text.bytes.withUnsafeBytes { copy($0) }
    }

    public static func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<CChar> {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 1)
        copy.copyMemory(from: bytes)
        copy[bytes.count] = 0
        return copy.baseAddress!.assumingMemoryBound(to: CChar.self)
    }
}
