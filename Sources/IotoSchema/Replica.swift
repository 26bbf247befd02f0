import CPlatform
import IotoBase
import IotoJSON

/// An item as it stood in a message, see `Model.readReplica`.
public struct ReadReplica {
    public var key: ItemKey
    public var body: [UInt8]
    /// It says that it is the device's of the context.
    public var isOwn: Bool
    /// Bytes of the item in the message.
    public var bytes: Int
}

extension Model {
    /// Whether all that `makeReplica` looks at is in the fields' own values.
    var isReadWhole: Bool {
        !isMapped && fieldSet.index(of: settings.typeField) == nil && !fields.contains { $0.attributes.encoding != nil }
    }

    /// Reads an item that stands at the beginning of `text` and is written as this library does, into what `makeReplica` would
    /// give, without a tree of values.
    ///
    /// - Parameter near: The hash of another item's key, which most often is the same.
    /// - Returns: nil when it takes more than this to tell.
    @inline(never)
    public func readReplica(_ text: UnsafeRawBufferPointer, context: Context, near: Text? = nil) -> ReadReplica? {
        guard let plan = itemPlan, let head = plan.head, text.count > head.count + 2, let start = text.baseAddress,
            head.withUnsafeBytes({ compareBytes($0, UnsafeRawBufferPointer(rebasing: text[..<head.count])) == 0 }),
            text[head.count] == UInt8(ascii: ",")
        else { return nil }
        let members = start.assumingMemoryBound(to: CChar.self) + head.count + 1
        let limit = members + (text.count - head.count - 1)
        return withUnsafeTemporaryAllocation(of: platform_given.self, capacity: plan.readers.count) { values in
            var isASCII = true
            var isOwn = false
            guard
                let end = platform_item_read(
                    plan.readers.baseAddress, values.count, members, limit, values.baseAddress, &isASCII),
                matches(context, values, &isOwn)
            else { return nil }
            let bytes = end - members
            guard bytes > 0, bytes + 2 <= Limits.itemBytesMax, plan.fitsIndexes(bytes),
                isASCII || isValidUTF8Text(UnsafeRawBufferPointer(start: members, count: bytes)),
                let key = plan.key(values, near: near)
            else { return nil }
            // From the comma before the members to the brace behind them.
            var body = copyBytes(UnsafeRawBufferPointer(start: members - 1, count: bytes + 2))
            body[0] = UInt8(ascii: "{")
            return ReadReplica(key: key, body: body, isOwn: isOwn, bytes: head.count + bytes + 2)
        }
    }

    /// Whether the values are the context's where that has any.
    private func matches(
        _ context: Context, _ values: UnsafeMutableBufferPointer<platform_given>, _ isOwn: inout Bool
    ) -> Bool {
        for entry in context.entries {
            guard let place = takesContext(entry.name) else { continue }
            guard fields[place].type == .string, values[place].text != nil,
                entry.value.bytes.withUnsafeBytes({ compareBytes($0, values[place].raw) == 0 })
            else { return false }
            if place == itemPlan?.ownerPlace { isOwn = values[place].bytes > 0 }
        }
        return true
    }

    /// An item that came off the wire or out of the cloud's table, as a body to store. Types are converted and
    /// checked, so that no later read meets a value of another type; `required` and `enum` are left to the side
    /// that wrote the item, whose schema may be newer. Nothing is filled in but the context's values. Properties
    /// that the schema does not know are kept; the type field and the computed attributes of indexes are dropped,
    /// those of the primary key after a look whether they are what the templates give.
    ///
    /// - Throws: `.field` when a property does not fit; `.denied` when the item is another device's or account's by the
    ///   context; `.key` when the key can't be computed, or is not the one given; `.limit`.
    public func makeReplica(_ item: JSONObject, context: Context) throws(IotoError) -> PreparedItem {
        let item = isMapped ? try unmapped(item) : item
        var draft = ItemDraft(self)
        var given: [JSONObject.Element] = []
        for member in item {
            if let place = fieldSet.index(of: member.key) {
                if fields[place].template == nil {
                    draft.values[place] = member.value
                } else if fields[place].isStored {
                    // Taken as the writer computed it: both sides keep the same.
                    draft.values[place] = member.value.isNull ? nil : .string(try computedText(member))
                } else if keys.primaryIndex.uses(member.key) {
                    given.append(member)
                }
            } else if member.key == settings.typeField {
                try draft.checkType(member.value)
            } else if !keys.primaryIndex.uses(member.key) {
                draft.unknown.append(member.key, member.value)
            }
        }
        decode(item, into: &draft)
        try draft.complete(.reading)
        try enforce(context, on: &draft)
        let prepared = try draft.finish(isOwn: false)
        for (name, value) in given {
            let computed = name == keys.primaryIndex.hash ? prepared.key.hash : prepared.key.sort
            guard value.templateText == computed else {
                throw failure(
                    .key, "attribute '\(name)' is \(quoted(value)), its template gives \(quoted(computed))")
            }
        }
        return prepared
    }

    private func computedText(_ member: JSONObject.Element) throws(IotoError) -> Text {
        guard let text = member.value.templateText else {
            throw failure(.field, field: member.key, "\(quoted(member.value)) is not a text")
        }
        return text
    }

    private func enforce(_ context: Context, on draft: inout ItemDraft) throws(IotoError) {
        for entry in context.entries {
            guard let place = takesContext(entry.name) else { continue }
            let field = fields[place]
            let expected: JSON
            do throws(FieldFault) {
                expected = try field.convert(.string(entry.value), .reading, nil)
            } catch {
                throw failure(error)
            }
            if let value = draft.values[place], !value.isNull, value != expected {
                throw failure(
                    .denied, field: field.name, "\(quoted(value)) is not \(quoted(expected)), whose feed this is")
            }
            draft.values[place] = expected
        }
    }
}
