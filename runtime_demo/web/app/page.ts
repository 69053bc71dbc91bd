/** The page: what its user does becomes requests to the worker, and the worker's answers are shown. */
import type { Reason } from "../src/index.ts";
import { Cells } from "./cells.ts";
import { download, element } from "./document.ts";
import { downloaded, duration, size } from "./measures.ts";
import { impossible, keep } from "./offline.ts";
import type { Answer, BundleInfo, Request, Site, Wish } from "./protocol.ts";
import { Written } from "./written.ts";

const PACE = 0.08; // characters in a millisecond
const OWED = 12; // characters at most that may be owed after a pause
const CALM = 32; // tokens at once, where the user asks for less motion
const WARM = 1000; // milliseconds until steps are timed, when the browser has compiled the model for speed
const SEEDS = 1n << 64n;

type Body<T> = T extends unknown ? Omit<T, "generation"> : never;

export class Page {
  readonly #site: Site;
  readonly #worker: Worker;
  readonly #cells = new Cells(element("cells"));
  readonly #written = new Written(element("written"), element("spoken"), (place) => this.#goBack(place));
  readonly #prompt = element<HTMLTextAreaElement>("prompt");
  readonly #seed = element<HTMLInputElement>("seed");
  readonly #temperature = element<HTMLInputElement>("temperature");
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #tab = 0;
  #generation = 0;
  #writing = false;
  #waiting = false; // for the answer to the last request for text
  #suggested = false; // words have been asked for
  #restored = false; // the text goes on from a snapshot, with the snapshot's own sampler
  #shown = false; // the first text has been shown
  #owed = 0; // characters that may be shown
  #before = 0; // the time of the last animation frame

  constructor(site: Site) {
    this.#site = site;
    this.#worker = new Worker(site.worker, { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<Answer>) => this.#hear(event.data);
    this.#worker.onerror = () => this.#fail("The code of this page did not arrive.", () => location.reload());
    this.#ask({ kind: "start", site, folder: document.baseURI });
    this.#makeTabs();
    this.#listen();
    this.#choose(0);
    requestAnimationFrame(this.#tick);
  }

  get #bundle(): BundleInfo {
    return this.#site.bundles[this.#tab];
  }

  get #wish(): Wish {
    const sampler = { seed: this.#seed.value || "0", temperature: Number(this.#temperature.value) };
    return { prompt: this.#prompt.value, sampler: this.#restored ? null : sampler };
  }

  #ask(request: Body<Request>, transfer: Transferable[] = []): void {
    this.#worker.postMessage({ ...request, generation: this.#generation }, transfer);
  }

  // What the user does

  #listen(): void {
    this.#prompt.addEventListener("input", () => this.#write());
    addEventListener("resize", () => this.#fit());
    this.#seed.addEventListener("change", () => this.#resample());
    this.#temperature.addEventListener("input", () => this.#resample());
    element("another").addEventListener("click", () => this.#drawAnother());
    element("pause").addEventListener("click", () => this.#setWriting(!this.#writing));
    element("save").addEventListener("click", () => this.#ask({ kind: "save" }));
    element("open").addEventListener("click", () => element("file").click());
    element("leave").addEventListener("click", () => this.#choose(this.#tab));
    element<HTMLInputElement>("file").addEventListener("change", (event) => {
      const input = event.target as HTMLInputElement;
      void this.#restore(input.files);
      input.value = "";
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.#restore(event.dataTransfer?.files);
    });
  }

  #makeTabs(): void {
    const tabs = element("tabs");
    const made = this.#site.bundles.map((bundle, place) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.role = "tab";
      tab.textContent = bundle.name;
      tab.setAttribute("aria-controls", "sheet");
      tab.addEventListener("click", () => this.#choose(place));
      return tab;
    });
    tabs.replaceChildren(...made);
    tabs.hidden = made.length < 2;
    tabs.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: made.length - 1 }[event.key];
      if (by === undefined) return;
      this.#choose((this.#tab + by) % made.length);
      made[this.#tab].focus();
    });
  }

  /** Show a bundle, from its own beginning. */
  #choose(tab: number): void {
    this.#mark(tab);
    this.#setOrigin("");
    this.#prompt.value = this.#bundle.prompt;
    this.#seed.value = this.#bundle.seed;
    this.#temperature.value = String(this.#site.sampler.temperature);
    this.#generation++;
    this.#ask({ kind: "open", bundle: tab });
    this.#write();
  }

  #mark(tab: number): void {
    this.#tab = tab;
    for (const [place, each] of [...element("tabs").children].entries()) {
      each.ariaSelected = String(place === tab);
      (each as HTMLElement).tabIndex = place === tab ? 0 : -1;
    }
  }

  /** Write anew; the worker goes on from what the new prompt has in common with what it has read. */
  #write(): void {
    this.#generation++;
    this.#written.clear();
    element("suggestions").replaceChildren();
    element("trouble").replaceChildren();
    this.#suggested = false;
    this.#say("");
    element("temperature-shown").textContent = Number(this.#temperature.value).toFixed(2);
    this.#fit();
    this.#ask({ kind: "write", wish: this.#wish });
    this.#waiting = true;
    this.#setWriting(true);
  }

  /** Write with the seed and the temperature that the user has chosen, also after a snapshot. */
  #resample(): void {
    this.#restored = false;
    this.#seed.value = String(BigInt(this.#seed.value.replace(/\D/g, "") || "0") % SEEDS);
    this.#write();
  }

  #drawAnother(): void {
    this.#seed.value = String(BigInt(this.#seed.value || "0") + 1n);
    this.#resample();
  }

  /** The text before a word becomes part of the prompt, and the rest is drawn again. */
  #goBack(place: number): void {
    this.#prompt.value += this.#written.text.slice(0, place);
    this.#drawAnother();
    this.#say(`Drawn again from there, with seed ${this.#seed.value}.`);
  }

  async #restore(files: FileList | null | undefined): Promise<void> {
    const file = files?.[0];
    if (file === undefined) return;
    const bytes = await file.arrayBuffer();
    this.#ask({ kind: "restore", bytes, name: file.name }, [bytes]);
  }

  // What the worker answers

  readonly #tick = (now: number): void => {
    requestAnimationFrame(this.#tick);
    this.#owed = Math.min(this.#owed + (now - this.#before) * PACE, OWED);
    this.#before = now;
    if (this.#writing && !this.#waiting && this.#owed >= 1) this.#askText();
  };

  #askText(): void {
    this.#waiting = true;
    this.#ask({ kind: "frame", tokens: this.#calm.matches ? CALM : 1 });
  }

  #hear(answer: Answer): void {
    if (answer.generation !== this.#generation) return;
    switch (answer.kind) {
      case "loading":
        return this.#say(`Loading ${answer.name}: ${size(answer.loaded)}`);
      case "read":
        return this.#begin(answer.lacking, answer.empty);
      case "frame":
        return this.#show(answer.text, answer.cells, answer.ended);
      case "suggestions":
        return this.#suggest(answer.words);
      case "saved":
        return download(answer.bytes, `${this.#bundle.name}-${answer.steps}.snapshot`);
      case "restored":
        return this.#goOn(answer);
      case "refused":
        return this.#say(answer.message);
      case "measured":
        element("size").textContent = size(downloaded() + answer.bytes);
        element("speed").textContent = `${duration(answer.microseconds)} a step${answer.simd ? "" : ", without SIMD"}`;
        return;
      case "failed":
        return this.#fail(answer.message, answer.lost ? () => this.#choose(this.#tab) : null);
    }
  }

  #begin(lacking: string, empty: boolean): void {
    this.#waiting = false;
    this.#owed = OWED;
    if (lacking !== "") this.#say(`Left out: ${lacking}.`);
    else if (element("notice").textContent?.startsWith("Loading")) this.#say("");
    if (empty) this.#setWriting(false);
    else if (this.#writing) this.#askText();
  }

  #show(text: string, cells: Float32Array, ended: Reason | null): void {
    this.#waiting = false;
    this.#owed -= Math.max(1, text.length);
    this.#cells.show(cells);
    const sheet = element("sheet");
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
      this.#ask({ kind: "suggest" });
    }
    if (!this.#shown) this.#settle();
  }

  /** Once there is text: measure, and keep the site for use offline. */
  #settle(): void {
    this.#shown = true;
    performance.mark("first text");
    setTimeout(() => this.#ask({ kind: "measure" }), WARM);
    const offline = element("offline");
    offline.textContent = impossible();
    if (offline.textContent !== "") return;
    void keep(
      (ready) => (offline.textContent = ready ? "offline ready ✓" : "not kept for offline use"),
      () => this.#say("A newer version of this page has come: it is there when the page is loaded again."),
    );
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
    this.#mark(answer.bundle);
    this.#setOrigin(`Goes on from ${answer.name}, after ${answer.steps.toLocaleString("en")} steps.`);
    this.#prompt.value = "";
    this.#seed.value = answer.seed;
    this.#temperature.value = String(answer.temperature);
    this.#write();
  }

  // What is shown

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

  #say(text: string): void {
    element("notice").textContent = text;
  }

  /** Say why nothing can be written. again: what to do when the user, or the connection, gives it another chance. */
  #fail(message: string, again: (() => void) | null): void {
    this.#say("");
    this.#setWriting(false);
    const trouble = element("trouble");
    trouble.textContent = message;
    if (again === null) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", again);
    trouble.append(" ", button);
    addEventListener("online", () => trouble.contains(button) && again(), { once: true });
  }
}
