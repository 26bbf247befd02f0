import IotoBase
import IotoJSON
import IotoSchema
import IotoStore
import IotoSync

/// What was written over by someone who knew it does not come back, whoever wins a conflict.
///
/// Every value is written once. So of each item, or of each field where fields are merged, what is there in the end must not
/// have been written over anywhere: not by a change, nor by a removal. That a change of one field survives a concurrent one of
/// another follows, and that no delete comes back.
extension Judge {
    struct FieldValue: Hashable {
        let key: ItemKey
        let name: Text
        let value: Text
    }

    /// Notes a write that is confirmed.
    ///
    /// - Parameters:
    ///   - before: The item's body before it; nil: there was none.
    ///   - after: nil: it was removed.
    func wrote(_ key: ItemKey, _ model: Model, over before: [UInt8]?, _ after: [UInt8]?) {
        guard let before, before != after else { return }
        // A field's change that is made without knowledge of a removal brings the others back with it.
        if after == nil, model.mergesFields { tainted.insert(key) }
        let (old, new) = (FieldMerge.object(before), FieldMerge.object(after ?? []))
        for name in Models.changedFields(of: model) {
            let (was, value) = (old[name]?.stringValue ?? "", new[name]?.stringValue ?? "")
            if was != value { overwritten.insert(FieldValue(key: key, name: name, value: was)) }
        }
    }

    /// What a device's firmware has made of two values.
    func resolved(_ key: ItemKey, _ loser: [UInt8]?, to result: [UInt8]) {
        guard let loser, let model = Models.schema.model("Recipe") else { return }
        wrote(key, model, over: loser, result)
    }

    /// Of these items nothing is known any more: what was written may be lost, and what was written over may be back.
    func taint(_ keys: some Sequence<ItemKey>) { tainted.formUnion(keys) }

    /// The end: every device's last write of an item has been stored, or something has that is later.
    func checkKeeping() {
        for (key, number) in lastWritten.sorted(by: { $0.key < $1.key }) where !tainted.contains(key) && !cloudMayWin(key) {
            let there = cloud.items[key]?.change.version ?? .zero
            let versions = aliases[number].versions
            world.require(
                lastStored[key] ?? -1 >= number || stamped.contains(key)
                    || versions.contains { there >= $0 || rejections.contains($0) }, .keeping,
                "\(key.story), written at \(versions[0].story), never came to the cloud, which has \(there.story)")
        }
    }

    /// The end: what the cloud has, and with it every replica, is what nobody has written over.
    func checkCausality() {
        for key in cloud.keys where !tainted.contains(key) && !agents.contains(where: { key.hash == "device#" + $0 }) {
            guard let change = cloud.items[key]?.change, !change.isRemoval, let model = Models.schema.model(change.model)
            else { continue }
            let item = FieldMerge.object(change.body)
            for name in Models.changedFields(of: model) {
                let value = item[name]?.stringValue ?? ""
                world.require(
                    !overwritten.contains(FieldValue(key: key, name: name, value: value)), .causality,
                    "\(key.story) ends with \(name.string) '\(value.string.prefix(12))', which was written over")
            }
        }
    }
}
