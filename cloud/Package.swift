// swift-tools-version: 6.2
// The cloud's end of the replication: a library and the program `ioto-cloud`. It stands on the device package's modules,
// so that both ends run the same protocol code.
import PackageDescription

let settings: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let package = Package(
    name: "ioto-cloud",
    products: [
        .executable(name: "ioto-cloud", targets: ["ioto-cloud"])
    ],
    dependencies: [
        .package(name: "ioto", path: ".."),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .target(
            name: "IotoCloud",
            dependencies: [
                .product(name: "IotoReplication", package: "ioto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "ioto-cloud",
            dependencies: [
                "IotoCloud",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "IotoCloudTests",
            dependencies: ["IotoCloud", "ioto-cloud"],
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
