import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// Items by the file, in; and by the line, out.
extension Database {
    /// Puts the items of a JSON5 file into the database, all or none: an object with an array of items, or one item, for each
    /// model's name. Items that exist are changed.
    ///
    /// - Returns: Their number.
    /// - Throws: What makes an item wrong, with file and line. Within a transaction those before it are part of that.
    public func loadData(_ path: Text) throws(IotoError) -> Int {
        let source = try Files.read(path, bytesMax: Limits.dataBytesMax)
        let root: JSON
        do throws(IotoError) {
            root = try JSON.parse(source, syntax: .json5)
        } catch {
            throw IotoError(error.code, "\(path): \(error.message)")
        }
        guard let models = root.objectValue else { throw IotoError(.json, "\(path): an object is expected") }
        let isOwn = !store.isInTransaction
        if isOwn { try begin() }
        do throws(IotoError) {
            var count = 0
            for (name, value) in models.members {
                let items = value.arrayValue ?? [value]
                for place in items.indices {
                    do throws(IotoError) {
                        guard let item = items[place].objectValue else { throw IotoError(.json, "an item is an object") }
                        _ = try create(name, item, isUpsert: true)
                    } catch {
                        let line = JSONLocator.line(of: [name, Text(decimal: Int64(place))], in: source) ?? 1
                        throw IotoError(error.code, "\(path):\(line): \(error.message)", detail: error.detail)
                    }
                    count += 1
                }
            }
            if isOwn { try commit() }
            return count
        } catch {
            if isOwn, store.isInTransaction { try rollBack() }
            throw error
        }
    }

    /// Calls a function with every item, model by model in the order of their keys.
    public func eachItem(_ body: (Item) -> Void) throws(IotoError) {
        for model in schema.models where model.existsOnDevice {
            var options = QueryOptions()
            options.limit = 100
            repeat {
                let page = try find(model.name, JSONObject(), options: options)
                for item in page.items { body(item) }
                options.next = page.next.map { Text(cString: $0) }
            } while options.next != nil
        }
    }
}
