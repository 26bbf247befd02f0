/// When a connection has to be looked at although nothing happens on it.
///
/// The keepalive K is checked by `mosquitto_loop_misc`, in whole seconds of the monotonic clock. It queues a PINGREQ
/// when K has passed since the last packet out *or* the last one in, and takes both times anew; when K passes again and
/// the PINGRESP is missing, it ends the connection. The broker on its side gives up 1.5 K after the last packet in
/// (MQTT 3.1.1, 3.1.2.10). So it must be called K after the earlier of the two times, and not before:
///
///     due = min(lastOut, lastIn) + K + 1 ms
///
/// Both times are taken here after the call that sets libmosquitto's, and libmosquitto cuts its own to seconds, so that
/// its times are never later than these and the call finds the PINGREQ due; the millisecond covers the cutting of ours.
/// An idle connection wakes twice per K: to send the PINGREQ, and to read the answer. A half-open one is found out at
/// most 2 K after the last packet in.
struct Timing {
    /// End of the attempt, or of the goodbye.
    var deadline: Int64 = 0
    /// When bytes were last written, and read, in monotonic milliseconds.
    var lastOut: Int64 = 0
    var lastIn: Int64 = 0
    /// Not before: a check that found nothing due is repeated after a second only.
    var checkAfter: Int64 = 0
    /// The TCP connection stands.
    var isReachable = false

    init() {}

    init(now: Int64, limit: Int64) {
        deadline = now + limit
        lastOut = now
        lastIn = now
    }

    /// When the keepalive has to be checked.
    func keepaliveDue(_ keepalive: Int32) -> Int64 {
        max(min(lastOut, lastIn) + Int64(keepalive) * 1000 + 1, checkAfter)
    }

    /// Whether nothing has been written for so long that the broker has given the connection up: the machine slept, or
    /// the owner did not step. (CLOCK_MONOTONIC, by which libmosquitto goes, stands still while the machine sleeps.)
    func isGivenUp(_ keepalive: Int32, now: Int64) -> Bool {
        now - lastOut >= Int64(keepalive) * 2000 + 1000
    }

    mutating func sent(now: Int64) {
        lastOut = now
    }

    mutating func received(now: Int64) {
        lastIn = now
    }

    /// A PINGREQ is queued.
    mutating func pinged(now: Int64) {
        lastOut = now
        lastIn = now
    }
}
