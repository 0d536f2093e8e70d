import Foundation

/// An event: one JSON object on a line.
protocol Event: Encodable {}

/// A runner begins, or continues an interrupted run.
struct Start: Event, Codable {
    var event = "start"
    var `protocol` = Job.protocolVersion
    let job: String
    let environment: Environment
    let facts: Facts?
}

/// An artifact is loaded and warm; `unit` runs most of it, empty where unknown.
struct ReadyEvent: Event {
    let event = "ready"
    let artifact: String
    let ready: Ready
    let unit: String
    let units: [String: [String: Int]]
}

struct Ready: Encodable {
    let runtime: String
    let batch: Int
    let burst: Int
    let cpus: [Int] = []
    let loadMs: Double
    let firstMs: Double
    let warmup: Int
    let settled: Bool
}

/// One burst of one artifact; `atS` counts from the first round.
struct Round: Event {
    let event = "round"
    let artifact: String
    let round: Int
    let samplesMs: [Double]
    let atS: Double
}

/// The device after a round; nil where a value cannot be read.
struct State: Event {
    let event = "state"
    let thermal: Int?
    let battery: Double?
    let charging: Bool?
}

/// Logits of `done` images are written.
struct LogitsDone: Event {
    let event = "logits"
    let artifact: String
    let done: Int
    let total: Int
    let sha256: String?
}

/// The growth of the process's memory while an artifact was loaded and warmed up, in MiB.
struct Peak: Event {
    let event = "peak"
    let artifact: String
    let peakRssMb: Double
}

struct Failed: Event {
    let event = "error"
    let artifact: String?
    let message: String
}

/// The job is done; `sha256` is the hash of all lines before.
struct Done: Event {
    let event = "done"
    let sha256: String
}

/// The machine and software of a measurement.
public struct Environment: Codable, Equatable {
    public let cpu: String
    public let isa: [String]
    public let cores: Int
    public let memoryGb: Double
    public let os: String
    public var python = ""
    public let packages: [String: String]

    public init(
        cpu: String, isa: [String], cores: Int, memoryGb: Double, os: String,
        packages: [String: String]
    ) {
        self.cpu = cpu
        self.isa = isa
        self.cores = cores
        self.memoryGb = memoryGb
        self.os = os
        self.packages = packages
    }
}

/// The facts of a device.
struct Facts: Codable {
    var kind = "iphone"
    var model = ""
    var soc = ""
    var machine = ""
    var os = ""
    var cores = 0
    var memoryMb = 0.0
    var software: [String: String] = [:]
    var thermalStatus: Int?
    var batteryPercent: Double?
    var charging: Bool?
    var emulator = ""
    var notes: [String] = []
}
