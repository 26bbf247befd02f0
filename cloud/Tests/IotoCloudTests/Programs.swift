import Foundation
import IotoBase
import IotoMQTT
import Testing

@testable import IotoCloud

/// A program that the tests run.
final class Program: @unchecked Sendable {
    struct Outcome {
        var status: Int32
        var output: String
        var errors: String
        /// Each line of the output.
        var lines: [String] { output.split(separator: "\n").map(String.init) }
    }

    private let folder: TemporaryFolder
    private let name = UUID().uuidString
    private let process: pid_t
    private let lock = Lock()
    private var status: Int32?

    /// The program `ioto-cloud` that was built with the tests.
    static var cloud: String {
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("ioto-cloud").path
    }

    /// Starts a program in `folder`, its output going to files there.
    ///
    /// Not by Foundation's `Process`, which takes a process for running as long as another one, started meanwhile, holds a
    /// descriptor that it inherited.
    init(_ path: String, _ arguments: [String], in folder: TemporaryFolder, input: String = "") throws {
        self.folder = folder
        let stem = folder.file("." + name)
        try input.write(toFile: stem + ".in", atomically: true, encoding: .utf8)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, stem + ".in", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, stem + ".out", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, stem + ".err", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        // The threads of a test have signals blocked, which a child would inherit.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        // env(1) goes to the folder and becomes the program.
        var texts = (["env", "-C", folder.path, path] + arguments).map { strdup($0) } + [nil]
        defer { texts.forEach { free($0) } }
        var process = pid_t()
        let code = posix_spawn(&process, "/usr/bin/env", &actions, &attributes, &texts, environ)
        try #require(code == 0, "\(path): \(systemErrorText(code))")
        self.process = process
    }

    deinit {
        if isRunning {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
    }

    private func read(_ suffix: String) -> String {
        (try? String(contentsOfFile: folder.file("." + name + "." + suffix), encoding: .utf8)) ?? ""
    }

    var errors: String { read("err") }

    var isRunning: Bool {
        lock.withLock {
            if status != nil { return false }
            var code: Int32 = 0
            guard waitpid(process, &code, WNOHANG) == process else { return true }
            // As a shell has it: 128 more than the signal that ended the program.
            status = code & 0x7F == 0 ? (code >> 8) & 0xFF : 128 + (code & 0x7F)
            return false
        }
    }

    func signal(_ number: Int32) {
        lock.withLock { if status == nil { _ = kill(process, number) } }
    }

    /// Waits for the end of the program.
    func outcome() async -> Outcome {
        while isRunning { try? await Task.sleep(for: .milliseconds(5)) }
        return Outcome(status: lock.withLock { status } ?? -1, output: read("out"), errors: errors)
    }

    /// Runs `ioto-cloud` to its end.
    static func cloud(_ arguments: [String], in folder: TemporaryFolder, input: String = "") async throws -> Outcome {
        try await Program(cloud, arguments, in: folder, input: input).outcome()
    }
}

/// A Mosquitto on a port of its own.
final class Mosquitto: Sendable {
    let port: Int
    private let program: Program
    private let folder: TemporaryFolder

    init(in folder: TemporaryFolder, port: Int? = nil) async throws {
        self.folder = folder
        self.port = try port ?? Mosquitto.freePort()
        let path = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"].first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        let configuration = """
            listener \(self.port) 127.0.0.1
            allow_anonymous true
            persistence true
            persistence_location \(folder.path)/
            max_queued_messages 100000
            user root
            """
        try configuration.write(toFile: folder.file("mosquitto.conf"), atomically: true, encoding: .utf8)
        program = try Program(
            try #require(path, "mosquitto is not installed"), ["-c", folder.file("mosquitto.conf")], in: folder)
        let port = self.port
        #expect(await eventually { Mosquitto.accepts(port) })
    }

    func stop() async {
        program.signal(SIGTERM)
        _ = await program.outcome()
    }

    private static func socket() -> Int32 {
        Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    }

    private static func withLoopback(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }

    private static func freePort() throws -> Int {
        let descriptor = socket()
        defer { close(descriptor) }
        try #require(withLoopback(0) { bind(descriptor, $0, $1) } == 0)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        try #require(code == 0)
        return Int(in_port_t(bigEndian: address.sin_port))
    }

    private static func accepts(_ port: Int) -> Bool {
        let descriptor = socket()
        defer { close(descriptor) }
        return withLoopback(port) { connect(descriptor, $0, $1) } == 0
    }
}

/// A device that speaks by hand, on a thread of its own.
final class HandDevice: MQTTDelegate, @unchecked Sendable {
    private let client: MQTTClient
    private let lock = Lock()
    private var outgoing: [MQTTMessage] = []
    private var received: [(topic: Text, payload: Text)] = []
    private var acknowledged = 0
    private var isSubscribed = false
    private var isEnded = false
    private let filters: [Text]

    init(_ id: Text, port: Int) async throws {
        client = try MQTTClient(MQTTOptions(host: "127.0.0.1", port: Int32(port), clientID: id))
        filters = ["ioto/device/" + id + "/sync/+", "ioto/account/all/sync/+"]
        client.delegate = self
        _ = try IotoBase.Thread(name: "device") {
            try? self.client.connect()
            while !self.lock.withLock({ self.isEnded }) {
                for message in self.lock.withLock({ self.takeOutgoing() }) { _ = try? self.client.publish(message, qos: 1) }
                self.client.step(wake: -1, timeout: 10)
            }
            self.client.close()
        }
        #expect(await eventually { lock.withLock { isSubscribed } })
    }

    func end() {
        lock.withLock { isEnded = true }
    }

    func publish(_ topic: Text, _ payload: String) {
        lock.withLock { outgoing.append(MQTTMessage(topic: topic, payload: Text(payload).bytes)) }
    }

    /// How many of its messages the broker has acknowledged.
    var acknowledgements: Int { lock.withLock { acknowledged } }

    /// The payloads that came on topics that end so.
    func payloads(_ suffix: String) -> [String] {
        lock.withLock { received }.filter { $0.topic.string.hasSuffix(suffix) }.map { $0.payload.string }
    }

    private func takeOutgoing() -> [MQTTMessage] {
        guard isSubscribed else { return [] }
        defer { outgoing = [] }
        return outgoing
    }

    func mqttConnected(sessionPresent: Bool) {
        _ = try? client.subscribe(filters)
    }

    func mqttDisconnected(_ error: IotoError?) {
        lock.withLock { isSubscribed = false }
        // As patient as a test has to be.
        if !lock.withLock({ isEnded }) {
            usleep(50_000)
            try? client.connect()
        }
    }

    func mqttSubscribed(_ id: Int32, accepted: Bool) {
        lock.withLock { isSubscribed = accepted }
    }

    func mqttPublished(_ id: Int32, _ error: IotoError?) {
        lock.withLock { acknowledged += 1 }
    }

    func mqttReceived(_ topic: Text, _ payload: [UInt8]) {
        lock.withLock { received.append((topic, Text(payload))) }
    }
}
