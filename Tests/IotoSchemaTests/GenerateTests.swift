import IotoBase
import Testing

@testable import IotoSchema

@Suite struct GenerateTests {
    /// Example of github.com/ulid/spec: the time 1469918176385 is `01ARYZ6S41`.
    @Test func ulidStartsWithItsTime() {
        #expect(countingGenerator().ulid(now: 1_469_918_176_385).bytes.prefix(10) == Text("01ARYZ6S41").bytes[...])
    }

    @Test func ulidHasEightyRandomBits() {
        let all = IDGenerator { UInt64.max }.ulid(now: 0)
        #expect(all == "0000000000ZZZZZZZZZZZZZZZZ")
        let draws = Counter()
        let none = IDGenerator { draws.next() == 1 ? 0xABCD_0001 : 0x8000_0000_0000_0001 }.ulid(now: 0)
        #expect(none == "0000000000000R000000000001")
    }

    @Test func ulidsAscendWithinAMillisecond() {
        let generator = countingGenerator()
        var last = generator.ulid(now: now)
        for _ in 0..<1000 {
            let next = generator.ulid(now: now)
            #expect(next > last)
            last = next
        }
    }

    @Test func ulidsAscendOverTheEndOfTheRandomPart() {
        let generator = IDGenerator { UInt64.max }
        let first = generator.ulid(now: now)
        let second = generator.ulid(now: now)
        #expect(second > first)
        #expect(generator.ulid(now: now) > second)
        let carrying = Counter()
        let low = IDGenerator { carrying.next() == 1 ? 0 : UInt64.max }
        let before = low.ulid(now: now)
        #expect(low.ulid(now: now) > before)
    }

    @Test func smallStepBackOfTheClockKeepsTheOrder() {
        let generator = countingGenerator()
        let first = generator.ulid(now: now)
        #expect(generator.ulid(now: now - 2000) > first)
        #expect(generator.ulid(now: now - 2001) < first)
    }

    @Test(arguments: [Int64.min, -1, 0, 1 << 48, Int64.max])
    func anyTimeMakesAULID(time: Int64) {
        let generator = countingGenerator()
        #expect(generator.ulid(now: time).count == 26)
        #expect(generator.ulid(now: time).count == 26)
    }

    @Test func uuidHasVersionAndVariant() {
        #expect(IDGenerator { 0 }.uuid() == "00000000-0000-4000-8000-000000000000")
        #expect(IDGenerator { UInt64.max }.uuid() == "ffffffff-ffff-4fff-bfff-ffffffffffff")
    }

    @Test(arguments: [1, 10, 12, 13, 64])
    func uidHasItsLengthInBase32(length: Int) {
        let uid = IDGenerator.shared.uid(length: length)
        #expect(uid.count == length)
        #expect(uid.bytes.allSatisfy { Text("0123456789ABCDEFGHJKMNPQRSTVWXYZ").bytes.contains($0) })
    }

    @Test func base32HasTheThirtyTwoCharacters() {
        var seen: Set<Text> = []
        for number in 0..<32 { seen.insert(IDGenerator { UInt64(number) }.uid(length: 1)) }
        #expect(seen == Set(Text("0123456789ABCDEFGHJKMNPQRSTVWXYZ").bytes.map { Text([$0]) }))
    }

    @Test func systemGeneratorDoesNotRepeat() {
        var seen: Set<Text> = []
        for _ in 0..<1000 {
            seen.insert(IDGenerator.shared.uid(length: 16))
            seen.insert(IDGenerator.shared.uuid())
            seen.insert(IDGenerator.shared.ulid(now: now))
        }
        #expect(seen.count == 3000)
    }
}
