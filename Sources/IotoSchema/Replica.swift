import IotoBase
import IotoJSON

extension Model {
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
