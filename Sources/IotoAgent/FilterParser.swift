import IotoBase
import IotoJSON
import IotoSchema

/// Reads a condition as OneTable writes `where`: `${severity} = {critical} and (${count} > {5} or not ${seen} = {true})`.
///
/// `${path}` is a property, `{value}` a value, `@{name}` one of the substitutions. Words are not case-sensitive.
struct FilterParser {
    private let builder: PredicateBuilder
    private let substitutions: JSONObject
    private let source: [UInt8]
    private var index = 0
    private var depth = 0
    private var terms = 0

    /// - Throws: `.misuse` naming the position of what is wrong; `.field` when a value does not fit the property that it
    ///   is compared with; `.limit`.
    static func parse(
        _ source: Text, _ builder: PredicateBuilder, substitutions: JSONObject
    ) throws(IotoError) -> Predicate {
        guard source.count <= Limits.filterBytesMax else {
            throw IotoError(.limit, "filter: more than \(Limits.filterBytesMax) bytes")
        }
        var parser = FilterParser(builder: builder, substitutions: substitutions, source: source.bytes)
        let predicate = try parser.disjunction()
        parser.skipSpace()
        guard parser.index == source.count else { throw parser.failure("'and', 'or' or the end is expected") }
        return predicate
    }

    private init(builder: PredicateBuilder, substitutions: JSONObject, source: [UInt8]) {
        self.builder = builder
        self.substitutions = substitutions
        self.source = source
    }

    @inline(never)
    private func failure(_ message: Text, at place: Int? = nil, _ code: ErrorCode = .misuse) -> IotoError {
        IotoError(code, "filter: position \((place ?? index) + 1): \(message)")
    }

    // MARK: Terms

    private mutating func disjunction() throws(IotoError) -> Predicate {
        var terms = [try conjunction()]
        while takeWord("or") { terms.append(try conjunction()) }
        return terms.count == 1 ? terms[0] : .any(terms)
    }

    private mutating func conjunction() throws(IotoError) -> Predicate {
        var terms = [try term()]
        while takeWord("and") { terms.append(try term()) }
        return terms.count == 1 ? terms[0] : .all(terms)
    }

    private mutating func term() throws(IotoError) -> Predicate {
        depth += 1
        terms += 1
        defer { depth -= 1 }
        guard depth <= Limits.filterNestingMax else {
            throw failure("nested deeper than \(Limits.filterNestingMax)", .limit)
        }
        guard terms <= Limits.filterTermsMax else {
            throw failure("more than \(Limits.filterTermsMax) conditions", .limit)
        }
        if takeWord("not") { return .not(try term()) }
        if take("(") {
            let inner = try disjunction()
            try require(")")
            return inner
        }
        let place = index
        if let name = peekWord(), !name.isWord("size") {
            index = name.end
            return try function(name, at: place)
        }
        return try comparison()
    }

    private mutating func function(_ name: Word, at place: Int) throws(IotoError) -> Predicate {
        try require("(")
        let subject = try operand()
        if case .literal = subject { throw failure("a property ${...} comes first", at: place) }
        if name.isWord("attribute_exists") || name.isWord("attribute_not_exists") {
            try require(")")
            return name.isWord("attribute_exists") ? .exists(subject) : .not(.exists(subject))
        }
        try require(",")
        let argument = try operand()
        guard case .literal(let literal) = argument else { throw failure("a value {...} comes second", at: place) }
        try require(")")
        let isText = literal.value.plainText != nil
        if name.isWord("begins_with") && isText { return .begins(subject, argument) }
        if name.isWord("contains") { return .contains(subject, argument) }
        if name.isWord("not_contains") { return .not(.contains(subject, argument)) }
        if name.isWord("attribute_type"), let type = literal.value.plainText, FilterParser.isType(type) {
            return .hasType(subject, type)
        }
        throw failure("there is no such function, or not of such a value", at: place)
    }

    private static func isType(_ name: Text) -> Bool {
        for type: StaticString in ["S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS"]
        where name == Text(stringLiteral: type) {
            return true
        }
        return false
    }

    private mutating func comparison() throws(IotoError) -> Predicate {
        let left = try operand()
        if takeWord("between") {
            let low = try operand()
            guard takeWord("and") else { throw failure("'and' is expected") }
            let high = try operand()
            return .between(try fit(left, to: low), try fit(low, to: left), try fit(high, to: left))
        }
        if takeWord("in") { return .isOneOf(left, try list(for: left)) }
        guard let comparison = takeComparison() else {
            throw failure("a comparison is expected: = <> < <= > >=, 'between' or 'in'")
        }
        let right = try operand()
        return .compare(try fit(left, to: right), comparison, try fit(right, to: left))
    }

    @inline(never)
    private mutating func list(for subject: Operand) throws(IotoError) -> [Operand] {
        try require("(")
        var list: [Operand] = []
        repeat {
            for value in try values() { list.append(try fit(value, to: subject)) }
            guard list.count <= Limits.filterTermsMax else {
                throw failure("more than \(Limits.filterTermsMax) values", .limit)
            }
        } while take(",")
        try require(")")
        return list
    }

    // MARK: Operands

    /// A property, a value or a size.
    @inline(never)
    private mutating func operand() throws(IotoError) -> Operand {
        skipSpace()
        if let name = peekWord(), name.isWord("size") {
            let place = index
            index = name.end
            try require("(")
            guard take("${") else { throw failure("size takes a property ${...}", at: place) }
            let inner = try builder.operand(try path())
            try require(")")
            return .size(inner)
        }
        if take("${") { return try builder.operand(try path()) }
        return .literal(Literal(try value()))
    }

    /// A value is converted to the type of the property on the other side.
    @inline(never)
    private func fit(_ operand: Operand, to other: Operand) throws(IotoError) -> Operand {
        guard case .literal(let literal) = operand, case .property(let path) = other else { return operand }
        return try builder.literal(literal.value, for: path)
    }

    @inline(never)
    private mutating func path() throws(IotoError) -> Text {
        let start = index
        guard let end = source[index...].firstIndex(of: UInt8(ascii: "}")) else {
            throw failure("a '}' is missing", at: start - 2)
        }
        let name = FilterParser.trimmed(source[start..<end])
        guard !name.isEmpty else { throw failure("a name is missing") }
        index = end + 1
        return name
    }

    /// The values of a place in a list: one, or those of a substitution `@{...name}`.
    private mutating func values() throws(IotoError) -> [Operand] {
        skipSpace()
        guard starts(with: "@{...") else { return [try operand()] }
        index += 5
        let place = index
        guard let list = try substitution(at: place).arrayValue else { throw failure("it is not an array", at: place) }
        return list.map { .literal(Literal($0)) }
    }

    @inline(never)
    private mutating func value() throws(IotoError) -> JSON {
        skipSpace()
        let place = index
        if take("@{") { return try substitution(at: place) }
        guard take("{") else { throw failure("a property ${...} or a value {...} is expected") }
        skipSpace()
        if index < source.count, source[index] == UInt8(ascii: "\"") { return try quotedValue(at: place) }
        guard let end = source[index...].firstIndex(of: UInt8(ascii: "}")) else {
            throw failure("a '}' is missing", at: place)
        }
        let text = FilterParser.trimmed(source[index..<end])
        index = end + 1
        switch text {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        default: break
        }
        if let first = text.bytes.first, first == UInt8(ascii: "-") || (first >= 0x30 && first <= 0x39),
            let number = try? JSON.parse(text.bytes), case .number = number
        {
            return number
        }
        return .string(text)
    }

    @inline(never)
    private mutating func quotedValue(at place: Int) throws(IotoError) -> JSON {
        var end = index + 1
        while end < source.count, source[end] != UInt8(ascii: "\"") {
            end += source[end] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard end < source.count else { throw failure("a '\"' is missing", at: place) }
        guard let text = try? JSON.parse([UInt8](source[index...end])) else {
            throw failure("the text has an escape that JSON does not know", at: place)
        }
        index = end + 1
        try require("}")
        return text
    }

    @inline(never)
    private mutating func substitution(at place: Int) throws(IotoError) -> JSON {
        let name = try path()
        guard let value = substitutions[name] else { throw failure("there is no substitution '\(name)'", at: place) }
        return value
    }

    // MARK: Characters

    private struct Word {
        let text: [UInt8]
        let end: Int

        @inline(never)
        func isWord(_ other: StaticString) -> Bool {
            other.withUTF8Buffer { other in
                guard other.count == text.count else { return false }
                for place in 0..<other.count where text[place] | 0x20 != other[place] | 0x20 { return false }
                return true
            }
        }
    }

    @inline(never)
    private mutating func skipSpace() {
        while index < source.count, source[index] <= 0x20 { index += 1 }
    }

    @inline(never)
    private mutating func peekWord() -> Word? {
        skipSpace()
        var end = index
        while end < source.count, source[end] == UInt8(ascii: "_") || (0x61...0x7A).contains(source[end] | 0x20) {
            end += 1
        }
        return end > index ? Word(text: [UInt8](source[index..<end]), end: end) : nil
    }

    @inline(never)
    private mutating func takeWord(_ word: StaticString) -> Bool {
        guard let found = peekWord(), found.isWord(word) else { return false }
        index = found.end
        return true
    }

    private func starts(with text: StaticString) -> Bool {
        text.withUTF8Buffer { text in
            guard source.count - index >= text.count else { return false }
            for place in 0..<text.count where source[index + place] != text[place] { return false }
            return true
        }
    }

    @inline(never)
    private mutating func take(_ text: StaticString) -> Bool {
        skipSpace()
        guard starts(with: text) else { return false }
        index += text.utf8CodeUnitCount
        return true
    }

    @inline(never)
    private mutating func require(_ text: StaticString) throws(IotoError) {
        guard take(text) else { throw failure("'" + Text(stringLiteral: text) + "' is expected") }
    }

    @inline(never)
    private mutating func takeComparison() -> Comparison? {
        skipSpace()
        for length in [2, 1] where index + length <= source.count {
            if let comparison = Comparison(operator: [UInt8](source[index..<(index + length)])) {
                index += length
                return comparison
            }
        }
        return nil
    }

    @inline(never)
    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> Text {
        var bytes = bytes
        while let first = bytes.first, first <= 0x20 { bytes.removeFirst() }
        while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
        return Text(bytes)
    }
}
