import Foundation

@testable import EdgeRunner

/// Stands in for Core ML: class k of an image is (k + 1) times the mean of its channel k mod 3.
struct FakeRuntime: ModelRuntime {
    let name = "fake"
    var classes = 5
    /// Names of artifacts that cannot be loaded.
    var broken: Set<String> = []
    /// Fails after so many inferences altogether.
    let budget: Budget

    final class Budget {
        var left: Int

        init(_ left: Int = .max) { self.left = left }
    }

    init(classes: Int = 5, broken: Set<String> = [], budget: Int = .max) {
        (self.classes, self.broken, self.budget) = (classes, broken, Budget(budget))
    }

    func open(_ artifact: JobArtifact, at file: URL) async throws -> Model {
        if broken.contains(artifact.name) { throw RunnerError("refused") }
        return FakeModel(artifact, classes, budget)
    }
}


final class FakeModel: Model {
    let loadMs = 1.5
    private let artifact: JobArtifact
    private let classes: Int
    private let budget: FakeRuntime.Budget
    private var input: [Float] = []
    private var pixels: Pixels?
    private var output: [[Float]] = []

    init(_ artifact: JobArtifact, _ classes: Int, _ budget: FakeRuntime.Budget) {
        (self.artifact, self.classes, self.budget) = (artifact, classes, budget)
    }

    func prepare(_ pixels: Pixels, mean: [Float], std: [Float]) throws {
        self.pixels = pixels
        let spec = artifact.input
        input =
            spec.takesPictures
            ? pixels.bytes.map { Float($0) }
            : pixels.normalised(mean: mean, std: std, channelsLast: spec.channelsLast)
    }

    func infer() throws {
        guard budget.left > 0, let pixels else { throw RunnerError("stopped") }
        budget.left -= 1
        let plane = pixels.height * pixels.width
        output = (0..<pixels.count).map { n in
            let means = (0..<3).map { channel -> Float in
                let sum = (0..<plane).reduce(0.0) { sum, at in
                    let place =
                        artifact.input.channelsLast
                        ? (n * plane + at) * 3 + channel : (n * 3 + channel) * plane + at
                    return sum + Double(input[place])
                }
                return Float(sum / Double(plane))
            }
            return (0..<classes).map { Float($0 + 1) * means[$0 % 3] }
        }
    }

    func logits() throws -> [[Float]] { output }

    func placement() async throws -> Placement {
        var placement = Placement()
        placement.unit = "ane"
        placement.units = ["ane": ["conv": 3], "cpu": ["softmax": 1]]
        return placement
    }
}
