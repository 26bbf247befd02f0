import IotoBase
import IotoJSON

extension SchemaReader {
    /// Reads `process`, or `control` as it was called before.
    func readProcess(_ root: JSONObject) throws(IotoError) {
        let process = root["process"]
        let control = root["control"]
        if let process, let control, process != control {
            path = ["control"]
            throw ownerFailure("'process' and 'control' are the same map by two names, but differ here")
        }
        guard let value = process ?? control else { return }
        path = [process != nil ? "process" : "control"]
        var places: [Text: Int] = [:]
        for (place, model) in models.enumerated() { places[model.name] = place }
        for (name, rules) in try object(value) {
            path.append(name)
            guard let place = places[name] else { throw ownerFailure("unknown model \(quoted(name))") }
            models[place].process = try options(rules)
            path.removeLast()
        }
        path = []
    }

    private func options(_ value: JSON) throws(IotoError) -> ProcessOptions {
        var options = ProcessOptions()
        for (key, value) in try object(value) {
            path.append(key)
            try readOption(key, value, &options)
            path.removeLast()
        }
        if options.isMemory && (options.sync != .none || options.delay > 0) {
            warn("'sync' and 'delay' have no effect on a model in memory")
            options.sync = .none
        }
        if options.enable != .both && options.sync != .none {
            warn("'sync' has no effect on a model that exists on one side alone")
        }
        if options.mergesFields && options.sync != .both {
            warn("'merge' has an effect beside sync: 'both' alone")
        }
        return options
    }

    private func readOption(_ key: Text, _ value: JSON, _ options: inout ProcessOptions) throws(IotoError) {
        let number = place(
            of: key,
            in: "enable sync mem reserve delay resolve merge priority limits outboxLimit outboxBytes onFull dailyBytes description window")
        switch number {
        case 0: options.enable = Enable(rawValue: try choice(value, "cloud device both")) ?? .both
        case 1: options.sync = Direction(rawValue: try choice(value, "up down both none")) ?? .none
        case 2: options.isMemory = try boolean(value)
        case 3: options.isReserved = try boolean(value)
        case 4: options.delay = try duration(value)
        case 5: options.resolve = Resolve(rawValue: try choice(value, "latest cloud device callback")) ?? .latest
        case 6:
            if value.isNull || value == .bool(false) { return }
            options.mergesFields = try choice(value, "fields") == 0
        case 7: options.priority = Int32(truncatingIfNeeded: try integer(value, -1000...1000))
        case 8:
            for (key, value) in try object(value) {
                path.append(key)
                guard place(of: key, in: "outboxLimit outboxBytes onFull dailyBytes window") != nil else {
                    warnOfOwner("unknown key \(quoted(key))")
                    path.removeLast()
                    continue
                }
                try readOption(key, value, &options)
                path.removeLast()
            }
        case 9: options.outboxLimit = try integer(value, 1...Int64(Int32.max))
        case 10: options.outboxBytes = try integer(value, 1...(1 << 40))
        case 11: options.onFull = OnFull(rawValue: try choice(value, "refuse dropOldest")) ?? .refuse
        case 12: options.dailyBytes = try integer(value, 1...(1 << 40))
        case 13: break
        case 14:
            if value.isNull { return }
            guard let window = SendWindow(try text(value)) else {
                throw ownerFailure("\(quoted(value)) is not a part of the day, as '01:00-05:30'")
            }
            options.window = window
        default: warnOfOwner("unknown key \(quoted(key))")
        }
    }

    /// A duration in milliseconds: a number of seconds, or a text with a unit, as `5s`, `500ms`, `10 mins`.
    private func duration(_ value: JSON) throws(IotoError) -> Int64 {
        var literal = Text()
        switch value {
        case .number(let number): literal = number
        case .string(let text): literal = text
        default: break
        }
        if let time = literal.duration, time <= ProcessOptions.delayMax { return time }
        throw failure("\(quoted(value)) is not a duration up to a day, as '5s'")
    }
}
