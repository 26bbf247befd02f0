import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

/// 2026-11-20T23:40:48.312Z
let now: Int64 = 1_795_218_048_312

/// A schema of one model `Fault` with key `fault#${id}`, of the fields given, and parameters.
func schema(_ fields: String, params: String = "", indexes: String = "primary: {sort: 'sk'}", rest: String = "")
    throws -> Schema
{
    try parse(
        """
        {
            format: 'onetable:1.1.0', version: '1.2.3',
            indexes: {\(indexes)},
            params: {\(params)},

            models: {Fault: {
        \(fields)
            }},
            \(rest)
        }
        """)
}

func parse(_ source: String) throws -> Schema {
    try Schema(source: Array(source.utf8), name: "schema.json5", generator: countingGenerator())
}

/// The model `Fault` with a field `id` that makes up the key, and the fields given.
func model(_ fields: String = "", params: String = "", indexes: String = "primary: {sort: 'sk'}") throws -> Model {
    let source = "sk: {value: 'fault#${id}'}, id: {type: 'string'}, \(fields)"
    return try #require(try schema(source, params: params, indexes: indexes).model("Fault"))
}

func object(_ source: String) throws -> JSONObject {
    try #require(try JSON.parse(Array(source.utf8), syntax: .json5).objectValue)
}

func text(_ object: JSONObject) -> String {
    Text(object.text).string
}

/// An error as tests compare it.
struct Failure {
    var code: ErrorCode
    var message: String
}

/// The error that `body` throws.
func error<Result>(_ body: () throws -> Result, sourceLocation: SourceLocation = #_sourceLocation) -> Failure {
    do {
        _ = try body()
    } catch let error as IotoError {
        return Failure(code: error.code, message: error.message.string)
    } catch {}
    Issue.record("no error", sourceLocation: sourceLocation)
    return Failure(code: .misuse, message: "")
}

/// Whether an error has this code and text.
func expectError<Result>(
    _ code: ErrorCode, _ message: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Result
) {
    let found = error(body, sourceLocation: sourceLocation)
    #expect(found.code == code, sourceLocation: sourceLocation)
    #expect(found.message == message, sourceLocation: sourceLocation)
}

func countingGenerator() -> IDGenerator {
    let counter = Counter()
    return IDGenerator { counter.next() }
}

final class Counter: @unchecked Sendable {
    private var count: UInt64 = 0
    func next() -> UInt64 {
        count += 1
        return count
    }
}

extension Model {
    /// The body of a new item, as text.
    func created(_ properties: String, _ context: Context = [:]) throws -> String {
        IotoSchemaTests.text(try makeItem(try object(properties), context: context, now: now).body)
    }

    /// The body after changes, as text.
    func updated(_ current: String, _ changes: String, _ context: Context = [:]) throws -> String {
        IotoSchemaTests.text(
            try makeUpdate(of: try object(current), try object(changes), context: context, now: now).body)
    }

    func replicated(_ item: String, _ context: Context = [:]) throws -> String {
        IotoSchemaTests.text(try makeReplica(try object(item), context: context).body)
    }
}
