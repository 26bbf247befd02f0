import IotoBase
import IotoSchema
import IotoStore

/// A database as it was once.
struct Backup {
    let disk: Disk
    let image: StoreImage
    let replica: UInt64
    let hasRejoined: Bool
    /// See `Judge.Memory`.
    let changedHere: Set<ItemKey>

    init(of device: Device) {
        disk = Disk(device.world, who: device.who, forgetsOnFailedSync: false)
        disk.take(imageOf: device.disk)
        image = device.image
        replica = device.replica
        hasRejoined = device.hasRejoined
        changedHere = device.judge.memories[device.who]?.changedHere ?? []
    }
}

/// Older states of a database that take the place of what there is.
extension Device {
    /// Has what the database is kept: now, in the midst of a connection, or at its next start.
    func backUp() {
        backup = nil
        isBackedUp = store == nil || world.random.chance(500)
        if isBackedUp { kill() } else { backup = Backup(of: self) }
    }

    /// Puts the older state in the place of what there is.
    func restore() {
        guard let backup else { return }
        world.tell(who, "is restored from a backup")
        world.count(fault: "restored")
        disk.kill()
        if store != nil { end() }
        disk.take(imageOf: backup.disk)
        judge.became(self, backup.image, writer: replica)
        judge.memories[who]!.changedHere = backup.changedHere
        (image, replica) = (backup.image, backup.replica)
        (unsynced, doubts, receipts, isContested, wasPowerCut) = ([image], [], [], true, false)
        (self.backup, isBackedUp) = (nil, false)
        reboot()
    }

    /// When the hub has fenced it: it leaves the broker, and after a while the application has it join again.
    func obeyFence() -> Bool {
        guard let replicator, replicator.isFenced else { return false }
        guard !isObeying else { return true }
        isObeying = true
        world.tell(who, "is fenced")
        world.require(isContested || twin != nil, .identity, "\(who) is fenced without a reason")
        world.count(fault: "fenced")
        leaveBroker()
        // Of two that are the same device one may be left alone until the end.
        guard twin == nil || world.random.chance(600) || world.isAtEnd else { return true }
        let process = incarnation
        world.after(world.random.span(1_000...30_000)) { if process == self.incarnation { self.rejoin() } }
        return true
    }

    /// As `ioRejoin`, and a start.
    func rejoin() {
        guard let store, !disk.isDead else { return }
        world.tell(who, "joins again")
        try? store.renewIdentity()
        if disk.isDead { return powerIsGone() }
        kill()
    }
}
