import EdgeRunner
import Foundation
import SwiftUI
import UniformTypeIdentifiers

/// Measures a bundle that the user selects, and writes the results into the app's own folder, which
/// Files and the Finder show.
@main
struct EdgeRunnerApp: App {
    var body: some Scene {
        WindowGroup { BundleView() }
    }
}

@MainActor
struct BundleView: View {
    @State private var lines: [String] = []
    @State private var isPicking = false
    @State private var isRunning = false

    var body: some View {
        VStack(alignment: .leading, spacing: 12) {
            Text("EdgeRunner").font(.title)
            Text("Plug the phone in or charge it well, close other apps and leave it alone.")
            Button("Measure a bundle…") { isPicking = true }.disabled(isRunning)
            List(lines.indices.reversed(), id: \.self) { Text(lines[$0]).font(.caption) }
        }
        .padding()
        .fileImporter(isPresented: $isPicking, allowedContentTypes: [.folder]) { picked in
            switch picked {
            case .success(let bundle): measure(bundle)
            case .failure(let error): lines.append(error.localizedDescription)
            }
        }
    }

    private func measure(_ bundle: URL) {
        (isRunning, lines) = (true, [])
        UIApplication.shared.isIdleTimerDisabled = true
        readBattery()
        let battery = Timer.scheduledTimer(withTimeInterval: 10, repeats: true) { _ in
            Task { @MainActor in readBattery() }
        }
        Task {
            let last = await Task.detached(priority: .userInitiated) {
                await run(bundle) { line in Task { @MainActor in lines.append(line) } }
            }.value
            lines.append(last)
            battery.invalidate()
            UIApplication.shared.isIdleTimerDisabled = false
            isRunning = false
        }
    }
}

/// Runs the job of a bundle; the last line to show.
private func run(_ bundle: URL, _ progress: @escaping (String) -> Void) async -> String {
    let isScoped = bundle.startAccessingSecurityScopedResource()
    defer { if isScoped { bundle.stopAccessingSecurityScopedResource() } }
    do {
        let name = "results-\(try Job(bundle: bundle).job)"
        let results = URL.documentsDirectory.appendingPathComponent(name)
        let runner = try Runner(
            bundle: bundle, results: results, runtime: CoreMLRuntime(),
            environment: deviceEnvironment(software: CoreMLRuntime.software), progress: progress)
        let failures = try await runner.run()
        let measured = runner.job.artifacts.count - failures.count
        return "\(measured) of \(runner.job.artifacts.count) measured: copy \(name) back"
    } catch {
        return "error: \(error.localizedDescription)"
    }
}
