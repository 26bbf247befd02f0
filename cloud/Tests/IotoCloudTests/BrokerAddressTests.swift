import IotoBase
import Testing

@testable import IotoCloud

@Suite struct BrokerAddressTests {
    @Test func portsFollowTheScheme() throws {
        let plain = try BrokerAddress("mqtt://broker.example.com")
        #expect(plain.host == "broker.example.com" && plain.port == 1883 && !plain.usesTLS)
        let secure = try BrokerAddress("mqtts://127.0.0.1/")
        #expect(secure.host == "127.0.0.1" && secure.port == 8883 && secure.usesTLS)
    }

    @Test func portUserAndPasswordAreRead() throws {
        let address = try BrokerAddress("mqtt://me:p%40ss@[::1]:2883")
        #expect(address.host == "::1" && address.port == 2883)
        #expect(address.username == "me" && address.password == "p@ss")
        #expect(address.description == "mqtt://::1:2883")
    }

    @Test(arguments: ["", "localhost", "http://x", "mqtt://", "mqtt://x:0", "mqtt://x:65536", "mqtt://x/topic", "mqtt://x?a"])
    func otherTextIsRefused(_ url: String) {
        #expect { _ = try BrokerAddress(url) } throws: { ($0 as? IotoError)?.code == .configuration }
    }
}
