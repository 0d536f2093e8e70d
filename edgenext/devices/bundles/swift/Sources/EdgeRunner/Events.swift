import Foundation

/// What is told, one JSON object a line.
protocol Event: Encodable {}

/// A runner begins, or goes on with what was interrupted.
struct Start: Event, Codable {
    var event = "start"
    var `protocol` = Job.protocolVersion
    let job: String
    let environment: Environment
    let facts: Facts?
}

/// An artifact is loaded and warm; `unit` is where most of it runs, empty where nobody can tell.
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

/// The device after a round; what cannot be read is nil.
struct State: Event {
    let event = "state"
    let thermal: Int?
    let battery: Double?
    let charging: Bool?
}

/// Logits of so many images are written.
struct LogitsDone: Event {
    let event = "logits"
    let artifact: String
    let done: Int
    let total: Int
    let sha256: String?
}

/// How much the process's memory grew while an artifact was loaded and warmed, in MiB.
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

/// All is done; `sha256` is that of all lines before.
struct Done: Event {
    let event = "done"
    let sha256: String
}

/// The machine and software a number was made with.
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

/// What a device says of itself.
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
