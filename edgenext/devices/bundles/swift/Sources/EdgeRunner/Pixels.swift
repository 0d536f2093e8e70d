import Foundation

/// Images of one size, as bytes N×H×W×3.
public struct Pixels {
    public let count: Int
    public let height: Int
    public let width: Int
    public let bytes: Data

    var imageBytes: Int { height * width * 3 }

    public init(count: Int, height: Int, width: Int, bytes: Data) throws {
        guard bytes.count == count * height * width * 3 else {
            throw RunnerError("\(bytes.count) bytes are not \(count)×\(height)×\(width)×3")
        }
        (self.count, self.height, self.width, self.bytes) = (count, height, width, bytes)
    }

    /// Seeded noise (SplitMix64): the same for every artifact of one size.
    init(noise seed: UInt64, count: Int, height: Int, width: Int) throws {
        var state = seed
        let bytes = (0..<count * height * width * 3).map { _ -> UInt8 in
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return UInt8(truncatingIfNeeded: (z ^ (z >> 31)) >> 56)
        }
        try self.init(count: count, height: height, width: width, bytes: Data(bytes))
    }

    /// `size` images from `start` on; the last is repeated where there are fewer.
    func batch(from start: Int, size: Int) throws -> Pixels {
        var chosen = Data(capacity: size * imageBytes)
        for i in start..<start + size {
            let at = bytes.startIndex + min(i, count - 1) * imageBytes
            chosen.append(bytes[at..<at + imageBytes])
        }
        return try Pixels(count: size, height: height, width: width, bytes: chosen)
    }

    /// (x / 255 − mean) / std as N×3×H×W, or N×H×W×3 with `channelsLast`.
    public func normalised(mean: [Float], std: [Float], channelsLast: Bool) -> [Float] {
        let zero = mean.map { $0 * 255 }
        let scale = std.map { 1 / ($0 * 255) }
        let plane = height * width
        var result = [Float](repeating: 0, count: bytes.count)
        bytes.withUnsafeBytes { (raw: UnsafeRawBufferPointer) in
            for i in 0..<raw.count {
                let channel = i % 3
                let value = (Float(raw[i]) - zero[channel]) * scale[channel]
                if channelsLast {
                    result[i] = value
                } else {
                    let (image, pixel) = ((i / 3) / plane, (i / 3) % plane)
                    result[(image * 3 + channel) * plane + pixel] = value
                }
            }
        }
        return result
    }
}

/// The bits of the nearest half-precision number, ties to even: `Float16` is not on every Mac.
public func halfBits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16((bits >> 16) & 0x8000)
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x477F_F000 { return sign | 0x7C00 }  // 65520 and more is infinite
    if magnitude < 0x3880_0000 {  // under 2⁻¹⁴ it is a multiple of 2⁻²⁴
        let scaled = Float(bitPattern: magnitude) * 16_777_216
        return sign | UInt16(scaled.rounded(.toNearestOrEven))
    }
    let rounded = magnitude + 0x0FFF + ((magnitude >> 13) & 1)
    return sign | UInt16((rounded - 0x3800_0000) >> 13)
}
