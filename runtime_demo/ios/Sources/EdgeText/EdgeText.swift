import CEdgeText
import Foundation

/// What the network or its sampler refused.
public struct EdgeTextError: LocalizedError {
    public let errorDescription: String?
}

/// A text from a language model that was exported to C. Its state is explicit: `snapshot` returns it, and `restore`
/// continues from it.
public actor EdgeText {
    private let text: OpaquePointer
    private let weights: NSData?

    /// weights: the content of model.bin; nil if the weights are in model.c.
    public init(weights: NSData? = nil) throws {
        guard let text = edge_text_open(weights?.bytes, weights?.length ?? 0) else {
            throw EdgeTextError(errorDescription: "there is no memory, or the weights are those of another network")
        }
        self.text = text
        self.weights = weights
    }

    deinit {
        edge_text_close(text)
    }

    /// Begins anew, with the random generator at `seed`.
    public func begin(seed: UInt64) {
        edge_text_begin(text, seed)
    }

    /// Sets how the next tokens are drawn.
    ///
    /// temperature: at least 0.001, or 0 for the likeliest token. topK: how many of the likeliest tokens are drawn
    /// from; 0 for all.
    public func sample(temperature: Double, topK: Int32) throws {
        guard edge_text_sample(text, temperature, topK) == 0 else {
            throw EdgeTextError(errorDescription: "impossible settings: temperature \(temperature), top-k \(topK)")
        }
    }

    /// Reads a prompt, or more of it. Reads nothing of a text with a character that the vocabulary lacks.
    public func read(_ prompt: String) throws {
        let result = Array(prompt.utf8).withUnsafeBytes { bytes in
            edge_text_read(text, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count)
        }
        if result == Int32.min {
            throw EdgeTextError(errorDescription: "there is no memory to read the prompt")
        }
        if result < 0 {
            throw EdgeTextError(errorDescription: "the vocabulary lacks the character at byte \(-1 - result)")
        }
    }

    /// Draws a token, and returns the text that it completes: none in the middle of a character of several tokens.
    /// Returns nil at the end that the network predicted.
    public func next() throws -> String? {
        var utf8: UnsafePointer<CChar>?
        let length = Int(edge_text_next(text, &utf8))
        if length == -1 {  // EDGE_TEXT_AT_END
            return nil
        }
        guard length >= 0 else {
            throw EdgeTextError(errorDescription: "no token can be drawn: read a prompt first")
        }
        return String(decoding: UnsafeRawBufferPointer(start: utf8, count: length), as: UTF8.self)
    }

    /// Returns the text as bytes, for the same network in the same build of the app.
    public func snapshot() -> Data {
        var bytes = Data(count: edge_text_snapshot_size())
        bytes.withUnsafeMutableBytes { edge_text_snapshot(text, $0.baseAddress) }
        return bytes
    }

    /// Continues from a snapshot.
    public func restore(_ snapshot: Data) throws {
        let result = snapshot.withUnsafeBytes { edge_text_restore(text, $0.baseAddress, $0.count) }
        guard result == 0 else {
            throw EdgeTextError(errorDescription: "the snapshot is damaged, or of another network or build of the app")
        }
    }
}
