/**
 * The runtime of edgernn in TypeScript, for browsers and for Node.
 *
 *     import { Model, Sampler, fromUrl } from "edgernn";
 *     const model = await Model.load(fromUrl("bundles/shakespeare"));
 *     const stream = await model.stream(new Sampler({ temperature: 0.8, topK: 40, seed: 0 }));
 *     await stream.prefill("ROMEO:\n");
 *     for await (const text of stream.decode({ maxTokens: 400 })) console.log(text);
 */
export { copy, fromNpy, tensor, type DType, type Elements, type Tensor, type Tensors } from "./arrays.ts";
export { beamSearch, type Candidate } from "./beam.ts";
export { Captioner, LENGTH_PENALTY, type CaptionToken } from "./caption.ts";
export { Bundle, fromUrl, type Files, type Manifest } from "./bundle.ts";
export { addStroke, ground, pictureOf, strokeOf, type Brushstroke } from "./brushwork.ts";
export {
  Contract,
  GraphSpec,
  type Axis,
  type ConditionSpec,
  type FromFile,
  type FromGraph,
  type FromSteps,
  type StateSpec,
  type TensorSpec,
} from "./contract.ts";
export { Drawer, type Drawn } from "./draw.ts";
export type { Cursor, Engine, EngineLoader } from "./engine.ts";
export {
  AudioError,
  BundleError,
  ConfigError,
  ContractError,
  EdgeRNNError,
  EngineError,
  FormatError,
  ParityError,
  SamplingError,
  SnapshotError,
  StreamError,
  TokenizerError,
  UnknownTokenError,
} from "./errors.ts";
export { EventStream, events, smoothing, type Event, type Smoothing } from "./events.ts";
export { Looker, type Glimpse } from "./glimpse.ts";
export { verify, type Parity } from "./golden.ts";
export { Listener, WHOLE, hearing, levelOf, type Heard, type Hearing, type Known, type Pauses } from "./listen.ts";
export { Model, STEP, type Beginning, type TextTensors } from "./model.ts";
export { onnxLoader, type Ort } from "./onnx.ts";
export { Painter } from "./paint.ts";
export { Pen } from "./pens.ts";
export { LARGEST_SIDE, fitted, fromRgba, inverted, resized, shrunk, toRgba } from "./pictures.ts";
export { drawPoint, type StrokeUnits } from "./points.ts";
export { Reading } from "./reading.ts";
export { Generator, Sampler, exponential, logProbabilities, type Settings } from "./sampling.ts";
export type { Guess } from "./scores.ts";
export { hexadecimal, sha256 } from "./sha256.ts";
export { fromSnapshot, type Snapshot } from "./snapshot.ts";
export { Resampler, SoundSteps, integers, isClipped, isWav, mono, readWav, resample, type Audio, type Samples } from "./sound.ts";
export type { Limits, Reason } from "./stopping.ts";
export { fromLines, readStrokes, toLines, type Line, type Point } from "./strokes.ts";
export { Stream, type SampledToken } from "./stream.ts";
export { suggest, type Suggestion } from "./suggest.ts";
export { TokenDecoder, Tokenizer, type Unknown } from "./tokenizer.ts";
export { hasSimd, wasmLoader } from "./wasm.ts";
