// swift-tools-version: 6.2
// The device package. It builds in two modes from the same sources: hosted, for tests, sanitizers and the cloud package;
// and, with IOTO_EMBEDDED=1, as Embedded Swift, the mode of the shipped library (which CMakeLists.txt builds).
// Keep the two apart: IOTO_EMBEDDED=1 swift build -c release --scratch-path .build-embedded
import Foundation
import PackageDescription

let isEmbedded = Context.environment["IOTO_EMBEDDED"] == "1"

// `validate` of schemas needs PCRE2; IOTO_PCRE2=0 builds without it.
let hasPCRE2 = Context.environment["IOTO_PCRE2"] != "0"

// Messages are compressed where there is zlib; IOTO_ZLIB=0 builds without it.
let hasZlib = Context.environment["IOTO_ZLIB"] != "0" && FileManager.default.fileExists(atPath: "/usr/include/zlib.h")

/// Faults planted in the product for the simulation to find, never in a library that ships: scripts/simulate asks for them.
let hasMutants = !isEmbedded && Context.environment["IOTO_MUTANTS"] == "1"

let settings: [SwiftSetting] = isEmbedded
    ? [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo", "-Xfrontend", "-function-sections"])]
    : [.treatAllWarnings(as: .error), .treatWarning("EmbeddedRestrictions", as: .error)]
        + (hasMutants ? [.define("IOTO_MUTANTS")] : [])

/// Of code that never goes into the library.
let hostedSettings: [SwiftSetting] = [.treatAllWarnings(as: .error)] + (hasMutants ? [.define("IOTO_MUTANTS")] : [])

func module(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], defines: [SwiftSetting] = []
) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings + defines)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: [.treatAllWarnings(as: .error)])
}

let package = Package(
    name: "ioto",
    products: [
        .library(name: "ioto", type: .dynamic, targets: ["Ioto"]),
        .library(
            name: "IotoReplication", type: .static,
            targets: ["IotoBase", "IotoJSON", "IotoSchema", "IotoSync", "IotoStore", "IotoMQTT", "CPlatform"]),
    ],
    targets: [
        .systemLibrary(name: "CIoto", path: "include"),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(
            name: "CMosquitto", pkgConfig: "libmosquitto", providers: [.apt(["libmosquitto-dev"])]),
        .systemLibrary(name: "CCJSON", pkgConfig: "libcjson", providers: [.apt(["libcjson-dev"])]),
        .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
        .target(
            name: "CPlatform", cSettings: hasZlib ? [.define("IOTO_ZLIB")] : [],
            linkerSettings: hasZlib ? [.linkedLibrary("z")] : []),
        module("IotoBase", ["CIoto", "CPlatform"]),
        module("IotoJSON", ["IotoBase", "CCJSON"]),
        hasPCRE2
            ? module("IotoSchema", ["IotoJSON", "CPCRE2", "CPlatform"], defines: [.define("IOTO_PCRE2")])
            : module("IotoSchema", ["IotoJSON", "CPlatform"]),
        module("IotoSync", ["IotoSchema", "CPlatform"]),
        module("IotoStore", ["IotoSync", "CSQLite"]),
        module("IotoMQTT", ["IotoBase", "CMosquitto"]),
        module("IotoAgent", ["IotoMQTT", "IotoStore", "IotoSync"]),
        module("Ioto", ["IotoAgent", "CIoto"], exclude: ["ioto.map"]),
    ]
        + (isEmbedded
            ? []
            : [
                .target(name: "CSimulatedDisk", dependencies: ["CSQLite"], path: "Tests/Simulation/CSimulatedDisk"),
                .target(
                    name: "IotoSimulation", dependencies: ["IotoStore", "IotoSync", "CSimulatedDisk"],
                    path: "Tests/Simulation/IotoSimulation", swiftSettings: hostedSettings),
                .executableTarget(
                    name: "iotosim", dependencies: ["IotoBase", "IotoSimulation"], path: "Tests/Simulation/iotosim",
                    swiftSettings: hostedSettings),
                tests("IotoSimulationTests", ["IotoSimulation", "iotosim"]),
                tests("IotoBaseTests", ["IotoBase"]),
                tests("IotoJSONTests", ["IotoJSON"]),
                tests("IotoSchemaTests", ["IotoSchema"]),
                tests("IotoSyncTests", ["IotoSync"]),
                tests("IotoStoreTests", ["IotoStore"], exclude: ["Fixtures"]),
                tests("IotoMQTTTests", ["IotoMQTT"]),
                tests("IotoAgentTests", ["IotoAgent"]),
            ]),
    swiftLanguageModes: [.v6]
)
