import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// What version 1 promises. It has no versions: of two changes without knowledge of each other either may win, and which does is
/// the cloud's to say; a message that the broker drops is not missed; removals that are older than the cloud remembers are not heard of.
extension Judge {
    /// An agent has been told that a change is on the disk, or older than what is.
    func acknowledged(_ agent: Agent, _ sort: Text, _ item: JSONObject, isRemoval: Bool) {
        let key = ItemKey(hash: "device#" + agent.id, sort: sort)
        let stored = cloud.items[key]?.change
        let isOther = stored.map { $0.version.writer != Version1.replica(of: agent.id) } ?? false
        let value = item["value"]?.stringValue ?? ""
        world.require(
            isRemoval ? stored != nil || tainted.contains(key) : values[value] != nil || isOther || value.hasPrefix("c"),
            .acknowledgement, "\(agent.who)'s \(sort.string) = \(value.string) is acknowledged, and not in the cloud")
    }

    /// What differs between an agent and the cloud; nil when nothing does.
    func difference(_ agent: Agent) -> String? {
        if !agent.isConnected { return "it is not connected" }
        if agent.hasWaiting { return "changes wait" }
        var known: Set<Text> = []
        for key in cloud.keys {
            guard let item = cloud.items[key], let model = Models.schema.model(item.change.model), isFor(agent, key, item)
            else { continue }
            known.insert(key.sort)
            guard model.syncsDown, !tainted.contains(key), !model.syncsUp || judgesAgents else { continue }
            let there = item.change.isRemoval ? nil : FieldMerge.object(item.change.body)["value"]
            let here = agent.items[key.sort]?["value"]
            if here != there {
                return "\(key.story) is \(here?.stringValue?.string ?? "nothing") there and "
                    + "\(there?.stringValue?.string ?? "nothing") in the cloud"
            }
        }
        for sort in agent.items.keys.sorted() where judgesAgents && !known.contains(sort) {
            if !tainted.contains(where: { $0.sort == sort }) { return "\(sort.string) is not in the cloud" }
        }
        return nil
    }

    /// Items of an agent that it has changed while a state of the cloud was on its way to it: each side has the other's then, and
    /// neither hears of it again.
    func crossed(_ agent: Agent) -> [(model: Model, key: ItemKey, body: [UInt8])] {
        cloud.keys.compactMap { key in
            guard let item = cloud.items[key], item.owner == agent.id, let model = Models.schema.model(item.change.model),
                model.syncsUp, model.syncsDown
            else { return nil }
            let there = item.change.isRemoval ? nil : FieldMerge.object(item.change.body)["value"]
            return there == agent.items[key.sort]?["value"] ? nil : (model, key, item.change.body)
        }
    }

    private func isFor(_ agent: Agent, _ key: ItemKey, _ item: ItemState) -> Bool {
        guard let stream = item.stream else { return item.owner == agent.id }
        return stream == Stream.all || stream == Stream.device(agent.id)
            || !agent.account.isEmpty && stream == Stream.account(agent.account)
    }
}
