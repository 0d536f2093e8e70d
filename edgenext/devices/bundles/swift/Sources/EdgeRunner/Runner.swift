import Foundation

/// Runs a bundle's job: latency of its artifacts, interleaved, then logits of its images.
public final class Runner {
    /// Called with a line for the user.
    public typealias Progress = (String) -> Void

    public let job: Job
    private let bundle: URL
    private let runtime: ModelRuntime
    private let environment: Environment
    private let results: Results
    private let progress: Progress

    /// Opens a bundle and the folder of its results, which may hold those of an interrupted run.
    public init(
        bundle: URL, results folder: URL, runtime: ModelRuntime, environment: Environment,
        progress: @escaping Progress
    ) throws {
        (self.bundle, self.runtime, self.environment) = (bundle, runtime, environment)
        self.progress = progress
        job = try Job(bundle: bundle)
        results = try Results(folder: folder, bundle: bundle, job: job, environment: environment)
    }

    /// Run the rest of the job. Returns a line for each artifact that could not be measured.
    public func run() async throws -> [String] {
        if results.isDone {
            progress("The job is done already: \(results.folder.path)")
            return []
        }
        try results.append(Start(job: job.job, environment: environment, facts: deviceFacts()))
        do {
            return try await measure()
        } catch {
            try? results.append(Failed(artifact: nil, message: error.oneLine))
            throw error
        }
    }

    private func measure() async throws -> [String] {
        try verify()
        let images = try job.images.map(open)
        let isTimed = results.isTimed(job)
        var loaded: [Loaded] = []
        var failures: [String] = []

        func fail(_ artifact: JobArtifact, _ error: Error) throws {
            try results.append(Failed(artifact: artifact.sha256, message: error.oneLine))
            failures.append("\(artifact.name): \(error.oneLine)")
            progress(failures[failures.count - 1])
            loaded.removeAll { $0.artifact.sha256 == artifact.sha256 }
        }

        for artifact in job.artifacts {
            progress("Loading \(artifact.name)")
            do {
                loaded.append(try await load(artifact, images, reports: !isTimed))
            } catch {
                try fail(artifact, error)
            }
        }
        let start = now()
        func seconds() -> Double { Double(now() - start) / 1e9 }
        var round = 0
        while !isTimed, !loaded.isEmpty, round < job.rounds || seconds() < job.sustainedS ?? 0 {
            for entry in loaded {
                do {
                    let samples = try burst(entry.burst, entry.model.infer)
                    try results.append(
                        Round(
                            artifact: entry.artifact.sha256, round: round, samplesMs: samples,
                            atS: seconds()))
                } catch {
                    try fail(entry.artifact, error)
                }
            }
            try results.append(deviceState())
            round += 1
            progress("Round \(round) of \(max(round, job.rounds))")
        }
        for entry in images == nil ? [] : loaded {
            do {
                try writeLogits(entry, images!)
            } catch {
                try fail(entry.artifact, error)
            }
        }
        try results.finish()
        return failures
    }

    private func verify() throws {
        progress("Checking files")
        var files = job.artifacts.map { ($0.file, $0.sha256) }
        if let images = job.images { files.append((images.file, images.sha256)) }
        for (name, expected) in files {
            let actual = try sha256(tree: bundle.appendingPathComponent(name))
            guard actual == expected else {
                throw RunnerError(
                    "\(name) is not the file of the job (sha256 \(actual.prefix(12))…, not "
                        + "\(expected.prefix(12))…): copy the bundle again, without .DS_Store files")
            }
        }
    }

    private func open(_ images: JobImages) throws -> Pixels {
        let file = bundle.appendingPathComponent(images.file)
        let shape = images.shape
        return try Pixels(
            count: shape[0], height: shape[1], width: shape[2],
            bytes: Data(contentsOf: file, options: .mappedIfSafe))
    }

    /// An artifact that is loaded and warm, with its input set.
    private struct Loaded {
        let artifact: JobArtifact
        let model: Model
        let batch: Int
        let burst: Int
    }

    private func load(_ artifact: JobArtifact, _ images: Pixels?, reports: Bool) async throws
        -> Loaded
    {
        let before = memoryMb()
        var peak = before
        let model = try await runtime.open(artifact, at: bundle.appendingPathComponent(artifact.file))
        let size = artifact.input.size(
            batch: job.batch, height: images?.height ?? 0, width: images?.width ?? 0)
        guard size.height > 0, size.width > 0 else {
            throw RunnerError("takes images of any size, and the bundle has none")
        }
        let noise = try Pixels(
            noise: job.seed, count: size.batch, height: size.height, width: size.width)
        try model.prepare(noise, mean: job.mean, std: job.std)
        if !reports {
            return Loaded(artifact: artifact, model: model, batch: size.batch, burst: 0)
        }
        let first = try timedMs(model.infer)
        let warm = try job.warmUp(model.infer) { peak = max(peak, memoryMb()) }
        let placement = try await model.placement()
        let ready = Ready(
            runtime: runtime.name, batch: size.batch, burst: job.burstSize(warm),
            loadMs: model.loadMs, firstMs: first, warmup: warm.count,
            settled: job.hasSettled(warm))
        try results.append(
            ReadyEvent(
                artifact: artifact.sha256, ready: ready, unit: placement.unit,
                units: placement.units))
        try results.append(Peak(artifact: artifact.sha256, peakRssMb: peak - before))
        return Loaded(artifact: artifact, model: model, batch: size.batch, burst: ready.burst)
    }

    private func writeLogits(_ entry: Loaded, _ images: Pixels) throws {
        let hash = entry.artifact.sha256
        var done = results.logits[hash] ?? 0
        guard done < images.count else { return }
        var output: (file: URL, handle: FileHandle)?
        defer { try? output?.handle.close() }
        var reported = now()
        while done < images.count {
            // Otherwise Core ML's temporary objects accumulate until the end.
            try pooled {
                let n = min(entry.batch, images.count - done)
                let batch = try images.batch(from: done, size: entry.batch)
                try entry.model.prepare(batch, mean: job.mean, std: job.std)
                try entry.model.infer()
                let rows = try entry.model.logits().prefix(n)
                guard rows.count == n, let columns = rows.first?.count, columns > 0 else {
                    throw RunnerError("gave \(rows.count) rows of logits for \(n) images")
                }
                let opened =
                    try output ?? results.openLogits(hash, rows: done, columns: columns)
                output = opened
                try opened.1.write(contentsOf: littleEndian(rows.joined()))
                done += n
            }
            if done == images.count || now() - reported > 1_000_000_000, let output {
                try output.handle.synchronize()
                let last = done == images.count ? try sha256(file: output.file) : nil
                try results.append(
                    LogitsDone(artifact: hash, done: done, total: images.count, sha256: last))
                progress("\(entry.artifact.name): \(done) of \(images.count) images")
                reported = now()
            }
        }
    }
}

/// Numbers as float32, low byte first.
private func littleEndian(_ values: some Sequence<Float>) -> Data {
    let bits = values.map(\.bitPattern.littleEndian)
    return bits.withUnsafeBytes { Data($0) }
}

/// Runs a block and frees its temporary objects, on systems that have them.
private func pooled(_ work: () throws -> Void) rethrows {
    #if canImport(ObjectiveC)
        try autoreleasepool(invoking: work)
    #else
        try work()
    #endif
}
