/// Place of a word in a list of words, which single spaces separate; nil when it is not there.
///
/// Names that are looked up in one text take a fraction of the code that a comparison with each of them does.
@inline(never)
public func place(of word: Text, in words: StaticString) -> Int? {
    words.withUTF8Buffer { list in
        var place = 0
        var start = 0
        while start < list.count {
            var end = start
            while end < list.count, list[end] != UInt8(ascii: " ") { end += 1 }
            if word.equals(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(list)[start..<end])) { return place }
            place += 1
            start = end + 1
        }
        return nil
    }
}

/// The words of a list as a message has them: 'a', 'b', 'c'.
public func quotedWords(_ words: StaticString) -> Text {
    var text: Text = "'"
    words.withUTF8Buffer { list in
        for byte in list {
            if byte == UInt8(ascii: " ") { text.append("', '") } else { text.append(byte) }
        }
    }
    text.append("'")
    return text
}

extension Text {
    fileprivate func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        bytes.count == other.count && bytes.withUnsafeBytes { compareBytes($0, other) == 0 }
    }
}
