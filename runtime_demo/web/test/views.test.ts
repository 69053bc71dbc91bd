/**
 * The views of the page for photos, drawings and glimpses, on an emulated phone in Chromium, with the bundles and the
 * results of Python that `tests/web/conformance.py` writes.
 */
import assert from "node:assert/strict";
import { execFileSync, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { Expected } from "./conformance.ts";
import { ENVIRONMENT, PYTHON, launch, phoneAt, serving } from "./phones.ts";

const folder = resolve(process.env["EDGERNN_WEB"] ?? "../../build/web");
const servers: ChildProcess[] = [];
let expected: Expected;
let browser: Browser;
let address: string;

before(async () => {
  expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  browser = await launch();
  address = (await serving(join(folder, "tasks"), servers, ["caption", "draw", "glimpse"]))[0];
});

after(async () => {
  await browser?.close();
  servers.forEach((server) => server.kill());
});

const picture = (name: string): string => join(folder, "pictures", `${name}.png`);

async function phone(tab: number, options = {}): Promise<Awaited<ReturnType<typeof phoneAt>>> {
  const opened = await phoneAt(browser, address, options);
  await opened.page.getByRole("tab").nth(tab).click();
  return opened;
}

/** What Python prints of a picture. */
function python(name: string, beam: number): { text: string; candidates: { text: string; score: number }[] } {
  const given = ["-m", "edgernn", "caption", "caption", picture(name), "--engine", "c", "--json", "--beam", `${beam}`, "--candidates", `${beam}`];
  return JSON.parse(execFileSync(PYTHON, given, { cwd: join(folder, "tasks"), env: ENVIRONMENT, encoding: "utf8" }));
}

/** The caption, when it is whole. */
async function captioned(page: Page): Promise<string> {
  await page.waitForFunction(() => document.getElementById("spoken")!.textContent !== "");
  return page.evaluate(() => document.getElementById("caption")!.textContent!.trim());
}

async function describe(page: Page, name: string): Promise<void> {
  await page.evaluate(() => (document.getElementById("spoken")!.textContent = ""));
  await page.locator("#gallery-file").setInputFiles(picture(name));
}

/** The mean level of each quarter of a canvas, in reading order. */
function quarters(page: Page, id: string): Promise<number[]> {
  return page.locator(id).evaluate((canvas: HTMLCanvasElement) => {
    const [width, height] = [canvas.width >> 1, canvas.height >> 1];
    return [0, 1, 2, 3].map((place) => {
      const { data } = canvas.getContext("2d")!.getImageData((place % 2) * width, (place >> 1) * height, width, height);
      return data.reduce((sum, level, at) => sum + (at % 4 === 3 ? 0 : level), 0) / (3 * width * height);
    });
  });
}

test("a photo is described as Python describes it, word by word, and lit where the network looked", async () => {
  const { page, context, faults } = await phone(0);
  assert.notEqual(await captioned(page), ""); // of the picture of the golden vectors
  for (const name of ["clear", "tall"]) {
    await describe(page, name);
    assert.equal(await captioned(page), python(name, 1).text);
  }
  const all = await quarters(page, "#picture");
  await page.locator("#caption button").first().click();
  const lit = await quarters(page, "#picture");
  const weights = expected.captions.find((each) => each.picture === "tall")!.attention[0];
  const share = (values: number[]): number => values.indexOf(Math.max(...values));
  assert.equal(share(lit.map((level, place) => level / all[place])), share(weights));
  await page.locator("#caption button").first().click();
  assert.deepEqual(await quarters(page, "#picture"), all);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a beam shows Python's candidates with their scores", async () => {
  const { page, context, faults } = await phone(0, { reducedMotion: "reduce" });
  await page.locator("#beam").fill("3");
  await describe(page, "tall");
  const { text, candidates } = python("tall", 3);
  await page.locator("#candidates li").nth(candidates.length - 1).waitFor();
  assert.equal(await captioned(page), text);
  assert.deepEqual(await page.locator("#candidates li").allInnerTexts(), candidates.map((each) => `${each.text}${each.score.toFixed(3)}`));
  assert.deepEqual(faults, []);
  await context.close();
});

test("a file that is no picture is refused in a sentence, and the caption before can be had again", async () => {
  const { page, context, faults } = await phone(0);
  const before = await captioned(page);
  await page.locator("#gallery-file").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: Buffer.from("photo") });
  await page.locator("#photo-sheet").filter({ hasText: "This file is not a picture that the browser can open." }).waitFor();
  await page.evaluate(() => (document.getElementById("spoken")!.textContent = ""));
  await page.locator("#beam").fill("1");
  assert.equal(await captioned(page), before);
  assert.deepEqual(faults, []);
  await context.close();
});

/** The levels of a drawing on a canvas, from its pixels, each of which is a block. */
function levels(page: Page, canvas: string, side: number): Promise<number[]> {
  return page.locator(canvas).evaluate((canvas: HTMLCanvasElement, side) => {
    const block = canvas.width / side;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const at = (x: number, y: number): number => data[4 * (Math.floor((y + 0.5) * block) * canvas.width + Math.floor((x + 0.5) * block))];
    return Array.from({ length: side * side }, (_, place) => at(place % side, Math.floor(place / side)));
  }, side);
}

test("drawings are Python's, one after another, of the classes in turn", async () => {
  const { page, context, faults } = await phone(1);
  await page.locator("#gallery canvas").nth(1).waitFor();
  const names = await page.locator("#gallery canvas").evaluateAll((all) => all.map((each) => each.ariaLabel));
  assert.deepEqual(names.slice(-2), ["A finished drawing of 1, with seed 2", "A finished drawing of 0, with seed 1"]);
  const drawn = expected.drawings[0].pictures[2]; // seed 1, class 0, after the last step
  const bytes = [...Uint8ClampedArray.from(drawn, (level) => 255 * level)];
  assert.deepEqual(await levels(page, "#gallery canvas:last-child", 12), bytes);
  await page.locator("#classes button", { hasText: "1" }).click();
  await page.locator("#draw-seed").fill("18446744073709551615");
  await page.locator("#draw-temperature").fill("0.5");
  await page.locator("#draw-state", { hasText: "Drawing of 1 with seed 18446744073709551615: step 3 of 3" }).waitFor();
  const cold = expected.drawings[1].pictures[2];
  assert.deepEqual(await levels(page, "#gallery canvas:first-child", 12), [...Uint8ClampedArray.from(cold, (level) => 255 * level)]);
  await page.locator("#draw-state", { hasText: "Drawing of 1 with seed 0:" }).waitFor(); // seeds have 64 bits
  assert.deepEqual(faults, []);
  await context.close();
});

test("its user takes the pen, by hand and by keys, and the network goes on", async () => {
  const { page, context, faults } = await phone(1);
  await page.locator("#draw-state", { hasText: "step 1" }).waitFor();
  const box = (await page.locator("#drawing").boundingBox())!;
  await page.mouse.move(box.x + 0.04 * box.width, box.y + 0.04 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.46 * box.width, box.y + 0.04 * box.height, { steps: 5 });
  await page.waitForTimeout(500); // for the answer that was on its way
  const held = await page.locator("#draw-state").innerText();
  await page.waitForTimeout(800);
  assert.equal(await page.locator("#draw-state").innerText(), held); // the network waits
  assert.ok((await levels(page, "#drawing", 12)).slice(0, 5).every((level) => level > 250));
  await page.mouse.up();
  await page.waitForFunction(() => {
    const finished = document.getElementById("draw-state")!.textContent!.includes("step 3 of 3");
    if (finished) document.getElementById("draw-pause")!.click();
    return finished;
  });
  assert.ok((await levels(page, "#drawing", 12)).slice(0, 5).every((level) => level > 120));
  await page.locator("#drawing").focus();
  for (const key of ["Space", "ArrowRight", "ArrowRight", "Space"]) await page.keyboard.press(key);
  assert.ok(Math.max(...(await levels(page, "#drawing", 12))) === 255);
  const seed = await page.locator("#draw-seed").inputValue(); // of the drawing that has begun over what was there
  await page.locator("#draw-pause").click();
  await page.locator("#draw-state", { hasText: `seed ${seed}: step 3 of 3` }).waitFor();
  assert.ok((await levels(page, "#gallery canvas:first-child", 12)).slice(0, 5).every((level) => level > 120));
  assert.deepEqual(faults, []);
  await context.close();
});

test("a picture is looked at by Python's glimpses, and so is what its user draws", async () => {
  const { page, context, faults } = await phone(2);
  const guesses = async (): Promise<string[]> => {
    await page.locator("#guess", { hasText: "It is " }).waitFor();
    return page.locator("#glimpses li").allInnerTexts();
  };
  assert.equal((await guesses()).length, 3); // of the picture of the golden vectors
  const { glimpses } = expected.looks.find((each) => each.picture === "tall")!;
  const told = (place: number): string[] => glimpses[place].map(({ label, probability }) => `${label} (${Math.round(100 * probability)} %)`);
  await page.locator("#look-file").setInputFiles(picture("tall"));
  assert.deepEqual(await guesses(), told(0));
  await page.locator("#invert").check();
  assert.deepEqual(await guesses(), told(1));
  await page.locator("#look-clear").click();
  assert.deepEqual(new Set(await levels(page, "#seen", 12)), new Set([0]));
  const box = (await page.locator("#seen").boundingBox())!;
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.1 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.9 * box.height, { steps: 5 });
  await page.mouse.up();
  assert.equal((await guesses()).length, 3);
  assert.deepEqual(faults, []);
  await context.close();
});

test("every control of every view has a name, and nothing is wider than the phone", async () => {
  for (const tab of [0, 1, 2]) {
    const { page, context } = await phone(tab);
    const nameless = await page.locator(".view:not([hidden]) :is(button, input, canvas, ol, section)").evaluateAll((all) =>
      all.filter((each) => !each.hasAttribute("aria-label") && !each.textContent && !(each as HTMLInputElement).labels?.length).map((each) => each.outerHTML),
    );
    assert.deepEqual(nameless, []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await context.close();
  }
});
