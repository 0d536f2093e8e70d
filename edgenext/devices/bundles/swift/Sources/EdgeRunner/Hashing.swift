import Foundation

#if canImport(CryptoKit)
    import CryptoKit
#endif

/// Computes the SHA-256 of bytes.
protocol Hash {
    init()
    mutating func update(_ data: Data)
    mutating func hex() -> String
}

/// Hex SHA-256 of bytes.
func sha256(_ data: Data) -> String {
    var hash = SystemHash()
    hash.update(data)
    return hash.hex()
}

/// Hex SHA-256 of a file, or of a folder's file names and their hashes.
public func sha256(tree: URL) throws -> String {
    switch try kind(of: tree) {
    case .typeRegular: return try sha256(file: tree)
    case .typeDirectory: break
    default: throw RunnerError("\(tree.lastPathComponent) is neither a file nor a folder")
    }
    var names: [String] = []
    for name in try FileManager.default.subpathsOfDirectory(atPath: tree.path) {
        switch try kind(of: tree.appendingPathComponent(name)) {
        case .typeRegular: names.append(name)
        case .typeDirectory: continue
        default: throw RunnerError("\(tree.lastPathComponent) has a link in it: \(name)")
        }
    }
    names.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    let lines = try names.map { "\(try sha256(file: tree.appendingPathComponent($0)))  \($0)\n" }
    return sha256(Data(lines.joined().utf8))
}

/// Hex SHA-256 of a file, read in pieces.
func sha256(file: URL) throws -> String {
    let handle = try FileHandle(forReadingFrom: file)
    defer { try? handle.close() }
    var hash = SystemHash()
    while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty { hash.update(piece) }
    return hash.hex()
}

private func kind(of url: URL) throws -> FileAttributeType? {
    do {
        return try FileManager.default.attributesOfItem(atPath: url.path)[.type]
            as? FileAttributeType
    } catch {
        throw RunnerError("\(url.lastPathComponent) cannot be read")
    }
}

#if canImport(CryptoKit)
    struct SystemHash: Hash {
        private var hash = SHA256()

        mutating func update(_ data: Data) { hash.update(data: data) }

        mutating func hex() -> String { hash.finalize().map { hexByte($0) }.joined() }
    }
#else
    typealias SystemHash = PortableHash
#endif

/// SHA-256 as FIPS 180-4 has it, for systems without CryptoKit.
struct PortableHash: Hash {
    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
        0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    private var pending: [UInt8] = []
    private var length: UInt64 = 0

    mutating func update(_ data: Data) {
        length += UInt64(data.count)
        pending.append(contentsOf: data)
        let complete = pending.count / 64 * 64
        for at in stride(from: 0, to: complete, by: 64) { take(pending[at..<at + 64]) }
        pending.removeFirst(complete)
    }

    mutating func hex() -> String {
        let bits = length * 8
        var tail = pending + [0x80]
        while tail.count % 64 != 56 { tail.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            tail.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        for at in stride(from: 0, to: tail.count, by: 64) { take(tail[at..<at + 64]) }
        return state.flatMap { word in
            [24, 16, 8, 0].map { hexByte(UInt8(truncatingIfNeeded: word >> UInt32($0))) }
        }.joined()
    }

    private mutating func take(_ block: ArraySlice<UInt8>) {
        var w = [UInt32](repeating: 0, count: 64)
        for i in 0..<16 {
            let at = block.startIndex + 4 * i
            w[i] = block[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
        for i in 16..<64 {
            let a = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >> 3)
            let b = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >> 10)
            w[i] = w[i - 16] &+ a &+ w[i - 7] &+ b
        }
        var s = state
        for i in 0..<64 {
            let big1 = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)
            let choice = (s[4] & s[5]) ^ (~s[4] & s[6])
            let one = s[7] &+ big1 &+ choice &+ roundConstants[i] &+ w[i]
            let big0 = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)
            let majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2])
            (s[7], s[6], s[5], s[4]) = (s[6], s[5], s[4], s[3] &+ one)
            (s[3], s[2], s[1], s[0]) = (s[2], s[1], s[0], one &+ big0 &+ majority)
        }
        for i in 0..<8 { state[i] = state[i] &+ s[i] }
    }
}

private func turn(_ x: UInt32, _ n: UInt32) -> UInt32 { (x >> n) | (x << (32 - n)) }

private func hexByte(_ byte: UInt8) -> String {
    let digits = Array("0123456789abcdef")
    return String([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
}

/// The first 32 bits of the fractions of the cube roots of the first 64 primes (section 4.2.2).
private let roundConstants: [UInt32] = {
    var constants: [UInt32] = []
    var n = 2
    while constants.count < 64 {
        if (2..<n).allSatisfy({ n % $0 != 0 }) {
            // The largest r with r³ ≤ n · 2⁹⁶, of which the low 32 bits are used.
            var r: UInt64 = 0
            for bit in stride(from: UInt64(36), through: 0, by: -1) {
                let next = r | (1 << bit)
                if cubeIsAtMost(next, n) { r = next }
            }
            constants.append(UInt32(truncatingIfNeeded: r))
        }
        n += 1
    }
    return constants
}()

/// Whether r³ ≤ n · 2⁹⁶, for r under 2³⁷, in two 64-bit words.
private func cubeIsAtMost(_ r: UInt64, _ n: Int) -> Bool {
    let square = r.multipliedFullWidth(by: r)  // high · 2⁶⁴ + low, high under 2¹⁰
    let low = square.low.multipliedFullWidth(by: r)
    let (high, carry) = (square.high * r).addingReportingOverflow(low.high)
    // r³ = high · 2⁶⁴ + low.low; n · 2⁹⁶ = (n · 2³²) · 2⁶⁴.
    let limit = UInt64(n) << 32
    return !carry && (high < limit || (high == limit && low.low == 0))
}
