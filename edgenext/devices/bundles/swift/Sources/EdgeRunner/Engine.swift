import Foundation

/// Something that runs artifacts: Core ML, or what a test puts in its place.
public protocol Engine {
    /// What results call it.
    var name: String { get }

    /// Load the file of an artifact.
    func open(_ artifact: JobArtifact, at file: URL) async throws -> Model
}

/// An artifact that is loaded.
public protocol Model: AnyObject {
    /// Time in ms to load it, without compiling it.
    var loadMs: Double { get }

    /// Put pictures in place as its input: those of one batch.
    func prepare(_ pixels: Pixels, mean: [Float], std: [Float]) throws

    /// One inference of what was prepared: the call that is timed.
    func infer() throws

    /// The logits of the last inference, picture by picture.
    func logits() throws -> [[Float]]

    /// Where its operators run.
    func placement() async throws -> Placement
}

/// Operators by unit and type, and the unit that most of the work is on; empty where unknown.
public struct Placement {
    public var unit = ""
    public var units: [String: [String: Int]] = [:]

    public init() {}
}
