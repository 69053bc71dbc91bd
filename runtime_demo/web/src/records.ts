/** Read JSON records from untrusted files: every deviation throws a FormatError. */
import { FormatError } from "./errors.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** The JSON value in UTF-8 bytes. */
export function parse(data: Uint8Array, what: string): Json {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) as Json;
  } catch (error) {
    throw new FormatError(`${what} is not JSON: ${(error as Error).message}`);
  }
}

/** The value, if it is an object. */
export function mapping(value: Json | undefined, what: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FormatError(`${what} is not an object`);
  }
  return value;
}

/** The value, if it is an object with all `required` keys and no others than these and `optional` ones. */
export function record(
  value: Json | undefined,
  what: string,
  required: readonly string[],
  optional: readonly string[] = [],
): JsonObject {
  const values = mapping(value, what);
  const wrong = [
    ...required.filter((key) => !Object.hasOwn(values, key)).map((key) => `lacks '${key}'`),
    ...Object.keys(values)
      .filter((key) => !required.includes(key) && !optional.includes(key))
      .slice(0, 3)
      .map((key) => `has an unknown '${key.slice(0, 40)}'`),
  ];
  if (wrong.length > 0) throw new FormatError(`${what} ${wrong.join(" and ")}`);
  return values;
}

/** The value, if it is a list. */
export function items(value: Json | undefined, what: string): Json[] {
  if (!Array.isArray(value)) throw new FormatError(`${what}: not a list`);
  return value;
}

/** The value, if it is a string. */
export function text(value: Json | undefined, what: string): string {
  if (typeof value !== "string") throw new FormatError(`${what}: ${shown(value)} is not a string`);
  return value;
}

/** The value, if it is a finite number. */
export function number(value: Json | undefined, what: string): number {
  if (typeof value !== "number" || !(Math.abs(value) < 1e300)) {
    throw new FormatError(`${what}: ${shown(value)} is not a number`);
  }
  return value;
}

/** The value, if it is a whole number from 0 to 2^53, which all JSON parsers read exactly. */
export function integer(value: Json | undefined, what: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 2 ** 53) {
    throw new FormatError(`${what}: ${shown(value)} is not a whole number`);
  }
  return value;
}

function shown(value: Json | undefined): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 40);
}
