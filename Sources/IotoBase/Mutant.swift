#if IOTO_MUTANTS
    /// Faults that scripts/simulate plants in the product, to see that its simulations find them. Nothing of it is in a build
    /// without `IOTO_MUTANTS`, and so not in a library that ships.
    public enum Mutant: String, CaseIterable, Sendable {
        case ackClearsNewer = "an acknowledgement clears a newer change of the item"
        case ackOfLaterTryIgnored = "the answer to a later try leaves an item that the earlier one moved"
        case cursorBeforeItems = "the cursor is committed before the items"
        case tombstoneIgnored = "an older change is applied over a tombstone"
        case noTombstone = "a removal of the cloud leaves no tombstone"
        case versionIgnored = "an older change of the cloud takes the place of a newer one"
        case clockNotPersisted = "the clock's ceiling is not written"
        case outboxRowLost = "an older change of the cloud takes a newer pending one out of the outbox"
        case deviceTrustsDirection = "the device applies what does not come down"
        case hubTrustsDirection = "the hub stores what does not go up"
        case hubTrustsOwner = "the hub stores what is another device's"
        case neverResent = "a batch without an answer is not sent again"
        case gapIgnored = "a page behind a gap is applied"
        case advanceUnchecked = "a cursor steps over own changes wherever it stands"
        case hubAcksBeforeStoring = "the hub acknowledges before the store has it"
        case questionForgotten = "a question without an answer is not asked again"
        case pleaIgnored = "the hub's plea to ask is not heard"
        case moveMissed = "a change that is stored while a question is answered is not published"
        case sentBeforeDurable = "a version is sent that a loss of power takes back"
        case neverSynced = "commits are not synced"
        case eventTwice = "a change of the cloud fires its trigger twice"
        case stampStored = "the hub stores a change from the future under a version of its own"
        case fenceIgnored = "the hub heeds a database that another one has followed"
        case ownLeftOut = "a device that begins is not sent its own changes"
        case rollbackKept = "what is rolled back is committed"
        case snapshotKeepsMissing = "what a snapshot does not name stays on the device"
        case snapshotTakesPending = "what a snapshot does not name goes though a change of it waits"
        case lossTakenForRemoval = "what the cloud has lost is removed on the device"
        case removalsUnsent = "removals are not sent again to a cloud that has lost them"
        case snapshotEndsEarly = "a snapshot ends with its first page"
        case unnamedForgotten = "what only goes up is not sent again to a cloud that has lost it"
        case floorIgnored = "a device that has missed removals is not told to begin anew"
        case wholeItemWins = "the hub does not merge fields"
        case joinedSteppedOver = "a device's cursor steps over what the hub made of its change and another"
        case resolutionUnversioned = "what the firmware makes of two versions keeps the version of one"
        case heldBlocksQueue = "changes that await a page keep others from being sent"
        case digestWithoutUp = "the device's digest leaves out what only goes up"
        case purgedEarly = "tombstones are forgotten as soon as they are acknowledged"

        nonisolated(unsafe) private static var active: Mutant?

        public static func isActive(_ mutant: Mutant) -> Bool { active == mutant }

        /// Before any simulation begins, and by one thread.
        public static func activate(_ mutant: Mutant?) { active = mutant }
    }
#endif
