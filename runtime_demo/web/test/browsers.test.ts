/** The conformance test in browsers. */
import { build } from "esbuild";
import { test } from "node:test";
import { missing, open, serve } from "./browsers.ts";

const folder = process.env["EDGERNN_WEB"] ?? "../../build/web";

for (const browser of ["chromium", "webkit"] as const) {
  const lacking = missing(browser);
  const skip = lacking.length > 0 && !process.env["CI"] ? `not installed: ${lacking.join(", ")}` : false;
  test(browser, { skip }, async (suite) => {
    const bundled = await build({ entryPoints: ["test/browser.ts"], bundle: true, format: "iife", write: false, target: "es2022" });
    const { server, url } = await serve(bundled.outputFiles[0].text, folder);
    const page = await open(browser, url);
    try {
      for (const simd of [true, false]) {
        const machine = `${browser}${simd ? "" : "-base"}`;
        const found = await page.evaluate<Record<string, string>>(`conformance("${machine}", ${simd})`);
        for (const [name, error] of Object.entries(found)) {
          await suite.test(`${machine}: ${name}`, () => {
            if (error) throw new Error(error);
          });
        }
      }
    } finally {
      await page.close();
      server.close();
    }
  });
}
