import XCTest

@testable import EdgeRunner

final class HashingTests: XCTestCase {
    func portable(_ pieces: [Data]) -> String {
        var hash = PortableHash()
        pieces.forEach { hash.update($0) }
        return hash.hex()
    }

    func testKnownHashes() {
        let known = [
            "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ]
        for (text, hash) in known {
            XCTAssertEqual(portable([Data(text.utf8)]), hash)
            XCTAssertEqual(sha256(Data(text.utf8)), hash)
        }
    }

    func testPiecesMakeTheSameHash() {
        let data = Data((0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) })
        for cut in [0, 1, 63, 64, 65, 128, 999] {
            XCTAssertEqual(portable([data.prefix(cut), data.dropFirst(cut)]), portable([data]))
        }
    }

    func testFolderIsItsNamesAndHashesInOrderOfBytes() throws {
        let folder = try temporaryFolder()
        for name in ["b", "a/z", "B", "é", ".hidden"] {
            let file = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(name.utf8).write(to: file)
        }
        let lines = [".hidden", "B", "a/z", "b", "é"].map { "\(sha256(Data($0.utf8)))  \($0)\n" }
        XCTAssertEqual(try sha256(tree: folder), sha256(Data(lines.joined().utf8)))
    }

    func testLinksAreRefused() throws {
        let folder = try temporaryFolder()
        let link = folder.appendingPathComponent("link")
        try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: "/etc")
        XCTAssertThrowsError(try sha256(tree: folder))
        XCTAssertThrowsError(try sha256(tree: link))
    }
}

final class PixelsTests: XCTestCase {
    func testNormalisedInBothLayouts() throws {
        let pixels = try Pixels(count: 1, height: 1, width: 2, bytes: Data([0, 51, 102, 153, 204, 255]))
        let mean: [Float] = [0, 0.2, 0.4]
        let std: [Float] = [1, 0.5, 0.25]
        let last = pixels.normalised(mean: mean, std: std, channelsLast: true)
        let first = pixels.normalised(mean: mean, std: std, channelsLast: false)
        for (a, b) in zip(last, [0, 0, 0, 0.6, 1.2, 2.4]) { XCTAssertEqual(a, Float(b), accuracy: 1e-6) }
        XCTAssertEqual(first, [0, 3, 1, 4, 2, 5].map { last[$0] })
    }

    func testShortBatchesRepeatTheLast() throws {
        let pixels = try Pixels(count: 2, height: 1, width: 1, bytes: Data([1, 2, 3, 4, 5, 6]))
        XCTAssertEqual(try pixels.batch(from: 1, size: 2).bytes, Data([4, 5, 6, 4, 5, 6]))
    }

    func testNoiseIsSeeded() throws {
        let made = try (0..<2).map { try Pixels(noise: 3, count: $0 + 1, height: 4, width: 4).bytes }
        XCTAssertEqual(made[1].prefix(48), made[0])
        XCTAssertGreaterThan(Set(made[1]).count, 40)
    }

    func testHalves() {
        let known: [(Float, UInt16)] = [
            (0, 0), (-0.0, 0x8000), (1, 0x3C00), (-2, 0xC000), (65504, 0x7BFF), (65520, 0x7C00),
            (65519, 0x7BFF), (.infinity, 0x7C00), (5.9604645e-8, 1), (2.9802322e-8, 0),
            (6.1035156e-5, 0x0400), (6.0975552e-5, 0x03FF), (0.33333334, 0x3555), (2049, 0x6800),
            (2051, 0x6802),
        ]
        for (value, bits) in known { XCTAssertEqual(halfBits(value), bits, "\(value)") }
        XCTAssertEqual(halfBits(.nan) & 0x7C00, 0x7C00)
        #if !os(macOS) || arch(arm64)
            for pattern in stride(from: UInt32(0), to: 0x7F80_0000, by: 65_521) {
                let value = Float(bitPattern: pattern)
                XCTAssertEqual(halfBits(value), Float16(value).bitPattern, "\(value)")
            }
        #endif
    }
}

final class StatisticsTests: XCTestCase {
    func job(_ change: [String: Any] = [:]) throws -> Job {
        try Job(bundle: try makeBundle(names: ["a"], images: 0, change: change))
    }

    func testMedian() {
        XCTAssertEqual(median([3.0, 1, 2]), 2)
        XCTAssertEqual(median([4.0, 1, 2, 3]), 2.5)
    }

    func testSettlesWhenTheMedianOfFiveMovesByLessThanTwoPercent() throws {
        let job = try job()
        XCTAssertFalse(job.hasSettled(Array(repeating: 1, count: 9)))
        XCTAssertTrue(job.hasSettled(Array(repeating: 1, count: 10)))
        let five = Array(repeating: 1.0, count: 5)
        XCTAssertTrue(job.hasSettled(five + five.map { $0 * 1.019 }))
        XCTAssertFalse(job.hasSettled(five + five.map { $0 * 1.021 }))
    }

    func testBurstsTakeFortyMilliseconds() throws {
        let job = try job()
        for (ms, size) in [(4.0, 10), (3.9, 11), (0.01, 400), (100, 3), (0, 400)] {
            XCTAssertEqual(job.burstSize(Array(repeating: ms, count: 10)), size)
        }
    }

    func testWarmUpEndsAtItsLimits() throws {
        var n = 0
        let restless = { n += 1; usleep(n % 10 < 5 ? 100 : 2000) }
        let job = try job(["max_warmup": 23])
        XCTAssertEqual(try job.warmUp(restless).count, 23)
        XCTAssertEqual(try self.job(["max_warmup_s": 0.0]).warmUp(restless).count, 10)
    }

    func testABurstHasOneInferenceBeforeIt() throws {
        var n = 0
        XCTAssertEqual(try burst(4) { n += 1 }.count, 4)
        XCTAssertEqual(n, 5)
    }
}
