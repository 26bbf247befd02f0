import IotoBase
import IotoJSON
import Testing

@testable import IotoSchema

@Suite struct ItemPreparationTests {
    @Test func newItemHasItsKeyAndBody() throws {
        let model = try model("severity: {type: 'string'}, count: {type: 'number', default: 0}")
        let item = try model.makeItem(try object("{severity: 'high', id: '17'}"), context: [:], now: now)
        #expect(item.key == ItemKey(hash: "", sort: "fault#17"))
        #expect(text(item.body) == #"{"id":"17","severity":"high","count":0}"#)
        #expect(item.text == item.body.text)
    }
}
