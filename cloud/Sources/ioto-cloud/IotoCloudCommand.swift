import ArgumentParser
import Foundation
import IotoBase
import IotoCloud
import IotoSchema

@main
struct IotoCloudCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ioto-cloud",
        abstract: "The cloud's end of ioto: keeps the items of devices and exchanges them over MQTT.",
        discussion: """
            Without options, everything is in the file ioto-cloud.db of the working directory, under the schema \
            schema.json5, and the broker is the one on this machine. Items can be read and changed while another \
            process serves: the devices get to see it at once.
            """,
        version: CloudVersion.text,
        subcommands: [
            ServeCommand.self, ItemsCommand.self, DigestCommand.self, ExplainCommand.self, BackupCommand.self, RestoreCommand.self,
        ])
}

/// Where the data is.
struct StoreFile: ParsableArguments {
    @Option(help: ArgumentHelp("The store: sqlite:FILE.", valueName: "store"))
    var store = "sqlite:ioto-cloud.db"

    func validate() throws {
        guard store.hasPrefix("sqlite:"), store.count > "sqlite:".count else {
            throw ValidationError("--store \"\(store)\": sqlite:FILE is expected")
        }
    }

    /// The store's file.
    var path: String { String(store.dropFirst("sqlite:".count)) }
}

/// Where the data is, and under what schema.
struct StoreOptions: ParsableArguments {
    @OptionGroup var file: StoreFile

    @Option(
        help: ArgumentHelp(
            """
            The schema, JSON5. Default: schema.json5 in the working directory, else the one that the store was last \
            served with.
            """, valueName: "file"))
    var schema: String?

    /// The store's file.
    var path: String { file.path }

    /// Opens the store, and finds the schema, without leaving a new file behind when there is none.
    func open(
        _ mode: SQLiteStore.Mode
    ) async throws(IotoError) -> (store: SQLiteStore, schema: Schema, text: SchemaText) {
        if let text = try SchemaSource.find(file: schema) {
            let schema = try Schema(source: text.source, name: text.name)
            return (try SQLiteStore(path: path, mode: mode), schema, text)
        }
        let isThere = FileManager.default.fileExists(atPath: path)
        guard isThere || mode == .existing else { throw SchemaSource.missing }
        let store = try SQLiteStore(path: path, mode: .existing)
        do throws(IotoError) {
            guard let text = try await store.schema() else { throw SchemaSource.missing }
            return (store, try Schema(source: text.source, name: text.name), text)
        } catch {
            await store.close()
            throw error
        }
    }
}

/// Runs a command's work; a failure is one line on stderr and exit code 1.
func reporting(_ body: () async throws(IotoError) -> Void) async throws {
    do throws(IotoError) {
        try await body()
    } catch {
        writeError("ioto-cloud: \(error.message)")
        throw ExitCode(1)
    }
}

/// Writes a line to stderr.
func writeError(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
}

/// Writes to stdout.
///
/// - Throws: `.io`, such as for a full disk. A reader that has gone ends the process by SIGPIPE.
func writeOutput(_ parts: [[UInt8]]) throws(IotoError) {
    do {
        try FileHandle.standardOutput.write(contentsOf: Data(parts.joined()))
    } catch {
        throw IotoError(.io, "standard output: \(Text(error.localizedDescription))")
    }
}
