import IotoBase
import IotoSchema

/// Numbers of the models in the file. They stay when the schema changes, so that items of a model that is gone for a
/// while are found again.
struct ModelTable {
    /// By the model's ordinal; 0 when a file that is only read has no such model.
    private var numbers: [Int64]
    private var models: [Int64: Model] = [:]
    private var sent: [Int64: Bool] = [:]

    /// Reads the table.
    init(_ connection: Connection, _ schema: Schema) throws(IotoError) {
        numbers = [Int64](repeating: 0, count: schema.models.count)
        let statement = try connection.prepare("SELECT id, name, sent FROM model", isPersistent: false)
        while try statement.step() {
            let number = try statement.integer(0)
            // The row without a name is a mark, see `StoreFormat`.
            if try statement.text(1).isEmpty { continue }
            sent[number] = try statement.integer(2) != 0
            guard number > 0, let model = schema.model(try statement.text(1)) else { continue }
            numbers[model.ordinal] = number
            models[number] = model
        }
    }

    /// Enters the schema's new models, and adapts the queue when the schema sends other models than the last one did.
    init(updating connection: Connection, _ schema: Schema) throws(IotoError) {
        let stored = try ModelTable(connection, schema)
        guard !stored.fits else {
            self = stored
            return
        }
        try StoreFormat.transaction(connection) { () throws(IotoError) in
            for model in schema.models {
                let statement = try connection.prepare(
                    "INSERT OR IGNORE INTO model(name, sent) VALUES(?1, 0)", isPersistent: false)
                try statement.bind(1, model.name)
                try statement.run()
            }
            let entered = try ModelTable(connection, schema)
            for (number, _) in entered.sent {
                let statement = try connection.prepare("UPDATE model SET sent = ?2 WHERE id = ?1", isPersistent: false)
                try statement.bind(1, number)
                try statement.bind(2, entered.models[number]?.syncsUp ?? false ? 1 : 0)
                try statement.run()
            }
            try ModelTable.park(connection)
        }
        try self.init(connection, schema)
    }

    func number(_ model: Model) -> Int64 {
        model.ordinal < numbers.count ? numbers[model.ordinal] : 0
    }

    /// The model of that number; nil when the schema has none.
    func model(_ number: Int64) -> Model? {
        models[number]
    }

    private var fits: Bool {
        for number in numbers where number == 0 { return false }
        for (number, isSent) in sent where isSent != (models[number]?.syncsUp ?? false) { return false }
        return true
    }

    /// Puts the pending changes of models that are no longer sent aside, and takes those back that are sent again: a
    /// schema that is rolled back with its firmware finds its changes.
    private static func park(_ connection: Connection) throws(IotoError) {
        func move(from source: Text, to target: Text, whereSent sent: Text) throws(IotoError) {
            try connection.execute(
                "INSERT OR REPLACE INTO " + target + "(position, hash, sort) SELECT q.position, q.hash, q.sort FROM "
                    + source + " AS q LEFT JOIN item AS i ON i.hash = q.hash AND i.sort = q.sort "
                    + "LEFT JOIN tombstone AS t ON t.hash = q.hash AND t.sort = q.sort "
                    + "WHERE coalesce(i.model, t.model) IN (SELECT id FROM model WHERE sent = " + sent + ")")
            try connection.execute(
                "DELETE FROM " + source + " WHERE position IN (SELECT position FROM " + target + ")")
        }
        try move(from: "parked", to: "outbox", whereSent: "1")
        try move(from: "outbox", to: "parked", whereSent: "0")
    }
}
