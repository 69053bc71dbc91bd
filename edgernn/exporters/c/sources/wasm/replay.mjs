// Steps the graphs of a module of WebAssembly over given inputs, and writes the bytes of all their results.
//
// node replay.mjs MODULE WEIGHTS INPUTS < JOB > RESULTS
//
// JOB: a list of {run, open, steps, feeds, results, scratch}: the names of two functions, the number of steps, and sizes
// in bytes. Each of feeds is {bytes, kind}, where kind is "input" (of every step), "condition" or "state"; the first
// results are outputs, the last the next states. INPUTS: the conditions and first states of each graph, then the inputs
// of each step.
import { readFileSync, writeSync } from "node:fs";

const [module, blob, inputs] = process.argv.slice(2).map((path) => readFileSync(path));
const { exports } = (await WebAssembly.instantiate(module)).instance;
let next = exports.__heap_base.value;
let read = 0;

function take(bytes) {
  const address = Math.ceil(next / 64) * 64;
  next = address + bytes;
  const missing = next - exports.memory.buffer.byteLength;
  if (missing > 0) exports.memory.grow(Math.ceil(missing / 65536));
  return address;
}

function memory(address, bytes) {
  return new Uint8Array(exports.memory.buffer, address, bytes);
}

function fill(address, bytes) {
  memory(address, bytes).set(inputs.subarray(read, (read += bytes)));
}

function table(addresses) {
  const address = take(4 * addresses.length);
  new Uint32Array(exports.memory.buffer, address, addresses.length).set(addresses);
  return address;
}

function write(bytes) {
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
}

const weights = take(blob.length);
memory(weights, blob.length).set(blob);
for (const graph of JSON.parse(readFileSync(0, "utf-8"))) {
  const feeds = graph.feeds.map((feed) => ({ ...feed, address: take(feed.bytes) }));
  const results = graph.results.map((bytes) => ({ bytes, address: take(bytes) }));
  const scratch = take(graph.scratch);
  const [given, made] = [feeds, results].map((tensors) => table(tensors.map((tensor) => tensor.address)));
  const opened = exports[graph.open](weights, blob.length);
  const states = feeds.filter((feed) => feed.kind === "state");
  for (const feed of feeds) if (feed.kind !== "input") fill(feed.address, feed.bytes);
  for (let step = 0; step < graph.steps; step++) {
    for (const feed of feeds) if (feed.kind === "input") fill(feed.address, feed.bytes);
    exports[graph.run](given, made, scratch, opened, 0);
    for (const result of results) write(memory(result.address, result.bytes));
    const later = results.slice(results.length - states.length);
    states.forEach((state, place) => memory(state.address, state.bytes).set(memory(later[place].address, state.bytes)));
  }
}
