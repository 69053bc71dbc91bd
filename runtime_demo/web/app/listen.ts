/** The view of a bundle that labels sound, from the microphone or a file. */
import { isWav, type Guess, type Heard } from "../src/index.ts";
import { element, percent, pickFile } from "./document.ts";
import { size } from "./measures.ts";
import { Microphone, Silent, decoded } from "./microphone.ts";
import type { Answer, Recording } from "./protocol.ts";
import type { Shell, View } from "./view.ts";

const SHARES = 12; // classes at most whose probabilities are shown
const KEPT = 50; // sounds that are shown
const MOST_BYTES = 200e6; // of a file, whose samples may take several times as much memory
const HEADER = 12; // bytes that say whether a file is a WAV file
const FLOOR = -60; // decibels below full scale, where the meter of the level begins

export class ListenView implements View {
  readonly home = element("listen-sheet");
  readonly #shell: Shell;
  readonly #code: string; // of the worklet
  readonly #button = element<HTMLButtonElement>("listen-start");
  readonly #level = element<HTMLMeterElement>("level");
  readonly #silence = element<HTMLInputElement>("silence");
  readonly #sounds = element("sounds");
  #labels: readonly string[] = [];
  #microphone: Microphone | null = null;
  #begun = 0; // how many sounds have been begun to listen to: what is awaited for an earlier one is dropped
  #recording: Recording | null = null;
  #guess: Guess | null = null; // the newest,
  #shown: Guess | null = null; // and the one that is shown
  #bars: ReadonlyMap<number, HTMLMeterElement> = new Map(); // of the classes that are shown

  constructor(shell: Shell, code: string | null) {
    this.#shell = shell;
    this.#code = code ?? "";
    this.#button.addEventListener("click", () => void (this.#microphone === null ? this.#listen() : this.#hush()));
    this.#silence.addEventListener("input", () => this.#showSilence());
    this.#silence.addEventListener("change", () => this.#microphone !== null && void this.#listen());
    pickFile(element("listen-open"), element("listen-file"), (file) => void shell.take(file));
  }

  open(): void {
    this.#renew();
    this.#silence.value = this.#silence.defaultValue;
    this.#showSilence();
    this.#hear(null);
  }

  /** Hear a recording, as one sound. WAV files are read as Python reads them, other formats by the browser. */
  async take(file: File): Promise<void> {
    this.#renew();
    const begun = this.#begun;
    this.#shell.awaiting(reading(file.name));
    try {
      if (file.size > MOST_BYTES) throw new Silent(`${file.name} is larger than ${size(MOST_BYTES)}: cut it into shorter recordings.`);
      const recording = await recorded(file);
      if (begun === this.#begun) this.#hear(recording);
    } catch (error) {
      if (!(error instanceof Silent)) throw error;
      if (begun === this.#begun) this.#shell.say(error.message);
    }
  }

  frame(): void {
    if (this.#guess !== this.#shown) this.#showGuess(this.#guess);
  }

  hear(answer: Answer): void {
    if (answer.kind === "listener") this.#begin(answer.labels, answer.tags);
    else if (answer.kind === "heard") this.#show(answer);
    else if (answer.kind === "silence") this.#end(answer.clipped);
  }

  stop(): void {
    this.#begun++;
    this.#microphone?.close();
    this.#microphone = null;
    this.#mark(false);
  }

  async #listen(): Promise<void> {
    this.#renew();
    const begun = this.#begun;
    this.#button.disabled = true;
    try {
      const heard = (samples: Float32Array): void => {
        if (begun === this.#begun) this.#shell.ask({ kind: "sound", samples }, [samples.buffer as ArrayBuffer]);
      };
      const gone = (): void => void (begun === this.#begun && this.#hush());
      const microphone = await Microphone.open(this.#code, heard, gone);
      if (begun !== this.#begun) return microphone.close();
      this.#microphone = microphone;
      this.#mark(true);
      this.#shell.ask({ kind: "listen", rate: microphone.rate, level: this.#quiet });
    } catch (error) {
      if (!(error instanceof Silent)) throw error;
      if (begun === this.#begun) this.#shell.say(error.message);
    } finally {
      this.#button.disabled = false;
    }
  }

  /** Listen no more, and hear what is left. */
  #hush(): void {
    this.stop();
    this.#shell.ask({ kind: "hush" });
  }

  #hear(recording: Recording | null): void {
    this.#recording = recording;
    const channels = recording !== null && "channels" in recording ? recording.channels : [];
    this.#shell.ask({ kind: "hear", recording }, channels.map(({ buffer }) => buffer));
  }

  #renew(): void {
    this.stop();
    this.#shell.renew();
    this.#sounds.replaceChildren();
    this.#recording = this.#guess = null;
    this.#level.value = 0;
    element("listen-time").textContent = "";
  }

  #begin(labels: readonly string[], tags: boolean): void {
    this.#labels = labels;
    element("silence-row").hidden = tags;
    if (this.#recording !== null) return this.#shell.awaiting(reading(this.#recording.name));
    this.#shell.loaded();
    if (this.#microphone !== null) return;
    this.#shell.say("Press Listen, or open a sound file.");
    this.#shell.settle();
  }

  #show({ time, level, guess, begun, ended, cells }: Extract<Answer, { kind: "heard" }>): void {
    this.#shell.loaded();
    this.#shell.showCells(cells);
    this.#level.value = level > 0 ? Math.max(0, 1 - (20 * Math.log10(level)) / FLOOR) : 0;
    element("listen-time").textContent = seconds(time);
    this.#guess = guess;
    for (const open of this.#sounds.querySelectorAll(".open")) open.remove();
    for (const sound of ended) {
      this.#list(sound);
      element("spoken").textContent = told(sound);
    }
    for (const sound of begun) this.#list(sound);
    while (this.#sounds.childElementCount > KEPT) this.#sounds.lastElementChild!.remove();
    this.#shell.settle();
  }

  #end(clipped: boolean): void {
    this.#level.value = 0;
    if (this.#recording !== null && this.#sounds.childElementCount === 0) {
      this.#shell.say("The recording contains no sound that the network labels.");
    } else if (clipped) this.#shell.say("The recording is clipped: record it again, less loud.");
  }

  /** A sound as the first of the list. */
  #list(sound: Heard): void {
    const item = document.createElement("li");
    const span = document.createElement("span");
    span.textContent = `${seconds(sound.start)} to ${sound.end === null ? "…" : seconds(sound.end)}`;
    item.append(span, " ", told(sound));
    if (sound.end === null) item.className = "open";
    this.#sounds.prepend(item);
  }

  /** The likeliest class, and the probabilities of the classes in their order. */
  #showGuess(guess: Guess | null): void {
    this.#shown = guess;
    element("heard").textContent = guess === null ? "" : `${guess.label} (${percent(guess.probability)})`;
    const shares = guess?.probabilities ?? [];
    const likeliest = [...shares.keys()].sort((one, other) => shares[other] - shares[one]).slice(0, SHARES);
    if (likeliest.length !== this.#bars.size || likeliest.some((place) => !this.#bars.has(place))) this.#makeBars(likeliest);
    for (const [place, bar] of this.#bars) bar.value = shares[place];
  }

  #makeBars(places: readonly number[]): void {
    this.#bars = new Map([...places].sort((one, other) => one - other).map((place) => [place, document.createElement("meter")]));
    const rows = [...this.#bars].map(([place, bar]) => {
      const row = document.createElement("li");
      bar.ariaLabel = this.#labels[place];
      row.append(this.#labels[place], bar);
      return row;
    });
    element("shares").replaceChildren(...rows);
  }

  /** The level of silence, from 0 to 1. */
  get #quiet(): number {
    return 10 ** (Number(this.#silence.value) / 20);
  }

  #showSilence(): void {
    element("silence-shown").textContent = `${this.#silence.value.replace("-", "−")} dB`;
  }

  #mark(listening: boolean): void {
    this.#button.textContent = listening ? "Stop" : "Listen";
    this.#button.ariaPressed = String(listening);
  }
}

/** A recording in a file, of which the page itself reads no more than it must. */
async function recorded(file: File): Promise<Recording> {
  const { name } = file;
  if (isWav(new Uint8Array(await file.slice(0, HEADER).arrayBuffer()))) return { name, wav: file };
  return { name, ...(await decoded(await file.arrayBuffer())) };
}

function reading(name: string): string {
  return `Reading ${name} …`;
}

function seconds(time: number): string {
  return `${time.toFixed(2)} s`;
}

function told({ label, probability }: Heard): string {
  return probability === null ? label : `${label} (${percent(probability)})`;
}
