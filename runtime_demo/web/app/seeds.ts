/** Seeds: whole numbers of 64 bits, as decimal digits. */

const SEEDS = 1n << 64n;

/** The seed that a user has typed; 0 for none. */
export function whole64(typed: string): string {
  return String(BigInt(typed.replace(/\D/g, "") || "0") % SEEDS);
}

/** The seed `by` places after another. */
export function next64(seed: string, by = 1): string {
  return String((BigInt(whole64(seed)) + BigInt(by)) % SEEDS);
}
