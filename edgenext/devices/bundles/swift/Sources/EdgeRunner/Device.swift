import Foundation

#if canImport(Darwin)
    import Darwin
#endif
#if canImport(UIKit)
    import UIKit
#elseif canImport(IOKit)
    import IOKit.ps
#endif

/// Instruction sets that matter to INT8, the most useful last: Apple's name → the name in records.
private let instructionSets = [("FEAT_DotProd", "dotprod"), ("FEAT_I8MM", "i8mm")]

/// This machine; `software` are packages whose versions a timing depends on.
public func deviceEnvironment(software: [String: String]) -> Environment {
    let process = ProcessInfo.processInfo
    let isa = instructionSets.filter { system("hw.optional.arm.\($0.0)") == 1 }.map(\.1)
    return Environment(
        cpu: systemText("machdep.cpu.brand_string") ?? model(),
        isa: isa,
        cores: process.processorCount,
        memoryGb: (Double(process.physicalMemory) / 1_073_741_824 * 10).rounded() / 10,
        os: "\(systemName) \(process.operatingSystemVersionString)",
        packages: software)
}

/// The present facts of this device.
func deviceFacts() -> Facts {
    let process = ProcessInfo.processInfo
    let version = process.operatingSystemVersion
    let battery = batteryState()
    var facts = Facts()
    facts.model = model()
    facts.soc = systemText("machdep.cpu.brand_string") ?? ""
    facts.machine = machine()
    facts.os = "\(systemName) \(process.operatingSystemVersionString)"
    facts.cores = process.processorCount
    facts.memoryMb = Double(process.physicalMemory) / 1_048_576
    facts.software = [
        systemName.lowercased():
            "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    ]
    facts.thermalStatus = thermalState()
    facts.batteryPercent = battery.percent
    facts.charging = battery.charging
    #if targetEnvironment(simulator)
        facts.emulator = "\(systemName) simulator"
    #endif
    #if canImport(Darwin)
        if process.isLowPowerModeEnabled {
            facts.notes = ["low power mode was on: switch it off and measure again"]
        }
    #endif
    return facts
}

/// The present thermal state and battery.
func deviceState() -> State {
    let battery = batteryState()
    return State(thermal: thermalState(), battery: battery.percent, charging: battery.charging)
}

private var systemName: String {
    #if os(iOS)
        "iOS"
    #elseif os(macOS)
        "macOS"
    #else
        "Linux"
    #endif
}

/// 0 nominal, 1 fair, 2 serious, 3 critical.
private func thermalState() -> Int? {
    #if canImport(Darwin)
        return ProcessInfo.processInfo.thermalState.rawValue
    #else
        return nil
    #endif
}

/// The model identifier, such as `iPhone15,2` or `Mac14,2`.
private func model() -> String {
    #if os(macOS)
        return systemText("hw.model") ?? machine()
    #else
        return machine()
    #endif
}

private func machine() -> String {
    var name = utsname()
    uname(&name)
    return withUnsafeBytes(of: &name.machine) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
    }
}

private func batteryState() -> (percent: Double?, charging: Bool?) {
    #if canImport(UIKit)
        // The main thread has switched monitoring on and stored the last values.
        return batteryOfPhone.value
    #elseif canImport(IOKit)
        guard let blob = IOPSCopyPowerSourcesInfo()?.takeRetainedValue(),
            let list = IOPSCopyPowerSourcesList(blob)?.takeRetainedValue() as? [CFTypeRef],
            let first = list.first,
            let about = IOPSGetPowerSourceDescription(blob, first)?.takeUnretainedValue()
                as? [String: Any]
        else { return (nil, nil) }
        return (
            (about[kIOPSCurrentCapacityKey] as? NSNumber)?.doubleValue,
            about[kIOPSIsChargingKey] as? Bool
        )
    #else
        return (nil, nil)
    #endif
}

#if canImport(UIKit)
    /// The last state of the battery: stored on the main thread, read on any thread.
    final class PhoneBattery: @unchecked Sendable {
        private let lock = NSLock()
        private var last: (Double?, Bool?) = (nil, nil)

        var value: (percent: Double?, charging: Bool?) {
            lock.lock()
            defer { lock.unlock() }
            return last
        }

        @MainActor func read() {
            let device = UIDevice.current
            device.isBatteryMonitoringEnabled = true
            let level = device.batteryLevel
            let known = device.batteryState != .unknown
            lock.lock()
            last = (
                level < 0 ? nil : Double(level) * 100,
                known ? device.batteryState != .unplugged : nil
            )
            lock.unlock()
        }
    }

    let batteryOfPhone = PhoneBattery()

    /// Reads the battery; call it on the main thread from time to time.
    @MainActor public func readBattery() { batteryOfPhone.read() }
#endif

/// The memory footprint of this process in MiB; 0 where it cannot be read.
func memoryMb() -> Double {
    #if canImport(Darwin)
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(
            MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return status == KERN_SUCCESS ? Double(info.phys_footprint) / 1_048_576 : 0
    #else
        return 0
    #endif
}

private func system(_ name: String) -> Int? {
    #if canImport(Darwin)
        var value: Int32 = 0
        var size = MemoryLayout<Int32>.size
        return sysctlbyname(name, &value, &size, nil, 0) == 0 ? Int(value) : nil
    #else
        return nil
    #endif
}

private func systemText(_ name: String) -> String? {
    #if canImport(Darwin)
        var size = 0
        guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        guard sysctlbyname(name, &bytes, &size, nil, 0) == 0 else { return nil }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    #else
        return nil
    #endif
}
