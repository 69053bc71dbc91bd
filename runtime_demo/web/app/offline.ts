/** The service worker, which keeps the files of the site for use offline. */

/** Why this page cannot be kept for use offline; empty if it can. */
export function impossible(): string {
  if ("serviceWorker" in navigator) return "";
  return isSecureContext ? "no offline use in this browser" : "no offline use without https";
}

/** Keep the files. done: is told whether all are there. renewed: is called when those of a newer site have replaced them. */
export async function keep(done: (ready: boolean) => void, renewed: () => void): Promise<void> {
  const { serviceWorker } = navigator;
  const before = serviceWorker.controller !== null;
  serviceWorker.addEventListener("controllerchange", () => before && renewed());
  try {
    const registration = await serviceWorker.register("sw.js");
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "redundant" && done(registration.active !== null));
    await serviceWorker.ready;
    done(true);
  } catch {
    done(before); // without a connection, what was kept before is still there
  }
}
