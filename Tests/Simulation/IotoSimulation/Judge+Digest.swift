import IotoBase
import IotoSchema
import IotoStore
import IotoSync

/// The digests by which an operator compares both sides: the product computes them.
extension Judge {
    func checkDigests(_ device: Device) {
        var streams = [Stream.device(device.id), Stream.all]
        if !device.account.isEmpty { streams.append(Stream.account(device.account)) }
        for stream in streams {
            do throws(IotoError) {
                var (mine, theirs): ([ItemKey: ContentHash], [ItemKey: ContentHash]) = ([:], [:])
                guard
                    let here = try device.store?.digest(of: stream, { _, key, hash in
                        mine[key] = hash
                        return true
                    })
                else { continue }
                let there = try digest(of: stream) { theirs[$0] = $1 }
                let other = Set(mine.keys).union(theirs.keys).filter { mine[$0] != theirs[$0] }.sorted()
                world.require(
                    here.hash == there.hash && here.items == there.items, .digests,
                    "\(device.who) has \(here.items) items of \(stream.string), digest \(here.hash.text.string), the cloud "
                        + "\(there.items), digest \(there.hash.text.string): " + other.map { $0.story }.joined(separator: ", "))
            } catch {
                world.fail(.digests, "\(device.who): \(error.message.string)")
            }
        }
    }

    private func digest(
        of stream: Text, _ visit: (ItemKey, ContentHash) -> Void
    ) throws(IotoError) -> StreamDigest {
        var digest = StreamDigest(of: stream)
        for key in cloud.keys {
            guard let change = cloud.items[key]?.change, !change.isRemoval, let model = Models.schema.model(change.model)
            else { continue }
            if let hash = try digest.add(model, key, change.body) { visit(key, hash) }
        }
        return digest
    }

    /// Items that the device and the cloud hold different states of though everything has converged: what the device has changed
    /// of a model that only comes down, and what the cloud has of one that only goes up.
    func oneSided(_ device: Device) -> [(model: Model, key: ItemKey, body: [UInt8])] {
        let own = "device#" + device.id
        var keys = changedThere.filter { $0.hash == own }.union(memories[device.who]?.changedHere ?? [])
        // What only goes up does not come back to an older state of the database, nor to another database of the device.
        if contested.contains(device.id) || device.twin != nil { keys.formUnion((cloud.keys + device.image.keys).filter { $0.hash == own }) }
        return keys.sorted().compactMap { key in
            // A copy that has become another device has items of the one that it was.
            if key.hash.hasPrefix("device#"), key.hash != own { return nil }
            let (row, item) = (device.image.row(key), cloud.items[key])
            guard let name = item?.change.model ?? row?.model, let model = Models.schema.model(name),
                model.syncsUp != model.syncsDown, let body = row?.body ?? item?.change.body,
                row?.isRemoval ?? true != item?.change.isRemoval ?? true || row?.isRemoval == false && !isSame(row, item)
            else { return nil }
            return (model, key, body)
        }
    }
}
