import IotoBase
import IotoJSON
import IotoSchema

/// The device's half of replication, a state machine without I/O: it is told what happened and what time it is, works on
/// its storage, and leaves the messages to be published in `takePublications()`. One thread at a time owns it.
///
/// Up: the outbox's oldest changes go out in batches, a window of them in flight, sent again with growing waits until the hub's
/// acknowledgement, which clears the very versions that it names. Down: each stream is followed by a cursor that commits
/// with the items; a gap makes the device ask again from there.
public final class DeviceReplicator<Storage: DeviceStorage> {
    public struct Configuration: Sendable {
        public var topics: Topics
        /// How long changes are gathered before they are sent, in milliseconds.
        public var syncDelay: Int64 = 5_000
        /// Size of a batch in bytes, reached which it is sent at once.
        public var syncLimit: Int = 10 * 1024
        /// Bytes of changes that are sent in a day at most, and when; nil: any. Not for models of priority above 0.
        public var dailyBytes: Int64?
        public var window: SendWindow?
        /// Read and write compressed messages, with a hub that does.
        public var compresses = false
        /// First and longest wait for an answer of the hub before asking again, in milliseconds.
        public var answerTimeout: (first: Int64, last: Int64) = (5_000, 300_000)
        /// Longest time without a question to the hub, in milliseconds: a broker may drop the last page of a stream, and
        /// then nothing shows that one is missing.
        public var refreshInterval: Int64 = 3_600_000

        public init(topics: Topics) {
            self.topics = topics
        }
    }

    let storage: Storage
    let codec: WireCodec
    let configuration: Configuration
    let context: Context
    /// Whoever is told of changes has enough of them to do: the next page is not asked for meanwhile.
    public var isCrowded = false
    /// Largest message that the broker takes, in bytes; an item that does not fit one is refused.
    public var messageBytesMax = Limits.publishBytesMax
    var random: JitterGenerator
    var publications: [Publication] = []

    public internal(set) var isConnected = false
    public internal(set) var statistics = ReplicationStatistics()
    /// The last failure of replication; the cause of a status line, not of a stop.
    public internal(set) var lastError: IotoError?

    /// Something has a budget or a window.
    let isMetered: Bool
    var up: UpState
    var down: DownState
    /// Of this connection, or of the last one.
    var epoch = Epoch()
    /// Of the last epoch that this process has made; 0: none yet.
    private var ownNonce: UInt64 = 0
    /// What the service was found to speak. One of version 1 is taken for one until it is found out otherwise.
    var peer = Peer.unknown
    /// The hub reads compressed messages.
    private var peerInflates = false
    private var joiner = PartJoiner()
    /// The hub refuses this device's messages; `lastError` says why.
    private var isRefused = false

    public init(storage: Storage, schema: Schema, configuration: Configuration, seed: UInt64) {
        self.storage = storage
        self.codec = WireCodec(schema: schema)
        self.configuration = configuration
        isMetered = configuration.dailyBytes != nil || configuration.window != nil
            || schema.models.contains { $0.process.dailyBytes != nil || $0.process.window != nil }
        var context = Context()
        context.set("deviceId", configuration.topics.device)
        if !configuration.topics.account.isEmpty { context.set("accountId", configuration.topics.account) }
        self.context = context
        self.random = JitterGenerator(seed: seed)
        self.up = UpState(seed: random.next(), timeout: configuration.answerTimeout)
        self.down = DownState(topics: configuration.topics, seed: random.next(), timeout: configuration.answerTimeout)
    }

    // MARK: Inputs

    /// The broker has accepted the session and the subscriptions.
    public func connected(_ now: Instant) {
        beginEpoch()
        guard !isFenced else { return }
        isConnected = true
        peerInflates = false
        joiner = PartJoiner()
        if peer == .version2 { peer = .unknown }
        up.backoff.reset()
        up.inFlight = nil
        up.held = []
        up.isUrgent = true
        askForEverything(now)
        holdForTime(now)
        sendIfDue(now)
    }

    public func disconnected(_ now: Instant) {
        isConnected = false
        joiner = PartJoiner()
        up.inFlight = nil
        settleLate(now)
        down.forgetAnswers()
    }

    /// Local changes have been committed that the outbox holds now.
    ///
    /// - Parameter bytes: Their size.
    public func changed(bytes: Int, _ now: Instant) {
        applyWaiting(now)
        up.gather(bytes: bytes, now: now, delay: configuration.syncDelay)
        up.inFlight?.position = nil
        sendIfDue(now)
    }

    public func received(_ topic: Text, _ payload: [UInt8], _ now: Instant) {
        guard let verb = configuration.topics.parseDown(topic) else { return }
        applyWaiting(now)
        do throws(IotoError) {
            guard verb == "SYNC" || verb == "BATCH" || Version1Verb(verb) != nil else { return }
            var payload = payload
            if payload.first == MessageParts.mark {
                let joined = joiner.join(payload)
                if joiner.isMissing { askForMissing(now) }
                guard let joined else { return }
                payload = joined
            }
            let message = try codec.parse(payload)
            let json = message.json
            if compresses, json["z"]?.integerValue == 1 { peerInflates = true }
            if !message.isVersion1, let nonce = json.hexadecimal("fenced") {
                fenced(nonce, now)
            } else if message.isVersion1 {
                try receivedVersion1(verb, json, now)
            } else if verb == "SYNC" {
                try receivedAck(json, now)
            } else if verb == "BATCH" {
                try receivedPage(message, now)
                sendIfDue(now)
            }
        } catch {
            note(error.prefixed(topic))
        }
    }

    /// A message has come in part. It may have been a page that nobody has asked for, which are of the device's own stream; answers are
    /// missed in their time.
    private func askForMissing(_ now: Instant) {
        note(IotoError(.protocolViolation, "a part of a message is missing"))
        ask(0, now)
    }

    /// To be called when `deadline` has come.
    public func tick(_ now: Instant) {
        guard isConnected else { return }
        applyWaiting(now)
        if let settleAt = up.settleAt, now.monotonic >= settleAt { settleLate(now) }
        sendRest(now)
        sendIfDue(now)
        askIfDue(now)
    }

    /// Sends all that is pending now, without waiting for `syncDelay`.
    ///
    /// - Returns: What to give `isFlushed(_:)`; nil when nothing is pending.
    public func flush(_ now: Instant) throws(IotoError) -> FlushProgress? {
        guard let target = try storage.pendingRange()?.upperBound else { return nil }
        let progress = FlushProgress(target: target, needsAnotherRound: up.sent.count > 0)
        up.flush = FlushProgress(
            target: max(up.flush?.target ?? target, target),
            needsAnotherRound: up.flush?.needsAnotherRound ?? false || progress.needsAnotherRound)
        sendIfDue(now)
        return progress
    }

    /// Whether all that was pending at `flush(_:)` is acknowledged, refused or overtaken.
    public func isFlushed(_ progress: inout FlushProgress) throws(IotoError) -> Bool {
        guard let pending = try storage.pendingRange() else { return true }
        guard pending.lowerBound > progress.target else { return false }
        guard progress.needsAnotherRound else { return true }
        progress = FlushProgress(target: pending.upperBound, needsAnotherRound: false)
        return false
    }

    /// Asks the hub for all that is new.
    ///
    /// - Returns: What to give `isCaughtUp(since:)`.
    public func catchUp(_ now: Instant) -> Int64 {
        applyWaiting(now)
        if isConnected { askForEverything(now) } else { down.generation += 1 }
        return down.generation
    }

    /// Whether every stream has been followed to its end since the request.
    public func isCaughtUp(since generation: Int64) -> Bool {
        down.streams.allSatisfy { $0.caughtUpGeneration >= generation }
    }

    /// Whether every stream has been followed to its end since the connection was made.
    public var isCaughtUp: Bool { isConnected && isCaughtUp(since: down.generation) }

    /// How far the streams have been followed since the last request for everything, in entries of the hub's feeds: what is done,
    /// and what there was to be done.
    public var catchUpProgress: (done: Int64, total: Int64) {
        var progress: (done: Int64, total: Int64) = (0, 0)
        for stream in down.streams where stream.end > stream.start {
            progress.total += stream.end - stream.start
            progress.done += min(stream.reached, stream.end) - stream.start
        }
        return progress
    }

    /// A budget or a window holds changes of some model back.
    public var isHolding: Bool { up.meter.isHolding }

    /// What was sent and is not answered yet.
    public var sent: SentChanges { up.sent }

    // MARK: Epoch

    /// Another database has gone on as this device: nothing is sent or asked any more.
    public var isFenced: Bool { epoch.isFenced }

    /// Reads anew what the storage has of the epoch.
    public func recallEpoch() {
        do throws(IotoError) {
            epoch = try storage.epoch()
            lastError = epoch.isFenced ? DeviceReplicator.fence : lastError?.code == .fenced ? nil : lastError
        } catch {
            note(error)
        }
    }

    private static var fence: IotoError {
        IotoError(.fenced, "another database has gone on as this device: this one is a copy or an older state, or was replaced")
    }

    private func beginEpoch() {
        recallEpoch()
        guard epoch.number == 0 || epoch.isConfirmed, !isFenced else { return }
        let next = Epoch(number: epoch.number + 1, nonce: max(1, random.next()))
        do throws(IotoError) {
            try storage.setEpoch(next)
            epoch = next
            // Under one that the process before has made, a copy of the database may have written meanwhile.
            if ownNonce == 0 { down.streams[0].isWhole = true }
            ownNonce = next.nonce
        } catch {
            // The one before is as good for the hub, as long as nobody else has gone on.
            note(error)
        }
    }

    /// The hub has taken note of a connection under an epoch that this process has not made, so that a copy of the database may be heeded
    /// under it as well: from now on under one that nobody else has.
    ///
    /// - Returns: Whether it is another one.
    func renewEpoch() -> Bool {
        guard ownNonce == 0, epoch.number > 0 else { return false }
        confirmEpoch()
        beginEpoch()
        return ownNonce != 0
    }

    /// The hub has taken note of this connection.
    func confirmEpoch() {
        guard epoch.number > 0, !epoch.isConfirmed else { return }
        var confirmed = epoch
        confirmed.isConfirmed = true
        do throws(IotoError) {
            try storage.setEpoch(confirmed)
            epoch = confirmed
        } catch {
            // With the next answer, then; or the next connection is under this one's number.
            note(error)
        }
    }

    /// A message for an earlier connection, or for the other database, has another number.
    private func fenced(_ nonce: UInt64, _ now: Instant) {
        guard nonce == epoch.nonce, epoch.number > 0, !isFenced else { return }
        epoch.isFenced = true
        disconnected(now)
        do throws(IotoError) {
            try storage.setEpoch(epoch)
        } catch {
            note(error)
        }
        note(DeviceReplicator.fence)
    }

    // MARK: Outputs

    /// The messages to be published, in order; each with QoS 1.
    public func takePublications() -> [Publication] {
        defer { publications.removeAll(keepingCapacity: true) }
        return publications
    }

    /// When `tick(_:)` is due, on the monotonic clock; nil: not before another input.
    public var deadline: Int64? {
        guard isConnected else { return nil }
        if down.waiting != nil || up.hasRoom { return 0 }
        var earliest = up.inFlight?.deadline ?? up.sendAt
        if up.inFlight == nil, let resumeAt = up.meter.resumeAt { earliest = min(earliest ?? resumeAt, resumeAt) }
        if let settleAt = up.settleAt { earliest = min(earliest ?? settleAt, settleAt) }
        if up.holdUntil > Int64.min { earliest = max(up.holdUntil, earliest ?? up.holdUntil) }
        earliest = min(earliest ?? down.refreshAt, down.refreshAt)
        for stream in down.streams {
            if let askAt = stream.askAt { earliest = min(earliest ?? askAt, askAt) }
        }
        return earliest
    }

    /// The last will, and the goodbye of an orderly stop.
    public static func farewell(_ topics: Topics) -> Publication {
        Publication(topic: topics.service(.offline), payload: Text("{\"v\":2}").bytes)
    }

    func publish(_ verb: ServiceVerb, _ payload: [UInt8]) {
        publications.append(
            Publication(
                topic: configuration.topics.service(verb),
                payload: peerInflates ? Compression.deflate(payload) : payload))
    }

    var compresses: Bool { configuration.compresses && Compression.isAvailable }

    /// An answer of the hub refuses the whole message, or, nil, does not.
    func heed(_ refusal: IotoError?) {
        guard isRefused || refusal != nil else { return }
        isRefused = refusal != nil
        lastError = refusal
        if let refusal { note(refusal) }
    }

    func note(_ error: IotoError) {
        lastError = error
        Log.warning(error.message)
    }
}

/// How far a flush has come.
public struct FlushProgress: Sendable {
    /// Position up to which the outbox has to be empty.
    var target: Int64
    /// Something was on its way at the call. If its item has changed since, the answer sends the item to the end of the
    /// queue, behind the target: so the queue has to be emptied once more.
    var needsAnotherRound: Bool
}

/// Counters of a replicator, from its making on.
public struct ReplicationStatistics: Sendable {
    /// Changes acknowledged by the hub.
    public var sentItems: Int64 = 0
    /// Changes of the cloud applied here.
    public var receivedItems: Int64 = 0
    /// Changes refused, by the hub or for their size.
    public var refusedItems: Int64 = 0
    /// Time of day of the last acknowledgement, Unix milliseconds; 0: there was none.
    public var lastUp: Int64 = 0
    /// Time of day of the last page, Unix milliseconds; 0: there was none.
    public var lastDown: Int64 = 0

    public init() {}
}
