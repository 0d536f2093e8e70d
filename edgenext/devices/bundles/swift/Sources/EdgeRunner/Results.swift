import Foundation

/// The folder that results are appended to, so that an interrupted run can be continued.
final class Results {
    static let file = "results.jsonl"

    let folder: URL
    private(set) var isDone = false
    /// Rounds and logits of earlier attempts, by artifact.
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

    /// Opens or makes the folder, for this job on this machine only.
    init(folder: URL, bundle: URL, job: Job, environment: Environment) throws {
        self.folder = folder
        encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let files = FileManager.default
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        let copy = folder.appendingPathComponent(Job.file)
        let original = bundle.appendingPathComponent(Job.file)
        if !files.fileExists(atPath: copy.path) { try files.copyItem(at: original, to: copy) }
        guard try Data(contentsOf: copy) == Data(contentsOf: original) else {
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
    func append(_ event: some Event) throws {
        var line = try encoder.encode(event)
        line.append(0x0A)
        try handle.seekToEnd()
        try handle.write(contentsOf: line)
        try handle.synchronize()
    }

    /// Append the last event, with the hash of all lines before it.
    func finish() throws {
        try append(Done(sha256: try sha256(file: folder.appendingPathComponent(Results.file))))
        isDone = true
    }

    /// The file of an artifact's logits, opened after the first `rows` of `columns` numbers.
    func openLogits(_ artifact: String, rows: Int, columns: Int) throws -> (URL, FileHandle) {
        let file = folder.appendingPathComponent("logits-\(artifact).f32")
        if !FileManager.default.fileExists(atPath: file.path) {
            guard FileManager.default.createFile(atPath: file.path, contents: nil) else {
                throw RunnerError("\(file.path) cannot be written")
            }
        }
        let handle = try FileHandle(forUpdating: file)
        let length = UInt64(rows * columns * MemoryLayout<Float>.size)
        guard try handle.seekToEnd() >= length else {
            throw RunnerError("\(file.lastPathComponent) is shorter than it was: move the results away")
        }
        try handle.truncate(atOffset: length)
        return (file, handle)
    }

    private func readBack(_ data: Data, job: String, environment: Environment) throws {
        // A line that was being written when the run was stopped has no line end.
        let complete = data.lastIndex(of: 0x0A).map { data[...$0] } ?? Data()
        try handle.truncate(atOffset: UInt64(complete.count))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        for line in complete.split(separator: 0x0A) {
            guard let head = try? decoder.decode(EventHead.self, from: line) else {
                throw RunnerError("\(Results.file) is damaged: move the results away")
            }
            switch head.event {
            case "start":
                let start = try decoder.decode(Start.self, from: line)
                guard start.job == job, start.environment == environment else {
                    throw RunnerError(
                        "\(folder.path) has results of another device or job: move them away")
                }
            case "ready": rounds[head.artifact ?? ""] = 0
            case "round": rounds[head.artifact ?? "", default: 0] += 1
            case "logits": logits[head.artifact ?? ""] = head.done ?? 0
            case "done": isDone = true
            default: break
            }
        }
    }

    private struct EventHead: Decodable {
        let event: String
        let artifact: String?
        let done: Int?
    }
}
