import IotoBase
import IotoSchema
import IotoSync

/// The items of a row of the journal as bytes.
///
/// Of each item there are four numbers of 8 bytes: its version's time and writer, `ItemState.own`, and the store's clock at the
/// commit; then the lengths of four texts, 4 bytes each: hash, sort, model and body; then these. The low byte comes first.
enum JournalCodec {
    fileprivate static let headBytes = 4 * 8 + 4 * 4

    /// - Parameter committed: The store's clock at the commit of each item.
    static func bytes(of items: [ItemState], committed: [UInt64]) -> [UInt8] {
        let total = items.reduce(0) { $0 + size(of: $1.change) }
        return [UInt8](unsafeUninitializedCapacity: total) { buffer, count in
            let memory = UnsafeMutableRawBufferPointer(buffer)
            var offset = 0
            func put(_ number: some FixedWidthInteger) {
                memory.storeBytes(of: number.littleEndian, toByteOffset: offset, as: type(of: number))
                offset += MemoryLayout.size(ofValue: number)
            }
            for (item, time) in zip(items, committed) {
                let change = item.change
                let texts = [change.key.hash.bytes, change.key.sort.bytes, change.model.bytes, change.body]
                for number in [change.version.time, change.version.writer, item.own, time] { put(number) }
                for text in texts { put(UInt32(text.count)) }
                for text in texts {
                    text.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: memory[offset...]).copyMemory(from: $0) }
                    offset += text.count
                }
            }
            count = offset
        }
    }

    private static func size(of change: Change) -> Int {
        headBytes + change.key.hash.count + change.key.sort.count + change.model.count + change.body.count
    }
}

/// An item of the journal.
struct JournalItem: Equatable {
    var change: Change
    var own: UInt64
    var committed: UInt64
}

/// Reads what `JournalCodec` has written.
struct JournalReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The next item; nil behind the last.
    ///
    /// - Throws: `.corrupt`.
    mutating func next() throws(IotoError) -> JournalItem? {
        let start = offset
        guard let lengths = try step() else { return nil }
        func number(_ index: Int) -> UInt64 { load(start + 8 * index) }
        var place = start + JournalCodec.headBytes
        let texts = lengths.map { length in
            defer { place += length }
            return [UInt8](bytes[place..<place + length])
        }
        let change = Change(
            model: Text(texts[2]), key: ItemKey(hash: Text(texts[0]), sort: Text(texts[1])),
            version: Version(time: number(0), writer: number(1)), isRemoval: false, body: texts[3])
        return JournalItem(change: change, own: number(2), committed: number(3))
    }

    /// Steps over items.
    mutating func skip(_ count: Int64) throws(IotoError) {
        var rest = count
        while rest > 0, try step() != nil { rest -= 1 }
    }

    /// - Returns: The lengths of the item's texts, which are all there; nil behind the last.
    private mutating func step() throws(IotoError) -> [Int]? {
        let rest = bytes.count - offset
        if rest == 0 { return nil }
        guard rest >= JournalCodec.headBytes else { throw JournalReader.damage }
        let lengths = (0..<4).map { index in Int(load(offset + 32 + 4 * index) as UInt32) }
        let size = lengths.reduce(JournalCodec.headBytes, +)
        guard size <= rest else { throw JournalReader.damage }
        offset += size
        return lengths
    }

    private func load<Number: FixedWidthInteger>(_ place: Int) -> Number {
        Number(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: Number.self) })
    }

    static var damage: IotoError { IotoError(.corrupt, "the store's journal is damaged") }
}
