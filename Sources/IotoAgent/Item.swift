import IotoBase
import IotoJSON
import IotoSchema
import IotoStore

/// What `DbItem` stands for: an immutable snapshot of an item. The C texts that are read from it live as long as it does.
///
/// One thread at a time uses an item.
public final class Item {
    public let stored: StoredItem
    /// What a trigger can ask of the item that it is called with; nil outside a trigger.
    public let trigger: TriggerContext?
    /// Whether the item as a whole is given with what the schema hides, and with its key attributes.
    public var showsHidden = false
    /// Whether it has just the fields that were asked for, none of which is hidden.
    let isReduced: Bool
    /// Texts that were asked for, by the place of their values in the body. One is the most frequent number.
    private var first: (place: Int, text: UnsafeMutablePointer<CChar>)?
    private var others: [(place: Int, text: UnsafeMutablePointer<CChar>)] = []
    private var json: CText?

    public init(_ stored: StoredItem, trigger: TriggerContext? = nil) {
        self.stored = stored
        self.trigger = trigger
        isReduced = false
    }

    /// With these fields alone; nil: all.
    init(_ stored: StoredItem, fields: [Text]?) {
        self.stored = fields.map { stored.projected($0) } ?? stored
        trigger = nil
        isReduced = fields != nil
    }

    deinit {
        first?.text.deallocate()
        for entry in others { entry.text.deallocate() }
    }

    /// The value at a path; nil when there is none.
    public func value(_ path: Text) -> JSON? {
        stored.value(at: path)
    }

    /// The value at a path as C text: strings as they are, everything else as JSON; nil when there is none or it is null.
    public func text(_ path: UnsafeRawBufferPointer) -> UnsafePointer<CChar>? {
        stored.body.withUnsafeBytes { body in
            guard let range = JSONScanner.member(path, in: body) else { return nil }
            if let first, first.place == range.lowerBound { return UnsafePointer(first.text) }
            for entry in others where entry.place == range.lowerBound { return UnsafePointer(entry.text) }
            guard let text = Item.copy(UnsafeRawBufferPointer(rebasing: body[range])) else { return nil }
            if first == nil {
                first = (range.lowerBound, text)
            } else {
                others.append((range.lowerBound, text))
            }
            return UnsafePointer(text)
        }
    }

    private static func copy(_ raw: UnsafeRawBufferPointer) -> UnsafeMutablePointer<CChar>? {
        switch raw.first ?? 0 {
        case UInt8(ascii: "\"") where raw.count >= 2:
            let inner = UnsafeRawBufferPointer(rebasing: raw[1..<(raw.count - 1)])
            if !inner.contains(UInt8(ascii: "\\")) { return CText.copy(inner) }
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "t"), UInt8(ascii: "f"):
            return CText.copy(raw)
        default:
            break
        }
        guard let value = JSONScanner.decode(raw), !value.isNull else { return nil }
        return CText.copy(value.stringValue ?? Text(value.text))
    }

    /// The whole item as JSON.
    public var jsonText: UnsafePointer<CChar> {
        let text = json ?? CText(Text(visibleBody))
        json = text
        return text.pointer
    }
}

extension Item {
    /// The item as JSON, as a caller gets it.
    public var visibleBody: [UInt8] {
        let model = stored.model
        guard !isReduced, showsHidden || model.hidesProperties, let body = (try? JSON.parse(stored.body))?.objectValue else {
            return stored.body
        }
        return (showsHidden ? model.wholeItem(body: body, key: stored.key) : model.visible(body)).text
    }

    /// The date at a path in Unix milliseconds; nil when there is none.
    public func date(_ path: Text) -> Int64? {
        guard let value = value(path) else { return nil }
        if let field = stored.model.ttlField, field.name == path { return field.time(of: value) }
        return value.dateReading
    }
}

extension JSON {
    fileprivate var dateReading: Int64? {
        switch self {
        case .number: truncatedInteger
        case .string(let text): ISODate.parse(text)
        default: nil
        }
    }
}

/// What happened to the item that a trigger is called with.
public final class TriggerContext {
    public let before: Item?
    public let isRemote: Bool
    /// Of a conflict: the version that has lost.
    public let loser: Item?
    private let reasonText: CText

    init(before: Item?, isRemote: Bool, reason: Text, loser: Item?) {
        self.loser = loser
        self.before = before
        self.isRemote = isRemote
        self.reasonText = CText(reason)
    }

    public var reason: UnsafePointer<CChar> { reasonText.pointer }
}

/// A list of items, what `DbList` stands for.
public final class ItemList {
    public let items: [Item]
    /// Number of items found: those of a count are not in the list.
    public let count: Int
    private let nextText: CText?

    init(count: Int) {
        items = []
        self.count = count
        nextText = nil
    }

    init(items: [Item], next: Text?) {
        self.items = items
        count = items.count
        self.nextText = next.map { CText($0) }
    }

    /// The token of the next page; nil when there is none.
    public var next: UnsafePointer<CChar>? { nextText?.pointer }
}
