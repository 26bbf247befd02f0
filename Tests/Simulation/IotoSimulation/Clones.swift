import IotoBase
import IotoStore
import IotoSync

/// Two machines where there was one: a storage image cloned to a second one, under the same device id or another, or
/// a second database started under the same id.
extension Simulation {
    private static let devicesMax = 6

    func clone(_ device: Device) {
        guard device.twin == nil, device.isRunning, devices.count < Simulation.devicesMax else { return }
        let isOther = world.random.chance(250)
        let isBlank = !isOther && world.random.chance(200)
        let name = isOther ? "d\(devices.count + 1)" : device.who + "'"
        let twin = Device(
            world, id: isOther ? Text(name) : device.id, account: device.account, wall: mixture.clock(world),
            link: Link(latency: world.random.pick([1...10, 20...200, 50...3_000]), bytesPerSecond: 0), broker: broker,
            judge: judge, durability: world.random.chance(750) ? .full : .normal,
            refreshInterval: device.configuration.refreshInterval, name: name)
        world.tell(
            device.who,
            isOther
                ? "has its storage copied for a device \(name)"
                : isBlank ? "is started a second time as \(name), with another database" : "is cloned as \(name)")
        if !isBlank { twin.begin(with: Backup(of: device)) }
        if !isOther { (twin.twin, device.twin) = (device, twin) }
        devices.append(twin)
        world.after(world.random.span(100...60_000)) { twin.boot() }
    }

    /// Of two that are the same device the second one is switched off for good, once the cloud has all that it has: nothing of
    /// either one may be lost.
    func retireTwins() {
        let twins = devices.filter { $0.twin != nil && $0.who != $0.id.string }
        guard !twins.isEmpty else { return }
        let originals = twins.map { $0.twin! }
        for device in originals { device.switchOff() }
        for twin in twins { twin.goOn() }
        devices.removeAll { device in originals.contains { $0 === device } }
        awaitConvergence()
        for twin in twins { twin.switchOff() }
        devices.removeAll { device in twins.contains { $0 === device } }
        retired += twins
        for device in originals { device.goOn() }
        devices += originals
    }
}

extension Device {
    /// Takes a copy of another machine's storage.
    func begin(with copy: Backup) {
        disk.take(imageOf: copy.disk)
        (image, replica, isContested, hasRejoined) = (copy.image, copy.replica, true, copy.hasRejoined)
        unsynced = [image]
        judge.cloned(self, copy)
    }

    func switchOff() {
        world.tell(who, "is switched off")
        isOff = true
        disk.kill()
        if store != nil { end() }
    }

    /// It is the one that is to be the device from now on.
    func goOn() {
        isOff = false
        if replicator?.isFenced ?? false { return rejoin() }
        // One that was not fenced, since the two took turns, hears of what the other wrote under its id when its process starts.
        if isRunning, twin != nil { restart() }
        boot()
    }
}

extension Judge {
    /// The device has been given the image of another one.
    func cloned(_ device: Device, _ copy: Backup) {
        contested.insert(device.id)
        copied.insert(device.replica)
        resends(device.image)
        var memory = Memory()
        memory.changedHere = copy.changedHere
        for key in device.image.keys { memory.highest[key] = device.image.version(key) }
        memories[device.who] = memory
    }
}
