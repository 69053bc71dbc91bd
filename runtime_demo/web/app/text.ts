/** The view of a bundle that continues a text. */
import type { Reason } from "../src/index.ts";
import { element, pickFile } from "./document.ts";
import type { Answer, BundleInfo, SamplerDefaults, Wish } from "./protocol.ts";
import { next64, whole64 } from "./seeds.ts";
import type { Shell, View } from "./view.ts";
import { Written } from "./written.ts";

const PACE = 0.08; // characters in a millisecond
const OWED = 12; // characters at most that may be owed after a pause
const CALM = 32; // tokens at once, where the user asks for less motion

export class TextView implements View {
  readonly home = element("sheet");
  readonly #shell: Shell;
  readonly #defaults: SamplerDefaults;
  readonly #written = new Written(element("written"), element("spoken"), (place) => this.#goBack(place));
  readonly #prompt = element<HTMLTextAreaElement>("prompt");
  readonly #seed = element<HTMLInputElement>("seed");
  readonly #temperature = element<HTMLInputElement>("temperature");
  #writing = false;
  #waiting = false; // for the answer to the last request for text
  #empty = false; // there is nothing to continue
  #suggested = false; // words have been asked for
  #restored = false; // the text goes on from a snapshot, with the snapshot's own sampler
  #owed = 0; // characters that may be shown
  #before = 0; // the time of the last animation frame

  constructor(shell: Shell, defaults: SamplerDefaults) {
    this.#shell = shell;
    this.#defaults = defaults;
    this.#prompt.addEventListener("input", () => this.#write());
    addEventListener("resize", () => this.#fit());
    this.#seed.addEventListener("change", () => this.#resample());
    this.#temperature.addEventListener("input", () => this.#resample());
    element("another").addEventListener("click", () => this.#drawAnother());
    element("pause").addEventListener("click", () => this.#pause());
    element("save").addEventListener("click", () => shell.ask({ kind: "save" }));
    pickFile(element("open"), element("file"), (file) => void shell.take(file));
    element("leave").addEventListener("click", () => shell.reopen());
  }

  /** Show a bundle, from its own beginning. */
  open(bundle: BundleInfo): void {
    this.#setOrigin("");
    this.#prompt.value = bundle.prompt;
    this.#seed.value = bundle.seed;
    this.#temperature.value = String(this.#defaults.temperature);
    this.#write();
  }

  async take(file: File): Promise<void> {
    this.#shell.say(`${file.name}: these bytes are not a snapshot.`);
  }

  frame(now: number): void {
    this.#owed = Math.min(this.#owed + (now - this.#before) * PACE, OWED);
    this.#before = now;
    if (this.#writing && !this.#waiting && this.#owed >= 1) this.#askText();
  }

  hear(answer: Answer): void {
    switch (answer.kind) {
      case "read":
        return this.#begin(answer.lacking, answer.empty);
      case "frame":
        return this.#show(answer.text, answer.cells, answer.ended);
      case "suggestions":
        return this.#suggest(answer.words);
      case "restored":
        return this.#goOn(answer);
    }
  }

  stop(): void {
    this.#setWriting(false);
  }

  get #wish(): Wish {
    const sampler = { seed: this.#seed.value || "0", temperature: Number(this.#temperature.value) };
    return { prompt: this.#prompt.value, sampler: this.#restored ? null : sampler };
  }

  /** Write anew; the worker goes on from what the new prompt has in common with what it has read. */
  #write(): void {
    this.#shell.renew();
    this.#written.clear();
    element("suggestions").replaceChildren();
    this.#suggested = this.#empty = false;
    element("temperature-shown").textContent = Number(this.#temperature.value).toFixed(2);
    this.#fit();
    this.#shell.ask({ kind: "write", wish: this.#wish });
    this.#waiting = true;
    this.#setWriting(true);
  }

  /** Write with the seed and the temperature that the user has chosen, also after a snapshot. */
  #resample(): void {
    this.#restored = false;
    this.#seed.value = whole64(this.#seed.value);
    this.#write();
  }

  #drawAnother(): void {
    this.#seed.value = next64(this.#seed.value);
    this.#resample();
  }

  /** The text before a word becomes part of the prompt, and the rest is drawn again. */
  #goBack(place: number): void {
    this.#prompt.value += this.#written.text.slice(0, place);
    this.#drawAnother();
    this.#shell.say(`The text was generated again from this word, with the seed ${this.#seed.value}.`);
  }

  #pause(): void {
    if (this.#empty) this.#shell.say("Type a beginning, and it is continued.");
    else this.#setWriting(!this.#writing);
  }

  #askText(): void {
    this.#waiting = true;
    this.#shell.ask({ kind: "frame", tokens: this.#shell.calm ? CALM : 1 });
  }

  #begin(lacking: string, empty: boolean): void {
    this.#waiting = false;
    this.#owed = OWED;
    if (lacking !== "") this.#shell.say(`Left out: ${lacking}.`);
    else this.#shell.loaded();
    this.#empty = empty;
    if (empty) this.#setWriting(false);
    else if (this.#writing) this.#askText();
  }

  #show(text: string, cells: Float32Array, ended: Reason | null): void {
    this.#waiting = false;
    this.#owed -= Math.max(1, text.length);
    this.#shell.showCells(cells);
    const sheet = this.home;
    const typing = document.activeElement === this.#prompt;
    const follows = !typing && sheet.scrollHeight - sheet.scrollTop - sheet.clientHeight < 40;
    this.#written.add(text);
    if (follows) sheet.scrollTop = sheet.scrollHeight;
    if (ended !== null) {
      this.#setWriting(false);
      this.#written.tell();
    }
    if (!this.#suggested) {
      this.#suggested = true;
      this.#shell.ask({ kind: "suggest" });
    }
    this.#shell.settle();
  }

  #suggest(words: string[]): void {
    const made = words.map((word) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = /[\p{L}\p{N}]$/u.test(this.#prompt.value) && /^\S/.test(word) ? `…${word}` : word.trim();
      button.addEventListener("click", () => {
        this.#prompt.value += word;
        this.#write();
      });
      return button;
    });
    element("suggestions").replaceChildren(...made);
  }

  #goOn(answer: Extract<Answer, { kind: "restored" }>): void {
    this.#setOrigin(`The text continues from ${answer.name}, after ${answer.steps.toLocaleString("en")} steps.`);
    this.#prompt.value = "";
    this.#seed.value = answer.seed;
    this.#temperature.value = String(answer.temperature);
    this.#write();
  }

  #setOrigin(text: string): void {
    this.#restored = text !== "";
    element("origin").hidden = !this.#restored;
    element("origin-name").textContent = text;
    this.#prompt.placeholder = this.#restored ? "Type what follows the snapshot" : "Type a beginning";
  }

  #setWriting(writing: boolean): void {
    this.#writing = writing;
    document.body.dataset["writing"] = String(writing);
    element("pause").textContent = writing ? "Pause" : "Go on";
  }

  /** Show the whole prompt, and let what is written begin where the prompt ends, on the same line. */
  #fit(): void {
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${this.#prompt.scrollHeight}px`;
    const end = document.createElement("span");
    end.textContent = "\u200b"; // without width
    element("mirror").replaceChildren(this.#prompt.value, end);
    element("written").style.textIndent = `${end.offsetLeft}px`;
  }
}
