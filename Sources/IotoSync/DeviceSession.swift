import IotoBase
import IotoJSON
import IotoSchema

/// What the hub keeps of messages of all devices, in bytes.
final class HubLoad {
    var bytes = 0
}

/// What the hub remembers of a device that it has heard from.
final class DeviceSession {
    /// Messages of one device that wait, and the bytes that these take as they came and as they were read ahead; those
    /// beyond are dropped, and sent again by the device.
    static let queueMax = 64
    static let queueBytesMax = 8 * 1024 * 1024

    /// What a change takes beside its item, about.
    private static let changeBytes = 256

    let id: Text
    var record: DeviceRecord? {
        didSet {
            context = Context()
            context.set("deviceId", id)
            if let record, !record.account.isEmpty { context.set("accountId", record.account) }
        }
    }
    /// What the device's items have to say.
    private(set) var context = Context()
    /// The device's own stream.
    let stream: Text
    private(set) var queue: [WaitingMessage] = []
    private(set) var queueBytes = 0
    /// Of the messages that were taken from the queue, and that the store works on.
    private var workBytes = 0
    /// Of all devices.
    private let load: HubLoad
    /// A request to the store is out.
    var isBusy = false
    /// The device's own feed, once the device has caught up with it.
    var feed: LiveFeed?
    /// Of an agent of version 1: what goes down to it.
    var agent: AgentFeed?
    /// The device reads compressed messages.
    var inflates = false
    /// The device takes messages in parts.
    var joins = false
    /// When it was heard last, on the monotonic clock.
    var heardAt: Int64 = 0
    /// The device's own feed has moved since it was last read for the device's question.
    var hasMoved = false
    /// It could not be read. The question may have come twice, and the device waits for no answer to this one.
    var isUnread = false

    init(id: Text, load: HubLoad) {
        self.id = id
        self.load = load
        stream = Stream.device(id)
    }

    deinit {
        load.bytes -= queueBytes + workBytes
    }

    func enqueue(_ waiting: WaitingMessage) {
        queue.append(waiting)
        queueBytes += waiting.bytes
        load.bytes += waiting.bytes
    }

    /// Takes the first message; it counts until `release()`.
    @discardableResult
    func dequeue() -> WaitingMessage {
        let waiting = queue.removeFirst()
        queueBytes -= waiting.bytes
        workBytes += waiting.bytes
        return waiting
    }

    /// Keeps the last message as it was read.
    func replaceLast(by waiting: WaitingMessage) {
        guard let last = queue.popLast() else { return }
        queueBytes -= last.bytes
        load.bytes -= last.bytes
        enqueue(waiting)
    }

    /// The changes of what was taken go to the store.
    func keep(_ changes: [StreamedChange]) {
        var bytes = 0
        for entry in changes { bytes += entry.change.body.count + DeviceSession.changeBytes }
        workBytes += bytes
        load.bytes += bytes
    }

    /// Nothing is under way: what was taken from the queue is done with.
    func release() {
        load.bytes -= workBytes
        workBytes = 0
    }
}

/// A message of a device that waits for its turn.
struct WaitingMessage {
    let verb: ServiceVerb
    let payload: [UInt8]
    /// What was read of it ahead, and as whose.
    var message: WireMessage?
    var read: UpRead?
    var record: DeviceRecord?

    init(verb: ServiceVerb, payload: [UInt8]) {
        self.verb = verb
        self.payload = payload
    }

    /// What it takes of memory, about: read, its text is there once more, and each change of it.
    var bytes: Int { payload.count + (message.map { 3 * $0.text.count } ?? 0) }
}

/// A message of changes, as it was read.
struct UpRead {
    var message: UpMessage
    var changes: [WireChange]
}
