import Foundation

/// A state of a network: the input that takes it, the output that returns the next one, and its axes for one stream.
struct NetworkState {
    let input: String
    let output: String
    let shape: [Int]
    let first: [Float]
}

/// A graph that computes one step of one stream. It keeps nothing: it takes all states and returns the next ones.
protocol StepGraph {
    /// states, values: the states in the order of the contract, and the value of each.
    func step(token: Int, states: [NetworkState], values: [[Float]]) throws -> (logits: [Float], values: [[Float]])
}

struct BundleError: LocalizedError {
    let errorDescription: String?
}

/// A text from a language model of characters, whose bundle is a folder in the app. The states of the network, the
/// logits and the sampler are all that it remembers: copy a BundleText to keep a place in a text.
struct BundleText {
    private let graph: StepGraph
    private let states: [NetworkState]
    private let ids: [String: Int]
    private let characters: [Int: String]
    private var values: [[Float]]
    private var logits: [Float]?
    private var sampler = Sampler(generator: 0)

    /// load: returns the graph in a file.
    init(folder: URL, load: (URL) throws -> StepGraph) throws {
        let manifest = try Manifest(folder: folder)
        graph = try load(folder.appendingPathComponent(manifest.graphs["step"]!))
        states = try manifest.contract.graphs[0].states.map { try $0.state(folder) }
        ids = try Vocabulary(folder: folder).model.vocab
        characters = Dictionary(uniqueKeysWithValues: ids.map { ($1, $0) })
        values = states.map(\.first)
    }

    /// Begins anew, with the random generator at `seed`. topK: 0 for all tokens.
    mutating func begin(seed: UInt64, temperature: Double = 0.8, topK: Int = 40) {
        values = states.map(\.first)
        logits = nil
        sampler = Sampler(generator: seed, temperature: temperature, topK: topK)
    }

    /// Reads a prompt, or more of it. Throws for a character that the vocabulary lacks, and then reads nothing.
    mutating func read(_ prompt: String) throws {
        let tokens = try prompt.unicodeScalars.map { scalar in
            guard let id = ids[String(scalar)] else {
                throw BundleError(errorDescription: "the vocabulary lacks the character \(scalar)")
            }
            return id
        }
        for token in tokens {
            try step(token)
        }
    }

    /// Draws a character.
    mutating func next() throws -> String {
        guard let logits else { throw BundleError(errorDescription: "read a prompt first") }
        let token = sampler.draw(logits, never: ids["<unk>"])
        try step(token)
        return characters[token]!
    }

    private mutating func step(_ token: Int) throws {
        let made = try graph.step(token: token, states: states, values: values)
        logits = made.logits
        values = made.values
    }
}

/// What bundle.json says of the graphs and their states.
private struct Manifest: Decodable {
    let graphs: [String: String]
    let contract: Contract

    struct Contract: Decodable {
        let graphs: [Graph]
    }

    struct Graph: Decodable {
        let states: [State]
    }

    init(folder: URL) throws {
        let data = try Data(contentsOf: folder.appendingPathComponent("bundle.json"))
        self = try JSONDecoder().decode(Manifest.self, from: data)
    }
}

/// A state in bundle.json. Its axes are sizes and the name "batch"; its first value is "zeros" or a file.
private struct State: Decodable {
    let input: String
    let output: String
    let axes: [Axis]
    let initial: Initial

    func state(_ folder: URL) throws -> NetworkState {
        let shape = axes.map(\.size)
        let count = shape.reduce(1, *)
        let first = try initial.file.map { try numbers(folder.appendingPathComponent($0), count) }
        return NetworkState(
            input: input, output: output, shape: shape, first: first ?? Array(repeating: 0, count: count))
    }

    /// The last numbers of a .npy file in single precision.
    private func numbers(_ file: URL, _ count: Int) throws -> [Float] {
        let data = try Data(contentsOf: file).suffix(count * MemoryLayout<Float>.size)
        return [Float](unsafeUninitializedCapacity: count) { buffer, used in
            used = data.copyBytes(to: UnsafeMutableRawBufferPointer(buffer)) / MemoryLayout<Float>.size
        }
    }
}

private struct Axis: Decodable {
    let size: Int

    init(from decoder: Decoder) throws {
        size = (try? decoder.singleValueContainer().decode(Int.self)) ?? 1  // "batch": one stream
    }
}

private struct Initial: Decodable {
    let file: String?

    private enum Keys: String, CodingKey {
        case file
    }

    init(from decoder: Decoder) throws {
        file = try? decoder.container(keyedBy: Keys.self).decode(String.self, forKey: .file)
    }
}

private struct Vocabulary: Decodable {
    let model: Model

    struct Model: Decodable {
        let vocab: [String: Int]
    }

    init(folder: URL) throws {
        let data = try Data(contentsOf: folder.appendingPathComponent("tokenizer.json"))
        self = try JSONDecoder().decode(Vocabulary.self, from: data)
    }
}
