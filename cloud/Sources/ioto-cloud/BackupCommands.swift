import ArgumentParser
import Foundation
import IotoBase
import IotoCloud

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the store into a new file, also while another process serves it.",
        discussion: "The copy is checked and complete when the command ends; there is none when it fails.")

    @OptionGroup var file: StoreFile

    @Argument(help: "The new file.")
    var copy: String

    func run() async throws {
        try await reporting { () async throws(IotoError) in
            let meter = ProgressMeter()
            defer { meter.end() }
            try SQLiteStore.backUp(file.path, to: copy, progress: meter.show)
        }
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make the store of a copy.",
        discussion: """
            The store that was there has to be moved away first. The new one has a new history: every device notices, and \
            gives back what it holds of the models that go up and the copy lacks, or has in an older state. Of models that \
            only come down the devices take the copy's state.
            """)

    @OptionGroup var file: StoreFile

    @Argument(help: "The copy, made by \"ioto-cloud backup\".")
    var copy: String

    func run() async throws {
        try await reporting { () async throws(IotoError) in
            let claim = try ServiceClaim(store: file.path)
            defer { claim.end() }
            let meter = ProgressMeter()
            defer { meter.end() }
            try SQLiteStore.restore(file.path, from: copy, progress: meter.show)
        }
    }
}

/// How far long work is, on a terminal.
final class ProgressMeter {
    private let isShown = isatty(STDERR_FILENO) == 1
    private var shown = -1

    func show(_ part: Double) {
        let percent = Int(part * 100)
        guard isShown, percent != shown else { return }
        shown = percent
        write("\r\(percent) %")
    }

    /// Leaves an empty line to whatever is written next.
    func end() {
        if shown >= 0 { write("\r     \r") }
    }

    private func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
