import CPlatform
import IotoBase
import IotoJSON

/// How a new item is written straight from pairs of C texts, its key included: what a create does most often, and needs no
/// tree of values for. Whatever would have to be judged is left to `makeItem`, which gives the same item, or says what is
/// wrong.
final class ItemPlan: @unchecked Sendable {
    let fields: UnsafeMutableBufferPointer<platform_field>
    /// The same to read items by.
    let readers: UnsafeMutableBufferPointer<platform_field>
    /// What an item begins with that is read by them, up to its first member; nil: it takes more to read one.
    let head: [UInt8]?
    /// The field that says whose an item is.
    let ownerPlace: Int?
    /// Fields that are looked at one by one: what is filled in when nothing is given, or is required, or is converted.
    let special: [Int]
    /// Whether a new item may have the time in it.
    let isTimed: Bool
    let keys: KeyPlan
    /// The fields of `keys.names`.
    let keyPlaces: [Int]
    /// Bytes that the keys in secondary indexes have beside the item's properties, and how many properties are in them.
    private let indexBytes: Int
    private let indexParts: Int
    /// What `fields` points to.
    private var texts: [CText] = []

    init?(_ model: Model) {
        guard let keyPlan = model.keyPlan, !model.fields.isEmpty, model.nestedTemplates.isEmpty else { return nil }
        var special: [Int] = []
        var isTimed = false
        for (place, field) in model.fields.enumerated() {
            let attributes = field.attributes
            guard field.template == nil || (!field.isStored && attributes.pattern == nil), attributes.scope == nil,
                attributes.defaultValue?.depth ?? 0 == 0,
                JSON.string(field.name).text.count == field.name.count + 2
            else { return nil }
            if field.template != nil { continue }
            let isMade = place == model.createdPlace || place == model.updatedPlace || attributes.defaultValue != nil
                || attributes.generation != nil || field.kind == PLATFORM_FIELD_MADE
            if isMade || attributes.isRequired { special.append(place) }
            if isMade { isTimed = true }
        }
        var (bytes, parts) = (0, 0)
        for (_, keys) in model.keys.secondary {
            for part in [keys.hash, keys.sort] {
                for part in part?.template.parts ?? [] {
                    switch part {
                    case .literal(let text): bytes += text.count
                    case .variable(let variable):
                        guard variable.field?.type.isScalar == true else { return nil }
                        // A number may be written longer in a key.
                        bytes += variable.width + 32
                        parts += 1
                    }
                }
            }
        }
        self.special = special
        self.isTimed = isTimed
        keys = keyPlan
        keyPlaces = keyPlan.names.map { model.fieldSet.index(of: $0) ?? 0 }
        indexBytes = bytes
        indexParts = parts
        fields = .allocate(capacity: model.fields.count)
        readers = .allocate(capacity: model.fields.count)
        ownerPlace = model.fieldSet.index(of: "deviceId")
        head = model.isReadWhole ? Array(JSON.object([model.settings.typeField: .string(model.name)]).text.dropLast()) : nil
        for (place, field) in model.fields.enumerated() {
            let name = CText(field.name)
            texts.append(name)
            var allowed: UnsafePointer<CChar>?
            if !field.attributes.allowed.isEmpty {
                var list: [UInt8] = []
                for value in field.attributes.allowed { list += (value.stringValue?.bytes ?? []) + [0] }
                let text = CText(Text(list))
                texts.append(text)
                allowed = text.pointer
            }
            let kind = Int32(truncatingIfNeeded: field.template == nil ? field.kind : PLATFORM_FIELD_NONE)
            fields[place] = platform_field(
                name: name.pointer, name_bytes: field.name.count, allowed: allowed, kind: kind)
            readers[place] = fields[place]
            readers[place].kind = Int32(truncatingIfNeeded: field.readKind)
        }
    }

    deinit {
        fields.deallocate()
        readers.deallocate()
    }

    /// Whether an item of so many bytes can't have a key that is too long for an index.
    func fitsIndexes(_ bytes: Int) -> Bool { indexBytes + indexParts * bytes <= Limits.keyBytesMax }
}

extension Field {
    /// How a text is written as a value of the field.
    fileprivate var kind: Int {
        if attributes.pattern != nil { return PLATFORM_FIELD_MADE }
        switch type {
        case .string:
            // Of texts alone, none of which is empty, since that ends a list of C texts.
            for value in attributes.allowed where value.stringValue?.isEmpty ?? true { return PLATFORM_FIELD_MADE }
            return PLATFORM_FIELD_TEXT
        case .number where attributes.allowed.isEmpty: return PLATFORM_FIELD_NUMBER
        case .boolean where attributes.allowed.isEmpty: return PLATFORM_FIELD_BOOLEAN
        default: return PLATFORM_FIELD_MADE
        }
    }

    /// How a value of the field is read that needs no conversion.
    fileprivate var readKind: Int {
        if template != nil { return isStored ? PLATFORM_FIELD_TEXT : PLATFORM_FIELD_NONE }
        switch type {
        case .string: return PLATFORM_FIELD_TEXT
        case .number: return PLATFORM_FIELD_NUMBER
        case .boolean: return PLATFORM_FIELD_BOOLEAN
        case .date where attributes.isoDates && !attributes.isTTL: return PLATFORM_FIELD_DATE
        default: return PLATFORM_FIELD_MADE
        }
    }
}

extension Model {
    /// Whether a new item may have the time in it.
    public var isTimed: Bool { itemPlan?.isTimed ?? true }

    /// A new or changed item, as `makeItem` or `makeUpdate` would make it of properties that are given as pairs of C texts.
    ///
    /// - Parameters:
    ///   - item: The stored body that is changed; nil: there is none, or it is not known yet. What is given of a change is
    ///     then written as if it were all, which tells the key, and whether the properties take no more than this.
    ///   - isNew: What is not given is filled in.
    ///   - pairs: Name, value, name, value, ...; those of the key among them.
    ///   - count: Number of texts.
    /// - Returns: nil when it takes more than this to tell.
    @inline(never)
    public func writeItem(
        over item: [UInt8]? = nil, isNew: Bool, _ pairs: UnsafePointer<UnsafePointer<CChar>?>, count: Int,
        context: Context, now: Int64
    ) -> (key: ItemKey, body: [UInt8])? {
        guard let plan = itemPlan else { return nil }
        return withUnsafeTemporaryAllocation(of: platform_given.self, capacity: plan.fields.count) { values in
            var made: [UInt8] = []
            guard let start = values.baseAddress,
                platform_item_match(plan.fields.baseAddress, values.count, pairs, count, start),
                putContext(plan, values, context, &made),
                isNew ? make(plan, values, now, &made) : prepareChange(plan, values, now, &made)
            else { return nil }
            return made.withUnsafeBytes { write(plan, values, $0, over: item) }
        }
    }

    private func prepareChange(
        _ plan: ItemPlan, _ values: UnsafeMutableBufferPointer<platform_given>, _ now: Int64, _ made: inout [UInt8]
    ) -> Bool {
        for place in plan.keyPlaces { values[place].is_fixed = true }
        if let place = createdPlace, values[place].text != nil { return false }
        if let place = updatedPlace { values[place].put(fields[place].date(now), &made) }
        return true
    }

    private func putContext(
        _ plan: ItemPlan, _ values: UnsafeMutableBufferPointer<platform_given>, _ context: Context, _ made: inout [UInt8]
    ) -> Bool {
        for entry in context.entries {
            guard let place = takesContext(entry.name) else { continue }
            guard plan.fields[place].kind == PLATFORM_FIELD_TEXT, plan.fields[place].allowed == nil else { return false }
            values[place].put(.string(entry.value), &made)
            values[place].is_fixed = true
        }
        return true
    }

    /// Makes what is not written as it is given, as JSON.
    private func make(
        _ plan: ItemPlan, _ values: UnsafeMutableBufferPointer<platform_given>, _ now: Int64, _ made: inout [UInt8]
    ) -> Bool {
        for place in plan.special {
            let field = fields[place]
            if place == createdPlace || place == updatedPlace {
                values[place].put(field.date(now), &made)
                continue
            }
            if values[place].made != 0 { continue }
            var given: JSON?
            if let text = values[place].text {
                if plan.fields[place].kind != PLATFORM_FIELD_MADE { continue }
                let text = Text(cString: text)
                guard field.type.isScalar, text.isValidUTF8 else { return false }
                given = .string(text)
            }
            do throws(FieldFault) {
                values[place].put(try field.complete(given, .creation(now: now, settings.generator)), &made)
            } catch {
                return false
            }
        }
        return true
    }

    /// - Parameter item: The item that is changed; nil: it is new.
    private func write(
        _ plan: ItemPlan, _ values: UnsafeMutableBufferPointer<platform_given>, _ made: UnsafeRawBufferPointer,
        over item: [UInt8]?
    ) -> (key: ItemKey, body: [UInt8])? {
        let bytes = platform_item_bytes(plan.fields.baseAddress, values.count, values.baseAddress) + (item?.count ?? 0)
        guard bytes <= Limits.itemBytesMax, plan.fitsIndexes(bytes),
            let hash = plan.key(plan.keys.hash, values, made), let sort = plan.key(plan.keys.sort, values, made)
        else { return nil }
        var isASCII = true
        let body = [UInt8](unsafeUninitializedCapacity: bytes) { buffer, count in
            guard let item else {
                count = platform_item_write(
                    plan.fields.baseAddress, values.count, values.baseAddress, made.baseAddress, buffer.baseAddress,
                    &isASCII)
                return
            }
            item.withUnsafeBytes { item in
                count = platform_item_update(
                    plan.fields.baseAddress, values.count, values.baseAddress, made.baseAddress, item.baseAddress,
                    item.count, buffer.baseAddress, &isASCII)
            }
        }
        guard !body.isEmpty, isASCII || body.withUnsafeBytes({ isValidUTF8Text($0) }) else { return nil }
        return (ItemKey(hash: hash, sort: sort), body)
    }
}

extension ItemPlan {
    fileprivate func key(
        _ parts: [KeyPlan.Part], _ values: UnsafeMutableBufferPointer<platform_given>, _ made: UnsafeRawBufferPointer,
        _ near: Text? = nil
    ) -> Text? {
        // Longer ones are left to the long way.
        let room = Limits.keyBytesMax
        if parts.isEmpty { return Text() }
        return withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { buffer in
            var end = 0
            for part in parts {
                var bytes: UnsafeRawBufferPointer
                switch part {
                case .literal(let text):
                    guard text.count <= room - end else { return nil }
                    for byte in text.bytes {
                        buffer[end] = byte
                        end += 1
                    }
                    continue
                case .property(let place):
                    let value = values[keyPlaces[place]]
                    bytes = UnsafeRawBufferPointer(start: value.text, count: value.text == nil ? 0 : value.bytes)
                    if value.made != 0 {
                        bytes = UnsafeRawBufferPointer(rebasing: made[(value.made - 1)..<(value.made - 1 + value.bytes)])
                        guard bytes.count > 2, bytes[0] == UInt8(ascii: "\""), !bytes.contains(UInt8(ascii: "\\")) else { return nil }
                        bytes = UnsafeRawBufferPointer(rebasing: bytes[1..<(bytes.count - 1)])
                    }
                }
                guard let start = bytes.baseAddress, !bytes.isEmpty, bytes.count <= room - end else { return nil }
                buffer.baseAddress?.advanced(by: end).copyMemory(from: start, byteCount: bytes.count)
                end += bytes.count
            }
            let found = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<end])
            if let near, near.bytes.withUnsafeBytes({ $0.count == end && compareBytes($0, found) == 0 }) { return near }
            return Text(found)
        }
    }
}

extension ItemPlan {
    /// The key of an item that is read; nil when a property of it is missing or empty, or it is too long.
    ///
    /// - Parameter near: A hash that it may have too, and then shares.
    func key(_ values: UnsafeMutableBufferPointer<platform_given>, near: Text?) -> ItemKey? {
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        guard let hash = key(keys.hash, values, none, near), let sort = key(keys.sort, values, none) else { return nil }
        return ItemKey(hash: hash, sort: sort)
    }
}

extension platform_given {
    /// The text that was given.
    var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: text, count: text == nil ? 0 : bytes) }

    /// Gives it a value that is made.
    fileprivate mutating func put(_ value: JSON?, _ json: inout [UInt8]) {
        text = nil
        made = 0
        guard let value else { return }
        made = json.count + 1
        value.write(to: &json)
        bytes = json.count + 1 - made
    }
}
