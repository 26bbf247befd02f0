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
        guard let value = value(path) else { return nil }
        return try checked(path, literal(value)?.duration, range, "a duration, as '5s'")
    }

    /// A size in bytes: a number, or a text with a unit, as `10K`, `1MB`.
    func size(_ path: Text..., in range: ClosedRange<Int64>) throws(IotoError) -> Int64? {
        guard let value = value(path) else { return nil }
        return try checked(path, literal(value)?.size, range, "a size, as '10K'")
    }

    private func literal(_ value: JSON) -> Text? {
        switch value {
        case .number(let number): number
        case .string(let text): text
        default: nil
        }
    }

    private func checked(
        _ path: [Text], _ value: Int64?, _ range: ClosedRange<Int64>, _ what: Text
    ) throws(IotoError) -> Int64 {
        guard let value else { throw error(path, "\(what) is expected") }
        guard range.contains(value) else { throw error(path, "the value is out of range") }
        return value
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
