import Foundation

/// A Mosquitto of its own on a free port of the loopback interface, with its files in a temporary folder.
///
/// It is stopped, and the folder removed, when the object goes.
final class Broker {
    let port: Int32
    let folder: URL
    private let lines: [String]
    private var process: Process?

    static let program = "/usr/sbin/mosquitto"

    /// - Parameter lines: Configuration beside the listener's address; `anonymous: false` leaves the access rules to
    ///   them.
    init(_ lines: [String] = [], anonymous: Bool = true) throws {
        self.port = try freePort()
        self.lines = lines + ["allow_anonymous \(anonymous)"]
        self.folder = try makeTemporaryFolder("broker")
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Starts the broker and waits until it accepts connections.
    func start() throws {
        precondition(process == nil)
        // As root, Mosquitto would change to a user who can't read the folder.
        let text = (["user root", "listener \(port) 127.0.0.1"] + lines).joined(separator: "\n") + "\n"
        let file = folder.appendingPathComponent("mosquitto.conf")
        try text.write(to: file, atomically: true, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program)
        process.arguments = ["-c", file.path]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        let end = Date().addingTimeInterval(10)
        while !accepts(port) {
            guard Date() < end, process.isRunning else {
                kill()
                throw TestFailure("the broker does not start; its configuration:\n\(text)")
            }
            usleep(20_000)
        }
    }

    /// Ends it in good order.
    func stop() { end(SIGTERM) }
    /// Ends it as a crash does.
    func kill() { end(SIGKILL) }
    /// Freezes it: connections stay and nothing answers.
    func pause() { signal(SIGSTOP) }
    func resume() { signal(SIGCONT) }

    /// Starts it anew on the same port.
    func restart() throws {
        stop()
        try start()
    }

    private func end(_ number: Int32) {
        guard let process else { return }
        // A frozen process acts on SIGKILL alone; for that it must not wake, and acknowledge messages, before.
        if number != SIGKILL { signal(SIGCONT) }
        signal(number)
        process.waitUntilExit()
        self.process = nil
    }

    private func signal(_ number: Int32) {
        if let process, process.isRunning { Glibc.kill(process.processIdentifier, number) }
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func makeTemporaryFolder(_ name: String) throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ioto-\(name)-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

private func loopback(_ port: Int32) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}

private func withAddress<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}

/// A socket that listens on a free port of the loopback interface.
func listen() throws -> (socket: Int32, port: Int32) {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    guard socket >= 0, withAddress(&address, { Glibc.bind(socket, $0, $1) }) == 0, Glibc.listen(socket, 8) == 0,
        withAddress(&address, { pointer, _ in getsockname(socket, pointer, &size) }) == 0
    else { throw TestFailure("no socket can be had: \(errno)") }
    return (socket, Int32(UInt16(bigEndian: address.sin_port)))
}

func freePort() throws -> Int32 {
    let (socket, port) = try listen()
    close(socket)
    return port
}

/// Whether something accepts connections on a port of the loopback interface.
func accepts(_ port: Int32) -> Bool {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(socket) }
    var address = loopback(port)
    return withAddress(&address) { Glibc.connect(socket, $0, $1) } == 0
}
