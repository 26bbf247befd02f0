import IotoBase
import IotoJSON

extension Model {
    private func scope(of field: Field, _ body: JSONObject) -> Text? {
        guard let template = field.attributes.scope else { return Text() }
        let source = GivenProperties(properties: body, context: nil, model: self)
        guard let resolution = try? template.resolve(source.value, refusesEmpty: false), case .whole(let text) = resolution
        else { return nil }
        return text
    }

    /// Looks whether the scopes of the unique values that a body has can be computed.
    func checkScopes(of body: JSONObject) throws(IotoError) {
        for field in uniqueFields where body[field.name]?.templateText != nil && scope(of: field, body) == nil {
            throw failure(.field, field: field.name, "a property of its scope is missing")
        }
    }

    /// When an item expires, in Unix milliseconds; nil when it does not.
    public func expiry(of body: JSONObject) -> Int64? {
        guard let field = ttlField, let value = body[field.name] else { return nil }
        return field.time(of: value)
    }
}

extension Field {
    /// A stored date in Unix milliseconds, whichever way the field stores it; nil for what is no date.
    public func time(of value: JSON) -> Int64? {
        switch value {
        case .number:
            guard let number = value.truncatedInteger else { return nil }
            return attributes.isTTL ? Field.milliseconds(ofTTL: number) : number
        case .string(let text): return ISODate.parse(text)
        default: return nil
        }
    }

    /// A number in a ttl field: seconds, as it is stored, or milliseconds as any other date is given. Seconds reach
    /// 100,000,000,000 in the year 5138, milliseconds were there in 1973: neither is when an item expires.
    static func milliseconds(ofTTL number: Int64) -> Int64 {
        (-ttlSecondsBound..<ttlSecondsBound).contains(number) ? number * 1000 : number
    }

    private static let ttlSecondsBound: Int64 = 100_000_000_000
}

extension Model {
    /// A body with other times of creation and change.
    ///
    /// - Parameter correct: The time in the place of one, Unix milliseconds.
    /// - Returns: nil when nothing changes.
    public func corrected(_ body: JSONObject, _ correct: (Int64) -> Int64) -> JSONObject? {
        var result = body
        var isChanged = false
        for place in [createdPlace, updatedPlace] {
            guard let place, let value = body[fields[place].name], let time = fields[place].time(of: value) else { continue }
            let right = correct(time)
            if right != time {
                result[fields[place].name] = fields[place].date(right)
                isChanged = true
            }
        }
        return isChanged ? result : nil
    }
}
