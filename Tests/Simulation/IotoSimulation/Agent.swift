import IotoBase
import IotoJSON
import IotoSchema
import IotoSync

/// An agent that speaks version 1 alone: no versions, no cursors, and no memory of what it has done but the items, the changes that
/// nobody has answered, and the time that it was told last. It keeps them over its end.
final class Agent: ClientOwner {
    /// A change that waits, as it goes out.
    private struct Waiting {
        var command: Text
        var item: JSONObject
        /// Of the last message that it stood in.
        var sequence: Int64 = 0
    }

    let id: Text
    let account: Text
    var who: String { id.string }
    private unowned let world: World
    private let judge: Judge
    private let broker: Broker
    private let wall: WallClock
    let link: Link
    private var client: Client!
    private(set) var items: [Text: JSONObject] = [:]
    private var waiting: [Text: Waiting] = [:]
    private var synced: Int64 = 0
    private var sequence: Int64
    private var lastUpdated: Int64 = 0
    private var valueCount = 0
    private var backoff = Backoff(first: 1_000, last: 60_000)
    private var jitter: JitterGenerator
    private(set) var isConnected = false
    private(set) var published = 0

    init(
        _ world: World, id: Text, account: Text, wall: WallClock, link: Link, broker: Broker, judge: Judge
    ) {
        self.world = world
        self.id = id
        self.account = account
        self.wall = wall
        self.link = link
        self.broker = broker
        self.judge = judge
        sequence = world.random.integer(1...1 << 30)
        jitter = JitterGenerator(seed: world.random.bits())
        var filters: [Text] = ["ioto/device/" + id + "/sync/+", "ioto/account/all/sync/+"]
        if !account.isEmpty { filters.append("ioto/account/" + account + "/sync/+") }
        client = Client(world, id: id, filters: filters, cleanSession: false, will: nil, link: link, broker: broker, owner: self)
    }

    var hasWaiting: Bool { !waiting.isEmpty }

    func start() { client.connect() }

    /// Has it come again: only then does it send again what nobody has answered.
    func reconnect() { client.connection?.breakAtBroker() }

    func cutLink(for time: Int64) {
        guard !link.isCut else { return }
        link.isCut = true
        world.after(time) { [link] in link.restore() }
    }

    func end() { client.die() }

    // MARK: ClientOwner

    func clientConnected() {}

    func clientSubscribed() {
        isConnected = true
        backoff.reset()
        world.tell(who, "is connected")
        send(waiting.keys.sorted())
        publish("syncDown", ["timestamp": .string(ISODate.text(synced))])
    }

    func clientDisconnected() {
        isConnected = false
        world.after(backoff.next(using: &jitter)) { self.client.connect() }
    }

    func clientReceived(_ message: Message) {
        guard let verb = message.topic.string.split(separator: "/").last, let json = try? JSON.parse(message.payload),
            let object = json.objectValue, json["v"] == nil
        else { return }
        world.tell(who, "receives \(verb) \(String(decoding: message.payload, as: UTF8.self))")
        switch verb {
        case "SYNC":
            let number = json["seq"]?.integerValue
            for key in json["keys"]?.arrayValue ?? [] {
                guard let key = key.stringValue, let change = waiting[key], change.sequence == number else { continue }
                judge.acknowledged(self, key, change.item, isRemoval: change.command == "remove")
                waiting[key] = nil
            }
            synced = max(synced, time(json["updated"]))
        case "SYNCDOWN": synced = max(synced, time(json["updated"]))
        // An item of a model without times is not older than any.
        case "INSERT", "UPSERT", "MODIFY": take(object, json["updated"] == nil ? .max : time(json["updated"]))
        case "REMOVE":
            guard let key = object["sk"]?.stringValue, let known = items[key] else { return }
            // Any other member has to be the same as in its copy.
            if object.allSatisfy({ known[$0.key] == $0.value }) { items[key] = nil }
        default: break
        }
    }

    private func take(_ object: JSONObject, _ updated: Int64) {
        guard let key = object["sk"]?.stringValue else { return judge.world.fail(.tenancy, "\(who) gets an item without a key") }
        let owner = object["deviceId"]?.stringValue ?? id
        world.require(owner == id, .tenancy, "\(who) gets \(key.string) of \(owner.string)")
        if let known = items[key], time(known["updated"]) > updated {
            // What looks older than its copy is passed over, and the copy is sent.
            guard let model = known["_type"]?.stringValue.flatMap({ Models.schema.model($0) }), model.syncsUp else { return }
            if waiting[key] == nil {
                waiting[key] = Waiting(command: "update", item: known)
                if let value = known["value"]?.stringValue { judge.resent.insert(value) }
            }
            return send([key])
        }
        var item = object
        item["deviceId"] = .string(id)
        if !account.isEmpty { item["accountId"] = .string(account) }
        item["updated"] = .string(ISODate.text(now()))
        items[key] = item
    }

    // MARK: The application

    func write(ids: Int64) {
        let name: Text = world.random.pick(["Note", "Note", "Reading"])
        let number = Text(decimal: world.random.integer(1...ids))
        let key = name + "#" + number
        if world.random.chance(200) {
            guard let known = items.removeValue(forKey: key) else { return }
            world.tell(who, "removes \(key.string)")
            // With the `updated` of the item as it was.
            waiting[key] = Waiting(command: "remove", item: known)
        } else {
            valueCount += 1
            let value = id + "." + Text(decimal: Int64(valueCount))
            var item: JSONObject = [
                "_type": .string(name), "sk": .string(key), "id": .string(number),
                "value": .string(value), "deviceId": .string(id),
                "updated": .string(ISODate.text(now())),
            ]
            if !account.isEmpty { item["accountId"] = .string(account) }
            world.tell(who, "writes \(key.string) = \(value.string)")
            items[key] = item
            waiting[key] = Waiting(command: "upsert", item: item)
        }
        if isConnected { send([key]) }
    }

    private func send(_ keys: [Text]) {
        guard !keys.isEmpty else { return }
        sequence += 1
        var changes: [JSON] = []
        for key in keys {
            waiting[key]!.sequence = sequence
            let change = waiting[key]!
            changes.append(.object(["cmd": .string(change.command), "key": .string(key), "item": .object(change.item)]))
        }
        publish("syncToDynamo", ["seq": .integer(sequence), "changes": .array(changes)])
    }

    private func publish(_ verb: Text, _ object: JSONObject) {
        published += 1
        let message = Message(
            topic: "$aws/rules/IotoDevice/ioto/service/" + id + "/db/" + verb, payload: JSON.object(object).text)
        world.mark(message.payload)
        world.tell(who, "sends \(verb.string) \(String(decoding: message.payload, as: UTF8.self))")
        client.publish(message)
    }

    /// Later than every time before.
    private func now() -> Int64 {
        lastUpdated = max(lastUpdated + 1, wall.time)
        return lastUpdated
    }

    private func time(_ value: JSON?) -> Int64 { value?.stringValue.flatMap { ISODate.parse($0) } ?? 0 }
}
