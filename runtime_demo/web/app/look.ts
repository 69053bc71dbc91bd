/** The view of a bundle that looks at pictures by glimpses: at what its user draws, or at a picture from a file. */
import { Board } from "./board.ts";
import { counted, element, percent, pickFile } from "./document.ts";
import type { Answer, Picture, Pixels } from "./protocol.ts";
import type { Shell, View } from "./view.ts";

const GLIMPSE = 550; // milliseconds between two glimpses
const REST = 250; // milliseconds without the pen, after which the network looks

type Glimpse = Extract<Answer, { kind: "glimpse" }>;

export class LookView implements View {
  readonly home = element("look-sheet");
  readonly #shell: Shell;
  readonly #board = new Board(element<HTMLCanvasElement>("seen"));
  readonly #invert = element<HTMLInputElement>("invert");
  #size: Pixels | null = null; // of the picture that the network sees
  #ink: Float32Array | null = null; // what the user has drawn
  #picture: Picture | null = null; // that was opened; null for the example
  #earlier: [Picture | null, Float32Array | null] | null = null; // the picture and the ink before a file, which may be no picture
  #coming: Glimpse[] = [];
  #taken: Glimpse[] = [];
  #before = 0; // glimpses that were taken before a snapshot
  #due = 0; // when the next glimpse is shown
  #look = Infinity; // when the network looks at what has been drawn

  constructor(shell: Shell) {
    this.#shell = shell;
    this.#board.lend((levels) => this.#draw(levels), () => (this.#look = performance.now() + REST));
    pickFile(element("look-open"), element("look-file"), (file) => void shell.take(file));
    element("look-save").addEventListener("click", () => shell.ask({ kind: "save", shown: this.#shown }));
    element("look-clear").addEventListener("click", () => this.#clear());
    this.#invert.addEventListener("change", () => this.#ink === null && this.#ask());
  }

  open(): void {
    this.#picture = this.#ink = this.#size = null;
    this.#invert.checked = false;
    this.#ask();
  }

  async take(file: File): Promise<void> {
    const earlier = this.#earlier ?? [this.#picture, this.#ink];
    [this.#picture, this.#ink] = [file, null];
    this.#ask();
    this.#earlier = earlier;
  }

  frame(now: number): void {
    if (now >= this.#look && !this.#board.held) this.#ask();
    if (this.#coming.length === 0 || now < this.#due) return;
    this.#due = now + GLIMPSE;
    for (const glimpse of this.#coming.splice(0, this.#shell.calm ? Infinity : 1)) this.#show(glimpse);
  }

  hear(answer: Answer): void {
    if (answer.kind === "glimpse") this.#coming.push(answer);
    if (answer.kind === "restored") this.#resume(answer);
    if (answer.kind === "refused" && this.#earlier !== null) {
      [this.#picture, this.#ink] = this.#earlier;
      this.#earlier = null;
    }
    if (answer.kind !== "seen") return;
    this.#earlier = null;
    this.#shell.loaded();
    this.#size = answer.pixels;
    this.#board.show(answer.pixels);
  }

  stop(): void {
    this.#coming = [];
    this.#look = Infinity;
  }

  /** Look at what the user has drawn, or at the picture that was opened, or at the example. */
  #ask(): void {
    this.#renew();
    const picture = this.#ink ?? this.#picture;
    this.#shell.ask({ kind: "look", picture, invert: this.#ink === null && this.#invert.checked });
  }

  /** Go on from a snapshot, whose picture is as the network sees it: it needs no tick. */
  #resume({ name, steps, seen }: Extract<Answer, { kind: "restored" }>): void {
    this.#renew();
    [this.#picture, this.#ink, this.#before] = [seen, null, steps];
    this.#invert.checked = false;
    this.#shell.say(`The network continues from ${name}, after ${counted(steps, "glimpse")}.`);
    this.#shell.ask({ kind: "resume" });
  }

  /** The number of the last glimpse that is shown. */
  get #shown(): number {
    return this.#taken.at(-1)?.number ?? this.#before;
  }

  #renew(): void {
    this.stop();
    this.#taken = [];
    this.#earlier = null;
    this.#before = 0;
    this.#shell.renew();
    element("guess").textContent = "";
    element("glimpses").replaceChildren();
  }

  #show(glimpse: Glimpse): void {
    this.#taken.push(glimpse);
    this.#shell.showCells(glimpse.cells);
    this.#board.mark(this.#taken.map(({ boxes }) => boxes), this.#taken[0].number);
    const guess = `${glimpse.label} (${percent(glimpse.probability)})`;
    const item = document.createElement("li");
    item.textContent = guess;
    element<HTMLOListElement>("glimpses").start = this.#taken[0].number;
    element("glimpses").append(item);
    element("guess").textContent = glimpse.last ? `It is ${guess}` : `Perhaps ${guess}`;
    if (glimpse.last) element("spoken").textContent = `After ${glimpse.number} glimpses: ${guess}`;
    this.#shell.settle();
  }

  #draw(levels: Float32Array): void {
    if (this.#size === null) return;
    if (this.#ink === null || this.#taken.length > 0 || this.#coming.length > 0) this.#renew();
    this.#ink = (this.#ink ?? new Float32Array(levels.length)).map((level, place) => Math.max(level, levels[place]));
    this.#board.showLevels(this.#ink, this.#size.height, this.#size.width);
  }

  #clear(): void {
    if (this.#size === null) return;
    this.#renew();
    this.#ink = new Float32Array(this.#size.height * this.#size.width);
    this.#board.showLevels(this.#ink, this.#size.height, this.#size.width);
  }
}
