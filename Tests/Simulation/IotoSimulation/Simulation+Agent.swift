import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// Peers of version 1 in the mix.
extension Simulation {
    /// The agent's application writes, or the cloud's writes to the agent.
    func actOnAgent(_ agent: Agent) {
        guard world.random.chance(500) else { return agent.write(ids: mixture.ids) }
        let model = Models.model(world.random.pick(["Note", "Note", "Setting"]))
        writeAnew(
            model,
            JSON.object([
                "id": .string(Text(decimal: world.random.integer(1...mixture.ids))), "deviceId": .string(agent.id),
                "updated": .string(ISODate.text(cloud.wall.time)),
            ]).text,
            isRemoval: world.random.chance(250))
    }

    func disturbAgent() {
        guard !agents.isEmpty else { return }
        let agent = world.random.pick(agents)
        if world.random.chance(500) {
            world.tell(agent.who, "its connection breaks")
            agent.reconnect()
        } else {
            world.tell(agent.who, "its link is cut")
            agent.cutLink(for: world.random.span(1_000...100_000))
        }
    }
}
