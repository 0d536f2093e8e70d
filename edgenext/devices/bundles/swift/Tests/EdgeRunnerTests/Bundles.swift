import Foundation
import XCTest

@testable import EdgeRunner

func temporaryFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("edgerunner-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

/// A bundle of packages for the fake runtime: 4×4 images, a free batch.
func makeBundle(names: [String], images: Int, batch: Int = 1, change: [String: Any] = [:]) throws
    -> URL
{
    let bundle = try temporaryFolder()
    var artifacts: [[String: Any]] = []
    for name in names {
        let package = bundle.appendingPathComponent("\(name).mlpackage")
        try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
        try Data(name.utf8).write(to: package.appendingPathComponent("data"))
        artifacts.append([
            "sha256": try sha256(tree: package), "file": package.lastPathComponent, "name": name,
            "input": ["name": "x", "shape": [-1, 3, 4, 4], "dtype": "float32"],
            "output": "logits", "unit": "ane",
        ])
    }
    var job: [String: Any] = [
        "protocol": 1, "job": "test", "artifacts": artifacts, "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25], "rounds": 3, "batch": batch, "seed": 0, "min_warmup": 10,
        "max_warmup": 500, "max_warmup_s": 20.0, "settled": 0.02, "burst_ms": 40.0,
    ]
    if images > 0 {
        let pixels = try Pixels(noise: 1, count: images, height: 4, width: 4).bytes
        try pixels.write(to: bundle.appendingPathComponent("images.u8"))
        job["images"] = [
            "file": "images.u8", "shape": [images, 4, 4, 3], "sha256": sha256(pixels),
        ]
    }
    job.merge(change) { _, new in new }
    try JSONSerialization.data(withJSONObject: job)
        .write(to: bundle.appendingPathComponent("job.json"))
    return bundle
}
