import CIoto
import IotoAgent
import IotoBase
import IotoMQTT

@_cdecl("ioSetTransport") @implementation
public func ioSetTransport(_ io: OpaquePointer?, _ transport: UnsafePointer<IoTransport>?) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        guard let transport else { throw misuse("transport is NULL") }
        let given = try sized(transport, "transport", transport.pointee.size)
        guard let publish = given.publish, let subscribe = given.subscribe else {
            throw misuse("transport has no publish or no subscribe")
        }
        let context = given.context
        try call.agent.share(
            SharedSession(
                wake: call.agent.wakeEvent,
                sends: { message, qos in
                    message.topic.withCString { topic in
                        message.payload.withUnsafeBytes { publish(context, topic, $0.baseAddress, $0.count, qos) == 0 }
                    }
                },
                subscribes: { filters in
                    for filter in filters where filter.withCString({ subscribe(context, $0, 1) }) != 0 { return false }
                    return true
                }))
        return 0
    }
}

@_cdecl("ioTransportState") @implementation
public func ioTransportState(_ io: OpaquePointer?, _ isConnected: Bool) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        try call.agent.sharedSession().state(isConnected)
        return 0
    }
}

@_cdecl("ioTransportMessage") @implementation
public func ioTransportMessage(
    _ io: OpaquePointer?, _ topic: UnsafePointer<CChar>?, _ payload: UnsafeRawPointer?, _ bytes: Int
) -> Int32 {
    entryCode { () throws(IotoError) in
        let call = try AgentCall(io)
        let topic = try text(topic, "topic")
        guard bytes >= 0, payload != nil || bytes == 0 else { throw misuse("payload is NULL") }
        let session = try call.agent.sharedSession()
        guard call.agent.concerns(topic) else { return 0 }
        try session.receive(topic, UnsafeRawBufferPointer(start: payload, count: bytes))
        return 1
    }
}
