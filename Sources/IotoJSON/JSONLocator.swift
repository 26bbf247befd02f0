import IotoBase

/// Finds where a path stands in a source, for messages such as `schema.json5:12: ...`. The source is read again,
/// so that nothing has to be kept for an error that may never come.
public enum JSONLocator {
    /// The line, from 1, of the deepest part of a path that exists: where the member's name stands, or the
    /// array's element. For the empty path the line of the whole value; nil when not even the first component
    /// exists. Of members with the same name the last one is meant. A source with errors is searched up to the
    /// first.
    ///
    /// - Parameters:
    ///   - path: Names of members and, in decimal, places in arrays.
    ///   - source: JSON or JSON5.
    /// - Complexity: O(bytes).
    public static func line(of path: [Text], in source: [UInt8]) -> Int? {
        deepest(of: path, in: source)?.line
    }

    /// The same, and how many components of the path exist.
    public static func deepest(of path: [Text], in source: [UInt8]) -> (line: Int, depth: Int)? {
        source.withUnsafeBytes { bytes in
            var search = JSONSearch(path, bytes)
            do throws(JSONFault) {
                try search.run()
            } catch {
                // What was found before the error still names the place.
            }
            guard let found = search.found else { return nil }
            return (JSONPlace(found, in: bytes).line, search.depth)
        }
    }
}

private struct JSONSearch {
    private let path: [Text]
    private var parser: JSONParser
    /// Offset of the deepest match.
    private(set) var found: Int?
    /// How many components lead to it.
    private(set) var depth = 0

    init(_ path: [Text], _ bytes: UnsafeRawBufferPointer) {
        self.path = path
        parser = JSONParser(bytes, .json5)
    }

    mutating func run() throws(JSONFault) {
        parser.skipByteOrderMark()
        try parser.skipSpace()
        if path.isEmpty { found = parser.index }
        try search(0)
    }

    /// Passes the value that comes next, in which `path[level...]` is looked for.
    private mutating func search(_ level: Int) throws(JSONFault) {
        let byte = try parser.next()
        if level < path.count, byte == UInt8(ascii: "{") {
            try searchObject(level)
        } else if level < path.count, byte == UInt8(ascii: "[") {
            try searchArray(level)
        } else {
            _ = try parser.parseValue()
        }
    }

    private mutating func searchObject(_ level: Int) throws(JSONFault) {
        try parser.enter()
        var byte = try parser.next()
        while byte != UInt8(ascii: "}") {
            let start = parser.index
            let isMatch = try parser.parseName(byte) == path[level]
            guard try parser.next() == UInt8(ascii: ":") else { throw parser.fault(.colon) }
            parser.index += 1
            try pass(level, isMatch, start)
            byte = try parser.parseComma(before: UInt8(ascii: "}"), .afterMember)
        }
        parser.leave()
    }

    private mutating func searchArray(_ level: Int) throws(JSONFault) {
        let place = path[level].bytes.withUnsafeBytes { JSONPath.place($0) }
        try parser.enter()
        var count = 0
        var byte = try parser.next()
        while byte != UInt8(ascii: "]") {
            try pass(level, count == place, parser.index)
            count += 1
            byte = try parser.parseComma(before: UInt8(ascii: "]"), .afterElement)
        }
        parser.leave()
    }

    private mutating func pass(_ level: Int, _ isMatch: Bool, _ start: Int) throws(JSONFault) {
        if isMatch {
            found = start
            depth = level + 1
            try search(level + 1)
        } else {
            _ = try parser.parseValue()
        }
    }
}
