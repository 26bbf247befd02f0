import IotoBase
import IotoJSON

extension SchemaReader {
    /// Reads `process`, or `control` as it was called before.
    mutating func readProcess(_ root: JSONObject) throws(IotoError) {
        let process = root["process"]
        let control = root["control"]
        if let process, let control, process != control {
            throw failure(["control"], "'process' and 'control' are the same map by two names, but differ here")
        }
        guard let value = process ?? control else { return }
        let key: Text = process != nil ? "process" : "control"
        var places: [Text: Int] = [:]
        for (place, model) in models.enumerated() { places[model.name] = place }
        for (name, rules) in try object(value, [key], key) {
            guard let place = places[name] else {
                throw failure([key, name], "\(key): unknown model \(quoted(name))")
            }
            try readRules(rules, [key, name], "\(key): model \(quoted(name))", place)
        }
    }

    private mutating func readRules(
        _ value: JSON, _ path: [Text], _ place: Text, _ model: Int
    ) throws(IotoError) {
        for (key, value) in try object(value, path, place) {
            let path = path + [key]
            switch key {
            case "enable": models[model].enable = try enable(value, path, place)
            case "sync": models[model].sync = try direction(value, path, place)
            case "description": break
            case "mem", "delay", "resolve", "merge", "priority", "reserve", "trigger", "overflow", "expire":
                warn(path, "\(place): '\(key)' is not enforced by this version")
            default:
                warn(path, "\(place): unknown key \(quoted(key))")
            }
        }
        if models[model].enable != .both && models[model].sync != .none {
            warn(path, "\(place): 'sync' has no effect on a model that exists on one side alone")
        }
    }

    private func enable(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Enable {
        switch value {
        case .string("cloud"): return .cloud
        case .string("device"): return .device
        case .string("both"): return .both
        default: throw failure(path, "\(place): enable \(quoted(value)) is none of 'cloud', 'device', 'both'")
        }
    }

    private func direction(_ value: JSON, _ path: [Text], _ place: Text) throws(IotoError) -> Direction {
        switch value {
        case .string("up"): return .up
        case .string("down"): return .down
        case .string("both"): return .both
        case .string("none"): return .none
        default: throw failure(path, "\(place): sync \(quoted(value)) is none of 'up', 'down', 'both', 'none'")
        }
    }
}
