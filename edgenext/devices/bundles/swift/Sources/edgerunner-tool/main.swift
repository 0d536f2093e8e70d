import EdgeRunner
import Foundation

/// `edgerunner BUNDLE [RESULTS]`: results go into BUNDLE/results unless a folder is named.
func main(_ arguments: [String]) async -> Int32 {
    guard (1...2).contains(arguments.count), !arguments[0].hasPrefix("-") else {
        complain("usage: edgerunner BUNDLE [RESULTS]")
        return 2
    }
    let bundle = URL(fileURLWithPath: arguments[0])
    let results =
        arguments.count == 2
        ? URL(fileURLWithPath: arguments[1]) : bundle.appendingPathComponent("results")
    #if canImport(CoreML)
        do {
            let runner = try Runner(
                bundle: bundle, results: results, runtime: CoreMLRuntime(),
                environment: deviceEnvironment(software: CoreMLRuntime.software),
                progress: complain)
            let failures = try await runner.run()
            print("edgenext bench ARTIFACT… --import \(results.path)")
            return failures.isEmpty ? 0 : 1
        } catch {
            complain("error: \(error.localizedDescription)")
            return 1
        }
    #else
        complain("error: Core ML runs on macOS and iOS only: run this there")
        return 1
    #endif
}

func complain(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
}

exit(await main(Array(CommandLine.arguments.dropFirst())))
