/**
 * The service worker: three handlers. `edgernn page` writes the list of files before this code. All files but the page
 * itself have the hash of their content in their names, so that none is downloaded twice.
 */

interface Worker extends EventTarget {
  SITE: { version: string; files: string[] };
  location: Location;
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
}
interface Event_ extends Event {
  waitUntil(work: Promise<unknown>): void;
  request: Request;
  respondWith(response: Promise<Response>): void;
}

const worker = self as unknown as Worker;
// Caches belong to an origin, which may hold several sites: a cache is named after the folder of its own.
const FOLDER = new URL("./", worker.location.href).pathname;
const CACHE = `edgernn ${FOLDER} ${worker.SITE.version}`;

worker.addEventListener("install", (event) => {
  (event as Event_).waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(worker.SITE.files))
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener("activate", (event) => {
  (event as Event_).waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith(`edgernn ${FOLDER} `) && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => worker.clients.claim()),
  );
});

worker.addEventListener("fetch", (event) => {
  const { request, respondWith } = event as Event_;
  if (request.method !== "GET" || !request.url.startsWith(worker.location.origin)) return;
  const kept = request.mode === "navigate" ? "./" : request;
  respondWith.call(
    event,
    caches
      .open(CACHE)
      .then((cache) => cache.match(kept))
      .then((response) => response ?? fetch(request)),
  );
});
