import Foundation

/// Draws tokens from logits as edgernn does: by temperature and top-k, with the random generator SplitMix64.
struct Sampler {
    /// The seed at first. It is the only state, which a snapshot of a text needs beside those of the network.
    var generator: UInt64
    var temperature = 0.8
    var topK = 40

    /// Returns the token that is drawn from `logits`, of which the token `never` is not drawn.
    mutating func draw(_ logits: [Float], never: Int?) -> Int {
        var scores = logits.map(Double.init)
        if let never {
            scores[never] = -.infinity
        }
        let highest = scores.max()!
        if temperature == 0 {
            return scores.firstIndex(of: highest)!
        }
        let lowest = topK > 0 && topK < scores.count ? scores.sorted()[scores.count - topK] : -.infinity
        var sum = 0.0
        let sums = scores.map { score in
            sum += score >= lowest ? exp((score - highest) / temperature) : 0
            return sum
        }
        let drawn = uniform() * sum
        return sums.firstIndex { $0 > drawn }!
    }

    private mutating func uniform() -> Double {
        generator &+= 0x9E37_79B9_7F4A_7C15
        var z = generator
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((z ^ (z >> 31)) >> 11) / Double(UInt64(1) << 53)
    }
}
