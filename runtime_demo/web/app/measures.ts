/** What is measured, and how it is said. */

const MEASURED = 300; // milliseconds, in the first half of which the browser compiles the steps for speed

/** The median time of a piece of work in microseconds. turn: awaited after each piece. */
export async function medianTime(work: () => Promise<void>, turn: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let total = 0; total < MEASURED; total += times.at(-1)!) {
    const begun = performance.now();
    await work();
    times.push(performance.now() - begun);
    await turn();
  }
  const late = times.slice(times.length >> 1).sort((one, other) => one - other);
  return 1000 * late[late.length >> 1];
}

/** A number of bytes for people. */
export function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A duration in microseconds for people. */
export function duration(microseconds: number): string {
  if (microseconds < 10) return `${microseconds.toFixed(1)} µs`;
  return microseconds < 1000 ? `${Math.round(microseconds)} µs` : `${(microseconds / 1000).toFixed(1)} ms`;
}

/** The bytes of all that this page, or this worker, has loaded, as they were transferred: compressed. */
export function downloaded(): number {
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return (entries as PerformanceResourceTiming[]).reduce((sum, entry) => sum + entry.encodedBodySize, 0);
}
