import IotoBase
import IotoCloud
import IotoJSON

/// Items of a model as people read them: a column for each property, in the order in which they first occur.
struct ItemTable {
    /// Widest that a column gets, in characters; what is longer is cut.
    static let widthMax = 40

    private let columns: [Text]
    private let rows: [[String]]

    init(items: some Sequence<CloudItem>) {
        var places: [Text: Int] = [:]
        var columns: [Text] = []
        var rows: [[String]] = []
        for item in items {
            var row = [String](repeating: "", count: columns.count)
            for (name, value) in item.body {
                if let place = places[name] {
                    row[place] = ItemTable.cell(value)
                } else {
                    places[name] = columns.count
                    columns.append(name)
                    row.append(ItemTable.cell(value))
                }
            }
            rows.append(row)
        }
        self.columns = columns
        self.rows = rows
    }

    /// Heading and rows, each with its line end; nothing when there are no items.
    var text: String {
        if rows.isEmpty { return "" }
        let lines = [columns.map { ItemTable.cut($0.string) }] + rows
        var widths = [Int](repeating: 0, count: columns.count)
        for line in lines {
            for (place, cell) in line.enumerated() { widths[place] = max(widths[place], cell.count) }
        }
        var text = ""
        for line in lines {
            var row = ""
            for (place, cell) in line.enumerated() {
                row += cell + String(repeating: " ", count: widths[place] - cell.count + 2)
            }
            while row.last == " " { row.removeLast() }
            text += row + "\n"
        }
        return text
    }

    private static func cell(_ value: JSON) -> String {
        if case .string(let text) = value { return cut(text.string) }
        return cut(Text(value.text).string)
    }

    /// One line, free of characters that a terminal would act on.
    private static func cut(_ text: String) -> String {
        let plain = String(String.UnicodeScalarView(text.unicodeScalars.map { isPlain($0) ? $0 : "?" }))
        return plain.count > widthMax ? plain.prefix(widthMax - 1) + "…" : plain
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }
}
