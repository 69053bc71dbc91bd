import ExecuTorch

/// A graph in a .pte file, with the Swift package of ExecuTorch:
/// `try BundleText(folder: folder) { try ExecuTorchGraph(path: $0.path) }`.
///
/// Its inputs and outputs have no names but an order: the token and the states; the logits and the next states.
final class ExecuTorchGraph: StepGraph {
    private let module: Module

    init(path: String) throws {
        module = Module(filePath: path)
        try module.load("forward")
    }

    func step(token: Int, states: [NetworkState], values: [[Float]]) throws -> (logits: [Float], values: [[Float]]) {
        var inputs: [ValueConvertible] = [Tensor<Int64>([Int64(token)], shape: [1])]
        for (state, value) in zip(states, values) {
            inputs.append(Tensor<Float>(value, shape: state.shape))
        }
        let outputs: [Value] = try module.forward(inputs)
        let numbers = try outputs.map { try Tensor<Float>($0).scalars() }
        return (numbers[0], Array(numbers.dropFirst()))
    }
}
