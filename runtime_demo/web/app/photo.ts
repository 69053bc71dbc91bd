/** The view of a bundle that describes pictures: the caption comes word by word, and the picture is lit where it looked. */
import { element, percent, pickFile } from "./document.ts";
import type { Answer, BundleInfo, CaptionPart, Pixels } from "./protocol.ts";
import type { Shell, View } from "./view.ts";

const WORD = 380; // milliseconds between two parts of a caption
const DARK = 0.15; // brightness where the attention is 0
const SIDE = 640; // device pixels of the longer side, at least

type Captioned = Extract<Answer, { kind: "captioned" }>;

export class PhotoView implements View {
  readonly home = element("photo-sheet");
  readonly #shell: Shell;
  readonly #usual: number; // the width of the beam
  readonly #canvas = element<HTMLCanvasElement>("picture");
  readonly #picture = document.createElement("canvas");
  readonly #caption = element("caption");
  readonly #beam = element<HTMLInputElement>("beam");
  #photo: Blob | null = null; // the last one that could be read; null for the example
  #asked: Blob | null = null; // the one that is to be described
  #coming: Captioned[] = [];
  #candidates: { text: string; score: number }[] | null = null;
  #due = 0; // when the next part is shown

  constructor(shell: Shell, defaults: { beam: number }) {
    this.#shell = shell;
    this.#usual = defaults.beam;
    pickFile(element("camera"), element("camera-file"), (file) => void shell.take(file));
    pickFile(element("gallery-open"), element("gallery-file"), (file) => void shell.take(file));
    this.#beam.addEventListener("input", () => this.#describe());
  }

  open(bundle: BundleInfo): void {
    this.#beam.value = String(this.#usual);
    this.#picture.width = this.#canvas.width = 0;
    this.#photo = this.#asked = null;
    this.#describe();
    if (bundle.example === null) this.#shell.say("Take a photo or open one, and it is described.");
  }

  async take(file: File): Promise<void> {
    this.#asked = file;
    this.#describe();
  }

  frame(now: number): void {
    if (now < this.#due) return;
    if (this.#coming.length === 0) {
      if (this.#candidates !== null) this.#end(this.#candidates);
      return;
    }
    this.#due = now + WORD;
    for (const part of this.#coming.splice(0, this.#shell.calm ? Infinity : 1)) this.#show(part);
  }

  hear(answer: Answer): void {
    if (answer.kind === "picture") {
      this.#photo = this.#asked;
      this.#begin(answer.pixels);
    } else if (answer.kind === "refused") this.#asked = this.#photo;
    else if (answer.kind === "captioned") this.#coming.push(answer);
    else if (answer.kind === "described") this.#candidates = answer.candidates;
  }

  stop(): void {
    this.#coming = [];
    this.#candidates = null;
  }

  /** Describe the photo, or the example. It is sent each time: the worker drops a request that another one follows. */
  #describe(): void {
    this.stop();
    this.#shell.renew();
    element("beam-shown").textContent = this.#beam.value;
    this.#caption.replaceChildren();
    element("candidates").replaceChildren();
    this.#shell.ask({ kind: "describe", picture: this.#asked, beam: Number(this.#beam.value) });
  }

  #begin({ data, height, width }: Pixels): void {
    this.#shell.loaded();
    [this.#picture.width, this.#picture.height] = [width, height];
    this.#picture.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
    const scale = Math.max(1, Math.ceil(SIDE / Math.max(height, width)));
    [this.#canvas.width, this.#canvas.height] = [width * scale, height * scale];
    this.#canvas.style.setProperty("--ratio", String(width / height));
    this.#light(null);
  }

  #show({ part, cells }: Captioned): void {
    this.#shell.showCells(cells);
    this.#light(this.#shell.calm ? null : part.attention);
    if (part.text.trim() === "") return;
    const word = document.createElement("button");
    word.type = "button";
    word.className = "caption-word";
    word.textContent = part.text.trim();
    word.title = "Show where the network looked for this word";
    word.disabled = part.attention === null;
    word.addEventListener("click", () => this.#choose(word, part));
    if (/^\s/.test(part.text)) this.#caption.append(" ");
    this.#caption.append(word);
    if (/\s$/.test(part.text)) this.#caption.append(" ");
    this.#mark(word);
    this.#shell.settle();
  }

  /** Light where the network looked for a word; a second tap lights all. */
  #choose(word: HTMLButtonElement, part: CaptionPart): void {
    const lit = word.ariaPressed === "true";
    this.#mark(lit ? null : word);
    this.#light(lit ? null : part.attention);
  }

  #mark(chosen: Element | null): void {
    for (const word of this.#caption.querySelectorAll("button")) word.ariaPressed = String(word === chosen);
  }

  #end(candidates: { text: string; score: number }[]): void {
    this.#candidates = null;
    this.#mark(null);
    this.#light(null);
    const caption = this.#caption.textContent!.trim();
    this.#canvas.ariaLabel = `The picture: ${caption}`;
    element("spoken").textContent = caption;
    const others = candidates.length < 2 ? [] : candidates;
    const best = Math.max(...others.map(({ score }) => score));
    element("candidates").replaceChildren(
      ...others.map(({ text, score }) => {
        const item = document.createElement("li");
        item.textContent = text;
        const value = document.createElement("span");
        value.textContent = score.toFixed(3);
        value.title = `The score: ${percent(Math.exp(score - best))} of the best one's, as a probability`;
        item.append(value);
        return item;
      }),
    );
    this.#shell.settle();
  }

  /** Draw the picture, darker where the weights (rows · columns) are small; null lights all of it. */
  #light(weights: Float32Array | null): void {
    const context = this.#canvas.getContext("2d");
    if (context === null || this.#picture.width === 0) return;
    context.drawImage(this.#picture, 0, 0, this.#canvas.width, this.#canvas.height);
    if (weights === null) return;
    const side = Math.sqrt(weights.length);
    const most = weights.reduce((largest, weight) => Math.max(largest, weight), 1e-9);
    const shade = document.createElement("canvas");
    [shade.width, shade.height] = [side, side];
    const data = new Uint8ClampedArray(4 * weights.length);
    weights.forEach((weight, place) => (data[4 * place + 3] = 255 * (1 - DARK) * (1 - weight / most)));
    shade.getContext("2d")?.putImageData(new ImageData(data, side, side), 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(shade, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}
