// Runs a module of WebAssembly that was compiled from main.c, and prints what the other processors print.
import { readFileSync } from "node:fs";

const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]));
const { levels, hash } = instance.exports;
for (const [what, name] of ["kernels", "fp32", "int8", "int4"].entries())
  for (let level = 0; level < levels(); level++)
    console.log(name, level, BigInt.asUintN(64, hash(what, level)).toString(16).padStart(16, "0"));
