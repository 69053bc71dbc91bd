/** The page: its tabs, what it says of the device, and the view of the chosen bundle. */
import { Cells } from "./cells.ts";
import { download, element } from "./document.ts";
import { DrawView } from "./draw.ts";
import { ListenView } from "./listen.ts";
import { LookView } from "./look.ts";
import { downloaded, duration, size } from "./measures.ts";
import { impossible, keep } from "./offline.ts";
import { PaintView } from "./paint.ts";
import { PhotoView } from "./photo.ts";
import type { Answer, Body, BundleInfo, Request, Site, ViewName } from "./protocol.ts";
import { StrokesView } from "./strokes.ts";
import { TextView } from "./text.ts";
import type { Shell, View } from "./view.ts";

const WARM = 1000; // milliseconds until steps are timed, when the browser has compiled the model for speed
const SNAPSHOT = "edgernn\0"; // how snapshots begin
const TAKERS: Readonly<Record<string, readonly ViewName[]>> = { audio: ["listen"], image: ["photo", "look", "paint"] }; // of dropped files

export class Page implements Shell {
  readonly #site: Site;
  readonly #worker: Worker;
  readonly #cells = new Cells(element("cells"));
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #views: Readonly<Record<ViewName, View>>;
  #tab = 0;
  #generation = 0;
  #awaited = ""; // what has been said about what is on its way
  #settled = false; // the first result has been shown
  #timed = -1; // the tab of which a step has been timed

  constructor(site: Site) {
    this.#site = site;
    this.#worker = new Worker(site.worker, { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<Answer>) => this.#hear(event.data);
    this.#worker.onerror = () => this.#fail("The code of this page could not be loaded.", () => location.reload());
    this.ask({ kind: "start", site, folder: document.baseURI });
    this.#views = {
      text: new TextView(this, site.sampler),
      photo: new PhotoView(this, site.caption),
      draw: new DrawView(this, site.drawing),
      look: new LookView(this),
      strokes: new StrokesView(this, site.strokes),
      paint: new PaintView(this),
      listen: new ListenView(this, site.microphone),
    };
    this.#makeTabs();
    this.#takeDrops();
    this.#choose(0);
    const tick = (now: number): void => {
      requestAnimationFrame(tick);
      this.#view.frame(now);
    };
    requestAnimationFrame(tick);
  }

  get #bundle(): BundleInfo {
    return this.#site.bundles[this.#tab];
  }

  get #view(): View {
    return this.#views[this.#bundle.view];
  }

  // What views ask for

  get calm(): boolean {
    return this.#calm.matches;
  }

  ask(request: Body<Request>, transfer: Transferable[] = []): void {
    this.#worker.postMessage({ ...request, generation: this.#generation }, transfer);
  }

  renew(): void {
    this.#generation++;
    element("trouble").replaceChildren();
    this.say("");
  }

  reopen(): void {
    this.#choose(this.#tab);
  }

  async take(file: File): Promise<void> {
    const view = this.#view;
    try {
      const isSnapshot = (await file.slice(0, SNAPSHOT.length).text()) === SNAPSHOT;
      if (view !== this.#view) return; // of a tab that was left meanwhile
      if (!isSnapshot) return await view.take(file);
      const bytes = await file.arrayBuffer();
      this.ask({ kind: "restore", bytes, name: file.name }, [bytes]);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // of a folder, or of a file that is gone
      this.say(`${file.name} cannot be read: open a file that is there.`);
    }
  }

  showCells(values: Float32Array): void {
    this.#cells.show(values);
  }

  say(text: string): void {
    element("notice").textContent = text;
  }

  awaiting(text: string): void {
    this.#awaited = text;
    this.say(text);
  }

  loaded(): void {
    if (element("notice").textContent === this.#awaited) this.say("");
  }

  settle(): void {
    if (this.#timed !== this.#tab) {
      this.#timed = this.#tab;
      setTimeout(() => this.ask({ kind: "measure" }), WARM);
    }
    if (this.#settled) return;
    this.#settled = true;
    performance.mark("first text");
    const offline = element("offline");
    offline.textContent = impossible();
    if (offline.textContent !== "") return;
    void keep(
      (ready) => (offline.textContent = ready ? "offline ready ✓" : "not kept for offline use"),
      () => this.say("A newer version of this page was downloaded. It is shown when the page is loaded again."),
    );
  }

  // Tabs

  #makeTabs(): void {
    const tabs = element("tabs");
    const made = this.#site.bundles.map((bundle, place) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.role = "tab";
      tab.textContent = bundle.name;
      tab.setAttribute("aria-controls", bundle.view);
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

  #choose(tab: number): void {
    this.#view.stop();
    this.#mark(tab);
    this.renew();
    this.ask({ kind: "open", bundle: tab });
    this.#view.open(this.#bundle);
  }

  #mark(tab: number): void {
    this.#tab = tab;
    for (const [place, each] of [...element("tabs").children].entries()) {
      each.ariaSelected = String(place === tab);
      (each as HTMLElement).tabIndex = place === tab ? 0 : -1;
    }
    const { view } = this.#bundle;
    for (const name of Object.keys(this.#views)) element(name).hidden = name !== view;
    this.#view.home.append(element("notice"), element("trouble"));
  }

  #takeDrops(): void {
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file !== undefined) this.#takeDropped(file);
    });
  }

  /** Take a file in the present tab, or else in the first one for files of its kind. */
  #takeDropped(file: File): void {
    const views = TAKERS[file.type.split("/")[0]] ?? [];
    const tab = this.#site.bundles.findIndex(({ view }) => views.includes(view));
    if (tab >= 0 && !views.includes(this.#bundle.view)) this.#choose(tab);
    void this.take(file);
  }

  // What the worker answers

  #hear(answer: Answer): void {
    if (answer.generation !== this.#generation) return;
    switch (answer.kind) {
      case "loading":
        return this.awaiting(`Loading ${answer.name}: ${size(answer.loaded)}`);
      case "refused":
        this.say(answer.message);
        return this.#view.hear(answer);
      case "measured":
        element("size").textContent = size(downloaded() + answer.bytes);
        element("speed").textContent = `${duration(answer.microseconds)} a step${answer.simd ? "" : ", without SIMD"}`;
        return;
      case "failed":
        return this.#fail(answer.message, answer.lost ? () => this.#choose(this.#tab) : null);
      case "saved":
        return download(answer.bytes, `${answer.name}-${answer.steps}.snapshot`);
      case "restored":
        this.#view.stop();
        this.#mark(answer.bundle);
        this.renew();
        this.ask({ kind: "adopt" });
        return this.#view.hear(answer);
      default:
        return this.#view.hear(answer);
    }
  }

  /** Say why nothing can be done. again: what to do when the user, or the connection, gives it another chance. */
  #fail(message: string, again: (() => void) | null): void {
    this.say("");
    this.#view.stop();
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
