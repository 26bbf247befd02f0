import ArgumentParser
import Foundation
import IotoBase
import IotoCloud
import IotoJSON
import IotoSchema
import IotoSync

struct DigestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "digest",
        abstract: "Sum up the items of a stream, for a comparison with a device's.",
        discussion: """
            "iotodb digest", and ioDigest() in the firmware, print the same digest of the same items. Where they differ, --list \
            finds the items: diff <(ssh device iotodb digest --list DATABASE device/ID) <(ioto-cloud digest --list --device ID)
            Reads every item of the models that travel, also while another process serves.
            """)

    @OptionGroup var storage: StoreOptions

    @Option(help: ArgumentHelp("The stream of this device: its own items.", valueName: "id"))
    var device: String?

    @Option(help: ArgumentHelp("The stream of this account: items that all its devices get.", valueName: "id"))
    var account: String?

    @Option(help: "The stream by its name: device/ID, account/ID, or all.")
    var stream: String?

    @Flag(help: "A line for each item first, model by model, in the order of the keys.")
    var list = false

    @Flag(help: "JSON, one object a line.")
    var json = false

    private var name: Text? {
        let names = [device.map { Stream.device(Text($0)) }, account.map { Stream.account(Text($0)) }, stream.map { Text($0) }]
            .compactMap { $0 }
        return names.count == 1 ? names[0] : nil
    }

    func validate() throws {
        if name == nil { throw ValidationError("one of --device, --account and --stream is expected") }
    }

    func run() async throws {
        guard let name else { return }
        try await reporting { () async throws(IotoError) in
            let (store, schema, _) = try await storage.open(.existing)
            do throws(IotoError) {
                try await write(name, CloudDatabase(store: store, schema: schema))
            } catch {
                await store.close()
                throw error
            }
            await store.close()
        }
    }

    private func write(_ name: Text, _ database: CloudDatabase) async throws(IotoError) {
        let (digest, hasMoved) = try await database.digest(of: name) { (model, key, hash) throws(IotoError) in
            guard list else { return }
            if json {
                try writeLine([
                    "model": .string(model.name), "hash": .string(key.hash), "sort": .string(key.sort), "digest": .string(hash.text),
                ])
            } else {
                var line = (hash.text + " " + model.name).bytes
                for part in [key.hash, key.sort] {
                    line.append(UInt8(ascii: " "))
                    JSON.write(string: part, to: &line)
                }
                try writeOutput([line, [UInt8(ascii: "\n")]])
            }
        }
        if json {
            try writeLine([
                "stream": .string(name), "digest": .string(digest.hash.text), "items": .integer(digest.items),
                "history": .string(.hexadecimal(digest.cursor?.history ?? 0)), "cursor": .integer(digest.cursor?.position ?? 0),
            ])
        } else {
            try writeOutput([Text("\(digest.hash.text) \(name) items=\(digest.items)\n").bytes])
        }
        if hasMoved { writeError("ioto-cloud: \(name) has changed meanwhile: the digest may be of no state that there was") }
    }

    private func writeLine(_ object: JSONObject) throws(IotoError) {
        try writeOutput([JSON.object(object).text, [UInt8(ascii: "\n")]])
    }
}
