/** Tensors: element type, shape and elements in C order. */
import { ContractError, FormatError } from "./errors.ts";

/** The arrays that hold the elements of each type. float16 is held as the bits of each number. */
export const ARRAYS = {
  float32: Float32Array,
  float16: Uint16Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

export type DType = keyof typeof ARRAYS;
export type Elements = InstanceType<(typeof ARRAYS)[DType]>;

/** One tensor. `data` has as many elements as the product of `shape`. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Elements;
}

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/**
 * A new tensor of these elements, or of zeros. Whole numbers may be given as numbers or bigints.
 *
 * Throws ContractError for a number of elements that does not fit the shape.
 */
export function tensor(dtype: DType, shape: readonly number[], values?: Iterable<number | bigint>): Tensor {
  const count = elements(shape);
  if (values === undefined) return { dtype, shape, data: new ARRAYS[dtype](count) };
  const data = dtype === "int64" ? BigInt64Array.from(values, BigInt) : new ARRAYS[dtype](Array.from(values, Number));
  if (data.length !== count) throw new ContractError(`${data.length} elements do not fill the shape (${shape.join(", ")})`);
  return { dtype, shape, data };
}

/** The number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** An independent copy. */
export function copy(given: Tensor): Tensor {
  return { ...given, data: given.data.slice() };
}

/** Independent copies, by name. */
export function copies(given: Tensors): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(given).map(([name, each]) => [name, copy(each)]));
}

/** One entry along the first axis, without that axis. It shares the elements. */
export function row(given: Tensor, place: number): Tensor {
  const size = elements(given.shape.slice(1));
  return {
    dtype: given.dtype,
    shape: given.shape.slice(1),
    data: given.data.subarray(place * size, (place + 1) * size) as Elements,
  };
}

/** The bytes of the elements, little-endian, in C order. They share the memory of the tensor. */
export function bytes(given: Tensor): Uint8Array<ArrayBuffer> {
  return new Uint8Array(given.data.buffer as ArrayBuffer, given.data.byteOffset, given.data.byteLength);
}

/** A tensor from a copy of its bytes. Throws FormatError unless they fill the shape. */
export function fromBytes(dtype: DType, shape: readonly number[], data: Uint8Array, what: string): Tensor {
  const kind = ARRAYS[dtype];
  if (elements(shape) * kind.BYTES_PER_ELEMENT !== data.byteLength) {
    throw new FormatError(`${what} has ${data.byteLength} bytes of elements, which are not ${dtype}[${shape.join(", ")}]`);
  }
  return { dtype, shape, data: new kind(new Uint8Array(data).buffer) };
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]; // \x93NUMPY, version 1.0
const TYPES: Record<string, DType> = {
  "<f4": "float32",
  "<f2": "float16",
  "<f8": "float64",
  "<i8": "int64",
  "<i4": "int32",
  "<i2": "int16",
  "|i1": "int8",
  "|u1": "uint8",
  "|b1": "bool",
};
const HEADER = /^\{'descr': '([<|]\w\d)', 'fortran_order': False, 'shape': \(((?:\d+,? ?)*)\), \}\s*$/;

/** The tensor in a `.npy` file of version 1.0. Throws FormatError for anything else. */
export function fromNpy(data: Uint8Array, name: string): Tensor {
  if (data.length < 10 || MAGIC.some((byte, place) => data[place] !== byte)) {
    throw new FormatError(`${name} is not a .npy file of version 1.0`);
  }
  const start = 10 + data[8] + 256 * data[9];
  const found = HEADER.exec(new TextDecoder("latin1").decode(data.subarray(10, start)));
  const dtype = found && TYPES[found[1]];
  if (!found || !dtype) throw new FormatError(`${name} holds no plain tensor`);
  const shape = (found[2].match(/\d+/g) ?? []).map(Number);
  return fromBytes(dtype, shape, data.subarray(start), name);
}
