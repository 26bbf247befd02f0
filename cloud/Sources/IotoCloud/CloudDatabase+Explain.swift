import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

extension CloudDatabase {
    /// The last versions of an item, or of a removed one, as `ioExplain` tells them of the device's: an object of `model`, `hash`,
    /// `sort`, `versions`, the newest first, and `feed`, the item's place in the feed that takes it down.
    ///
    /// Of a version there are `ver`, `time`, `cmd`, `by`, `path`, `fate`. It is `by` the device of that id, or the `cloud`, or a database that no device has any more; its `path` is `up`, or
    /// `cloud`: written here.
    ///
    /// - Throws: `.notFound` when nothing is known of it; as `get`.
    public func explain(_ name: Text, _ properties: JSONObject) async throws(IotoError) -> JSONObject {
        let model = try model(name)
        guard case .exact(let key) = try model.key(properties, context: context) else {
            throw IotoError(
                .key, "the properties do not make up the whole key of an item of model \"\(model.name)\"")
        }
        guard let known = try await store.history(of: key), known.change.model == name else {
            throw IotoError(.notFound, "nothing is known of such an item of model \"\(name)\"")
        }
        var devices: [UInt64: Text] = [:]
        for device in try await store.devices() { devices[device.replica] = "device " + device.id }
        func tell(_ version: Version, _ isRemoval: Bool, _ fate: Trail.Fate?) -> JSON {
            let isOwn = version.writer == store.writer
            let author = isOwn ? "cloud" : devices[version.writer] ?? "replica " + .hexadecimal(version.writer)
            return .object([
                "ver": .string(version.text), "time": .string(ISODate.text(version.milliseconds)),
                "cmd": .string(isRemoval ? "remove" : "upsert"), "by": .string(author), "path": .string(isOwn ? "cloud" : "up"),
                "fate": .string(fate.map { Text(stringLiteral: $0.name) } ?? "current"),
            ])
        }
        var story: JSONObject = [
            "model": .string(name), "hash": .string(key.hash), "sort": .string(key.sort),
            "versions": .array(
                [tell(known.change.version, known.change.isRemoval, nil)]
                    + Trail.entries(known.trail).map { tell($0.version, $0.isRemoval, $0.fate) }),
        ]
        if let place = known.place {
            story["feed"] = .object([
                "stream": .string(place.stream), "history": .string(.hexadecimal(place.history)), "cursor": .integer(place.position),
            ])
        }
        return story
    }
}
