import IotoBase
import IotoJSON

extension Model {
    /// A new item from the caller's properties. The context's values override, values are converted to the types of
    /// their fields, then defaults, generated values, timestamps and templates are filled in, and `required` and
    /// `enum` checked. The body has the fields in the schema's order, then the properties that the schema does not
    /// know, as given.
    ///
    /// - Parameters:
    ///   - properties: By name; a name with dots that is no field is a path.
    ///   - now: Unix milliseconds.
    /// - Throws: `.field` when a property does not fit or can't be set; `.key` when the key can't be computed; `.limit`
    ///   when the item or its key is too large.
    /// - Complexity: O(fields + size of the properties).
    public func makeItem(
        _ properties: JSONObject, context: Context, now: Int64
    ) throws(IotoError) -> PreparedItem {
        var draft = ItemDraft(self)
        for member in properties { try draft.assign(member.key, member.value) }
        draft.override(with: context)
        if let place = createdPlace { draft.values[place] = fields[place].date(now) }
        if let place = updatedPlace { draft.values[place] = fields[place].date(now) }
        try draft.complete(.creation(now: now, settings.generator))
        try draft.computeTemplates()
        return try draft.finish()
    }

    /// A changed body. Properties that are not named stay; null takes a property away, or is stored where the
    /// schema says `nulls`. `created` stays, whatever is given, and `updated` becomes `now`.
    ///
    /// - Parameters:
    ///   - current: The stored body.
    ///   - changes: By name or path `a.b.0`.
    ///   - now: Unix milliseconds.
    /// - Throws: `.field` when a property does not fit, can't be set, or is required and taken away; `.key` when a
    ///   property that makes up the key would change; `.limit`.
    public func makeUpdate(
        of current: JSONObject, _ changes: JSONObject, context: Context, now: Int64
    ) throws(IotoError) -> PreparedItem {
        var draft = ItemDraft(self, body: current)
        let stored = draft
        for member in changes { try draft.assign(member.key, member.value) }
        draft.override(with: context)
        if let place = createdPlace { draft.values[place] = stored.values[place] }
        if let place = updatedPlace { draft.values[place] = fields[place].date(now) }
        try draft.complete(.change, over: stored.values)
        try checkKeyStays(from: stored, to: draft)
        try draft.computeTemplates(current: current)
        return try draft.finish()
    }

    private func checkKeyStays(from stored: ItemDraft, to draft: ItemDraft) throws(IotoError) {
        for variable in keys.variables where draft.isTouched[variable.root] {
            guard stored.value(of: variable)?.templateText == draft.value(of: variable)?.templateText else {
                throw failure(.key, "property '\(variable.path)' is part of the key and can't be changed")
            }
        }
    }
}
