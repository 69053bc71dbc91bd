/**
 * The views of the page for photos, drawings, glimpses, strokes and paintings, on an emulated phone in Chromium, with the bundles and the
 * results of Python that `tests/web/conformance.py` writes.
 */
import assert from "node:assert/strict";
import { execFileSync, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { simplified } from "../app/sketch.ts";
import { Stroking } from "../app/stroking.ts";
import { Captioner, Looker, Model, Painter, Pen, Sampler, addStroke, fromSnapshot, ground, inverted, pictureOf, strokeOf, tensor, toRgba, type Stream, type Tensor } from "../src/index.ts";
import { fromDirectory } from "../src/node.ts";
import { advance, begun, comparable, type Expected } from "./conformance.ts";
import { ENVIRONMENT, PYTHON, launch, phoneAt, recorded, serving } from "./phones.ts";

const folder = resolve(process.env["EDGERNN_WEB"] ?? "../../build/web");
const servers: ChildProcess[] = [];
let expected: Expected;
let browser: Browser;
let address: string;

before(async () => {
  expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  browser = await launch();
  address = (await serving(join(folder, "tasks"), servers, ["caption", "draw", "glimpse", "pens", "paint"]))[0];
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

/** Takes back what an element says, so that whatever it says afterwards is new. */
async function forget(page: Page, id: string): Promise<void> {
  await page.locator(id).evaluate((element) => void (element.textContent = ""));
}

async function describe(page: Page, name: string): Promise<void> {
  await forget(page, "#spoken");
  await page.locator("#gallery-file").setInputFiles(picture(name));
}

/** Pauses a view in the frame in which it says some words and its state is a given one, which may last for one frame only. */
async function pausedAt(page: Page, words: string, id: string, state: RegExp, button: string | null): Promise<void> {
  await page.waitForFunction(
    ([words, id, state, button]) => {
      const said = [...document.querySelectorAll("main")].some((main) => main.checkVisibility() && main.textContent!.includes(words));
      if (!said || !new RegExp(state).test(document.querySelector(id)!.textContent!)) return false;
      if (button !== null) document.querySelector<HTMLElement>(button)!.click();
      return true;
    },
    [words, id, state.source, button] as const,
    { polling: "raf" },
  );
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
  await captioned(page);
  await forget(page, "#spoken");
  await page.locator("#beam").fill("3");
  await captioned(page);
  await describe(page, "tall");
  const { text, candidates } = python("tall", 3);
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
  await forget(page, "#spoken");
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
  const kept = (label: string, seed: string): string => `#gallery [aria-label="A finished drawing of ${label}, with seed ${seed}"]`;
  await page.locator("#gallery canvas").nth(1).waitFor();
  const names = await page.locator("#gallery canvas").evaluateAll((all) => all.map((each) => each.ariaLabel));
  assert.deepEqual(names.slice(-2), ["A finished drawing of 1, with seed 2", "A finished drawing of 0, with seed 1"]);
  const drawn = expected.drawings[0].pictures[2]; // seed 1, class 0, after the last step
  const bytes = [...Uint8ClampedArray.from(drawn, (level) => 255 * level)];
  assert.deepEqual(await levels(page, kept("0", "1"), 12), bytes);
  await page.locator("#classes button", { hasText: "1" }).click();
  await page.locator("#draw-temperature").fill("0.5");
  await page.locator("#draw-seed").fill("18446744073709551615");
  await page.locator("#draw-seed").press("Enter");
  await page.locator(kept("1", "18446744073709551615")).waitFor();
  const cold = expected.drawings[1].pictures[2];
  assert.deepEqual(await levels(page, kept("1", "18446744073709551615"), 12), [...Uint8ClampedArray.from(cold, (level) => 255 * level)]);
  await page.locator(kept("1", "0")).waitFor(); // seeds have 64 bits
  assert.deepEqual(faults, []);
  await context.close();
});

test("its user takes the pen, by hand and by keys, and the network goes on", async () => {
  const { page, context, faults } = await phone(1);
  await pausedAt(page, "", "#draw-state", /step 1/, null);
  const box = (await page.locator("#drawing").boundingBox())!;
  await page.mouse.move(box.x + 0.04 * box.width, box.y + 0.04 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.46 * box.width, box.y + 0.04 * box.height, { steps: 5 });
  const saved = page.waitForEvent("download");
  await page.locator("#draw-save").evaluate((button: HTMLElement) => button.click()); // without the pointer, which is down
  await saved; // and so the answer that was on its way has arrived
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
  const finished = `#gallery [aria-label$="with seed ${seed}"]`;
  await page.locator(finished).waitFor();
  assert.ok((await levels(page, finished, 12)).slice(0, 5).every((level) => level > 120));
  assert.deepEqual(faults, []);
  await context.close();
});

/** The guesses after each glimpse, when the network has taken all. */
async function guesses(page: Page): Promise<string[]> {
  await page.locator("#guess", { hasText: "It is " }).waitFor();
  return page.locator("#glimpses li").allInnerTexts();
}

const told = ({ label, probability }: { label: string; probability: number }): string => `${label} (${Math.round(100 * probability)} %)`;

test("a picture is looked at by Python's glimpses, and so is what its user draws", async () => {
  const { page, context, faults } = await phone(2);
  assert.equal((await guesses(page)).length, 3); // of the picture of the golden vectors
  const { glimpses } = expected.looks.find((each) => each.picture === "tall")!;
  await forget(page, "#guess");
  await page.locator("#look-file").setInputFiles(picture("tall"));
  assert.deepEqual(await guesses(page), glimpses[0].map(told));
  await page.locator("#invert").check();
  assert.deepEqual(await guesses(page), glimpses[1].map(told));
  await page.locator("#look-clear").click();
  assert.deepEqual(new Set(await levels(page, "#seen", 12)), new Set([0]));
  const box = (await page.locator("#seen").boundingBox())!;
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.1 * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.9 * box.height, { steps: 5 });
  await page.mouse.up();
  assert.equal((await guesses(page)).length, 3);
  assert.deepEqual(faults, []);
  await context.close();
});

/** The strokes on a sheet, each with its points. */
function lines(sheet: Locator): Promise<{ points: number[][]; given: boolean }[]> {
  return sheet.locator("polyline").evaluateAll((all) =>
    all.map((line) => {
      const places = line.getAttribute("points")!.split(" ");
      const dot = places.length === 2 && places[0] === places[1];
      return { points: places.slice(dot ? 1 : 0).map((place) => place.split(",").map(Number)), given: line.classList.contains("given") };
    }),
  );
}

/** Draw on an element, through places that are shares of its size. */
async function stroke(page: Page, id: string, places: readonly (readonly [number, number])[]): Promise<void> {
  const { x, y, width, height } = (await page.locator(id).boundingBox())!;
  for (const [place, [across, down]] of places.entries()) {
    await page.mouse.move(x + across * width, y + down * height);
    if (place === 0) await page.mouse.down();
  }
  await page.mouse.up();
}

/** The content of the file that a button downloads. */
async function downloaded(page: Page, button: string): Promise<Buffer> {
  const download = page.waitForEvent("download");
  await page.locator(button).click();
  return readFileSync((await (await download).path())!);
}

const finished = (page: Page): Promise<void> => page.locator("#strokes-state", { hasText: "finished" }).waitFor();

test("drawings of strokes are Python's, one after another, point by point", async () => {
  const { page, context, faults } = await phone(3);
  const [{ sampler, points, lines: strokes }] = expected.strokes;
  const seed = sampler.seed;
  await page.evaluate(() => {
    const state = document.getElementById("strokes-state")!;
    new MutationObserver(() => (document.title += `,${state.textContent!.match(/(\d+) point/)![1]}`)).observe(state, { childList: true });
  });
  await page.locator("#strokes-seed").fill(seed);
  await page.locator("#strokes-temperature").fill("1"); // which begins anew, also with the same seed
  const told = `${strokes.length} stroke${strokes.length === 1 ? "" : "s"}, ${points.length} points`;
  await page.waitForFunction((words) => {
    const ended = document.getElementById("strokes-state")!.textContent === words;
    if (ended) document.getElementById("strokes-pause")!.click();
    return ended;
  }, `Seed ${seed}: ${told}, finished`);
  assert.deepEqual(await lines(page.locator("#sketch")), strokes.map((points) => ({ points, given: false })));
  const counts = (await page.title()).split(",").slice(-points.length - 1).map(Number);
  assert.deepEqual(counts, [...points.keys()].map((place) => place + 1).concat(points.length)); // the last step ends it
  const box = (await page.locator("#sketch g").boundingBox())!;
  const sheet = (await page.locator("#sketch").boundingBox())!;
  assert.ok(box.x > sheet.x && box.y > sheet.y && box.x + box.width < sheet.x + sheet.width && box.y + box.height < sheet.y + sheet.height);
  await page.locator("#strokes-pause").click();
  const [next, first] = [1, 0].map((later) => `A finished drawing, with seed ${Number(seed) + later}`);
  await page.getByRole("img", { name: next, exact: true }).waitFor();
  const kept = await page.locator("#sketches svg").evaluateAll((all) => all.map((each) => each.ariaLabel));
  assert.equal(kept[kept.indexOf(next) + 1], first);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a drawing that its user began is completed as Python completes it, also from a file", async () => {
  const { page, context, faults } = await phone(3, { reducedMotion: "reduce" });
  await finished(page);
  await page.locator("#strokes-temperature").fill("0.5");
  await finished(page);
  await page.locator("#strokes-clear").click();
  await page.locator("#strokes-sheet", { hasText: "Draw the beginning, and the network completes it." }).waitFor();
  assert.deepEqual(await lines(page.locator("#sketch")), []);
  await page.locator("#strokes-pause").click();
  await stroke(page, "#sketch", [[0.3, 0.3], [0.4, 0.5], [0.6, 0.5]]);
  for (const key of ["ArrowDown", "ArrowDown", "Space", "ArrowLeft", "ArrowLeft", "ArrowLeft", "Enter"]) await page.locator("#sketch").press(key);
  await page.locator("#strokes-state", { hasText: "Seed 1: 2 strokes, 4 points" }).waitFor();
  const given = await lines(page.locator("#sketch"));
  assert.ok(given.every((each) => each.given) && given[0].points.length === 3 && given[1].points.length === 2);
  assert.deepEqual(given[0].points[0], [0, 0]);
  const begun = join(folder, "begun.json");
  writeFileSync(begun, await downloaded(page, "#strokes-export"));
  const options = ["run", "pens", "--engine", "c", "--seed", "1", "--temperature", "0.5", "--complete", begun, "--json"];
  const told = execFileSync(PYTHON, ["-m", "edgernn", ...options], { cwd: join(folder, "tasks"), env: ENVIRONMENT, encoding: "utf8" });
  const python: number[][][] = JSON.parse(told).drawings[0].strokes;
  const whole = async (): Promise<number[][][]> => {
    await finished(page);
    return (await lines(page.locator("#sketch"))).map(({ points }) => points.map((place) => place.map((each) => Math.round(1000 * each) / 1000)));
  };
  await page.locator("#strokes-pause").click();
  assert.deepEqual(await whole(), python);
  await page.locator("#strokes-seed").fill("1");
  await forget(page, "#strokes-state");
  await page.locator("#strokes-file").setInputFiles(begun);
  await page.locator("#strokes-sheet", { hasText: "The network completes begun.json." }).waitFor();
  assert.deepEqual(await whole(), python);
  await page.locator("#strokes-file").setInputFiles(picture("tall"));
  await page.locator("#strokes-sheet", { hasText: "tall.png is neither a snapshot nor a JSON file of strokes" }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("a pen that is taken over lifts where it is, also where the drawing had ended", async () => {
  const model = await Model.load(fromDirectory(join(folder, "tasks/pens")));
  const stroking = new Stroking(model);
  const [{ sampler, points }] = expected.strokes;
  const seed = BigInt(sampler.seed);
  await stroking.begin(seed, 1, []);
  const [dx, dy, lifts] = (await stroking.draw())!;
  assert.equal(lifts, 0); // in the middle of a stroke
  const pen = new Pen(model);
  const lifted = await pen.stream(new Sampler({ seed }), [[dx, dy, 1]]);
  const [x, y] = pen.place(lifted);
  await pen.read(lifted, [[5 - x, 6 - y, 0], [3, 4, 1]]);
  await stroking.read([[5, 6], [8, 10]]);
  assert.deepEqual(stroking.stream!.state, lifted.state);
  assert.equal(stroking.points, 3);
  await stroking.begin(seed, 1, [[3, 0, 0], [0, 4, 0]]); // a stroke that somebody began
  await stroking.read([[5, 6], [8, 10]]);
  const begun = await pen.stream(new Sampler({ seed }), [[3, 0, 0], [0, 4, 1], [2, 2, 0], [3, 4, 1]]);
  assert.deepEqual(stroking.stream!.state, begun.state);
  const middle = await pen.stream(new Sampler({ seed }), [[3, 0, 0], [0, 4, 0]]);
  await stroking.restore(middle.snapshot()); // which does not know the state before its last point
  await pen.read(middle, [[0, 0, 1], [2, 2, 0], [3, 4, 1]]);
  await stroking.read([[5, 6], [8, 10]]);
  assert.deepEqual([stroking.stream!.state, stroking.points], [middle.state, 5]);
  await stroking.begin(seed, 1, []);
  let count = 0;
  while ((await stroking.draw()) !== null) count++;
  assert.deepEqual([count, stroking.finished, (await stroking.progress()).finished], [points.length, true, true]);
  await stroking.read([[0, 0]]);
  assert.deepEqual([stroking.finished, stroking.points], [false, points.length + 1]);
  let other = 0n;
  do await stroking.begin(++other, 1, [[3, 4, 1]]);
  while ((await stroking.draw()) !== null); // until the network ends what somebody began at once
  await stroking.read([[5, 6], [8, 10]]);
  const whole = await pen.stream(new Sampler(), [[3, 4, 1], [2, 2, 0], [3, 4, 1]]);
  assert.deepEqual([stroking.stream!.state, stroking.points], [whole.state, 3]);
  assert.deepEqual(simplified([[0, 0], [1, 0.1], [2, 0], [2, 3], [2, 4]], 0.2), [[0, 0], [2, 0], [2, 4]]);
  assert.deepEqual(simplified([[1, 1], [1, 1]], 0.2), [[1, 1]]);
});

test("a photo is painted as Python paints it, and as many strokes as are wanted", async () => {
  const { page, context, faults } = await phone(4);
  const state = (words: string): Promise<void> => page.locator("#paint-state", { hasText: words }).waitFor();
  await state("12 of 12 strokes"); // of the picture of the golden vectors
  await page.locator("#paint-open-file").setInputFiles(picture("tall"));
  const { strokes, errors } = expected.paintings.find((each) => each.picture === "tall")!;
  await state(`12 of 12 strokes, ${Math.round(100 * errors[11])} % of the mean colour's squared error`);
  const painter = new Painter(await Model.load(fromDirectory(join(folder, "tasks/paint"))));
  const blank = painter.canvas(await painter.stream(tensor("uint8", [1, 1, 3]))).data as Float32Array;
  const canvas = ground(512, 273, [...blank.subarray(0, 3)]); // of a picture of 75 × 40
  for (const each of strokes.slice(0, 12)) addStroke(canvas, strokeOf(each), painter.side);
  const shown = await page.locator("#painting").evaluate((canvas: HTMLCanvasElement) => {
    const { data, width, height } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return { width, height, levels: [...data].filter((_, at) => at % 4 < 3) };
  });
  assert.deepEqual([shown.height, shown.width], [512, 273]);
  const levels = pictureOf(canvas).data as Uint8Array;
  assert.ok(shown.levels.every((level, at) => Math.abs(level - levels[at]) <= 1));
  await page.locator("#paint-strokes").fill("5");
  await state(`5 of 5 strokes, ${Math.round(100 * errors[4])} %`);
  await page.locator("#paint-strokes").fill("7");
  await state(`7 of 7 strokes, ${Math.round(100 * errors[6])} %`);
  await page.locator("#paint-open-file").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: Buffer.from("photo") });
  await page.locator("#paint-sheet", { hasText: "This file is not a picture that the browser can open." }).waitFor();
  await forget(page, "#paint-state");
  await page.locator("#paint-again").click(); // the photo before
  await state(`7 of 7 strokes, ${Math.round(100 * errors[6])} %`);
  assert.deepEqual(faults, []);
  await context.close();
});

/** A stream of a task that has gone on from Python's snapshot. */
async function restored(task: string): Promise<Stream> {
  const stream = await begun(await Model.load(fromDirectory(join(folder, "tasks", task))), task);
  stream.restore(readFileSync(join(folder, "tasks", `${task}.snapshot`)));
  return stream;
}

test("snapshots of drawings, glimpses, strokes and paintings go from Python to the page, and back", async () => {
  for (const [tab, task, file, save, pause, reached] of [
    [1, "draw", "#draw-file", "#draw-save", "#draw-pause", ["#draw-state", /seed 5: step [23] of 3/]],
    [2, "glimpse", "#look-file", "#look-save", null, ["#guess", /It is /]],
    [3, "pens", "#strokes-file", "#strokes-save", "#strokes-pause", ["#strokes-state", /^Seed \d+: \d strokes?, ([6-9]|1\d) points$/]],
    [4, "paint", "#paint-open-file", "#paint-save", "#paint-pause", ["#paint-state", /^(7|8|9|10|11) of 12/]],
  ] as const) {
    const { page, context, faults } = await phone(tab);
    await page.locator(file).setInputFiles(join(folder, "tasks", `${task}.snapshot`));
    await pausedAt(page, `continues from ${task}.snapshot, after`, reached[0], reached[1], pause);
    const saved = await downloaded(page, save);
    const python = await restored(task);
    const { steps } = fromSnapshot(saved);
    assert.ok(steps > python.steps, `${task}: ${steps} steps`);
    while (python.steps < steps) await advance(python);
    assert.deepEqual(comparable(saved), comparable(python.snapshot()), task);
    if (task === "glimpse") assert.equal(await page.locator("#glimpses").getAttribute("start"), "3");
    mkdirSync(join(folder, "written"), { recursive: true }); // from where Python goes on
    writeFileSync(join(folder, "written", `page-${task}.snapshot`), saved);
    writeFileSync(join(folder, "written", `page-${task}.json`), JSON.stringify({ task, outputs: [await advance(python)] }));
    assert.deepEqual(faults, []);
    await context.close();
  }
});

/** The pixels of a canvas. */
function pixels(page: Page, canvas: string): Promise<number[]> {
  return page.locator(canvas).evaluate((canvas: HTMLCanvasElement) => [...canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data]);
}

test("after a snapshot, its picture is painted again, and looked at with dark ink", async () => {
  const paint = await phone(4);
  const painter = new Painter(await Model.load(fromDirectory(join(folder, "tasks/paint"))));
  const photo = painter.photograph(await restored("paint"));
  const stream = await painter.stream(photo);
  while (stream.steps < painter.strokes) await painter.step(stream);
  const state = `12 of 12 strokes, ${Math.round(100 * painter.error(stream))} % of the mean colour's squared error`;
  const again = async (): Promise<void> => {
    await forget(paint.page, "#paint-state");
    await paint.page.locator("#paint-again").click();
    await paint.page.locator("#paint-state", { hasText: state }).waitFor();
    assert.deepEqual(await pixels(paint.page, "#paint-photo"), [...toRgba(photo)]);
  };
  await paint.page.locator("#paint-open-file").setInputFiles(join(folder, "tasks/paint.snapshot"));
  await paint.page.locator("#paint-sheet", { hasText: "The painting continues from paint.snapshot" }).waitFor();
  await again();
  await paint.page.locator("#paint-open-file").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: Buffer.from("photo") });
  await paint.page.locator("#paint-sheet", { hasText: "This file is not a picture that the browser can open." }).waitFor();
  await again();
  assert.deepEqual(paint.faults, []);
  await paint.context.close();

  const look = await phone(2);
  const looker = new Looker(await Model.load(fromDirectory(join(folder, "tasks/glimpse"))));
  const seen = looker.picture(await restored("glimpse"));
  const glimpses = async (picture: Tensor): Promise<string[]> => {
    const stream = await looker.stream(picture);
    const found: string[] = [];
    while (stream.steps < looker.glimpses) found.push(told(await looker.look(stream)));
    return found;
  };
  await guesses(look.page);
  await look.page.locator("#invert").check();
  await look.page.locator("#look-file").setInputFiles(join(folder, "tasks/glimpse.snapshot"));
  await look.page.locator("#look-sheet", { hasText: "The network continues from glimpse.snapshot" }).waitFor();
  assert.equal(await look.page.locator("#invert").isChecked(), false);
  await look.page.locator("#invert").check();
  assert.deepEqual(await guesses(look.page), await glimpses(inverted(seen)));
  await look.page.locator("#invert").uncheck();
  assert.deepEqual(await guesses(look.page), await glimpses(seen));
  assert.deepEqual(look.faults, []);
  await look.context.close();
});

test("a snapshot is dropped on any tab, and opens that of its model", async () => {
  const { page, context, faults } = await phone(0);
  const drop = async (name: string, data: Uint8Array): Promise<void> => {
    const given = await page.evaluateHandle(
      ([name, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(bytes)], name));
        return transfer;
      },
      [name, [...data]] as const,
    );
    await page.dispatchEvent("body", "drop", { dataTransfer: given });
  };
  const says = (words: string): Promise<void> => page.locator("main:visible", { hasText: words }).waitFor();
  await captioned(page);
  const saved = readFileSync(join(folder, "tasks/pens.snapshot"));
  await drop("cut.snapshot", saved.subarray(0, -1));
  await says("cut.snapshot: the snapshot was cut or changed");
  const captioner = new Captioner(await Model.load(fromDirectory(join(folder, "tasks/caption"))));
  const { value } = await captioner.tokens(tensor("uint8", [8, 8, 3])).next();
  await drop("caption.snapshot", value!.stream.snapshot());
  await says("caption.snapshot: this view opens no snapshots.");
  await drop("pens.snapshot", saved);
  const words = "The drawing continues from pens.snapshot, after 4 points. The snapshot contains no earlier strokes.";
  await pausedAt(page, words, "#strokes-state", new RegExp(`^Seed ${expected.strokes[0].sampler.seed}: `), "#strokes-pause");
  assert.equal(await page.getByRole("tab").nth(3).getAttribute("aria-selected"), "true");
  await drop("tall.png", readFileSync(picture("tall")));
  await says("tall.png is neither a snapshot nor a JSON file of strokes");
  assert.deepEqual(faults, []);
  await context.close();
});

test("a snapshot whose model takes long arrives, although the next drawing begins meanwhile", async () => {
  const { page, context, faults } = await phone(3, { serviceWorkers: "block", reducedMotion: "reduce" });
  await finished(page);
  let release = (): void => undefined;
  const released = new Promise<void>((done) => (release = done));
  await context.route("**/assets/**", async (route) => {
    await released;
    await route.continue();
  });
  const seed = await page.locator("#strokes-seed").inputValue();
  await page.locator("#strokes-file").setInputFiles(join(folder, "tasks/draw.snapshot"));
  await page.waitForFunction((before) => (document.getElementById("strokes-seed") as HTMLInputElement).value !== before, seed);
  release();
  await page.locator("#draw-sheet", { hasText: "continues from draw.snapshot" }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("who begins anew before the page has heard of a snapshot gets what was asked for", async () => {
  const { page, context, faults } = await phoneAt(browser, "about:blank");
  await page.addInitScript(() => {
    const { set } = Object.getOwnPropertyDescriptor(Worker.prototype, "onmessage")!;
    Object.defineProperty(Worker.prototype, "onmessage", {
      set(this: Worker, hear: (event: MessageEvent) => void) {
        set!.call(this, (event: MessageEvent) => (event.data.kind === "restored" ? void (document.title = "late") : hear(event)));
      },
    });
  });
  faults.length = 0;
  await page.goto(address);
  await page.getByRole("tab").nth(1).click();
  await page.locator("#draw-state", { hasText: "step" }).waitFor();
  await page.locator("#draw-file").setInputFiles(join(folder, "tasks/paint.snapshot"));
  await page.waitForFunction(() => document.title === "late");
  const state = await recorded(page, "#draw-state");
  await page.locator("#draw-seed").fill("77");
  await page.locator("#draw-seed").press("Enter");
  await state(/seed 77: step 3 of 3/);
  assert.equal(await page.locator("#trouble").innerText(), "");
  await context.close();
});

test("a seed is not changed while it is typed", async () => {
  for (const [tab, seed, state, ended] of [[1, "#draw-seed", "#draw-state", "step 3 of 3"], [3, "#strokes-seed", "#strokes-state", "finished"]] as const) {
    const { page, context, faults } = await phone(tab);
    const said = await recorded(page, state);
    await page.locator(state, { hasText: /[Ss]eed \d+:/ }).waitFor();
    await page.locator(seed).fill("77");
    await page.locator(state, { hasText: ended }).waitFor();
    await page.waitForTimeout(2500); // for longer than a finished drawing is shown
    assert.equal(await page.locator(seed).inputValue(), "77");
    await page.locator(seed).press("Enter");
    await said(/[Ss]eed 77:/);
    assert.deepEqual(faults, []);
    await context.close();
  }
});

test("a pen waits for the model, draws with one finger, and stays down while Space is held", async () => {
  const { page, context, faults } = await phone(1);
  await page.locator("#draw-state", { hasText: "step" }).waitFor();
  await page.evaluate(() => {
    document.querySelectorAll<HTMLElement>("[role=tab]")[1].click(); // the model is asked for again
    document.getElementById("drawing")!.dispatchEvent(new KeyboardEvent("keydown", { key: " " }));
  });
  await page.getByRole("tab").nth(3).click();
  await page.locator("#strokes-state", { hasText: "point" }).waitFor();
  await page.locator("#strokes-clear").click();
  await page.locator("#strokes-sheet", { hasText: "Draw the beginning" }).waitFor();
  await page.locator("#sketch").click({ button: "right" });
  await page.locator("#sketch").evaluate((sheet) => {
    for (const kind of ["pointerdown", "pointermove", "pointerup"]) sheet.dispatchEvent(new PointerEvent(kind, { pointerId: 9, isPrimary: false }));
  });
  assert.deepEqual(await lines(page.locator("#sketch")), []);
  const state = await recorded(page, "#strokes-state");
  await page.locator("#sketch").focus();
  for (let times = 0; times < 5; times++) await page.keyboard.down("Space"); // as the keyboard repeats it
  await page.keyboard.up("Space");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await state(/1 stroke, 1 point$/); // until the network goes on
  assert.deepEqual(faults, []);
  await context.close();
});

test("a file that is no picture leaves the picture that is looked at, and one that cannot be read is named", async () => {
  const { page, context, faults } = await phone(2);
  await guesses(page);
  await forget(page, "#guess");
  await page.locator("#look-file").setInputFiles(picture("tall"));
  await guesses(page);
  await page.locator("#look-file").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: Buffer.from("photo") });
  await page.locator("#look-sheet", { hasText: "This file is not a picture that the browser can open." }).waitFor();
  await page.locator("#invert").check();
  const [, negative] = expected.looks.find((each) => each.picture === "tall")!.glimpses;
  assert.deepEqual(await guesses(page), negative.map(told));
  await page.evaluate(() => {
    const unreadable = { name: "photos", type: "", slice: () => ({ text: () => Promise.reject(new DOMException("", "NotFoundError")) }) };
    document.dispatchEvent(Object.assign(new Event("drop"), { dataTransfer: { files: [unreadable] } })); // as of a folder
  });
  await page.locator("#look-sheet", { hasText: "photos cannot be read: open a file that is there." }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("every control of every view has a name, and nothing is wider than the phone", async () => {
  for (const tab of [0, 1, 2, 3, 4]) {
    const { page, context } = await phone(tab);
    const nameless = await page.locator(".view:not([hidden]) :is(button, input, canvas, svg, ol, section)").evaluateAll((all) =>
      all.filter((each) => !each.hasAttribute("aria-label") && !each.textContent && !(each as HTMLInputElement).labels?.length).map((each) => each.outerHTML),
    );
    assert.deepEqual(nameless, []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await context.close();
  }
});
