import XCTest

@testable import EdgeRunner

let environment = Environment(
    cpu: "test", isa: [], cores: 2, memoryGb: 1, os: "test", packages: ["fake": "1"])

final class RunnerTests: XCTestCase {
    func runner(_ bundle: URL, _ runtime: FakeRuntime = FakeRuntime(), on machine: Environment = environment)
        throws -> Runner
    {
        try Runner(
            bundle: bundle, results: bundle.appendingPathComponent("results"), runtime: runtime,
            environment: machine, progress: { _ in })
    }

    func lines(_ bundle: URL) throws -> [[String: Any]] {
        let file = bundle.appendingPathComponent("results/results.jsonl")
        return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map {
            try XCTUnwrap(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    func logits(_ bundle: URL, _ artifact: JobArtifact) throws -> [Float] {
        let file = bundle.appendingPathComponent("results/logits-\(artifact.sha256).f32")
        let data = try Data(contentsOf: file)
        return stride(from: 0, to: data.count, by: 4).map { at in
            let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(data[at + $1]) << UInt32(8 * $1) }
            return Float(bitPattern: bits)
        }
    }

    func testAWholeRun() async throws {
        let bundle = try makeBundle(names: ["a", "b"], images: 7, batch: 2)
        let runner = try runner(bundle)
        let failures = try await runner.run()
        XCTAssertEqual(failures, [])
        let told = try lines(bundle)
        let events = told.compactMap { $0["event"] as? String }
        XCTAssertEqual(events.first, "start")
        XCTAssertEqual(events.last, "done")
        XCTAssertEqual(events.filter { $0 == "round" }.count, 2 * runner.job.rounds)
        XCTAssertEqual(events.filter { $0 == "state" }.count, runner.job.rounds)
        let order = told.filter { $0["event"] as? String == "round" }
            .map { $0["artifact"] as? String }
        let ab = runner.job.artifacts.map(\.sha256)
        XCTAssertEqual(order, (0..<runner.job.rounds).flatMap { _ in ab })
        for artifact in runner.job.artifacts {
            let found = try logits(bundle, artifact)
            XCTAssertEqual(found.count, 7 * 5)
            XCTAssertEqual(found[1] / 2 * 5, found[4], accuracy: 1e-4)
        }
    }

    func testAnInterruptedRunGoesOn() async throws {
        let whole = try makeBundle(names: ["a"], images: 9)
        let bundle = try makeBundle(names: ["a"], images: 9)
        _ = try await runner(whole).run()
        _ = try await runner(bundle).run()
        // Stopped while the fourth image was written: two were told of, and a line is torn.
        let file = bundle.appendingPathComponent("results/results.jsonl")
        let artifact = try runner(bundle).job.artifacts[0]
        var kept = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { !$0.contains("\"logits\"") && !$0.contains("\"done\"") }
        kept.append(
            #"{"artifact":"\#(artifact.sha256)","done":2,"event":"logits","total":9}"#)
        let torn = kept.joined(separator: "\n") + "\n" + #"{"artifact":"00"#
        try Data(torn.utf8).write(to: file)
        let numbers = bundle.appendingPathComponent("results/logits-\(artifact.sha256).f32")
        let bytes = try Data(contentsOf: numbers)
        try (bytes.prefix(2 * 5 * 4) + Data(repeating: 255, count: 33)).write(to: numbers)

        let again = try runner(bundle)
        _ = try await again.run()
        XCTAssertEqual(try logits(bundle, artifact), try logits(whole, artifact))
        let events = try lines(bundle).compactMap { $0["event"] as? String }
        XCTAssertEqual(events.filter { $0 == "start" }.count, 2)
        XCTAssertEqual(events.filter { $0 == "ready" }.count, 1)
        XCTAssertEqual(events.last, "done")
        let size = try Data(contentsOf: file).count
        _ = try await runner(bundle).run()
        XCTAssertEqual(try Data(contentsOf: file).count, size)
    }

    func testRoundsThatWereInterruptedAreMeasuredAgain() async throws {
        let bundle = try makeBundle(names: ["a"], images: 2)
        let job = try Job(bundle: bundle)
        let results = try Results(
            folder: bundle.appendingPathComponent("results"), bundle: bundle, job: job,
            environment: environment)
        try results.append(Start(job: job.job, environment: environment, facts: nil))
        try results.append(Round(artifact: job.artifacts[0].sha256, round: 0, samplesMs: [1], atS: 0))
        _ = try await runner(bundle).run()
        let rounds = try lines(bundle).filter { $0["event"] as? String == "round" }
        XCTAssertEqual(rounds.compactMap { $0["round"] as? Int }, [0] + Array(0..<job.rounds))
    }

    func testSustainedRoundsGoOn() async throws {
        let bundle = try makeBundle(names: ["a"], images: 1, change: ["sustained_s": 0.3])
        _ = try await runner(bundle).run()
        let rounds = try lines(bundle).filter { $0["event"] as? String == "round" }
        XCTAssertGreaterThanOrEqual(rounds.count, 3)
        XCTAssertGreaterThan(try XCTUnwrap(rounds.last?["at_s"] as? Double), 0.2)
    }

    func testWhatFailsIsToldAndTheRestGoesOn() async throws {
        let bundle = try makeBundle(names: ["a", "b"], images: 2)
        let failures = try await runner(bundle, FakeRuntime(broken: ["a"])).run()
        XCTAssertEqual(failures, ["a: refused"])
        let told = try lines(bundle)
        let errors = told.filter { $0["event"] as? String == "error" }
        XCTAssertEqual(errors.count, 1)
        XCTAssertEqual(errors[0]["message"] as? String, "refused")
        XCTAssertEqual(told.filter { $0["event"] as? String == "round" }.count, 3)
    }

    func testChangedFilesAreRefused() async throws {
        for name in ["a.mlpackage/data", "images.u8"] {
            let bundle = try makeBundle(names: ["a"], images: 2)
            let file = bundle.appendingPathComponent(name)
            var data = try Data(contentsOf: file)
            data[0] ^= 1
            try data.write(to: file)
            do {
                _ = try await runner(bundle).run()
                XCTFail("\(name) was taken")
            } catch {
                XCTAssertTrue(error.localizedDescription.contains("is not the file of the job"))
            }
            XCTAssertEqual(try lines(bundle).last?["event"] as? String, "error")
        }
    }

    func testResultsOfAnotherDeviceOrJobAreRefused() async throws {
        let bundle = try makeBundle(names: ["a"], images: 2)
        _ = try await runner(bundle).run()
        let other = Environment(
            cpu: "other", isa: [], cores: 2, memoryGb: 1, os: "test", packages: [:])
        XCTAssertThrowsError(try runner(bundle, on: other))
        let job = bundle.appendingPathComponent("job.json")
        try (Data(contentsOf: job) + Data(" ".utf8)).write(to: job)
        XCTAssertThrowsError(try runner(bundle))
    }

    func testJobsThatLeadElsewhereAreRefused() throws {
        let images: [String: Any] = ["file": "../x", "shape": [1, 2, 2, 3], "sha256": "0"]
        let changes: [[String: Any]] = [
            ["protocol": 2], ["images": images], ["rounds": 0], ["artifacts": [[String: Any]]()],
        ]
        for change in changes {
            XCTAssertThrowsError(
                try Job(bundle: makeBundle(names: ["a"], images: 0, change: change)), "\(change)")
        }
    }

    /// Runs the bundle that EDGERUNNER_BUNDLE names, with classes to EDGERUNNER_CLASSES.
    func testAGivenBundle() async throws {
        let given = ProcessInfo.processInfo.environment
        guard let path = given["EDGERUNNER_BUNDLE"] else { throw XCTSkip("no bundle was given") }
        let runtime = FakeRuntime(classes: Int(given["EDGERUNNER_CLASSES"] ?? "") ?? 5)
        let machine = deviceEnvironment(software: [:])
        let failures = try await runner(URL(fileURLWithPath: path), runtime, on: machine).run()
        XCTAssertEqual(failures, [])
    }
}
