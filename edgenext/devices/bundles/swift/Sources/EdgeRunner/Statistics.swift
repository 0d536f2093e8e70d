import Foundation

/// Fewest and most inferences in a burst: a median of fewer is not robust to one that was disturbed,
/// and more would only enlarge the result.
let burstLimits = 3...400

/// The middle of a non-empty list.
func median<S: Sequence>(_ values: S) -> Double where S.Element == Double {
    let sorted = values.sorted()
    let half = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

extension Job {
    /// Inferences in each of the two medians that are compared.
    var window: Int { minWarmup / 2 }

    /// Whether the median of the last inferences is close to the median before them.
    func hasSettled(_ samples: [Double]) -> Bool {
        guard samples.count >= minWarmup else { return false }
        let before = median(samples.suffix(2 * window).prefix(window))
        return abs(median(samples.suffix(window)) - before) < settled * before
    }

    /// The number of inferences that take about `burstMs`, from warm samples in ms.
    func burstSize(_ warm: [Double]) -> Int {
        let sampleMs = max(median(warm.suffix(window)), 1e-6)
        let size = min(burstMs / sampleMs, Double(burstLimits.upperBound))
        return max(burstLimits.lowerBound, Int(size.rounded(.up)))
    }

    /// Samples in ms until they settle, within the job's limits.
    func warmUp(_ infer: () throws -> Void, after: () -> Void = {}) throws -> [Double] {
        var samples: [Double] = []
        let end = now() + UInt64(maxWarmupS * 1e9)
        while !hasSettled(samples) {
            let late = samples.count >= maxWarmup || now() > end
            if late && samples.count >= minWarmup { break }
            samples.append(try timedMs(infer))
            after()
        }
        return samples
    }
}

/// A monotonic clock in ns.
func now() -> UInt64 { DispatchTime.now().uptimeNanoseconds }

/// Wall time of one call in ms.
func timedMs(_ call: () throws -> Void) rethrows -> Double {
    let start = now()
    try call()
    return Double(now() - start) / 1e6
}

/// One burst: wall times in ms, after an inference that is not counted, since it runs with the caches
/// full of the previous artifact's data.
func burst(_ size: Int, _ infer: () throws -> Void) throws -> [Double] {
    try infer()
    var samples: [Double] = []
    samples.reserveCapacity(size)
    for _ in 0..<size { samples.append(try timedMs(infer)) }
    return samples
}
