import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// A conflict that the firmware is to decide, while its callback runs: what `DbConflict` stands for.
public final class Conflict {
    public let model: Model
    public let database: Database
    private let key: ItemKey
    private let base: StoredItem
    fileprivate var body: [UInt8]?

    fileprivate init(_ database: Database, _ model: Model, _ key: ItemKey, _ base: StoredItem) {
        self.database = database
        self.model = model
        self.key = key
        self.base = base
    }

    /// Takes the decision: the cloud's version, or where it has none the device's, with these properties changed.
    public func resolve(_ changes: JSONObject) throws(IotoError) {
        let prepared = try model.makeUpdate(
            of: try base.properties(), changes, context: database.context, now: database.store.timeOfDay())
        guard prepared.key == key else {
            throw IotoError(.key, "model \"\(model.name)\": a conflict is decided within one item")
        }
        body = prepared.text
    }
}

/// Asks the firmware.
final class Resolver: ConflictResolver {
    /// The database keeps its resolver, and closes before it goes.
    private unowned(unsafe) let database: Database
    private let body: (Conflict, Item?, Item?) -> Void

    init(_ database: Database, _ body: @escaping (Conflict, Item?, Item?) -> Void) {
        self.database = database
        self.body = body
    }

    func resolve(_ model: Model, _ key: ItemKey, mine: StoredItem?, theirs: StoredItem?) -> [UInt8]? {
        guard let base = theirs ?? mine else { return nil }
        let conflict = Conflict(database, model, key, base)
        body(conflict, mine.map { Item($0) }, theirs.map { Item($0) })
        return conflict.body
    }
}

extension Database {
    /// Sets who decides the conflicts of models with `resolve: 'callback'`; nil: nobody, and the later version wins.
    public func setResolver(_ body: ((Conflict, Item?, Item?) -> Void)?) throws(IotoError) {
        try store.requireWriter()
        store.resolver = body.map { Resolver(self, $0) }
    }
}
