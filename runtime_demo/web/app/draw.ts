/** The view of a bundle that draws: one drawing after another, on a canvas on which its user can draw too. */
import { Board } from "./board.ts";
import { choices, counted, element, pickFile } from "./document.ts";
import type { Answer, BundleInfo } from "./protocol.ts";
import { next64, whole64 } from "./seeds.ts";
import type { Shell, View } from "./view.ts";

const STEP = 180; // milliseconds between two steps
const HOLD = 1600; // milliseconds for which a finished drawing is shown
const CALM = 4000; // the same where the user asks for less motion
const KEPT = 8; // finished drawings that are shown
const IN_TURN = "In turn";

type Canvas = Extract<Answer, { kind: "canvas" }>;

export class DrawView implements View {
  readonly home = element("draw-sheet");
  readonly #shell: Shell;
  readonly #usual: number; // the temperature
  readonly #board = new Board(element<HTMLCanvasElement>("drawing"));
  readonly #seed = element<HTMLInputElement>("draw-seed");
  readonly #temperature = element<HTMLInputElement>("draw-temperature");
  #canvas: Canvas | null = null;
  #levels = new Float32Array(0);
  #late: Float32Array<ArrayBuffer> | null = null; // ink that the step that is awaited does not know
  #asked: string | null = null; // the class that the user has chosen; null for the classes in turn
  #label: string | null = null; // the class of the present drawing
  #number = 0; // of the present drawing,
  #now = ""; // and its seed; the field of the seed differs while somebody types in it
  #step = 0;
  #due = 0; // when the next step or drawing is due
  #drawing = false;
  #waiting = false; // for the answer to the last request
  #resuming = false; // a snapshot, of which the canvas is awaited

  constructor(shell: Shell, defaults: { temperature: number }) {
    this.#shell = shell;
    this.#usual = defaults.temperature;
    this.#seed.addEventListener("change", () => this.#restart(this.#seed.value));
    this.#temperature.addEventListener("input", () => this.#restart(this.#seed.value));
    element("draw-another").addEventListener("click", () => this.#restart(next64(this.#seed.value)));
    element("draw-pause").addEventListener("click", () => this.#setDrawing(!this.#drawing));
    element("draw-save").addEventListener("click", () => shell.ask({ kind: "save" }));
    pickFile(element("draw-open"), element("draw-file"), (file) => void shell.take(file));
  }

  open(bundle: BundleInfo): void {
    this.#canvas = null;
    this.#asked = null;
    this.#temperature.value = String(this.#usual);
    element("gallery").replaceChildren();
    this.#resuming = false;
    this.#restart(bundle.seed);
  }

  async take(): Promise<void> {
    this.#shell.say("A network that draws opens no files except snapshots.");
  }

  frame(now: number): void {
    if (!this.#drawing || this.#waiting || this.#canvas === null || this.#board.held || now < this.#due) return;
    if (this.#finished && this.#seed.value !== this.#now) return;
    if (this.#finished) this.#begin(next64(this.#now), this.#number + 1);
    this.#shell.ask({ kind: "stroke" });
    this.#waiting = true;
    this.#due = now + (this.#shell.calm ? 0 : STEP);
  }

  hear(answer: Answer): void {
    if (answer.kind === "canvas") this.#prepare(answer);
    else if (answer.kind === "drawn") this.#show(answer);
    else if (answer.kind === "restored") this.#resume(answer);
  }

  stop(): void {
    this.#setDrawing(false);
  }

  get #finished(): boolean {
    return this.#canvas !== null && this.#step >= this.#canvas.steps;
  }

  /** Begin with a seed; the classes in turn begin with the first. */
  #restart(seed: string): void {
    this.#shell.renew();
    this.#late = null;
    element("draw-temperature-shown").textContent = Number(this.#temperature.value).toFixed(2);
    this.#due = 0;
    this.#begin(whole64(seed), 0);
    this.#waiting = this.#canvas === null;
    this.#setDrawing(true);
  }

  #resume({ name, steps, seed, temperature }: Extract<Answer, { kind: "restored" }>): void {
    this.#shell.renew();
    this.#shell.say(`The drawing continues from ${name}, after ${counted(steps, "step")}.`);
    [this.#canvas, this.#late, this.#due] = [null, null, 0];
    [this.#now, this.#seed.value, this.#temperature.value] = [seed, seed, String(temperature)];
    element("draw-temperature-shown").textContent = temperature.toFixed(2);
    this.#shell.ask({ kind: "resume" });
    this.#waiting = this.#resuming = true;
    this.#setDrawing(true);
  }

  /** Begin a drawing. over: on the canvas as it is. */
  #begin(seed: string, number: number, over = false): void {
    this.#now = this.#seed.value = seed;
    this.#number = number;
    this.#step = 0;
    const labels = this.#canvas?.labels ?? [];
    this.#label = this.#asked ?? labels[number % labels.length] ?? null;
    const temperature = Number(this.#temperature.value);
    this.#shell.ask({ kind: "draw", label: this.#label, seed, temperature, over });
  }

  /** The model is there, and says what it can draw. */
  #prepare(canvas: Canvas): void {
    if (this.#canvas !== null) return;
    this.#canvas = canvas;
    this.#waiting = this.#resuming;
    this.#levels = new Float32Array(canvas.height * canvas.width);
    this.#board.showLevels(this.#levels, canvas.height, canvas.width);
    if (canvas.takesInk) this.#board.lend((levels) => this.#ink(levels), () => this.#lifted());
    element("classes").hidden = canvas.labels.length === 0;
    const chosen = (place: number): void => {
      this.#asked = place === 0 ? null : canvas.labels[place - 1];
      this.#restart(this.#seed.value);
    };
    choices(element("classes"), [IN_TURN, ...canvas.labels], chosen);
    this.#shell.loaded();
    if (this.#resuming) [this.#label, this.#number] = [canvas.label, canvas.labels.indexOf(canvas.label ?? "")];
    else if (canvas.labels.length > 0) this.#begin(this.#seed.value, 0); // now it is known which classes there are
  }

  #show({ levels, box, step, cells }: Extract<Answer, { kind: "drawn" }>): void {
    const { height, width, steps } = this.#canvas!;
    this.#waiting = this.#resuming = false;
    this.#step = step;
    this.#levels = brighter(levels, this.#late ?? levels);
    this.#late = null;
    if (this.#shell.calm && !this.#finished) return;
    this.#shell.showCells(cells);
    this.#board.showLevels(this.#levels, height, width);
    if (!this.#finished && box !== null) this.#board.mark([[box]], null);
    const what = this.#label === null ? "" : ` of ${this.#label}`;
    element("draw-state").textContent = `Drawing${what} with seed ${this.#now}: step ${Math.min(step, steps)} of ${steps}`;
    if (this.#finished) this.#keep();
    this.#shell.settle();
  }

  #keep(): void {
    const { height, width } = this.#canvas!;
    this.#due = performance.now() + (this.#shell.calm ? CALM : HOLD);
    const kept = document.createElement("canvas");
    kept.role = "img";
    kept.ariaLabel = `A finished drawing${this.#label === null ? "" : ` of ${this.#label}`}, with seed ${this.#now}`;
    new Board(kept).showLevels(this.#levels, height, width);
    const gallery = element("gallery");
    gallery.prepend(kept);
    while (gallery.children.length > KEPT) gallery.lastElementChild!.remove();
  }

  /** The user draws: the ink is on the canvas at once, and stays there when the network goes on. */
  #ink(levels: Float32Array): void {
    if (this.#canvas === null) return; // another model, or a snapshot, is on its way
    const { height, width } = this.#canvas;
    this.#levels = brighter(this.#levels, levels);
    if (this.#waiting) this.#late = brighter(this.#late ?? levels, levels);
    this.#board.showLevels(this.#levels, height, width);
    this.#shell.ask({ kind: "ink", levels });
  }

  /** The network takes the pen back. A finished drawing becomes the ground of the next one. */
  #lifted(): void {
    if (this.#finished) this.#begin(next64(this.#seed.value), this.#number, true);
    this.#due = 0;
  }

  #setDrawing(drawing: boolean): void {
    this.#drawing = drawing;
    element("draw-pause").textContent = drawing ? "Pause" : "Go on";
  }
}

/** The larger of two levels at each place. */
function brighter(one: Float32Array, other: Float32Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(one, (level, place) => Math.max(level, other[place]));
}
