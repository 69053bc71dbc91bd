/**
 * The errors that the runtime throws deliberately. The message is one line: what is wrong, and what to do.
 *
 * EdgeRNNError
 * ├── ConfigError            a setting is impossible
 * ├── ContractError          a contract is malformed, or tensors do not fit it
 * ├── TokenizerError         a tokenizer cannot be read, or cannot encode a text
 * │   └── UnknownTokenError  a text has characters that the vocabulary lacks
 * ├── BundleError            a bundle is missing, damaged, of another version or for another engine
 * ├── EngineError            a graph cannot be loaded or run
 * ├── StreamError            a stream or its model does not support an operation
 * │   ├── SamplingError      no token can be drawn from the logits
 * │   └── SnapshotError      a snapshot is damaged, or belongs to another model
 * ├── AudioError             sound cannot be read, or its rate cannot be changed
 * ├── FormatError            a record does not have the expected form
 * └── ParityError            a bundle does not compute its golden vectors
 */
const LONGEST = 1000; // characters of a message: what it quotes may come from a hostile file

export class EdgeRNNError extends Error {
  constructor(message: string) {
    super(message.length <= LONGEST ? message : `${message.slice(0, LONGEST)}…`);
  }
}

export class ConfigError extends EdgeRNNError {}
export class FormatError extends EdgeRNNError {}
export class ContractError extends EdgeRNNError {}
export class TokenizerError extends EdgeRNNError {}
export class UnknownTokenError extends TokenizerError {}
export class BundleError extends EdgeRNNError {}
export class AudioError extends EdgeRNNError {}
export class EngineError extends EdgeRNNError {}
export class StreamError extends EdgeRNNError {}
export class SamplingError extends StreamError {}
export class SnapshotError extends StreamError {}
export class ParityError extends EdgeRNNError {}

/** The first of some names and the number of the others, since a damaged file may have thousands. */
export function few(names: Iterable<string>): string {
  const listed = [...names];
  return listed.slice(0, 8).join(", ") + (listed.length > 8 ? ` and ${listed.length - 8} more` : "");
}
