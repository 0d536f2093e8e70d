import Foundation

/// Does a bundle's job: latency of its artifacts, interleaved, then logits of its images.
public final class Runner {
    /// Called with a line for people.
    public typealias Progress = (String) -> Void

    public let job: Job
    private let bundle: URL
    private let engine: Engine
    private let environment: Environment
    private let results: Results
    private let progress: Progress

    /// Opens a bundle and the folder of its results, which may hold those of an interrupted run.
    public init(
        bundle: URL, results folder: URL, engine: Engine, environment: Environment,
        progress: @escaping Progress
    ) throws {
        (self.bundle, self.engine, self.environment) = (bundle, engine, environment)
        self.progress = progress
        job = try Job(bundle: bundle)
        results = try Results(folder: folder, bundle: bundle, job: job, environment: environment)
    }

    /// Do what is still to do. Returns what could not be measured, a line each.
    public func run() async throws -> [String] {
        if results.isDone {
            progress("All of this was measured before: \(results.folder.path)")
            return []
        }
        try results.tell(Start(job: job.job, environment: environment, facts: deviceFacts()))
        do {
            return try await measure()
        } catch {
            try? results.tell(Failed(artifact: nil, message: error.oneLine))
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
            try results.tell(Failed(artifact: artifact.sha256, message: error.oneLine))
            failures.append("\(artifact.name): \(error.oneLine)")
            progress(failures[failures.count - 1])
            loaded.removeAll { $0.artifact.sha256 == artifact.sha256 }
        }

        for artifact in job.artifacts {
            progress("Loading \(artifact.name)")
            do {
                loaded.append(try await load(artifact, images, tells: !isTimed))
            } catch {
                try fail(artifact, error)
            }
        }
        let start = now()
        func seconds() -> Double { Double(now() - start) / 1e9 }
        var round = 0
        while !isTimed, !loaded.isEmpty, round < job.rounds || seconds() < job.sustainedS ?? 0 {
            for one in loaded {
                do {
                    let samples = try burst(one.burst, one.model.infer)
                    try results.tell(
                        Round(
                            artifact: one.artifact.sha256, round: round, samplesMs: samples,
                            atS: seconds()))
                } catch {
                    try fail(one.artifact, error)
                }
            }
            try results.tell(deviceState())
            round += 1
            progress("Round \(round) of \(max(round, job.rounds))")
        }
        for one in images == nil ? [] : loaded {
            do {
                try writeLogits(one, images!)
            } catch {
                try fail(one.artifact, error)
            }
        }
        try results.finish()
        return failures
    }

    private func verify() throws {
        progress("Checking files")
        var asked = job.artifacts.map { ($0.file, $0.sha256) }
        if let images = job.images { asked.append((images.file, images.sha256)) }
        for (name, wanted) in asked {
            let found = try sha256(tree: bundle.appendingPathComponent(name))
            guard found == wanted else {
                throw RunnerError(
                    "\(name) is not the file of the job (sha256 \(found.prefix(12))…, not "
                        + "\(wanted.prefix(12))…): copy the bundle again, without .DS_Store files")
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

    /// An artifact with its input in place, warm.
    private struct Loaded {
        let artifact: JobArtifact
        let model: Model
        let batch: Int
        let burst: Int
    }

    private func load(_ artifact: JobArtifact, _ images: Pixels?, tells: Bool) async throws
        -> Loaded
    {
        let before = memoryMb()
        var peak = before
        let model = try await engine.open(artifact, at: bundle.appendingPathComponent(artifact.file))
        let size = artifact.input.size(
            batch: job.batch, height: images?.height ?? 0, width: images?.width ?? 0)
        guard size.height > 0, size.width > 0 else {
            throw RunnerError("takes pictures of any size, and the bundle has none")
        }
        let noise = try Pixels(
            noise: job.seed, count: size.batch, height: size.height, width: size.width)
        try model.prepare(noise, mean: job.mean, std: job.std)
        if !tells {
            return Loaded(artifact: artifact, model: model, batch: size.batch, burst: 0)
        }
        let first = try timedMs(model.infer)
        let warm = try job.warmUp(model.infer) { peak = max(peak, memoryMb()) }
        let placement = try await model.placement()
        let ready = Ready(
            runtime: engine.name, batch: size.batch, burst: job.burstSize(warm),
            loadMs: model.loadMs, firstMs: first, warmup: warm.count,
            settled: job.hasSettled(warm))
        try results.tell(
            ReadyEvent(
                artifact: artifact.sha256, ready: ready, unit: placement.unit,
                units: placement.units))
        try results.tell(Peak(artifact: artifact.sha256, peakRssMb: peak - before))
        return Loaded(artifact: artifact, model: model, batch: size.batch, burst: ready.burst)
    }

    private func writeLogits(_ one: Loaded, _ images: Pixels) throws {
        let hash = one.artifact.sha256
        var done = results.logits[hash] ?? 0
        guard done < images.count else { return }
        var output: (file: URL, handle: FileHandle)?
        defer { try? output?.handle.close() }
        var told = now()
        while done < images.count {
            // Objects that Core ML hands out would else pile up until the end.
            try pooled {
                let n = min(one.batch, images.count - done)
                let batch = try images.batch(from: done, size: one.batch)
                try one.model.prepare(batch, mean: job.mean, std: job.std)
                try one.model.infer()
                let rows = try one.model.logits().prefix(n)
                guard rows.count == n, let columns = rows.first?.count, columns > 0 else {
                    throw RunnerError("gave \(rows.count) rows of logits for \(n) images")
                }
                let opened =
                    try output ?? results.openLogits(hash, rows: done, columns: columns)
                output = opened
                try opened.1.write(contentsOf: littleEndian(rows.joined()))
                done += n
            }
            if done == images.count || now() - told > 1_000_000_000, let output {
                try output.handle.synchronize()
                let last = done == images.count ? try sha256(file: output.file) : nil
                try results.tell(
                    LogitsDone(artifact: hash, done: done, total: images.count, sha256: last))
                progress("\(one.artifact.name): \(done) of \(images.count) images")
                told = now()
            }
        }
    }
}

/// Numbers as float32, low byte first.
private func littleEndian(_ values: some Sequence<Float>) -> Data {
    let bits = values.map(\.bitPattern.littleEndian)
    return bits.withUnsafeBytes { Data($0) }
}

/// A block whose temporary objects are freed at its end, where a system has such.
private func pooled(_ work: () throws -> Void) rethrows {
    #if canImport(ObjectiveC)
        try autoreleasepool(invoking: work)
    #else
        try work()
    #endif
}
