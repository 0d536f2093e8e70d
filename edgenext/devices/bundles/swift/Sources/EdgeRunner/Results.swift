import Foundation

/// The folder that results are appended to, so that an interrupted run can go on.
final class Results {
    static let file = "results.jsonl"

    let folder: URL
    private(set) var isDone = false
    /// Rounds and logits that earlier attempts left, by artifact.
    private(set) var rounds: [String: Int] = [:]
    private(set) var logits: [String: Int] = [:]

    /// Whether earlier attempts did all rounds: logits come after them.
    func isTimed(_ job: Job) -> Bool {
        !logits.isEmpty
            || (job.sustainedS ?? 0) == 0
                && job.artifacts.allSatisfy { rounds[$0.sha256] == job.rounds }
    }

    private let handle: FileHandle
    private let encoder: JSONEncoder

    /// Opens or makes the folder, for this job on this machine alone.
    init(folder: URL, bundle: URL, job: Job, environment: Environment) throws {
        self.folder = folder
        encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let files = FileManager.default
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        let copy = folder.appendingPathComponent(Job.file)
        let asked = bundle.appendingPathComponent(Job.file)
        if !files.fileExists(atPath: copy.path) { try files.copyItem(at: asked, to: copy) }
        guard try Data(contentsOf: copy) == Data(contentsOf: asked) else {
            throw RunnerError("\(folder.path) has the results of another job: move them away")
        }
        let lines = folder.appendingPathComponent(Results.file)
        if !files.fileExists(atPath: lines.path) {
            guard files.createFile(atPath: lines.path, contents: nil) else {
                throw RunnerError("\(lines.path) cannot be written")
            }
        }
        handle = try FileHandle(forUpdating: lines)
        try readBack(try handle.readToEnd() ?? Data(), job: job.job, environment: environment)
    }

    /// Append one event; it is on the disk when this returns.
    func tell(_ event: some Event) throws {
        var line = try encoder.encode(event)
        line.append(0x0A)
        try handle.seekToEnd()
        try handle.write(contentsOf: line)
        try handle.synchronize()
    }

    /// The last event: with the hash of all that was told before it.
    func finish() throws {
        try tell(Done(sha256: try sha256(file: folder.appendingPathComponent(Results.file))))
        isDone = true
    }

    /// The file of an artifact's logits, open behind the first `rows` of `columns` numbers.
    func openLogits(_ artifact: String, rows: Int, columns: Int) throws -> (URL, FileHandle) {
        let file = folder.appendingPathComponent("logits-\(artifact).f32")
        if !FileManager.default.fileExists(atPath: file.path) {
            guard FileManager.default.createFile(atPath: file.path, contents: nil) else {
                throw RunnerError("\(file.path) cannot be written")
            }
        }
        let handle = try FileHandle(forUpdating: file)
        let wanted = UInt64(rows * columns * MemoryLayout<Float>.size)
        guard try handle.seekToEnd() >= wanted else {
            throw RunnerError("\(file.lastPathComponent) is shorter than it was: move the results away")
        }
        try handle.truncate(atOffset: wanted)
        return (file, handle)
    }

    private func readBack(_ data: Data, job: String, environment: Environment) throws {
        // A line that was being written when the run was stopped has no end.
        let whole = data.lastIndex(of: 0x0A).map { data[...$0] } ?? Data()
        try handle.truncate(atOffset: UInt64(whole.count))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        for line in whole.split(separator: 0x0A) {
            guard let told = try? decoder.decode(Told.self, from: line) else {
                throw RunnerError("\(Results.file) is damaged: move the results away")
            }
            switch told.event {
            case "start":
                let start = try decoder.decode(Start.self, from: line)
                guard start.job == job, start.environment == environment else {
                    throw RunnerError(
                        "\(folder.path) has results of another device or job: move them away")
                }
            case "ready": rounds[told.artifact ?? ""] = 0
            case "round": rounds[told.artifact ?? "", default: 0] += 1
            case "logits": logits[told.artifact ?? ""] = told.done ?? 0
            case "done": isDone = true
            default: break
            }
        }
    }

    private struct Told: Decodable {
        let event: String
        let artifact: String?
        let done: Int?
    }
}
