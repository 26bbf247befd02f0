import IotoBase
import IotoJSON

/// A message in a few words.
func describe(_ message: Message) -> String {
    let verb = message.topic.string.split(separator: "/").last ?? ""
    if message.payload.first == UInt8(ascii: "P") { return "\(message.payload.count) bytes of \(verb)" }
    guard let json = try? JSON.parse(message.payload) else { return "\(verb), not JSON" }
    func changes() -> String {
        (json["changes"]?.arrayValue ?? []).map { change in
            let version = change.wireVersion(in: json)?.story ?? "?"
            let key = change.wireKey?.string ?? "?"
            let value = change["item"]?["value"]?.stringValue?.string.prefix(12) ?? ""
            return change["cmd"]?.stringValue == "remove" ? "no \(key) at \(version)" : "\(key) = \(value) at \(version)"
        }.joined(separator: ", ")
    }
    switch verb {
    case "syncToDynamo": return "changes #\(json["seq"]?.integerValue ?? 0): \(changes())"
    case "syncDown":
        let cursors = json["cursors"]?.objectValue.map { object in
            object.members.map { "\($0.key.string) from \($0.value["cursor"]?.integerValue ?? 0)\($0.value["seen"].map { " seen \($0.integerValue ?? 0)" } ?? "")" }
                .joined(separator: ", ")
        }
        return "question #\(json["seq"]?.integerValue ?? 0): \(cursors ?? "")"
    case "SYNC":
        func versions(_ name: Text, _ member: Text) -> String {
            (json[name]?.arrayValue ?? []).map { entry in
                entry[member]?.stringValue.flatMap { Version($0) }?.story ?? "?"
            }.joined(separator: ", ")
        }
        let feed = json["feed"].map { ", feed \($0["prev"]?.integerValue ?? 0) to \($0["cursor"]?.integerValue ?? 0)" }
        let stored = storedVersions(json).map { $0?.story ?? "?" }.joined(separator: ", ")
        return "ack #\(json["seq"]?.integerValue ?? 0): \(stored)"
            + (json["rejected"] == nil ? "" : ", refused \(versions("rejected", "ver"))")
            + (json["again"] == nil ? "" : ", again \(versions("again", "ver")) as \(versions("again", "to"))")
            + (feed ?? "")
    case "BATCH":
        if json["ask"] != nil { return "plea to ask" }
        let answers = json["seq"]?.integerValue.map { " (answer to #\($0))" } ?? ""
        return "page of \(json["stream"]?.stringValue?.string ?? "?") \(json["prev"]?.integerValue ?? 0) to "
            + "\(json["cursor"]?.integerValue ?? 0)\(answers)\(json["more"]?.boolValue == true ? ", more" : "")"
            + "\(json["reset"] == nil ? "" : ", reset"): \(changes())"
    default: return String(verb)
    }
}

/// What an answer says that is stored, as it says it: in a brief one the device's own versions are their times alone. nil: no version.
func storedVersions(_ answer: JSON) -> [Version?] {
    let replica = answer["replica"]?.stringValue?.hexadecimal
    return (answer["vers"]?.arrayValue ?? []).map { entry in
        guard let text = entry.stringValue else { return nil }
        if let replica, text.count == 16 { return text.hexadecimal.map { Version(time: $0, writer: replica) } }
        return Version(text)
    }
}
