import IotoBase
import IotoJSON
import IotoSchema

/// The schema of every simulation: a model for each direction, and for each stream.
enum Models {
    static let schema: Schema = {
        let own = """
            pk: { type: 'string', value: 'device#${deviceId}' }, deviceId: { type: 'string' },
            id: { type: 'string', required: true }, value: { type: 'string' },
            """
        func model(_ name: String) -> String { "\(name): { \(own) sk: { type: 'string', value: '\(name)#${id}' } }," }
        let source = """
            {
                version: '1.0.0', format: 'onetable:1.1.0',
                indexes: { primary: { hash: 'pk', sort: 'sk' } },
                process: {
                    Reading: { sync: 'up' }, Setting: { sync: 'down' }, Note: { sync: 'both' },
                    Secret: { enable: 'device' }, Report: { enable: 'cloud' },
                    Plan: { sync: 'down' }, Notice: { sync: 'down' },
                    Lamp: { sync: 'both', resolve: 'cloud' }, Valve: { sync: 'both', resolve: 'device' },
                    Recipe: { sync: 'both', resolve: 'callback' }, Profile: { sync: 'both', merge: 'fields' },
                },
                models: {
                    \(model("Reading")) \(model("Setting")) \(model("Note")) \(model("Secret")) \(model("Report"))
                    \(model("Lamp")) \(model("Valve")) \(model("Recipe"))
                    Profile: {
                        \(own) sk: { type: 'string', value: 'Profile#${id}' },
                        left: { type: 'string' }, right: { type: 'string' },
                    },
                    Plan: {
                        pk: { type: 'string', value: 'account#${accountId}' }, accountId: { type: 'string' },
                        sk: { type: 'string', value: 'Plan#${id}' },
                        id: { type: 'string', required: true }, value: { type: 'string' },
                    },
                    Notice: {
                        pk: { type: 'string', value: 'all' }, sk: { type: 'string', value: 'Notice#${id}' },
                        id: { type: 'string', required: true }, value: { type: 'string' },
                    },
                },
            }
            """
        do throws(IotoError) {
            return try Schema(source: Array(source.utf8), name: "simulation.json5")
        } catch {
            fatalError(error.message.string)
        }
    }()

    /// The fields that are changed, each by itself where the model merges them.
    static func changedFields(of model: Model) -> [Text] {
        model.mergesFields ? ["value", "left", "right"] : ["value"]
    }

    static func model(_ name: Text) -> Model { schema.model(name)! }
}

extension ItemKey {
    /// `d1 Note#3`, for the story.
    var story: String { hash.string.replacingPrefix("device#", with: "") + " " + sort.string }
}

extension String {
    func replacingPrefix(_ prefix: String, with text: String) -> String {
        hasPrefix(prefix) ? text + dropFirst(prefix.count) : self
    }
}

extension Version {
    /// Milliseconds relative to the simulation's start, counter, and the writer's last digits.
    var story: String {
        "\(milliseconds - World.epoch).\(time & 0xFFFF)/\(String(writer & 0xFFFF, radix: 16))"
    }
}

/// `value` of an item's body, for the story.
func storyValue(_ body: [UInt8]) -> String {
    (try? JSON.parse(body))?["value"]?.stringValue?.string ?? "?"
}
