import IotoBase

/// What replication needs of an MQTT session: `MQTTClient`, which has one of its own, or `SharedSession`. The methods are
/// described there; one thread makes every call.
public protocol MQTTConnection: AnyObject {
    var delegate: (any MQTTDelegate)? { get set }
    var isConnected: Bool { get }
    /// The largest packet that the broker says it takes; nil: it says nothing.
    var packetBytesMax: Int? { get }
    /// Payload bytes sent and received.
    var bytesOut: Int64 { get }
    var bytesIn: Int64 { get }

    func connect() throws(IotoError)
    func publish(_ message: MQTTMessage, qos: Int32) throws(IotoError) -> Int32
    func subscribe(_ filters: [Text]) throws(IotoError) -> Int32
    func flush()
    func disconnect()
    func step(wake eventFD: Int32, timeout: Int64)
    func close()
}

extension MQTTClient: MQTTConnection {}
