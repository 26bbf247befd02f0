import IotoBase
import IotoSchema

/// A model for each direction, keyed by device.
enum TestSchema {
    static let schema: Schema = {
        let fields = """
            pk: { type: 'string', value: 'device#${deviceId}' },
            sk: { type: 'string', value: '${_type}#${id}' },
            deviceId: { type: 'string' },
            id: { type: 'string', required: true },
            value: { type: 'string' },
            """
        func model(_ name: String) -> String {
            "\(name): { \(fields.replacing("${_type}", with: name.lowercased())) },"
        }
        let source = """
            {
                version: '1.0.0', format: 'onetable:1.1.0',
                indexes: { primary: { hash: 'pk', sort: 'sk' } },
                process: {
                    Reading: { sync: 'up' }, Setting: { sync: 'down' }, Note: { sync: 'both' },
                    Plan: { sync: 'both', resolve: 'cloud' }, Manual: { sync: 'both', resolve: 'device' },
                    Secret: { enable: 'device', sync: 'both' }, Report: { enable: 'cloud' },
                },
                models: {
                    \(model("Reading")) \(model("Setting")) \(model("Note")) \(model("Secret")) \(model("Report"))
                    \(model("Plan")) \(model("Manual"))
                    Notice: {
                        pk: { type: 'string', value: 'notices' }, sk: { type: 'string', value: 'notice#${id}' },
                        id: { type: 'string', required: true }, value: { type: 'string' },
                    },
                },
            }
            """.replacing("Report: { enable", with: "Notice: { sync: 'down' }, Report: { enable")
        do throws(IotoError) {
            return try Schema(source: Array(source.utf8), name: "test.json5")
        } catch {
            fatalError(error.message.string)
        }
    }()

    static func model(_ name: Text) -> Model { schema.model(name)! }
}
