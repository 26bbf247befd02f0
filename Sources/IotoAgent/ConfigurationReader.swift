import IotoBase
import IotoJSON

/// Reads values out of a JSON5 configuration, with errors that name file, line and setting.
struct ConfigurationReader {
    let source: [UInt8]
    /// What messages call the source: the file's path, or "configuration".
    let name: Text
    let root: JSON

    init(source: [UInt8], name: Text) throws(IotoError) {
        self.source = source
        self.name = name
        do throws(IotoError) {
            root = try JSON.parse(source, syntax: .json5)
        } catch {
            throw IotoError(.configuration, "\(name): \(error.message)")
        }
        guard root.objectValue != nil else {
            throw IotoError(.configuration, "\(name): an object is expected")
        }
        for group in ["database", "mqtt"] as [Text] {
            guard let value = value([group]), value.objectValue == nil else { continue }
            throw error([group], "an object is expected")
        }
    }

    func error(_ path: [Text], _ message: Text) -> IotoError {
        let place = JSONLocator.line(of: path, in: source).map { "\(name):\($0)" } ?? name
        return IotoError(.configuration, "\(place): \(ConfigurationReader.joined(path)): \(message)")
    }

    private func value(_ path: [Text]) -> JSON? {
        var json: JSON? = root
        for part in path { json = json?[part] }
        if case .null = json { return nil }
        return json
    }

    /// A text; nil when it is missing or null.
    func text(_ path: Text...) throws(IotoError) -> Text? {
        guard let value = value(path) else { return nil }
        guard let text = value.stringValue else { throw error(path, "a text is expected") }
        return text
    }

    func requiredText(_ path: Text...) throws(IotoError) -> Text {
        guard let text = value(path)?.stringValue, !text.isEmpty else {
            throw error(path, "a text is required")
        }
        return text
    }

    func integer(_ path: Text..., in range: ClosedRange<Int64>) throws(IotoError) -> Int64? {
        guard let value = value(path) else { return nil }
        guard let number = value.integerValue, range.contains(number) else {
            throw error(path, "a whole number from \(range.lowerBound) to \(range.upperBound) is expected")
        }
        return number
    }

    /// A duration in milliseconds: a number of seconds, or a text with a unit, as `5s`, `500ms`, `10 mins`.
    func duration(_ path: Text..., in range: ClosedRange<Int64>) throws(IotoError) -> Int64? {
        try scaled(path, in: range, defaultScale: 1000, what: "a duration, as '5s'") { unit in
            switch unit {
            case "ms", "msec", "msecs": 1
            case "s", "sec", "secs", "second", "seconds": 1000
            case "m", "min", "mins", "minute", "minutes": 60_000
            case "h", "hr", "hrs", "hour", "hours": 3_600_000
            case "d", "day", "days": 86_400_000
            default: nil
            }
        }
    }

    /// A size in bytes: a number, or a text with a unit, as `10K`, `1MB`.
    func size(_ path: Text..., in range: ClosedRange<Int64>) throws(IotoError) -> Int64? {
        try scaled(path, in: range, defaultScale: 1, what: "a size, as '10K'") { unit in
            switch unit {
            case "b", "B", "bytes": 1
            case "k", "K", "kb", "KB": 1024
            case "m", "M", "mb", "MB": 1024 * 1024
            case "g", "G", "gb", "GB": 1024 * 1024 * 1024
            default: nil
            }
        }
    }

    private func scaled(
        _ path: [Text], in range: ClosedRange<Int64>, defaultScale: Int64, what: Text, scale: (Text) -> Int64?
    ) throws(IotoError) -> Int64? {
        guard let value = value(path) else { return nil }
        let literal: Text
        switch value {
        case .number(let number): literal = number
        case .string(let text): literal = text
        default: throw error(path, "\(what) is expected")
        }
        let digits = literal.bytes.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        let unit = Text([UInt8](literal.bytes.dropFirst(digits.count).drop { $0 == UInt8(ascii: " ") }))
        guard let number = Text(digits).decimal, let factor = unit.isEmpty ? defaultScale : scale(unit) else {
            throw error(path, "\(what) is expected")
        }
        let (product, overflowed) = number.multipliedReportingOverflow(by: factor)
        guard !overflowed, range.contains(product) else {
            throw error(path, "the value is out of range")
        }
        return product
    }

    /// One line for each setting that nobody reads, which may be a slip of the pen.
    func unknownSettings(_ known: [[Text]]) -> [Text] {
        var warnings: [Text] = []
        collectUnknown(root, at: [], known, &warnings)
        return warnings
    }

    private func collectUnknown(_ json: JSON, at path: [Text], _ known: [[Text]], _ warnings: inout [Text]) {
        guard let object = json.objectValue else { return }
        for member in object.members {
            let inner = path + [member.key]
            if known.contains(inner) { continue }
            if known.contains(where: { $0.count > inner.count && Array($0.prefix(inner.count)) == inner }) {
                collectUnknown(member.value, at: inner, known, &warnings)
            } else {
                warnings.append(error(inner, "unknown setting").message)
            }
        }
    }

    private static func joined(_ path: [Text]) -> Text {
        var joined = Text()
        for (index, part) in path.enumerated() {
            if index > 0 { joined.append(UInt8(ascii: ".")) }
            joined.append(part)
        }
        return joined
    }
}
