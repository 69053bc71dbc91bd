// Measures a page that `edgernn serve` shows, in Chromium as a phone: when the first text is there, on a first visit and
// offline, what a first visit transfers, and the time of a step.
//
//     edgernn serve BUNDLE
//     node benchmarks/page.mjs http://localhost:8000/
import { createRequire } from "node:module";

const { chromium, devices } = createRequire(new URL("../runtime_demo/web/package.json", import.meta.url))("playwright-core");
const VISITS = 9;
const url = process.argv[2] ?? "http://localhost:8000/";
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/** The time from the beginning of the navigation until the first text is there, in milliseconds. */
async function firstText(page) {
  const begun = () => performance.getEntriesByName("first text")[0]?.startTime ?? null;
  return (await page.waitForFunction(begun)).jsonValue();
}

const median = (values) => values.toSorted((one, other) => one - other)[values.length >> 1];

const visits = [];
for (let visit = 0; visit < VISITS; visit++) {
  const context = await browser.newContext(devices["Pixel 7"]);
  const page = await context.newPage();
  await page.goto(url);
  const first = await firstText(page);
  await page.locator("#offline", { hasText: "offline ready" }).waitFor();
  const step = await page.locator("#speed", { hasText: "a step" }).innerText();
  const size = await page.locator("#size").innerText();
  await context.setOffline(true);
  await page.reload();
  visits.push({ first, offline: await firstText(page), step, size });
  await context.close();
}
await browser.close();
for (const each of visits) console.log(JSON.stringify(each));
for (const name of ["first", "offline"]) {
  console.log(`${name}: median of ${VISITS} visits ${Math.round(median(visits.map((each) => each[name])))} ms`);
}
