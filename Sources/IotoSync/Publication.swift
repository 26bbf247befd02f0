import IotoBase

/// A message to be published with QoS 1.
public struct Publication: Sendable, Equatable {
    public var topic: Text
    public var payload: [UInt8]

    public init(topic: Text, payload: [UInt8]) {
        self.topic = topic
        self.payload = payload
    }
}
