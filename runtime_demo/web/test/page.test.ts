/** The page as its user meets it, on an emulated phone in Chromium. It takes Debian's chromium, and Python for the bundle. */
import assert from "node:assert/strict";
import { execFileSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { Model, Sampler } from "../src/index.ts";
import { fromDirectory } from "../src/node.ts";
import { ENVIRONMENT, PYTHON, ROOT, launch, phoneAt, phoneOf, serving } from "./phones.ts";

const FIXTURE = join(ROOT, "tests/web/page.py");
const SAMPLING = { temperature: 0.8, topK: 40 };

const folder = mkdtempSync(join(tmpdir(), "edgernn-page-"));
const servers: ChildProcess[] = [];
let expected: { text: string; onnx: string; suggestions: string[]; resumed: string };
let browser: Browser;
let address: string;

before(async () => {
  execFileSync(PYTHON, [FIXTURE, folder], { env: ENVIRONMENT });
  expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  browser = await launch();
  address = (await serve("tiny"))[0];
});

after(async () => {
  await browser?.close();
  servers.forEach((server) => server.kill());
  rmSync(folder, { recursive: true });
});

/** Serve bundles of the folder. Returns the address and the process. */
const serve = (...bundlesAndOptions: string[]): Promise<[string, ChildProcess]> => serving(folder, servers, bundlesAndOptions);

/** A phone that has opened the page. */
const phone = (url = address, options = {}): ReturnType<typeof phoneAt> => phoneAt(browser, url, options);

const written = (page: Page): Promise<string> => page.evaluate(() => document.getElementById("written")!.textContent!);

async function until(page: Page, length: number): Promise<string> {
  await page.waitForFunction((least) => document.getElementById("written")!.textContent!.length >= least, length);
  return written(page);
}

/** Pauses when so much has been written: a text may be at its end when a test looks again. */
async function pausedAfter(page: Page, length: number): Promise<void> {
  await page.waitForFunction((least) => {
    const enough = document.getElementById("written")!.textContent!.length >= least;
    if (enough) document.getElementById("pause")!.click();
    return enough;
  }, length);
}

async function says(page: Page, words: RegExp): Promise<void> {
  await page.locator("#sheet").filter({ hasText: words }).waitFor();
}

/** What the runtime in Node writes, which other tests compare with Python. */
async function continuation(prompt: string, seed: number, temperature = SAMPLING.temperature): Promise<string> {
  const model = await Model.load(fromDirectory(join(folder, "tiny")));
  const stream = await model.stream(new Sampler({ ...SAMPLING, temperature, seed }));
  return stream.complete(prompt, { maxTokens: 400 });
}

/** The bytes of a snapshot with something of its header changed. */
function changed(snapshot: Buffer, from: string, to: string): Buffer {
  const body = Buffer.from(snapshot.subarray(0, -32).toString("latin1").replace(from, to), "latin1");
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

test("a first visit writes by itself what Python writes from the same seed, and asks nobody else", async () => {
  const { page, context, faults } = await phone();
  await page.locator("body[data-writing=false]").waitFor();
  assert.equal(await written(page), expected.text);
  assert.deepEqual(await page.locator("#suggestions button").allInnerTexts(), expected.suggestions);
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  await page.locator("#speed", { hasText: /^[\d.]+ (µs|ms) a step$/ }).waitFor();
  assert.match(await page.locator("#size").innerText(), /^\d+ KB$/);
  assert.equal(
    await page.locator("meta[http-equiv]").getAttribute("content"),
    "default-src 'self'; base-uri 'none'; form-action 'none'",
  );
  const colours = await page.locator("#cells").evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const warm = (at: number): boolean => data[at + 3] > 0 && data[at] > data[at + 2] + 40;
    const cold = (at: number): boolean => data[at + 3] > 0 && data[at + 2] > data[at] + 40;
    const places = Array.from({ length: data.length / 4 }, (_, place) => 4 * place);
    return [places.some(warm), places.some(cold)];
  });
  assert.deepEqual(colours, [true, true]);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0);
  await page.locator("#pause").click(); // which goes on after the largest length
  assert.ok((await until(page, 410)).startsWith(expected.text));
  assert.deepEqual(faults, []);
  await context.close();
});

test("the page works with the server stopped, and can be installed", async () => {
  const [url, server] = await serve("tiny");
  const { page, context, faults } = await phone(url);
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  server.kill();
  await new Promise((done) => server.once("exit", done));
  await assert.rejects(fetch(url));
  await page.reload();
  assert.ok(expected.text.startsWith(await until(page, 60)));
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  const session = await context.newCDPSession(page);
  assert.deepEqual((await session.send("Page.getInstallabilityErrors")).installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"), []);
  assert.deepEqual(faults.filter((fault) => !fault.includes("ERR_CONNECTION_REFUSED")), []);
  await context.close();
});

test("without a beginning nothing is written, and the page says what it takes", async () => {
  const { page, context, faults } = await phone();
  await until(page, 10);
  await page.locator("#prompt").fill("");
  await page.locator("#pause", { hasText: "Go on" }).waitFor();
  await page.locator("#pause").click();
  await says(page, /Type a beginning, and it is continued\./);
  assert.equal(await page.locator("#trouble").innerText(), "");
  await page.locator("#prompt").fill("The ");
  assert.ok(expected.text.startsWith(await until(page, 10)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("a snapshot goes from Python to the page, and back", async () => {
  const { page, context, faults } = await phone();
  await until(page, 10);
  await page.locator("#file").setInputFiles(join(folder, "python.snapshot"));
  await says(page, /The text continues from python\.snapshot, after 38 steps\./);
  await pausedAfter(page, 60);
  assert.equal(await page.locator("#seed").inputValue(), "5");
  assert.equal(await page.locator("#temperature").inputValue(), "0.7");
  const download = page.waitForEvent("download");
  await page.locator("#save").click();
  const name = (await download).suggestedFilename();
  const before = await written(page); // with the text that was on its way
  assert.ok(expected.resumed.startsWith(before));
  assert.equal(name, `tiny-${38 + before.length}.snapshot`);
  const saved = join(folder, "page.snapshot");
  await (await download).saveAs(saved);
  const python = execFileSync(PYTHON, [FIXTURE, folder, "restore", saved, "50"], { env: ENVIRONMENT, encoding: "utf8" });
  assert.equal(JSON.parse(python), expected.resumed.slice(before.length, before.length + 50));
  await page.locator("#leave").click();
  assert.ok(expected.text.startsWith(await until(page, 20)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("files that are no snapshot of the model are refused in a sentence, and the text goes on", async () => {
  const { page, context, faults } = await phone();
  await until(page, 5);
  const good = readFileSync(join(folder, "python.snapshot"));
  const digest = JSON.parse(readFileSync(join(folder, "tiny/bundle.json"), "utf8")).digest;
  for (const [name, buffer, words] of [
    ["photo.jpg", Buffer.from("photo"), /photo\.jpg: these bytes are not a snapshot\./],
    ["cut", good.subarray(0, -1), /cut: the snapshot was cut or changed: its SHA-256 does not fit\./],
    ["other", changed(good, digest, "0".repeat(64)), /other: the snapshot was taken from a model of another run/],
    ["fp32", changed(good, '"int8"', '"fp32"'), /fp32: the snapshot was taken at fp32 and the model is int8/],
  ] as const) {
    await page.locator("#file").setInputFiles({ name, mimeType: "", buffer });
    await says(page, words);
  }
  await page.locator("body[data-writing=false]").waitFor();
  assert.equal(await written(page), expected.text);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a tap on a word, and Enter on it, go back to it and draw again with the next seed", async () => {
  const { page, context, faults } = await phone();
  const text = await until(page, 60);
  const word = page.locator(".word").nth(2);
  const place = Number(await word.getAttribute("data-place"));
  await word.click();
  const prompt = `The ${text.slice(0, place)}`;
  assert.equal(await page.locator("#prompt").inputValue(), prompt);
  assert.equal(await page.locator("#seed").inputValue(), "2");
  const drawn = await until(page, 60);
  const again = await continuation(prompt, 2);
  assert.ok(again.startsWith(drawn));
  await page.locator("#pause").click();
  await page.locator("#written").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  const second = Number(await page.locator(".word.current").getAttribute("data-place"));
  await page.keyboard.press("Enter");
  const longer = prompt + again.slice(0, second);
  assert.equal(await page.locator("#prompt").inputValue(), longer);
  assert.ok((await continuation(longer, 3)).startsWith(await until(page, 40)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("typing goes on from the common beginning; words, temperature and seeds draw what Python would", async () => {
  const { page, context, faults } = await phone();
  await until(page, 80);
  const prompt = page.locator("#prompt");
  await prompt.press("End");
  await prompt.pressSequentially("bad sea");
  assert.ok((await continuation("The bad sea", 1)).startsWith(await until(page, 40)));
  await prompt.fill(`The ${"long sea ".repeat(30)}`);
  assert.ok((await continuation(`The ${"long sea ".repeat(30)}`, 1)).startsWith(await until(page, 40)));
  await prompt.fill("The Ünder");
  await says(page, /Left out: the vocabulary has no "Ü" \(U\+00DC\)\./);
  assert.ok((await continuation("The nder", 1)).startsWith(await until(page, 40)));
  await prompt.fill("");
  await page.locator("body[data-writing=false]").waitFor();
  assert.equal(await written(page), "");
  await prompt.fill("The ");
  await page.locator("#suggestions button").first().click();
  assert.equal(await prompt.inputValue(), `The ${expected.suggestions[0]}`);
  await prompt.fill("The ");
  await page.locator("#temperature").fill("0");
  await page.locator("#seed").fill("18446744073709551615");
  await page.locator("#another").click(); // seeds have 64 bits
  assert.equal(await page.locator("#seed").inputValue(), "0");
  assert.ok((await continuation("The ", 0, 0)).startsWith(await until(page, 40)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("a new version of the site comes by itself, and is there at the visit after", async () => {
  const [url, server] = await serve("tiny", "--title", "First");
  const { page, context, faults } = await phone(url);
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  server.kill();
  await new Promise((done) => server.once("exit", done));
  await serve("tiny", "--title", "Second", "--port", new URL(url).port);
  await page.reload();
  await says(page, /A newer version of this page was downloaded/);
  assert.equal(await page.locator("h1").innerText(), "First");
  await page.reload();
  assert.equal(await page.locator("h1").innerText(), "Second");
  assert.ok(expected.text.startsWith(await until(page, 20)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("several bundles are tabs", async () => {
  cpSync(join(folder, "tiny"), join(folder, "twin"), { recursive: true });
  const [url] = await serve("tiny", "twin");
  const { page, context, faults } = await phone(url);
  const tabs = page.getByRole("tab");
  assert.deepEqual(await tabs.allInnerTexts(), ["tiny", "twin"]);
  await tabs.first().focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await tabs.nth(1).getAttribute("aria-selected"), "true");
  assert.ok(expected.text.startsWith(await until(page, 20)));
  assert.deepEqual(faults, []);
  await context.close();
});

test("a bundle of onnx writes what Python writes over onnxruntime, also under a host's own policy, and offline", async () => {
  const [url, server] = await serve("tiny-onnx");
  const { page, context, faults } = await phone(url);
  await page.locator("body[data-writing=false]").waitFor();
  assert.equal(await written(page), expected.onnx);
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  assert.match(await page.locator("#size").innerText(), /^[34]\.\d MB$/);
  const strict = await phoneOf(browser, { serviceWorkers: "block" });
  await strict.route("**/*", async (route) => {
    const response = await route.fetch();
    const headers = { ...response.headers(), "content-security-policy": "default-src 'self' 'wasm-unsafe-eval'" };
    await route.fulfill({ response, headers });
  });
  const guarded = await strict.newPage();
  guarded.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  await guarded.goto(url);
  assert.ok(expected.onnx.startsWith(await until(guarded, 60)));
  await strict.close();
  server.kill();
  await new Promise((done) => server.once("exit", done));
  await page.reload();
  assert.ok(expected.onnx.startsWith(await until(page, 60)));
  assert.deepEqual(faults.filter((fault) => !fault.includes("ERR_CONNECTION_REFUSED")), []);
  await context.close();
});

test("without https the page works, and says that it is not kept offline", async () => {
  const own = Object.values(networkInterfaces()).flat().find((each) => each?.family === "IPv4" && !each.internal);
  if (!own) return; // no network, so nothing but localhost
  const insecure = address.replace("localhost", own.address);
  const { page, context, faults } = await phone(insecure);
  assert.ok(expected.text.startsWith(await until(page, 20)));
  await page.locator("#offline", { hasText: "no offline use without https" }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("with less motion, text comes in chunks, which screen readers are told", async () => {
  const { page, context } = await phone(address, { reducedMotion: "reduce" });
  const text = await until(page, 1);
  assert.ok(text.length > 0 && text.length % 32 === 0, `${text.length} characters`);
  await page.waitForFunction(() => document.getElementById("spoken")!.textContent !== "");
  assert.ok(expected.text.includes(await page.evaluate(() => document.getElementById("spoken")!.textContent!)));
  await context.close();
});

/** A phone on which the network changes what the server sends. */
async function hindered(pattern: string, change: (body: Buffer) => Buffer | null): Promise<{ page: Page; context: BrowserContext; heal: () => Promise<void> }> {
  const context = await phoneOf(browser, { serviceWorkers: "block" });
  await context.route(pattern, async (route) => {
    const response = await route.fetch();
    const body = change(await response.body());
    if (body === null) await route.abort("connectionreset");
    else await route.fulfill({ body, headers: { "content-type": response.headers()["content-type"] } });
  });
  const page = await context.newPage();
  await page.goto(address);
  return { page, context, heal: () => context.unroute(pattern) };
}

test("what is wrong with a model is said in a sentence", async () => {
  const flipped = (body: Buffer): Buffer => Buffer.concat([body.subarray(0, -1), Buffer.from([body.at(-1)! ^ 1])]);
  const other = (from: RegExp, to: string) => (body: Buffer): Buffer => Buffer.from(body.toString().replace(from, to));
  for (const [pattern, change, words] of [
    ["**/model-*.bin", flipped, /This model cannot be run here: model\.bin was changed: its SHA-256 is not the one in bundle\.json\./],
    ["**/bundle-*.json", other(/"format": 1/, '"format": 2'), /bundle\.json has format 2; this runtime reads format 1/],
    ["**/bundle-*.json", other(/"target": "wasm"/, '"target": "onnx"'), /the bundle is for onnx/],
  ] as const) {
    const { page, context } = await hindered(pattern, change);
    await says(page, words);
    await context.close();
  }
});

test("a connection that is lost in the first visit is said, and the visit goes on when it is back", async () => {
  const { page, context, heal } = await hindered("**/model-*.bin", () => null);
  await says(page, /The connection was lost while the model was downloading\. Try again/);
  await heal();
  await page.evaluate(() => dispatchEvent(new Event("online")));
  assert.ok(expected.text.startsWith(await until(page, 20)));
  await context.close();
});

test("without SIMD the other module writes the same", async () => {
  const { page, context } = await hindered("**/worker-*.js", (body) => Buffer.from(`WebAssembly.validate=()=>false;${body}`));
  assert.ok(expected.text.startsWith(await until(page, 20)));
  await page.locator("#speed", { hasText: "without SIMD" }).waitFor();
  await context.close();
});

test("a model that does not fit into the memory is said", async () => {
  const full = "WebAssembly.Memory.prototype.grow=()=>{throw new RangeError('full')};";
  const { page, context } = await hindered("**/worker-*.js", (body) => Buffer.from(full + body));
  await says(page, /This model cannot be run here: .*memory/);
  await context.close();
});

