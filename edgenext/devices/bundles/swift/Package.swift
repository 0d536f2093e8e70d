// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "EdgeRunner",
    platforms: [.macOS(.v14), .iOS(.v17)],
    products: [
        .library(name: "EdgeRunner", targets: ["EdgeRunner"]),
        .executable(name: "edgerunner", targets: ["edgerunner-tool"]),
    ],
    targets: [
        .target(name: "EdgeRunner"),
        .executableTarget(name: "edgerunner-tool", dependencies: ["EdgeRunner"]),
        .testTarget(name: "EdgeRunnerTests", dependencies: ["EdgeRunner"]),
    ]
)
