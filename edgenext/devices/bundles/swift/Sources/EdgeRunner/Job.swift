import Foundation

/// The job of a bundle, from its `job.json`.
public struct Job: Codable {
    public static let protocolVersion = 1
    public static let file = "job.json"

    let `protocol`: Int
    public let job: String
    public let artifacts: [JobArtifact]
    let images: JobImages?
    let mean: [Float]
    let std: [Float]
    public let rounds: Int
    /// Rounds go on for at least this long.
    let sustainedS: Double?
    let batch: Int
    let seed: UInt64
    let minWarmup: Int
    let maxWarmup: Int
    let maxWarmupS: Double
    let settled: Double
    let burstMs: Double

    /// Reads the job of a bundle, and refuses file names that lead out of it.
    public init(bundle: URL) throws {
        let data: Data
        do {
            data = try Data(contentsOf: bundle.appendingPathComponent(Job.file))
        } catch {
            throw RunnerError("\(bundle.path) is not a bundle: it has no readable \(Job.file)")
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(Job.self, from: data)
        } catch {
            throw RunnerError("\(Job.file) is invalid: \(error)")
        }
        guard `protocol` == Job.protocolVersion else {
            throw RunnerError(
                "\(Job.file) is of protocol \(`protocol`), this runner of \(Job.protocolVersion): "
                    + "use the runner in the bundle")
        }
        guard !artifacts.isEmpty, mean.count == 3, std.count == 3, rounds > 0, batch > 0,
            minWarmup > 1, maxWarmup >= minWarmup
        else { throw RunnerError("\(Job.file) has invalid settings") }
        for name in artifacts.map(\.file) + (images.map { [$0.file] } ?? []) {
            guard !name.isEmpty, !name.hasPrefix("."), !name.contains("/"), !name.contains("\\")
            else { throw RunnerError("\(Job.file) names a file outside of the bundle: \(name)") }
        }
        for artifact in artifacts where artifact.input.shape.count != 4 {
            throw RunnerError("\(artifact.file) takes no images: the shape of its input is \(artifact.input.shape)")
        }
        if let images, images.shape.count != 4 || images.shape[3] != 3 {
            throw RunnerError("\(Job.file) has images of the shape \(images.shape), not N×H×W×3")
        }
    }
}

/// One file to measure: its content, its input and the compute unit it should run on.
public struct JobArtifact: Codable {
    public let sha256: String
    public let file: String
    public let name: String
    let input: TensorSpec
    let output: String
    let unit: String
    let labels: [String]?
}

/// A file of N×H×W×3 bytes.
struct JobImages: Codable {
    let file: String
    let shape: [Int]
    let sha256: String
}

/// An input: images N×H×W×3 of `uint8`, or numbers N×3×H×W or N×H×W×3.
public struct TensorSpec: Codable {
    public let name: String
    public let shape: [Int]
    public let dtype: String

    var takesPictures: Bool { dtype == "uint8" }
    var channelsLast: Bool { shape[3] == 3 }

    /// Batch, height and width of the input; the arguments where they are free.
    func size(batch: Int, height: Int, width: Int) -> (batch: Int, height: Int, width: Int) {
        let (h, w) = channelsLast ? (shape[1], shape[2]) : (shape[2], shape[3])
        return (shape[0] > 0 ? shape[0] : batch, h > 0 ? h : height, w > 0 ? w : width)
    }
}

/// A failure that the user can understand and act on, in one line.
public struct RunnerError: Error, CustomStringConvertible, LocalizedError {
    public let description: String
    public var errorDescription: String? { description }

    public init(_ description: String) {
        self.description = description
    }
}

extension Error {
    /// The error in one line.
    var oneLine: String {
        let text = (self as? RunnerError)?.description ?? "\(localizedDescription)"
        return text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
