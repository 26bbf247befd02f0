import IotoBase

/// The topics of a device, and their reading by the hub. Existing Ioto agents use the same ones.
public struct Topics: Sendable {
    /// What stands before `ioto/service/...` unless configured: the rule of AWS IoT Core that existing agents publish to.
    public static let defaultPrefix: Text = "$aws/rules/IotoDevice/"

    public let device: Text
    public let account: Text
    let prefix: Text

    public init(device: Text, account: Text, prefix: Text = Topics.defaultPrefix) {
        self.device = device
        self.account = account
        self.prefix = prefix
    }

    // MARK: Device to cloud

    func service(_ verb: ServiceVerb) -> Text {
        prefix + "ioto/service/" + device + "/db/" + verb.text
    }

    /// The largest payload of a message to the cloud in packets of so many bytes: beside it there are its topic, the
    /// header, an id and a length of properties (MQTT 5.0, 3.3). Nil: next to nothing would fit.
    public func payloadBytesMax(inPacketsOf bytes: Int) -> Int? {
        let rest = bytes - service(.syncToDynamo).count - 16
        return rest < 1024 ? nil : rest
    }

    /// What the hub subscribes to: with and without the rule in front.
    public static func hubSubscriptions() -> [Text] {
        ["ioto/service/+/db/+", "$aws/rules/+/ioto/service/+/db/+"]
    }

    /// The device and verb of an up topic; nil for every other topic.
    static func parseService(_ topic: Text) -> (device: Text, verb: ServiceVerb)? {
        let levels = topic.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard levels.count >= 5 else { return nil }
        let tail = levels.suffix(5).map { Text($0) }
        guard tail[0] == "ioto", tail[1] == "service", tail[3] == "db", isValidID(tail[2]),
            let verb = ServiceVerb(tail[4])
        else { return nil }
        return (tail[2], verb)
    }

    // MARK: Cloud to device

    static func down(device: Text, _ verb: Text) -> Text { "ioto/device/" + device + "/sync/" + verb }
    static func down(account: Text, _ verb: Text) -> Text { "ioto/account/" + account + "/sync/" + verb }

    /// What the device subscribes to.
    public var subscriptions: [Text] {
        var filters = [Topics.down(device: device, "+"), Topics.down(account: "all", "+")]
        if !account.isEmpty { filters.append(Topics.down(account: account, "+")) }
        return filters
    }

    /// The verb of a down topic that is meant for this device; nil for every other topic.
    public func parseDown(_ topic: Text) -> Text? {
        for filter in subscriptions {
            let stem = Text(filter.bytes.dropLast())
            if topic.hasPrefix(stem) { return Text(topic.bytes.dropFirst(stem.count)) }
        }
        return nil
    }

    /// Whether a device or account id can stand as one level of a topic (MQTT 3.1.1, 4.7.1).
    public static func isValidID(_ id: Text) -> Bool {
        !id.isEmpty && id.count <= Limits.keyBytesMax && id.isValidUTF8
            && !id.bytes.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") }
    }
}

/// What a device tells the cloud, as the last level of the topic.
enum ServiceVerb {
    /// Changes of the device.
    case syncToDynamo
    /// A request for the cloud's changes.
    case syncDown
    /// The device is gone: its last will, or its goodbye.
    case offline

    init?(_ text: Text) {
        switch text {
        case "syncToDynamo": self = .syncToDynamo
        case "syncDown": self = .syncDown
        case "offline": self = .offline
        default: return nil
        }
    }

    var text: Text {
        switch self {
        case .syncToDynamo: "syncToDynamo"
        case .syncDown: "syncDown"
        case .offline: "offline"
        }
    }
}
