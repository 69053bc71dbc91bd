/** The view of a bundle that draws strokes: one drawing after another, of which its user can begin or take over any. */
import { FormatError } from "../src/errors.ts";
import { readStrokes } from "../src/strokes.ts";
import { around } from "./boxes.ts";
import { counted, download, element, pickFile } from "./document.ts";
import type { Answer, Box, BundleInfo, Line, Point, Progress } from "./protocol.ts";
import { next64, whole64 } from "./seeds.ts";
import { Sketch, type Drawn } from "./sketch.ts";
import type { Shell, View } from "./view.ts";

const POINT = 45; // milliseconds between two points
const REST = 900; // milliseconds without the pen, after which the network goes on
const HOLD = 1600; // milliseconds for which a finished drawing is shown
const CALM = 4000; // the same where the user asks for less motion
const KEPT = 8; // finished drawings that are shown
const LEAST = 8; // scales of the offsets in the side of the sheet, at least

export class StrokesView implements View {
  readonly home = element("strokes-sheet");
  readonly #shell: Shell;
  readonly #usual: number; // the temperature
  readonly #sketch = new Sketch(document.querySelector<SVGSVGElement>("#sketch")!);
  readonly #seed = element<HTMLInputElement>("strokes-seed");
  readonly #temperature = element<HTMLInputElement>("strokes-temperature");
  #name = "";
  #progress: Progress | null = null; // when the drawing began, or was added to
  #drawn: { line: [number, number][]; given: boolean }[] = [];
  #at: readonly [number, number] = [0, 0]; // where the pen is
  #lifted = false; // so that the next point begins a line
  #points = 0;
  #now = ""; // the seed of the drawing; the field of the seed differs while somebody types in it
  #finished = false;
  #lines: Line[] = []; // that the user has drawn, and the worker has not been told
  #sheet: "fit" | "grow" | "keep" = "fit"; // what becomes of it when the drawing has begun, or was added to
  #ahead: Box | null = null; // what the sheet must show before the network goes on
  #due = 0; // when the next point or drawing is due
  #drawing = false;
  #waiting = false; // for the answer to the last request
  #taken = 0; // files that were taken, or left: one that is read too late is dropped

  constructor(shell: Shell, defaults: { temperature: number }) {
    this.#shell = shell;
    this.#usual = defaults.temperature;
    this.#seed.addEventListener("change", () => this.#begin(this.#seed.value));
    this.#temperature.addEventListener("input", () => this.#begin(this.#seed.value));
    element("strokes-another").addEventListener("click", () => this.#begin(next64(this.#seed.value)));
    element("strokes-pause").addEventListener("click", () => {
      this.#due = 0;
      this.#setDrawing(!this.#drawing);
    });
    element("strokes-clear").addEventListener("click", ({ detail }) => {
      this.#clear();
      if (detail === 0) element("sketch").focus(); // by a key
    });
    element("strokes-save").addEventListener("click", () => shell.ask({ kind: "save" }));
    element("strokes-export").addEventListener("click", () => this.#export());
    pickFile(element("strokes-open"), element("strokes-file"), (file) => void shell.take(file));
    this.#sketch.lend((line) => this.#take(line));
  }

  open(bundle: BundleInfo): void {
    this.#name = bundle.name;
    this.#temperature.value = String(this.#usual);
    element("sketches").replaceChildren();
    this.#begin(bundle.seed);
  }

  /** Complete the drawing in a file. */
  async take(file: File): Promise<void> {
    const taken = ++this.#taken;
    const bytes = await file.arrayBuffer();
    if (taken !== this.#taken) return;
    try {
      const given = readStrokes(new Uint8Array(bytes));
      this.#begin(this.#seed.value, given);
      this.#shell.say(`The network completes ${file.name}.`);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#shell.say(`${file.name} is neither a snapshot nor a JSON file of strokes: ${error.message}.`);
    }
  }

  frame(now: number): void {
    if (this.#waiting || this.#progress === null || this.#sketch.held) return;
    if (this.#lines.length > 0) return this.#tell(this.#lines.shift()!);
    if (!this.#drawing || now < this.#due) return;
    if (this.#finished && this.#seed.value !== this.#now) return;
    if (this.#finished) return this.#start(next64(this.#now)); // a snapshot that is on its way still arrives
    if (this.#ahead !== null) this.#sketch.grow(this.#ahead);
    this.#ahead = null;
    this.#shell.ask({ kind: "points", count: this.#shell.calm ? this.#progress.longest : 1 });
    this.#waiting = true;
    this.#due = now + POINT;
  }

  hear(answer: Answer): void {
    if (answer.kind === "sketched") this.#prepare(answer);
    else if (answer.kind === "points") this.#show(answer);
    else if (answer.kind === "restored") this.#resume(answer);
  }

  stop(): void {
    this.#taken++;
    this.#setDrawing(false);
  }

  /** Begin a drawing instead of what was there. given: points that it has already. */
  #begin(seed: string, given: readonly Point[] = []): void {
    this.#shell.renew();
    this.#start(whole64(seed), given);
  }

  #start(seed: string, given: readonly Point[] = []): void {
    this.#renew(seed);
    const temperature = Number(this.#temperature.value);
    this.#shell.ask({ kind: "sketch", seed: this.#seed.value, temperature, given });
    for (const point of given) this.#add(point, true);
    this.#sketch.show(this.#drawn);
    this.#setDrawing(true);
  }

  #renew(seed: string): void {
    this.#shell.say("");
    this.#now = this.#seed.value = seed;
    element("strokes-temperature-shown").textContent = Number(this.#temperature.value).toFixed(2);
    [this.#drawn, this.#lines, this.#at] = [[], [], [0, 0]];
    [this.#points, this.#due] = [0, 0];
    this.#lifted = this.#finished = false;
    this.#sheet = "fit";
    this.#waiting = true;
  }

  /** An empty sheet, on which the user begins. */
  #clear(): void {
    const { fitted } = this.#sketch;
    this.#begin(this.#seed.value);
    this.#due = Infinity;
    if (fitted) this.#sheet = "keep";
    this.#shell.say("Draw the beginning, and the network completes it.");
  }

  #resume({ name, steps, seed, temperature }: Extract<Answer, { kind: "restored" }>): void {
    this.#temperature.value = String(temperature);
    this.#shell.renew();
    this.#renew(seed);
    const points = counted(steps - 1, "point");
    this.#shell.say(`The drawing continues from ${name}, after ${points}. The snapshot contains no earlier strokes.`);
    this.#shell.ask({ kind: "resume" });
    this.#setDrawing(true);
  }

  /** The drawing has begun, or has been added to, and the sheet must show what comes. */
  #prepare(progress: Progress): void {
    this.#waiting = false;
    this.#shell.loaded();
    if (this.#drawn.length === 0 && progress.points > 0) { // resumed: the strokes before are not known
      this.#at = progress.at;
      this.#lifted = !progress.draws;
      if (progress.draws) this.#drawn.push({ line: [[...progress.at]], given: false });
    }
    [this.#progress, this.#points, this.#finished] = [progress, progress.points, progress.finished];
    const box = this.#drawn.flatMap(({ line }) => line).reduce(around, progress.ahead);
    if (this.#sheet === "fit") this.#sketch.fit(box, LEAST * progress.scale);
    this.#ahead = this.#sheet === "grow" ? box : null;
    this.#sheet = "grow";
    this.#sketch.show(this.#drawn);
    this.#tellState();
    if (this.#finished) this.#keep();
    if (progress.points >= progress.longest) this.#shell.say("The drawing is as long as the longest of the training data, and ends here.");
  }

  #show({ points, finished, cells }: Extract<Answer, { kind: "points" }>): void {
    this.#waiting = false;
    for (const point of points) this.#add(point, false);
    this.#points += points.length;
    this.#finished = finished;
    this.#sketch.show(this.#drawn);
    this.#shell.showCells(cells);
    this.#tellState();
    if (finished) this.#keep();
    this.#shell.settle();
  }

  #add([dx, dy, lifts]: Point, given: boolean): void {
    if (this.#lifted || this.#drawn.length === 0) this.#drawn.push({ line: this.#lifted ? [] : [[...this.#at]], given });
    this.#at = [this.#at[0] + dx, this.#at[1] + dy];
    this.#drawn.at(-1)!.line.push([...this.#at]);
    this.#lifted = lifts === 1;
  }

  #tellState(): void {
    const state = `${counted(this.#drawn.length, "stroke")}, ${counted(this.#points, "point")}`;
    element("strokes-state").textContent = `Seed ${this.#now}: ${state}${this.#finished ? ", finished" : ""}`;
  }

  /** The drawing is finished. One that the user had a part in stays until the user goes on. */
  #keep(): void {
    const shared = this.#drawn.some(({ given }) => given);
    this.#due = shared ? Infinity : performance.now() + (this.#shell.calm ? CALM : HOLD);
    if (shared) element("spoken").textContent = "The drawing is finished.";
    const kept = this.#sketch.element.cloneNode(true) as SVGSVGElement;
    for (const name of ["id", "tabindex", "class"]) kept.removeAttribute(name);
    kept.role = "img";
    kept.ariaLabel = `A finished drawing, with seed ${this.#now}`;
    const sketches = element("sketches");
    sketches.prepend(kept);
    while (sketches.children.length > KEPT) sketches.lastElementChild!.remove();
  }

  /** The user has drawn a line. */
  #take(line: Line): void {
    this.#lines.push(line);
    this.#due = performance.now() + REST;
    this.#sketch.show([...this.#drawn, ...this.#lines.map((each): Drawn => ({ line: each, given: true }))]);
  }

  /** Let the network read a line. The first one of a drawing begins at 0, 0. */
  #tell(line: Line): void {
    const [x, y] = this.#points === 0 && this.#drawn.length === 0 ? line[0] : [0, 0];
    const moved = (each: Line): [number, number][] => each.map(([across, down]) => [across - x, down - y]);
    this.#sketch.move([x, y]);
    this.#lines = this.#lines.map(moved);
    const told = moved(line);
    this.#shell.ask({ kind: "line", line: told });
    this.#drawn.push({ line: told, given: true });
    this.#at = told.at(-1)!;
    this.#lifted = this.#waiting = true;
  }

  /** Save the strokes as a file, which Python completes, and this view too. */
  #export(): void {
    const drawings = [this.#drawn.map(({ line }) => line)];
    const text = JSON.stringify({ drawings, lifted: [this.#lifted || this.#drawn.length === 0] });
    download(new TextEncoder().encode(`${text}\n`).buffer, `${this.#name}-${this.#seed.value}.json`);
  }

  #setDrawing(drawing: boolean): void {
    this.#drawing = drawing;
    element("strokes-pause").textContent = drawing ? "Pause" : "Go on";
  }
}
