import IotoBase
import IotoStore

/// Several changes, all or nothing.
extension Database {
    /// Begins a transaction: changes of the calling thread join it, until `commit` or `rollBack` on the same thread.
    ///
    /// - Throws: `.misuse` when one is under way on this thread; `.readOnly`; `.busy`.
    public func begin() throws(IotoError) {
        try store.begin()
    }

    /// Makes the changes since `begin` durable, and queues their triggers. The transaction is over in any case.
    public func commit() throws(IotoError) {
        try store.commit()
        waitForTriggers()
    }

    /// Takes the changes since `begin` back.
    public func rollBack() throws(IotoError) {
        try store.rollBack()
    }

    /// Waits while too many triggers wait. Not within a transaction: it may be what the trigger waits for that runs.
    func waitForTriggers() {
        if !store.isInTransaction { triggers.waitForRoom() }
    }
}
