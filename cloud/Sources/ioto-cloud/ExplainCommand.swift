import ArgumentParser
import IotoBase
import IotoCloud
import IotoJSON

struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Tell the last versions of an item, or of a removed one: who wrote them, when, and what became of them.",
        discussion: """
            A line a version, the newest first; each took the place of those below. TIME is that of the writer's clock. BY is the device, \
            the cloud, or the id of a database that no device has any more. PATH: it came "up", or was written in the "cloud". FATE: \
            "current"; "overwritten"; "lost": it gave way to a change that was made without knowledge of it; "refused": it came, and \
            what was here stayed; "merged": its fields were joined with another's; "restamped": it got another version.
            "iotodb explain" and ioExplain() tell the device's side. The four versions before the current one are kept, none of their \
            values. Exit codes: 0; 1 when nothing is known of such an item.
            """)

    @OptionGroup var options: ItemOptions
    @OptionGroup var item: ItemArguments

    @Flag(help: "A JSON object instead of a table.")
    var json = false

    func run() async throws {
        try await options.withItem(item, .existing) { (database, model, properties) async throws(IotoError) in
            let story = try await database.explain(model, properties)
            try writeOutput([json ? JSON.object(story).text + [UInt8(ascii: "\n")] : Text(table(story)).bytes])
        }
    }

    private func table(_ story: JSONObject) -> String {
        let columns: [Text] = ["time", "cmd", "by", "path", "fate"]
        var rows = [["TIME", "CHANGE", "BY", "PATH", "FATE"]]
        for version in story["versions"]?.arrayValue ?? [] {
            rows.append(columns.map { version[$0]?.stringValue?.string ?? "" })
        }
        var text = ""
        for row in rows {
            var line = ""
            for (place, cell) in row.enumerated() {
                let width = rows.map { $0[place].count }.max() ?? 0
                line += place == columns.count - 1 ? cell : cell + String(repeating: " ", count: width + 2 - cell.count)
            }
            text += line + "\n"
        }
        guard let feed = story["feed"], let stream = feed["stream"]?.stringValue else { return text }
        return text + "It goes down in \(stream), as entry \(feed["cursor"]?.integerValue ?? 0).\n"
    }
}
