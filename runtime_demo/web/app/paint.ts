/** The view of a bundle that paints: a photo is painted stroke by stroke. */
import { counted, element, percent, pickFile } from "./document.ts";
import type { Answer, BundleInfo, Picture, Pixels } from "./protocol.ts";
import type { Shell, View } from "./view.ts";

const PACE = 60; // milliseconds between two pictures of the painting
const FASTER = 40; // strokes that are painted, for each of which one more is painted in that time

export class PaintView implements View {
  readonly home = element("paint-sheet");
  readonly #shell: Shell;
  readonly #canvas = element<HTMLCanvasElement>("painting");
  readonly #count = element<HTMLInputElement>("paint-strokes");
  #asked: Picture | null = null; // the photo that is to be painted; null for the example
  #photo: Picture | null = null; // the last one that could be read
  #opening = false; // a photo, which may be none
  #painted = 0; // strokes
  #most = 0; // strokes that the network was trained for; 0 until it is there
  #due = 0; // when the next strokes are due
  #painting = false;
  #waiting = false; // for the answer to the last request

  constructor(shell: Shell) {
    this.#shell = shell;
    for (const name of ["paint-camera", "paint-open"]) pickFile(element(name), element(`${name}-file`), (file) => void shell.take(file));
    this.#count.addEventListener("input", () => this.#recount());
    element("paint-pause").addEventListener("click", () => this.#setPainting(!this.#painting));
    element("paint-again").addEventListener("click", () => this.#begin());
    element("paint-save").addEventListener("click", () => shell.ask({ kind: "save" }));
  }

  open(bundle: BundleInfo): void {
    this.#photo = this.#asked = null;
    this.#most = 0;
    this.#canvas.width = element<HTMLCanvasElement>("paint-photo").width = 0;
    element("paint-state").textContent = "";
    this.#begin();
    if (bundle.example === null) this.#shell.say("Take a photo or open one, and it is painted.");
  }

  async take(file: File): Promise<void> {
    this.#asked = file;
    this.#begin();
  }

  frame(now: number): void {
    if (!this.#painting || this.#waiting || this.#most === 0 || now < this.#due) return;
    const left = this.#wanted - this.#painted;
    if (left <= 0) return this.#setPainting(false);
    const count = Math.min(left, this.#shell.calm ? left : 1 + Math.floor(this.#painted / FASTER));
    this.#shell.ask({ kind: "strokes", count });
    this.#waiting = true;
    this.#due = now + PACE;
  }

  hear(answer: Answer): void {
    if (answer.kind === "canvassed") this.#prepare(answer.photo, answer.strokes);
    else if (answer.kind === "painted") this.#show(answer);
    else if (answer.kind === "restored") this.#resume(answer);
    else if (answer.kind === "refused" && this.#opening) { // the painting before goes on
      this.#asked = this.#photo;
      this.#opening = this.#waiting = false;
    }
  }

  stop(): void {
    this.#setPainting(false);
  }

  /** How many strokes the user wants. */
  get #wanted(): number {
    return Number(this.#count.value);
  }

  #begin(): void {
    this.#renew();
    this.#opening = true;
    this.#shell.ask({ kind: "paint", picture: this.#asked });
  }

  #renew(): void {
    this.#shell.renew();
    this.#waiting = true;
    this.#setPainting(true);
  }

  /** Go on from a snapshot, whose photo is now the one that is painted. */
  #resume({ name, steps, seen }: Extract<Answer, { kind: "restored" }>): void {
    this.#renew();
    this.#opening = false;
    this.#photo = this.#asked = seen;
    this.#shell.say(`The painting continues from ${name}, after ${counted(steps, "stroke")}.`);
    this.#shell.ask({ kind: "resume" });
  }

  /** The model is there, and so is the photo. */
  #prepare(photo: Pixels, strokes: number): void {
    this.#shell.loaded();
    if (this.#opening) this.#photo = this.#asked;
    this.#opening = false;
    if (this.#most !== strokes) this.#count.value = this.#count.max = String(strokes);
    this.#most = strokes;
    this.#tellCount();
    put(photo, element("paint-photo"));
  }

  #show({ pixels, strokes, error, cells }: Extract<Answer, { kind: "painted" }>): void {
    this.#waiting = false;
    this.#painted = strokes;
    this.#shell.showCells(cells);
    put(pixels, this.#canvas);
    const state = `${strokes} of ${Math.max(strokes, this.#wanted)} strokes`;
    element("paint-state").textContent = `${state}, ${percent(error)} of the mean colour's squared error`;
    if (strokes > 0) this.#shell.settle();
    if (strokes >= this.#wanted) element("spoken").textContent = `The painting has ${counted(strokes, "stroke")}.`;
  }

  /** More strokes are added; with fewer, the painting begins anew. */
  #recount(): void {
    this.#tellCount();
    if (this.#wanted < this.#painted) this.#begin();
    else this.#setPainting(true);
  }

  #tellCount(): void {
    element("paint-strokes-shown").textContent = this.#count.value;
  }

  #setPainting(painting: boolean): void {
    this.#painting = painting;
    element("paint-pause").textContent = painting ? "Pause" : "Go on";
  }
}

function put({ data, height, width }: Pixels, canvas: HTMLCanvasElement): void {
  if (canvas.width !== width || canvas.height !== height) {
    [canvas.width, canvas.height] = [width, height];
    canvas.style.setProperty("--ratio", String(width / height));
  }
  canvas.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
}
