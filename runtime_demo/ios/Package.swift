// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "EdgeText",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "EdgeText", targets: ["EdgeText"])],
    targets: [
        .target(name: "CEdgeText"),  // `make` copies the code of a bundle into it
        .target(name: "EdgeText", dependencies: ["CEdgeText"]),
    ]
)
