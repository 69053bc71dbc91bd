import Foundation
import onnxruntime_objc

/// A graph in an .onnx or .ort file, with the pod onnxruntime-objc:
/// `try BundleText(folder: folder) { try OnnxGraph(path: $0.path) }`.
final class OnnxGraph: StepGraph {
    private let environment: ORTEnv
    private let session: ORTSession

    init(path: String) throws {
        environment = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(1)  // a step is too small to divide
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: options)
    }

    func step(token: Int, states: [NetworkState], values: [[Float]]) throws -> (logits: [Float], values: [[Float]]) {
        var inputs = ["token": try tensor([Int64(token)], .int64, [1])]
        for (state, value) in zip(states, values) {
            inputs[state.input] = try tensor(value, .float, state.shape)
        }
        let names = Set(["logits"] + states.map(\.output))
        let outputs = try session.run(withInputs: inputs, outputNames: names, runOptions: nil)
        return (try numbers(outputs["logits"]), try states.map { try numbers(outputs[$0.output]) })
    }

    private func tensor<T>(_ values: [T], _ type: ORTTensorElementDataType, _ shape: [Int]) throws -> ORTValue {
        let data = values.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        return try ORTValue(tensorData: data, elementType: type, shape: shape.map { NSNumber(value: $0) })
    }

    private func numbers(_ value: ORTValue?) throws -> [Float] {
        let data = try value!.tensorData() as Data
        return data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }
}
