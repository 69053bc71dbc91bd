/** The document, and words for what is measured. */

/** The element of an id that is in index.html. */
export function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no ${id}`);
  return found as T;
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

/** Save bytes as a file of the user's. */
export function download(bytes: ArrayBuffer, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The bytes of all that this page, or this worker, has loaded, as they were transferred: compressed. */
export function downloaded(): number {
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return (entries as PerformanceResourceTiming[]).reduce((sum, entry) => sum + entry.encodedBodySize, 0);
}
