import Foundation
import IotoBase

/// Finds the schema that a program of the cloud works under: the file that it is told, else `schema.json5` in the working
/// directory, else the one that the store was served with last.
public enum SchemaSource {
    /// The file that is looked for in the working directory.
    public static let defaultName = "schema.json5"

    /// What is wrong when neither a file nor the store has a schema.
    public static let missing = IotoError(
        .configuration, "no schema: name one with --schema FILE; there is no \(defaultName) here, and none in the store")

    /// The schema of the file given, else of `schema.json5`; nil when no file is given and there is none by that name.
    ///
    /// - Throws: `.io` with the file's name.
    public static func find(file: String?) throws(IotoError) -> SchemaText? {
        if let file { return try read(file) }
        return FileManager.default.fileExists(atPath: defaultName) ? try read(defaultName) : nil
    }

    private static func read(_ file: String) throws(IotoError) -> SchemaText {
        SchemaText(name: Text(file), source: try Files.read(Text(file), bytesMax: Limits.schemaBytesMax))
    }
}
