#if canImport(CoreML)
    import CoreML
    import Foundation

    /// The units on which Core ML plans to run the operators of a compiled model. The model's unit is
    /// the one with most of the estimated cost or, without estimates, with most operators.
    @available(macOS 14.4, iOS 17.4, *)
    func planned(_ compiled: URL, _ configuration: MLModelConfiguration) async throws -> Placement {
        let plan = try await MLComputePlan.load(contentsOf: compiled, configuration: configuration)
        var placement = Placement()
        guard case .program(let program) = plan.modelStructure,
            let main = program.functions["main"]
        else { return placement }
        var costs: [String: Double] = [:]

        func visit(_ block: MLModelStructure.Program.Block) {
            for operation in block.operations {
                if let device = plan.deviceUsage(for: operation)?.preferred {
                    let unit = unitName(device)
                    let type = operation.operatorName.split(separator: ".").last.map(String.init)
                    placement.units[unit, default: [:]][type ?? "", default: 0] += 1
                    costs[unit, default: 0] += plan.estimatedCost(of: operation)?.weight ?? 0
                }
                operation.blocks.forEach(visit)
            }
        }

        visit(main.block)
        let counts = placement.units.mapValues { Double($0.values.reduce(0, +)) }
        let shares = costs.values.contains { $0 > 0 } ? costs : counts
        placement.unit = shares.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
        return placement
    }

    @available(macOS 14.4, iOS 17.4, *)
    private func unitName(_ device: MLComputeDevice) -> String {
        switch device {
        case .cpu: return "cpu"
        case .gpu: return "gpu"
        case .neuralEngine: return "ane"
        @unknown default: return "other"
        }
    }
#endif
