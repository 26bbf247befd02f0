import ArgumentParser
import Foundation
import IotoBase
import IotoCloud
import IotoJSON
import IotoSchema

struct ItemsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "items",
        abstract: "Read and change the cloud's items, also while another process serves.",
        discussion: """
            Exit codes: 0; 1 when there is no such item, or it is not valid or not allowed, with a line on stderr that \
            says why; 64 when the command line is not valid.
            """,
        subcommands: [List.self, Get.self, Put.self, Remove.self])
}

/// What the commands on items have in common.
struct ItemOptions: ParsableArguments {
    @OptionGroup var storage: StoreOptions

    @Option(help: ArgumentHelp("The deviceId of the items: those listed, or the one meant.", valueName: "id"))
    var device: String?

    @Option(help: ArgumentHelp("The accountId, likewise.", valueName: "id"))
    var account: String?

    /// Opens the store for `body`, and closes it whatever happens.
    func withDatabase(
        _ mode: SQLiteStore.Mode, _ body: (CloudDatabase) async throws(IotoError) -> Void
    ) async throws {
        try await reporting { () async throws(IotoError) in
            let (store, schema, text) = try await storage.open(mode)
            do throws(IotoError) {
                if mode == .create, try await store.schema() == nil { try await store.save(text) }
                var context = Context()
                context.set("deviceId", device.map { Text($0) })
                context.set("accountId", account.map { Text($0) })
                try await body(CloudDatabase(store: store, schema: schema, context: context))
            } catch {
                await store.close()
                throw error
            }
            await store.close()
        }
    }

    /// The same for a command on one item, whose arguments are read before anything is opened.
    func withItem(
        _ item: ItemArguments, _ mode: SQLiteStore.Mode,
        _ body: (CloudDatabase, Text, JSONObject) async throws(IotoError) -> Void
    ) async throws {
        var properties = JSONObject()
        try await reporting { () async throws(IotoError) in properties = try item.read() }
        try await withDatabase(mode) { (database) async throws(IotoError) in
            try await body(database, Text(item.model), properties)
        }
    }
}

/// Which item is meant, and its properties.
struct ItemArguments: ParsableArguments {
    @Option(help: "The model.")
    var model: String

    @Argument(
        help: ArgumentHelp(
            "The properties as a JSON5 object, such as '{id: \"x\"}', or - to read them from stdin.",
            valueName: "properties"))
    var properties: String

    func read() throws(IotoError) -> JSONObject {
        var source = Text(properties).bytes
        if properties == "-" {
            let input = try? FileHandle.standardInput.read(upToCount: Limits.itemBytesMax * 2)
            source = [UInt8](input ?? Data())
        }
        let json: JSON
        do throws(IotoError) {
            json = try JSON.parse(source, syntax: .json5)
        } catch {
            throw error.prefixed("properties")
        }
        guard case .object(let object) = json else {
            throw IotoError(.json, "the properties are no object")
        }
        return object
    }
}

extension ItemsCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List items in order of their keys.")

        @OptionGroup var options: ItemOptions

        @Option(help: "The model. Default: all.")
        var model: String?

        @Flag(help: "One JSON object a line, whole, in place of a table.")
        var json = false

        @Option(help: ArgumentHelp("Most items of a model. Default: 1000 in a table, else all.", valueName: "count"))
        var limit: Int?

        func validate() throws {
            if let limit, limit < 0 { throw ValidationError("--limit is not a count") }
        }

        func run() async throws {
            try await options.withDatabase(.existing) { (database) async throws(IotoError) in
                let names = model.map { [Text($0)] }
                let models = names ?? database.schema.models.filter { $0.existsInCloud }.map { $0.name }
                for name in models {
                    if json {
                        try await writeLines(name, database)
                    } else {
                        try await writeTable(name, database, title: names == nil)
                    }
                }
            }
        }

        private func writeLines(_ name: Text, _ database: CloudDatabase) async throws(IotoError) {
            try await forEachPage(name, database, limit: limit ?? Int.max) { (page) throws(IotoError) in
                try writeOutput(page.map { $0.wire.text + [UInt8(ascii: "\n")] })
            }
        }

        private func writeTable(
            _ name: Text, _ database: CloudDatabase, title: Bool
        ) async throws(IotoError) {
            let limit = limit ?? 1000
            var items: [CloudItem] = []
            // One more than is shown, to know whether there is more.
            try await forEachPage(name, database, limit: limit == Int.max ? limit : limit + 1) { items += $0 }
            if title {
                if items.isEmpty { return }
                try writeOutput([Text("\(name):\n").bytes])
            }
            try writeOutput([Text(ItemTable(items: items.prefix(limit)).text).bytes])
            if items.count > limit { writeError("ioto-cloud: only the first \(limit); see --limit and --json") }
        }

        private func forEachPage(
            _ name: Text, _ database: CloudDatabase, limit: Int, _ body: ([CloudItem]) throws(IotoError) -> Void
        ) async throws(IotoError) {
            var rest = limit
            var last: ItemKey?
            while rest > 0 {
                let page = try await database.list(name, after: last, limit: min(rest, 500))
                guard let end = page.last else { return }
                try body(page)
                rest -= page.count
                last = end.key
            }
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print an item, found by the properties of its key.")
        @OptionGroup var options: ItemOptions
        @OptionGroup var item: ItemArguments

        func run() async throws {
            try await options.withItem(item, .existing) { (database, model, properties) async throws(IotoError) in
                try writeItem(try await database.get(model, properties))
            }
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create an item, or change the given properties of the one that has their key.",
            discussion: "The item as stored is printed. A property that is null is taken away.")
        @OptionGroup var options: ItemOptions
        @OptionGroup var item: ItemArguments

        func run() async throws {
            try await options.withItem(item, .create) { (database, model, properties) async throws(IotoError) in
                try writeItem(try await database.put(model, properties))
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove an item, found by the properties of its key.")
        @OptionGroup var options: ItemOptions
        @OptionGroup var item: ItemArguments

        func run() async throws {
            try await options.withItem(item, .existing) { (database, model, properties) async throws(IotoError) in
                try await database.remove(model, properties)
            }
        }
    }
}

private func writeItem(_ item: CloudItem) throws(IotoError) {
    try writeOutput([item.wire.text + [UInt8(ascii: "\n")]])
}
