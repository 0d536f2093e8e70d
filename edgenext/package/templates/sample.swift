// The most probable classes of images, with Core ML on a Mac; an app takes all but the last lines:
//
//     swiftc -O sample.swift -o sample
//     ./sample example.png

import CoreGraphics
import CoreML
import Foundation
import ImageIO

let file = @@file
let input = @@input
let takesImage = @@pixels // whether the package normalises inside, and names the classes
let size = @@size
let short = @@short // of the shorter side before the crop
let bicubic = @@bicubic // else bilinear
let mean: [Double] = [@@mean]
let deviation: [Double] = [@@std]

struct ClassScore {
    let name: String
    let probability: Double
}

struct Problem: Error, CustomStringConvertible {
    let description: String
}

// MARK: the published preprocessing, bit for bit as Pillow computes it

let bits = 22 // behind the point of Pillow's integer weights

func filter(_ distance: Double) -> Double {
    let x = abs(distance), a = -0.5
    if !bicubic { return max(0, 1 - x) }
    if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

/// For `size` positions from `start`: the first source position, and the weights from there on.
func weights(from: Int, to: Int, start: Int) -> [(first: Int, values: [Int])] {
    let scale = Double(from) / Double(to), stretch = max(scale, 1)
    let support = (bicubic ? 2 : 1) * stretch
    return (0..<size).map { i in
        let centre = (Double(start + i) + 0.5) * scale
        let first = max(Int(centre - support + 0.5), 0), end = min(Int(centre + support + 0.5), from)
        let real = (first..<end).map { filter((Double($0) - centre + 0.5) * (1 / stretch)) }
        let sum = real.reduce(0, +)
        return (first, real.map { weight -> Int in
            let whole = weight / sum * Double(1 << bits)
            return Int(whole + (whole < 0 ? -0.5 : 0.5))
        })
    }
}

func byte(_ sum: Int) -> UInt8 { UInt8(min(max(sum >> bits, 0), 255)) }

func halfEven(_ value: Int) -> Int { value / 2 + (value % 2 == 1 ? (value / 2) % 2 : 0) }

/// One pass over outer × length × inner bytes: the middle axis becomes that of the weights.
func pass(
    _ source: [UInt8], _ outer: Int, _ length: Int, _ inner: Int,
    _ taps: [(first: Int, values: [Int])]
) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(outer * taps.count * inner)
    for o in 0..<outer {
        for tap in taps {
            for i in 0..<inner {
                var sum = 1 << (bits - 1), at = (o * length + tap.first) * inner + i
                for weight in tap.values { sum += Int(source[at]) * weight; at += inner }
                result.append(byte(sum))
            }
        }
    }
    return result
}

/// An image as the network sees it, size × size × 4 bytes; `rgba` is height × width × 4 bytes.
func fit(_ rgba: [UInt8], width: Int, height: Int) -> [UInt8] {
    let longer = Int(Double(short * max(width, height)) / Double(min(width, height)))
    let (wide, high) = width <= height ? (short, longer) : (longer, short)
    let columns = weights(from: width, to: wide, start: halfEven(wide - size))
    let rows = weights(from: height, to: high, start: halfEven(high - size))
    if height > high && height - high > 2 * (width - wide) { // Pillow 13; others: rows never first
        return pass(pass(rgba, 1, height, width * 4, rows), size, width, 4, columns)
    }
    return pass(pass(rgba, height, width, 4, columns), 1, height, size * 4, rows)
}

// MARK: the network

func pixels(of path: String) throws -> (rgba: [UInt8], width: Int, height: Int) {
    guard let source = CGImageSourceCreateWithURL(URL(fileURLWithPath: path) as CFURL, nil),
        let image = CGImageSourceCreateImageAtIndex(source, 0, nil)
    else { throw Problem(description: "\(path) is not an image") }
    var rgba = [UInt8](repeating: 0, count: image.width * image.height * 4)
    // in the image's own colour space: its values stay what they are
    let own = image.colorSpace.flatMap { $0.model == .rgb ? $0 : nil }
    let drawn = CGContext(
        data: &rgba, width: image.width, height: image.height, bitsPerComponent: 8,
        bytesPerRow: image.width * 4, space: own ?? CGColorSpaceCreateDeviceRGB(),
        bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
    guard let drawn else { throw Problem(description: "\(path) cannot be drawn") }
    drawn.draw(image, in: CGRect(x: 0, y: 0, width: image.width, height: image.height))
    return (rgba, image.width, image.height)
}

func feature(of bytes: [UInt8]) throws -> MLFeatureValue {
    if !takesImage {
        let shape: [NSNumber] = [1, 3, NSNumber(value: size), NSNumber(value: size)]
        let array = try MLMultiArray(shape: shape, dataType: .float32)
        let values = array.dataPointer.assumingMemoryBound(to: Float32.self)
        for c in 0..<3 {
            for i in 0..<size * size {
                let value = (Double(bytes[i * 4 + c]) - mean[c] * 255) / (deviation[c] * 255)
                values[c * size * size + i] = Float32(value)
            }
        }
        return MLFeatureValue(multiArray: array)
    }
    var buffer: CVPixelBuffer?
    CVPixelBufferCreate(nil, size, size, kCVPixelFormatType_32BGRA, nil, &buffer)
    guard let buffer else { throw Problem(description: "no memory for an image") }
    CVPixelBufferLockBaseAddress(buffer, [])
    let stride = CVPixelBufferGetBytesPerRow(buffer)
    let target = CVPixelBufferGetBaseAddress(buffer)!.assumingMemoryBound(to: UInt8.self)
    for y in 0..<size {
        for x in 0..<size {
            for c in 0..<3 { target[y * stride + x * 4 + c] = bytes[(y * size + x) * 4 + 2 - c] }
            target[y * stride + x * 4 + 3] = 255
        }
    }
    CVPixelBufferUnlockBaseAddress(buffer, [])
    return MLFeatureValue(pixelBuffer: buffer)
}

/// All classes of an image, the most probable first.
func classify(_ path: String, with model: MLModel, names: [String]) throws -> [ClassScore] {
    let (rgba, width, height) = try pixels(of: path)
    let value = try feature(of: fit(rgba, width: width, height: height))
    let result = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: [input: value]))
    var scores: [ClassScore] = []
    for name in result.featureNames {
        guard let output = result.featureValue(for: name) else { continue }
        if output.type == .dictionary {
            scores = output.dictionaryValue.map {
                ClassScore(name: "\($0.key)", probability: $0.value.doubleValue)
            }
        } else if let array = output.multiArrayValue {
            let logits = (0..<array.count).map { array[$0].doubleValue }
            let powers = logits.map { exp($0 - logits.max()!) }
            let sum = powers.reduce(0, +)
            scores = powers.enumerated().map { index, power in
                let name = index < names.count && !names[index].isEmpty ? names[index] : "\(index)"
                return ClassScore(name: name, probability: power / sum)
            }
        }
    }
    return scores.sorted { $0.probability > $1.probability }
}

// MARK: a command line

let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
let labels = try String(contentsOf: folder.appendingPathComponent("labels.txt"), encoding: .utf8)
let names = labels.components(separatedBy: "\n")
let compiled = try MLModel.compileModel(at: folder.appendingPathComponent(file))
let model = try MLModel(contentsOf: compiled)
for path in CommandLine.arguments.dropFirst() {
    print(path)
    for score in try classify(path, with: model, names: names).prefix(5) {
        print(String(format: "  %6.2f%%  ", 100 * score.probability) + score.name)
    }
}
