import IotoBase
import IotoJSON
import IotoSchema

/// What the hub is told.
public enum HubInput: Sendable {
    /// The broker session is up: the first input, and again after every reconnection. `devices` are those that the store
    /// knows; `feeds` tells where the feeds that are broadcast (`all`, `account/<id>`) end.
    case connected(devices: [DeviceRecord], feeds: [StreamCursor])
    case message(topic: Text, payload: [UInt8])
    case answer(ticket: Int64, HubAnswer)
    /// Feeds have new entries, whoever wrote them.
    case feedsMoved([Text])
}

/// What the hub wants done, in order.
public enum HubEffect: Sendable {
    case publish(Publication)
    /// To be answered with `.answer` under the same ticket, whenever that may be; answers may come in any order.
    case request(ticket: Int64, HubRequest)
    case log(LogLevel, String)
}
