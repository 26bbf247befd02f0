import IotoBase

/// What happens on a connection, told on the thread that calls `MQTTClient.step(wake:timeout:)` and from within it.
///
/// Every method may call any method of the client but `step`, which does nothing there.
public protocol MQTTDelegate: AnyObject {
    /// The broker has accepted the connection.
    ///
    /// - Parameter sessionPresent: Whether the broker has kept the session, with its subscriptions.
    func mqttConnected(sessionPresent: Bool)

    /// The connection has ended, or an attempt has failed. `connect()` may be called at once.
    ///
    /// - Parameter error: Nil when `disconnect()` asked for it.
    func mqttDisconnected(_ error: IotoError?)

    /// The broker has answered `subscribe`.
    ///
    /// - Parameter accepted: False when it refused at least one of the filters (return code 0x80; MQTT 3.1.1, 3.9.3).
    func mqttSubscribed(_ id: Int32, accepted: Bool)

    /// The broker has answered a message of QoS 1, or a message of QoS 0 is handed to the operating system.
    ///
    /// - Parameter error: Why the broker does not take it; nil when it does. A broker of MQTT 3.1.1 has no way to tell.
    func mqttPublished(_ id: Int32, _ error: IotoError?)

    /// A message has arrived. Its acknowledgement leaves after this method has returned, so that a process which dies
    /// within it is sent the message again.
    func mqttReceived(_ topic: Text, _ payload: [UInt8])
}
