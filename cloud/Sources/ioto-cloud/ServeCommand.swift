import ArgumentParser
import Dispatch
import Foundation
import IotoBase
import IotoCloud
import IotoSchema
import Logging

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Exchange items with devices over an MQTT broker, until SIGTERM or SIGINT.",
        discussion: """
            "ioto-cloud: ready" on stderr tells that the broker has taken the subscriptions. A broker that can't be \
            reached is tried for ever.
            """)

    @OptionGroup var storage: StoreOptions

    @Option(help: ArgumentHelp("The broker: mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS.", valueName: "url"))
    var broker = "mqtt://127.0.0.1:1883"

    @Option(help: "User name at the broker.")
    var username: String?

    @Option(help: "Password at the broker. Default: the variable IOTO_CLOUD_PASSWORD, which no other user can see.")
    var password: String?

    @Option(help: ArgumentHelp("Authorities trusted with mqtts, PEM. Default: the system's.", valueName: "file"))
    var authority: String?

    @Option(help: ArgumentHelp("Certificate of the cloud, PEM.", valueName: "file"))
    var certificate: String?

    @Option(help: ArgumentHelp("Private key of the certificate, PEM.", valueName: "file"))
    var key: String?

    @Option(
        help: ArgumentHelp(
            "What some devices put before ioto/service/... in place of the usual $aws/rules/RULE/.",
            valueName: "topic"))
    var prefix = ""

    @Option(
        help: ArgumentHelp(
            "Largest packet that the broker takes, in bytes, or with K or M. One of MQTT 5 tells.",
            valueName: "size"))
    var packetSize: PacketSize?

    @Option(help: "Least important log lines to write: debug, info, warning or error.")
    var logLevel = LogChoice.info

    enum LogChoice: String, ExpressibleByArgument, CaseIterable {
        case debug, info, warning, error

        var level: Logger.Level {
            switch self {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        }
    }

    func validate() throws {
        do throws(IotoError) {
            _ = try address()
        } catch {
            throw ValidationError(error.message.string)
        }
        guard (certificate == nil) == (key == nil) else {
            throw ValidationError("--certificate and --key are given together or not at all")
        }
        guard Text(prefix).isValidUTF8 || prefix.isEmpty, !prefix.contains("#") else {
            throw ValidationError("--prefix \"\(prefix)\" can't begin a topic")
        }
    }

    func run() async throws {
        try await reporting { () async throws(IotoError) in try await serve() }
    }

    private func serve() async throws(IotoError) {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "ioto-cloud")
        logger.logLevel = logLevel.level
        bootstrapLog(logger)

        let address = try address()
        // Before it is opened, which may bring its file to a newer format.
        let claim = try ServiceClaim(store: storage.path)
        defer { claim.end() }
        let (store, schema, text) = try await storage.open(.create)
        for warning in schema.warnings { logger.warning("\(warning)") }
        if try await store.schema() != text { try await store.save(text) }
        try await store.reserveLog()

        let service = CloudService(store: store, schema: schema, broker: address, prefix: prefix, packetBytesMax: packetSize?.bytes)
        let signals = StopSignals { service.stop() }
        logger.info("\(store.path): serving \(schema.models.count) models to \(address.description)")
        try await service.run { writeError("ioto-cloud: ready") }
        await store.close()
        signals.cancel()
        logger.info("stopped")
    }

    private func address() throws(IotoError) -> BrokerAddress {
        var address = try BrokerAddress(broker)
        if let username { address.username = username }
        if let password = password ?? ProcessInfo.processInfo.environment["IOTO_CLOUD_PASSWORD"] {
            address.password = password
        }
        address.authority = authority
        address.certificate = certificate
        address.key = key
        guard address.usesTLS || authority == nil && certificate == nil else {
            throw IotoError(.configuration, "--authority and --certificate need a broker of mqtts://")
        }
        // A password from the environment is for whoever needs it.
        if address.username == nil {
            guard password == nil else { throw IotoError(.configuration, "--password needs --username") }
            address.password = nil
        }
        return address
    }
}

/// Size of a packet: `131072`, `128K` or `1M`.
struct PacketSize: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        guard let size = Text(argument).size, (2048...(1 << 28)).contains(size) else { return nil }
        bytes = Int(size)
    }
}

/// A store is served by one process: a second one would be the same client to the broker, and each would throw the other out.
struct ServiceClaim {
    private let file: Int32

    /// - Throws: `.busy` when another process serves the store.
    init(store: String) throws(IotoError) {
        file = open(store + "-serve", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw IotoError(.io, "\(store)-serve: \(systemErrorText(errno))") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw IotoError(.busy, "\(store): another ioto-cloud serves this store")
        }
    }

    /// The file stays: to remove it would take it from under a process that waits for its turn.
    func end() {
        close(file)
    }
}

/// Calls for an orderly end on the first SIGTERM or SIGINT, and ends the process on the second.
struct StopSignals {
    private let sources: [any DispatchSourceSignal]

    init(_ stop: @escaping @Sendable () -> Void) {
        let queue = DispatchQueue(label: "ioto-cloud.signals")
        sources = [SIGTERM, SIGINT].map { number in
            // The source sees the signal all the same.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                signal(number, SIG_DFL)
                stop()
            }
            source.resume()
            return source
        }
    }

    func cancel() {
        sources.forEach { $0.cancel() }
    }
}
