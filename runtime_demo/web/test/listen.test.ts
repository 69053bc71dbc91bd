/**
 * The view of the page that listens, on an emulated phone in Chromium, whose microphone plays a WAV file. The bundles and
 * what Python hears are those of `tests/web/conformance.py`.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { Expected } from "./conformance.ts";
import { launch, phoneAt, recorded, serving } from "./phones.ts";

const folder = resolve(process.env["EDGERNN_WEB"] ?? "../../build/web");
const recording = (name: string): string => join(folder, "sounds", `${name}.wav`);
const HEARING = ["--use-fake-device-for-media-stream", `--use-file-for-fake-audio-capture=${recording("own")}%noloop`];
const servers: ChildProcess[] = [];
let expected: Expected["sounds"];
let hearing: Browser; // with a microphone
let deaf: Browser;
let address: string;
let server: ChildProcess;

before(async () => {
  expected = (JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Expected).sounds;
  hearing = await launch(HEARING);
  deaf = await launch();
  [address, server] = await serving(join(folder, "tasks"), servers, ["classify", "tag"]);
});

after(async () => {
  await hearing?.close();
  await deaf?.close();
  servers.forEach((each) => each.kill());
});

async function phone(tab: number, { browser = deaf, url = address, ...options }: { browser?: Browser; url?: string; permissions?: string[] } = {}): Promise<Awaited<ReturnType<typeof phoneAt>>> {
  const opened = await phoneAt(browser, url, options);
  await opened.page.getByRole("tab").nth(tab).click();
  await says(opened.page, /Press Listen, or open a sound file\./);
  return opened;
}

async function says(page: Page, words: RegExp): Promise<void> {
  await page.locator("#listen-sheet").filter({ hasText: words }).waitFor();
}

/** What was heard, the first first, when there is so much of it. */
async function heard(page: Page, count: number): Promise<string[]> {
  await page.locator("#sounds li:not(.open)").nth(count - 1).waitFor();
  return (await page.locator("#sounds li:not(.open)").allInnerTexts()).reverse();
}

const span = (start: number, end: number): string => `${start.toFixed(2)} s to ${end.toFixed(2)} s`;

test("a recording has the label that Python gives it, and a tagger finds Python's events in it", async () => {
  const { name, classify, tag } = expected[0];
  const { page, context, faults } = await phone(0);
  await page.locator("#listen-file").setInputFiles(recording(name));
  const { label, probabilities } = classify!;
  const length = Math.ceil(2.51 * 100) / 100;
  assert.deepEqual(await heard(page, 1), [`${span(0, length)} ${label} (${Math.round(100 * probabilities[label])} %)`]);
  assert.deepEqual(await page.locator("#shares li").allInnerTexts(), Object.keys(probabilities).sort());
  const bars = await page.locator("#shares meter").evaluateAll((all) => all.map((each) => (each as HTMLMeterElement).value));
  assert.ok(bars.every((share, place) => Math.abs(share - probabilities[Object.keys(probabilities).sort()[place]]) < 1e-9));
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  await page.locator("#speed", { hasText: /^[\d.]+ (µs|ms) a step$/ }).waitFor();
  await page.getByRole("tab").nth(1).click();
  await page.locator("#listen-file").setInputFiles(recording(name));
  const events = tag!.events.map((each) => `${span(each.start_seconds, each.end_seconds)} ${each.label}`);
  assert.deepEqual(await heard(page, events.length), events);
  await page.locator("#listen-file").setInputFiles(recording("clipped"));
  await says(page, /The recording is clipped: record it again, less loud\./);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a recording is said to be read at once, and of a WAV file the page itself reads only how it begins", async () => {
  const { page, context, faults } = await phone(0);
  const notice = await recorded(page, "#notice");
  const sizes = await page.evaluateHandle(() => {
    const [sizes, { arrayBuffer }]: [number[], Blob] = [[], Blob.prototype];
    Blob.prototype.arrayBuffer = function () {
      sizes.push(this.size);
      return arrayBuffer.call(this);
    };
    return sizes;
  });
  await page.locator("#listen-file").setInputFiles(recording("own"));
  await notice(/^Reading own\.wav …$/);
  assert.equal((await heard(page, 1)).length, 1);
  assert.equal(await page.locator("#notice").innerText(), "");
  assert.deepEqual(await sizes.jsonValue(), [12]);
  const gone = join(folder, "gone.wav");
  writeFileSync(gone, readFileSync(recording("own")));
  await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { id: "gone", type: "file" })));
  await page.locator("#gone").setInputFiles(gone);
  rmSync(gone);
  await page.evaluate(
    (header) => {
      const [file] = document.querySelector<HTMLInputElement>("#gone")!.files!;
      file.slice = () => new Blob([Uint8Array.from(header)]); // as if it had been there a moment ago
      document.dispatchEvent(Object.assign(new Event("drop"), { dataTransfer: { files: [file] } }));
    },
    [...readFileSync(recording("own")).subarray(0, 12)],
  );
  await says(page, /gone\.wav cannot be read: open a file that is there\./);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a recording in another format is decoded by the browser", async () => {
  const { page, context, faults } = await phone(0);
  const bytes = await page.evaluate(async () => {
    const sound = new AudioContext();
    const [tone, taken] = [new OscillatorNode(sound, { frequency: 400 }), sound.createMediaStreamDestination()];
    tone.connect(new GainNode(sound, { gain: 0.3 })).connect(taken);
    tone.start();
    const recorder = new MediaRecorder(taken.stream);
    const recorded = new Promise<Blob>((done) => (recorder.ondataavailable = ({ data }) => done(data)));
    recorder.start();
    await new Promise((done) => setTimeout(done, 800));
    recorder.stop();
    return [...new Uint8Array(await (await recorded).arrayBuffer())];
  });
  await page.locator("#listen-file").setInputFiles({ name: "tone.webm", mimeType: "audio/webm", buffer: Buffer.from(bytes) });
  assert.match((await heard(page, 1))[0], /^0\.00 s to 0\.\d\d s low \(\d+ %\)$/);
  assert.deepEqual(faults, []);
  await context.close();
});

test("what the microphone hears is labelled after each pause, also with the server stopped", async () => {
  const { page, context, faults } = await phone(0, { browser: hearing, permissions: ["microphone"] });
  await page.locator("#offline", { hasText: "offline ready ✓" }).waitFor();
  server.kill();
  await new Promise((done) => server.once("exit", done));
  await page.reload();
  await says(page, /Press Listen/);
  const level = await recorded(page, "#level");
  await page.locator("#listen-start").click();
  await page.locator("#listen-start", { hasText: "Stop" }).waitFor();
  await level(/^(0\.[5-9]|1$)/);
  const found = await heard(page, 3);
  assert.deepEqual(found.map((each) => each.split(" ")[5]), expected[0].heard!.map(([, , label]) => label));
  const lengths = found.map((each) => Number(each.split(" ")[3]) - Number(each.split(" ")[0]));
  for (const [place, [start, end]] of expected[0].heard!.entries()) assert.ok(Math.abs(lengths[place] - (end - start)) < 0.05, found[place]);
  assert.notEqual(await page.evaluate(() => document.getElementById("spoken")!.textContent), "");
  await page.locator("#listen-start").click();
  await page.locator("#listen-start", { hasText: "Listen" }).waitFor();
  assert.deepEqual(faults.filter((fault) => !fault.includes("ERR_CONNECTION_REFUSED")), []);
  await context.close();
  [address, server] = await serving(join(folder, "tasks"), servers, ["classify", "tag"]);
});

test("a tagger shows events as they begin and end", async () => {
  const { page, context, faults } = await phone(1, { browser: hearing, permissions: ["microphone"] });
  assert.equal(await page.locator("#silence").isVisible(), false);
  const sounds = await recorded(page, "#sounds");
  await page.locator("#listen-start").click();
  await sounds(/^\d\.\d\d s to … (low|high)/);
  assert.match((await heard(page, 1))[0], /^\d\.\d\d s to \d\.\d\d s (low|high)$/);
  assert.deepEqual(faults, []);
  await context.close();
});

test("without a microphone, leave to use it, or https, the page says what to do", async () => {
  for (const [browser, url, words] of [
    [deaf, address, /This device has no microphone|The page may not use the microphone/],
    [hearing, address, /The page may not use the microphone: allow it in the browser's settings of this page, and press Listen again\./],
    [hearing, outside(), /The microphone needs https: open the page at an https address\. Sound files can be opened here too\./],
  ] as const) {
    if (url === null) continue; // no network, so nothing but localhost
    const { page, context, faults } = await phone(0, { browser, url });
    await page.locator("#listen-start").click();
    await says(page, words);
    await page.locator("#listen-file").setInputFiles(recording("own"));
    assert.equal((await heard(page, 1)).length, 1);
    assert.deepEqual(faults, []);
    await context.close();
  }
});

/** The address of the page on this machine's network. */
function outside(): string | null {
  const own = Object.values(networkInterfaces()).flat().find((each) => each?.family === "IPv4" && !each.internal);
  return own ? address.replace("localhost", own.address) : null;
}

test("files that are no sound are refused in a sentence", async () => {
  const { page, context, faults } = await phone(0);
  const whole = readFileSync(recording("own"));
  for (const [name, buffer, words] of [
    ["photo.jpg", Buffer.from("photo"), /This file is not a sound that the browser can open\./],
    ["cut.wav", whole.subarray(0, -2), /cut\.wav is cut off: it has \d+ of \d+ bytes of samples\./],
    ["empty.wav", Buffer.concat([whole.subarray(0, 40), Buffer.alloc(4)]), /empty\.wav has no samples: record it again, or remove it\./],
  ] as const) {
    await page.locator("#listen-file").setInputFiles({ name, mimeType: "audio/wav", buffer });
    await says(page, words);
  }
  await page.locator("#listen-file").setInputFiles(recording("own"));
  assert.equal((await heard(page, 1)).length, 1);
  assert.deepEqual(faults, []);
  await context.close();
});

test("sound files and pictures that are dropped open the tabs that take them", async () => {
  const [url] = await serving(join(folder, "tasks"), servers, ["draw", "classify", "glimpse"]);
  const { page, context, faults } = await phoneAt(deaf, url);
  const drop = async (name: string, type: string, path: string): Promise<void> => {
    const given = await page.evaluateHandle(
      ([name, type, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(bytes)], name, { type }));
        return transfer;
      },
      [name, type, [...readFileSync(path)]] as const,
    );
    await page.dispatchEvent("body", "drop", { dataTransfer: given });
  };
  await page.locator("#draw-state", { hasText: "step" }).waitFor();
  await drop("own.wav", "audio/wav", recording("own"));
  assert.match((await heard(page, 1))[0], new RegExp(` ${expected[0].classify!.label} `));
  await drop("tall.png", "image/png", join(folder, "pictures/tall.png"));
  await page.locator("#guess", { hasText: "It is " }).waitFor();
  assert.equal(await page.getByRole("tab").nth(2).getAttribute("aria-selected"), "true");
  assert.deepEqual(faults, []);
  await context.close();
});

test("every control that listens has a name, and nothing is wider than the phone", async () => {
  const { page, context } = await phone(0);
  const nameless = await page.locator("#listen :is(button, input, meter, ol, section)").evaluateAll((all) =>
    all.filter((each) => !each.hasAttribute("aria-label") && !each.textContent && !(each as HTMLInputElement).labels?.length).map((each) => each.outerHTML),
  );
  assert.deepEqual(nameless, []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  await context.close();
});
