import IotoBase
import IotoSchema

/// The order in which models are sent. A row's position in the outbox is the time when it entered, less 2^60 for each step of
/// its lane above the one of models without `priority`: so the rows of a higher lane stand before all others, and each lane
/// is a range of positions. Of one priority, models with a budget or a window have a lane behind the others.
struct SendLanes {
    /// By the model's ordinal, -7...7.
    private let lanes: [Int]
    /// The part of a position, behind its lane, that is the time.
    static let timeMask: Int64 = 1 << 60 - 1
    private static let laneMax = 7

    init(_ schema: Schema) {
        // What a model's lane is made of: higher ones go first, 0 is that of models without more.
        let ranks = schema.models.map { model in
            let isMetered = model.process.dailyBytes != nil || model.process.window != nil
            return model.syncsUp ? Int(model.process.priority) * 2 - (isMetered ? 1 : 0) : 0
        }
        lanes = ranks.map { rank in
            // As many steps from 0 as there are ranks on the way.
            var between: [Int] = []
            for other in ranks where other != 0 && (other > 0) == (rank > 0) && abs(other) <= abs(rank) {
                if !between.contains(other) { between.append(other) }
            }
            let steps = rank == 0 ? 0 : min(between.count, SendLanes.laneMax)
            return rank > 0 ? steps : -steps
        }
    }

    func position(_ time: UInt64, _ ordinal: Int?) -> Int64 {
        let position = Int64(bitPattern: time)
        // Beyond the year 2500 there is no room for lanes.
        guard let ordinal, position >= 0, position <= SendLanes.timeMask else { return position }
        return position - Int64(lanes[ordinal]) << 60
    }

    /// The last position of the lane.
    static func end(of position: Int64) -> Int64 { position | timeMask }

    /// Whether every model of the position's lane is held back.
    func isHeld(_ position: Int64, _ held: [UInt8]) -> Bool {
        for (ordinal, lane) in lanes.enumerated() where Int64(lane) == -(position >> 60) && held[ordinal] == 0 { return false }
        return true
    }
}
