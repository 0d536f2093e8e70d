import Foundation

/// Loads artifacts: Core ML, or a stand-in in tests.
public protocol ModelRuntime {
    /// Its name in results.
    var name: String { get }

    /// Load the file of an artifact.
    func open(_ artifact: JobArtifact, at file: URL) async throws -> Model
}

/// A loaded artifact.
public protocol Model: AnyObject {
    /// Time in ms to load it, without compiling it.
    var loadMs: Double { get }

    /// Set images, one batch, as the input.
    func prepare(_ pixels: Pixels, mean: [Float], std: [Float]) throws

    /// One inference of the input: the call that is timed.
    func infer() throws

    /// The logits of the last inference, image by image.
    func logits() throws -> [[Float]]

    /// The compute units of its operators.
    func placement() async throws -> Placement
}

/// Operators by unit and type, and the unit with most of the work; empty where unknown.
public struct Placement {
    public var unit = ""
    public var units: [String: [String: Int]] = [:]

    public init() {}
}
