import Foundation
import GRDB
import IotoBase
import IotoJSON
import Testing

@testable import IotoCloud

/// The built program, as a person or a script meets it.
@Suite struct CommandLineTests {
    private func folder(schema: Bool = true) throws -> TemporaryFolder {
        let folder = TemporaryFolder()
        if schema { try testSchemaText.write(toFile: folder.file("schema.json5"), atomically: true, encoding: .utf8) }
        return folder
    }

    private func run(_ folder: TemporaryFolder, _ arguments: String..., input: String = "") async throws -> Program.Outcome {
        try await Program.cloud(arguments, in: folder, input: input)
    }

    @Test func itemGoesThroughItsLife() async throws {
        let folder = try folder()
        let put = try await run(folder, "items", "put", "--model", "Setting", "--device", "d1", "{id: 'x', value: 1.50}")
        #expect(put.status == 0, "\(put.errors)")
        let json = try JSON.parse(Text(put.output).bytes)
        #expect(json["_type"] == .string("Setting") && json["sk"] == .string("setting#x"))
        #expect(json["pk"] == .string("setting#") && json["value"] == .number("1.50") && json["deviceId"] == .string("d1"))

        let input = #"{"id":"x","value":2}"#
        let changed = try await run(folder, "items", "put", "--model", "Setting", "-", input: input)
        #expect(changed.status == 0, "\(changed.errors)")
        let get = try await run(folder, "items", "get", "--model", "Setting", #"{"id":"x"}"#)
        #expect(get.status == 0 && get.output == changed.output)
        #expect(try JSON.parse(Text(get.output).bytes)["deviceId"] == .string("d1"))

        let list = try await run(folder, "items", "list", "--model", "Setting", "--json")
        #expect(list.status == 0 && list.output == get.output)
        let remove = try await run(folder, "items", "remove", "--model", "Setting", #"{"id":"x"}"#)
        #expect(remove.status == 0)
        let gone = try await run(folder, "items", "get", "--model", "Setting", #"{"id":"x"}"#)
        #expect(gone.status == 1 && gone.output.isEmpty)
        #expect(gone.errors == "ioto-cloud: there is no such item of model \"Setting\"\n")
    }

    @Test func storeKeepsTheSchema() async throws {
        let folder = try folder()
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'x'}").status == 0)
        try FileManager.default.removeItem(atPath: folder.file("schema.json5"))
        #expect(try await run(folder, "items", "list", "--json").lines.count == 1)
        let other = folder.file("other.json5")
        try "{ nonsense".write(toFile: other, atomically: true, encoding: .utf8)
        let outcome = try await run(folder, "items", "list", "--schema", other)
        #expect(outcome.status == 1 && outcome.errors.hasPrefix("ioto-cloud: \(other): line 1, "), "\(outcome.errors)")
    }

    @Test(arguments: [
        ["items", "list", "--json"], ["items", "list"], ["items", "get", "--model", "Setting", "{id: 'x'}"],
        ["digest", "--stream", "all"],
    ])
    func outputThatCannotBeWrittenFailsTheCommand(_ arguments: [String]) async throws {
        let folder = try folder()
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'x'}").status == 0)
        let command = "exec \"$0\" \"$@\" > /dev/full"
        let outcome = try await Program("/bin/sh", ["-c", command, Program.cloud] + arguments, in: folder).outcome()
        #expect(outcome.status == 1 && outcome.errors.contains("standard output"), "\(outcome)")
    }

    @Test func aStoreThatAnotherServesStaysInItsFormat() async throws {
        let folder = try folder()
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'x'}").status == 0)
        let queue = try DatabaseQueue(path: folder.file("ioto-cloud.db"))
        try await queue.writeWithoutTransaction {
            try $0.execute(sql: "DROP TABLE journal; ALTER TABLE device DROP COLUMN former; PRAGMA user_version = 5")
        }
        let claim = Glibc.open(folder.file("ioto-cloud.db-serve"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(claim) }
        #expect(claim >= 0 && flock(claim, LOCK_EX | LOCK_NB) == 0)
        let outcome = try await run(folder, "serve", "--broker", "mqtt://127.0.0.1:1")
        #expect(outcome.status == 1 && outcome.errors.contains("another ioto-cloud serves this store"), "\(outcome)")
        #expect(try await queue.read { try Int.fetchOne($0, sql: "PRAGMA user_version") } == 5)
        try queue.close()
    }

    @Test func missingSchemaIsNamedAndLeavesNoFile() async throws {
        let folder = try folder(schema: false)
        for arguments in [["items", "put", "--model", "A", "{}"], ["serve"]] {
            let outcome = try await Program.cloud(arguments, in: folder)
            #expect(outcome.status == 1 && outcome.errors.contains("--schema FILE"), "\(outcome.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.file("ioto-cloud.db")))
    }

    @Test func listIsATableForPeopleAndLinesForPrograms() async throws {
        let folder = try folder()
        for id in ["b", "a", "c"] {
            _ = try await run(folder, "items", "put", "--model", "Setting", "{id: '\(id)', note: 'x\\ty'}")
        }
        let table = try await run(folder, "items", "list", "--model", "Setting", "--limit", "2")
        #expect(table.lines == ["id  note", "a   x?y", "b   x?y"])
        #expect(table.errors.contains("only the first 2"))
        let lines = try await run(folder, "items", "list", "--model", "Setting", "--json", "--limit", "2")
        #expect(try lines.lines.map { try JSON.parse(Text($0).bytes)["id"]?.stringValue } == ["a", "b"])
        let all = try await run(folder, "items", "list")
        #expect(all.lines.first == "Setting:" && all.lines.count == 5)
        #expect(try await run(folder, "items", "list", "--model", "Reading").output.isEmpty)
    }

    @Test(arguments: [
        ["items", "get", "--model", "Setting", "{id: 'none'}"],
        ["items", "remove", "--model", "Setting", "{id: 'none'}"],
        ["items", "get", "--model", "Setting", "{value: 1}"],
        ["items", "put", "--model", "Setting", "{id: 'y', value: 'five'}"],
        ["items", "put", "--model", "Setting", "{id: 'y'"],
        ["items", "put", "--model", "Setting", "[1]"],
        ["items", "put", "--model", "Secret", "{id: 'y'}"],
        ["items", "list", "--model", "Secret"],
        ["items", "list", "--model", "Nothing"],
        ["items", "list", "--store", "sqlite:none.db"],
        ["items", "list", "--schema", "none.json5"],
        ["serve", "--store", "sqlite:schema.json5"],
        ["serve", "--broker", "mqtts://127.0.0.1:1", "--authority", "none.pem"],
    ])
    func whatIsNotThereOrNotAllowedIsOneLineAndOne(_ arguments: [String]) async throws {
        let folder = try folder()
        _ = try await run(folder, "items", "put", "--model", "Setting", "{id: 'x'}")
        let outcome = try await Program.cloud(arguments, in: folder)
        #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
        let lines = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("ioto-cloud: ") }
        #expect(lines.count == 1, "\(outcome.errors)")
    }

    @Test(arguments: [
        ["nonsense"], ["items", "put"], ["items", "put", "--model", "Setting"], ["items", "list", "--limit", "-1"],
        ["serve", "--packet-size", "1K"], ["serve", "--packet-size", "x"], ["serve", "--packet-size", "-1"],
        ["serve", "--packet-size", ""], ["serve", "--packet-size", "9999999999999999999"], ["serve", "--packet-size", "8589934592G"],
        ["items", "list", "--limit", "x"], ["items", "list", "--store", "mysql:x"], ["serve", "--broker", "http://x"],
        ["serve", "--log-level", "loud"], ["serve", "--certificate", "x"], ["serve", "--authority", "x"],
        ["serve", "--password", "x"], ["serve", "--broker", "mqtts://x", "--key", "x"], ["serve", "--prefix", "a/#"],
    ])
    func invalidCommandLineIs64(_ arguments: [String]) async throws {
        let outcome = try await Program.cloud(arguments, in: try folder())
        #expect(outcome.status == 64 && !outcome.errors.isEmpty, "\(outcome)")
    }

    @Test func theStoreIsBackedUpAndRestoredWithANewHistory() async throws {
        let folder = try folder()
        let store = folder.file("ioto-cloud.db")
        func items() async throws -> [String] { try await run(folder, "items", "list", "--json").lines }
        func history() async throws -> JSON? {
            try JSON.parse(Text(try await run(folder, "digest", "--stream", "all", "--json").lines[0]).bytes)["history"]
        }
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'x'}").status == 0)
        let before = try await items()
        let first = try #require(try await history())
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: store)
        #expect(try await run(folder, "backup", "copy.db").status == 0)
        let mode = try FileManager.default.attributesOfItem(atPath: folder.file("copy.db"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'y'}").status == 0)

        for arguments in [["backup", "copy.db"], ["restore", "copy.db"], ["backup", "--store", "sqlite:none.db", "new.db"]] {
            let outcome = try await Program.cloud(arguments, in: folder)
            #expect(outcome.status == 1 && outcome.errors.hasPrefix("ioto-cloud: "), "\(outcome)")
        }
        #expect(try await items().count == 2)

        try FileManager.default.moveItem(atPath: store, toPath: folder.file("old.db"))
        for beside in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: store + beside) }
        #expect(try await run(folder, "restore", "copy.db").status == 0)
        #expect(try await items() == before)
        #expect(try await history() != first)
        #expect(!FileManager.default.fileExists(atPath: store + ".part"))
    }

    @Test func whatIsNoSoundStoreIsNeitherBackedUpNorRestored() async throws {
        let folder = try folder()
        #expect(try await run(folder, "items", "put", "--model", "Setting", "{id: 'x', value: 1}").status == 0)
        let store = folder.file("ioto-cloud.db")
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: store))
        try file.seek(toOffset: 4096)
        try file.write(contentsOf: Data(repeating: 0xA5, count: 3 * 4096))
        try file.close()
        try "no database".write(toFile: folder.file("text"), atomically: true, encoding: .utf8)
        for arguments in [["backup", "copy.db"], ["restore", "--store", "sqlite:new.db", "text"]] {
            let outcome = try await Program.cloud(arguments, in: folder)
            #expect(outcome.status == 1 && outcome.errors.hasPrefix("ioto-cloud: "), "\(outcome)")
        }
        for name in ["copy.db", "copy.db.part", "new.db", "new.db.part"] {
            #expect(!FileManager.default.fileExists(atPath: folder.file(name)))
        }
    }

    @Test func versionAndHelpAreThere() async throws {
        let folder = try folder()
        let version = try await run(folder, "--version")
        #expect(version.status == 0 && version.output == "\(CloudVersion.text)\n")
        for arguments in [["--help"], ["serve", "--help"], ["items", "--help"], ["items", "put", "--help"]] {
            let help = try await Program.cloud(arguments, in: folder)
            #expect(help.status == 0 && help.output.contains("USAGE: ioto-cloud"))
        }
    }
}
