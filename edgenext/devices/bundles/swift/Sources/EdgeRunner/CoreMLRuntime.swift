#if canImport(CoreML)
    import CoreML
    import CoreVideo
    import Foundation

    /// Runs packages in Core ML.
    public struct CoreMLRuntime: ModelRuntime {
        public let name = "coreml"

        public init() {}

        /// Versions that a timing depends on.
        public static var software: [String: String] {
            let info = Bundle(for: MLModel.self).infoDictionary
            return (info?["CFBundleVersion"] as? String).map { ["coreml": $0] } ?? [:]
        }

        public func open(_ artifact: JobArtifact, at file: URL) async throws -> Model {
            let configuration = MLModelConfiguration()
            configuration.computeUnits = try computeUnits(artifact.unit)
            let compiled = try await MLModel.compileModel(at: file)
            do {
                let start = now()
                let model = try await MLModel.load(contentsOf: compiled, configuration: configuration)
                let loadMs = Double(now() - start) / 1e6
                return CoreMLModel(artifact, model, compiled: compiled, loadMs: loadMs)
            } catch {
                try? FileManager.default.removeItem(at: compiled)
                throw error
            }
        }
    }

    /// The units of Core ML for a job's unit; the CPU runs all other operators.
    func computeUnits(_ unit: String) throws -> MLComputeUnits {
        switch unit {
        case "all", "": return .all
        case "ane", "npu": return .cpuAndNeuralEngine
        case "gpu": return .cpuAndGPU
        case "cpu": return .cpuOnly
        default: throw RunnerError("Core ML has no unit \(unit): all, ane, gpu or cpu")
        }
    }

    final class CoreMLModel: Model {
        let loadMs: Double

        private let artifact: JobArtifact
        private let model: MLModel
        private let compiled: URL
        private var batch = 1
        private var input: MLFeatureProvider?
        private var output: MLFeatureProvider?

        init(_ artifact: JobArtifact, _ model: MLModel, compiled: URL, loadMs: Double) {
            (self.artifact, self.model) = (artifact, model)
            (self.compiled, self.loadMs) = (compiled, loadMs)
        }

        deinit {
            try? FileManager.default.removeItem(at: compiled)
        }

        func prepare(_ pixels: Pixels, mean: [Float], std: [Float]) throws {
            let spec = artifact.input
            let value: MLFeatureValue
            if spec.takesPictures {
                value = MLFeatureValue(pixelBuffer: try pixelBuffer(pixels))
            } else {
                let numbers = pixels.normalised(
                    mean: mean, std: std, channelsLast: spec.channelsLast)
                let (n, h, w) = (pixels.count, pixels.height, pixels.width)
                let shape = spec.channelsLast ? [n, h, w, 3] : [n, 3, h, w]
                value = MLFeatureValue(multiArray: try multiArray(numbers, shape, spec.dtype))
            }
            batch = pixels.count
            input = try MLDictionaryFeatureProvider(dictionary: [spec.name: value])
        }

        func infer() throws {
            guard let input else { throw RunnerError("nothing was prepared") }
            output = try model.prediction(from: input)
        }

        func logits() throws -> [[Float]] {
            guard let output else { throw RunnerError("nothing was run") }
            let description = model.modelDescription
            if let name = description.predictedProbabilitiesName,
                let probabilities = output.featureValue(for: name)?.dictionaryValue
            {
                return [try logProbabilities(probabilities, description.classLabels)]
            }
            guard let array = output.featureValue(for: artifact.output)?.multiArrayValue else {
                throw RunnerError("has no output \(artifact.output)")
            }
            let flat = numbers(of: array)
            guard flat.count % batch == 0 else {
                throw RunnerError("gave \(flat.count) numbers for \(batch) images")
            }
            let columns = flat.count / batch
            return (0..<batch).map { Array(flat[$0 * columns..<($0 + 1) * columns]) }
        }

        func placement() async throws -> Placement {
            if #available(macOS 14.4, iOS 17.4, *) {
                let configuration = MLModelConfiguration()
                configuration.computeUnits = try computeUnits(artifact.unit)
                return try await planned(compiled, configuration)
            }
            return Placement()
        }

        /// The logits of a classifier: logarithms of its probabilities, in the manifest's order.
        private func logProbabilities(_ probabilities: [AnyHashable: NSNumber], _ labels: [Any]?) throws
            -> [Float]
        {
            let byName = Dictionary(
                probabilities.map { ("\($0.key)", $0.value.floatValue) }, uniquingKeysWith: { a, _ in a })
            let order = artifact.labels ?? labels?.map { "\($0)" } ?? []
            guard order.count == byName.count else {
                throw RunnerError("has \(byName.count) classes, its manifest \(order.count)")
            }
            return try order.map { label in
                guard let p = byName[label] else { throw RunnerError("has no class \(label)") }
                return log(max(p, Float.leastNormalMagnitude))
            }
        }
    }

    /// A new array of the numbers in C order, as `float32` or `float16`.
    private func multiArray(_ numbers: [Float], _ shape: [Int], _ dtype: String) throws
        -> MLMultiArray
    {
        let half = dtype == "float16"
        guard half || dtype == "float32" else { throw RunnerError("takes \(dtype)") }
        let array = try MLMultiArray(
            shape: shape.map { NSNumber(value: $0) }, dataType: half ? .float16 : .float32)
        array.withUnsafeMutableBytes { raw, strides in
            // A new array may have padding at the end of its rows.
            let row = shape[3]
            for start in stride(from: 0, to: numbers.count, by: row) {
                let at = offset(start, shape, strides)
                for i in 0..<row {
                    if half {
                        raw.storeBytes(
                            of: halfBits(numbers[start + i]), toByteOffset: 2 * (at + i * strides[3]),
                            as: UInt16.self)
                    } else {
                        raw.storeBytes(
                            of: numbers[start + i], toByteOffset: 4 * (at + i * strides[3]),
                            as: Float.self)
                    }
                }
            }
        }
        return array
    }

    /// The offset of the element at a position in C order.
    private func offset(_ position: Int, _ shape: [Int], _ strides: [Int]) -> Int {
        var (rest, at) = (position, 0)
        for axis in shape.indices.reversed() {
            at += (rest % shape[axis]) * strides[axis]
            rest /= shape[axis]
        }
        return at
    }

    /// All numbers of an array in C order, whatever their type.
    private func numbers(of array: MLMultiArray) -> [Float] {
        let shape = array.shape.map(\.intValue)
        return (0..<array.count).map { place in
            var (rest, index) = (place, [NSNumber]())
            for length in shape.reversed() {
                index.insert(NSNumber(value: rest % length), at: 0)
                rest /= length
            }
            return array[index].floatValue
        }
    }

    /// An image as Core ML takes it: blue, green, red and a fourth byte.
    private func pixelBuffer(_ pixels: Pixels) throws -> CVPixelBuffer {
        guard pixels.count == 1 else { throw RunnerError("takes one image at a time") }
        var created: CVPixelBuffer?
        let surface = [kCVPixelBufferIOSurfacePropertiesKey: [String: Any]()] as CFDictionary
        let status = CVPixelBufferCreate(
            kCFAllocatorDefault, pixels.width, pixels.height, kCVPixelFormatType_32BGRA, surface,
            &created)
        guard status == kCVReturnSuccess, let buffer = created else {
            throw RunnerError("an image of \(pixels.width)×\(pixels.height) cannot be allocated")
        }
        CVPixelBufferLockBaseAddress(buffer, [])
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw RunnerError("an image has no memory")
        }
        let rowBytes = CVPixelBufferGetBytesPerRow(buffer)
        pixels.bytes.withUnsafeBytes { (raw: UnsafeRawBufferPointer) in
            for y in 0..<pixels.height {
                let row = (base + y * rowBytes).assumingMemoryBound(to: UInt8.self)
                for x in 0..<pixels.width {
                    let from = (y * pixels.width + x) * 3
                    row[4 * x] = raw[from + 2]
                    row[4 * x + 1] = raw[from + 1]
                    row[4 * x + 2] = raw[from]
                    row[4 * x + 3] = 255
                }
            }
        }
        return buffer
    }
#endif
