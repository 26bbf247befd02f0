import IotoBase

/// A message to be published with QoS 1.
public struct Publication: Sendable, Equatable {
    public var topic: Text
    public var payload: [UInt8]
    /// Of the hub: when set, its outcome is to be told with `HubInput.published`.
    public var ticket: Int64?

    public init(topic: Text, payload: [UInt8], ticket: Int64? = nil) {
        self.topic = topic
        self.payload = payload
        self.ticket = ticket
    }
}
