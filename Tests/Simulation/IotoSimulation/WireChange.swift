import IotoBase
import IotoJSON
import IotoSchema

/// What a change on the wire says, brief or not: a brief one leaves out the key, which the schema gives, and on the way up the
/// writer, which the message names.
extension JSON {
    /// - Parameter message: The message that the change stands in.
    func wireVersion(in message: JSON) -> Version? {
        guard let text = self["ver"]?.stringValue else { return nil }
        if let version = Version(text) { return version }
        return message["replica"]?.stringValue.flatMap { Version(text + "-" + $0) }
    }

    /// The sort key.
    var wireKey: Text? {
        if let key = self["key"]?.stringValue { return key }
        guard let item = self["item"]?.objectValue, let name = item["_type"]?.stringValue else { return nil }
        return (try? Models.schema.model(name)?.itemKey(of: item))?.sort
    }
}
