import IotoBase
import IotoJSON

/// Reading files, and putting those that `blend` includes under the one that includes them.
extension SchemaReader {
    /// Files that include each other, the schema's own counted.
    static let blendDepthMax = 8
    /// Files of a schema.
    static let blendFilesMax = 32

    /// The members of a file over those of the files that it includes.
    func load(_ source: [UInt8], name: Text) throws(IotoError) -> JSONObject {
        var size = source.count
        for source in sources { size += source.bytes.count }
        guard size <= Limits.schemaBytesMax else {
            throw IotoError(.schema, "\(name): the schema has more than \(Limits.schemaBytesMax) bytes")
        }
        sources.append((name, source))
        including.append(name.normalizedPath)
        let value: JSON
        do throws(IotoError) {
            value = try JSON.parse(source, syntax: .json5)
        } catch {
            throw IotoError(.schema, "\(name): \(error.message)")
        }
        guard case .object(var members) = value else {
            throw IotoError(.schema, "\(name):\(JSONLocator.line(of: [], in: source) ?? 1): the schema is not an object")
        }
        if let blend = members["blend"] {
            SchemaReader.unifyProcess(&members)
            members = try include(blend, under: members, of: (name, source))
        }
        including.removeLast()
        return members
    }

    private func include(
        _ blend: JSON, under members: JSONObject, of file: (name: Text, bytes: [UInt8])
    ) throws(IotoError) -> JSONObject {
        var names: [JSON] = []
        switch blend {
        case .null: break
        case .array(let elements): names = elements
        default: names = [blend]
        }
        var result = members
        // The last one counts for more than those before it, and so comes first.
        for (place, element) in names.enumerated().reversed() {
            let line = JSONLocator.line(of: ["blend", Text(decimal: place)], in: file.bytes) ?? 1
            let fault: (Text) -> IotoError = { IotoError(.schema, "\(file.name):\(line): blend: \($0)") }
            guard case .string(let name) = element, !name.isEmpty else {
                throw fault("\(quoted(element)) is not the name of a file")
            }
            let path = Files.resolve(name, besideFile: file.name).normalizedPath
            guard !including.contains(path) else { throw fault("\(quoted(name)) includes itself") }
            guard including.count < SchemaReader.blendDepthMax else {
                throw fault("more than \(SchemaReader.blendDepthMax) files include each other")
            }
            guard sources.count < SchemaReader.blendFilesMax else {
                throw fault("more than \(SchemaReader.blendFilesMax) files")
            }
            let source: [UInt8]
            do throws(IotoError) {
                source = try Files.read(path, bytesMax: Limits.schemaBytesMax)
            } catch {
                throw fault(error.message)
            }
            var base = try load(source, name: path)
            SchemaReader.unifyProcess(&base)
            result = SchemaReader.blend(result, over: base)
        }
        return result
    }

    /// The members of both; where both are objects, their members in turn, else the one of `object`.
    private static func blend(_ object: JSONObject, over base: JSONObject) -> JSONObject {
        var result = base
        for (key, value) in object {
            if case .object(let inner) = value, case .object(let under)? = base[key] {
                result[key] = .object(blend(inner, over: under))
            } else {
                result[key] = value
            }
        }
        return result
    }

    /// Gives the map of `control` the other of its names, so that files with either blend.
    private static func unifyProcess(_ members: inout JSONObject) {
        guard members["process"] == nil, let control = members["control"] else { return }
        members["control"] = nil
        members["process"] = control
    }
}

extension Text {
    /// The path without `.` segments, and without those that a `..` takes back: one file then has one name.
    var normalizedPath: Text {
        var kept: [Text] = []
        var start = 0
        for index in 0...bytes.count where index == bytes.count || bytes[index] == UInt8(ascii: "/") {
            let segment = Text(bytes[start..<index])
            start = index + 1
            if segment == "." || (segment.isEmpty && !kept.isEmpty) { continue }
            if segment == "..", let last = kept.last, !last.isEmpty, last != ".." {
                kept.removeLast()
            } else {
                kept.append(segment)
            }
        }
        var result = Text()
        for (place, segment) in kept.enumerated() {
            if place > 0 { result.append(UInt8(ascii: "/")) }
            result.append(segment)
        }
        return result
    }
}
