/** The state of a network as squares: blue below zero, orange above, and the ground at zero. */

const BLUE = [64, 140, 255];
const ORANGE = [255, 140, 30];
const GAP = 2; // device pixels between squares
const HEIGHT = 96; // CSS pixels that all squares take, about,
const SHARE = 1 / 8; // unless that is more than this share of the window
const FADING = 0.99; // of the largest value seen, at each frame

export class Cells {
  #canvas: HTMLCanvasElement;
  #values: Float32Array = new Float32Array(0);
  #largest = 0;
  #ground: number[] = [0, 0, 0];

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Show the values of a state. They are shown in relation to the largest of the last seconds. */
  show(values: Float32Array): void {
    this.#values = values;
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    this.#largest = Math.max(largest, this.#largest * FADING);
    this.#draw();
  }

  #draw(): void {
    const count = this.#values.length;
    const width = this.#canvas.clientWidth;
    const context = this.#canvas.getContext("2d");
    if (context === null || count === 0 || width === 0) return;
    const columns = columnsFor(count, width);
    const scale = devicePixelRatio || 1;
    const side = (width / columns) * scale;
    this.#resize(width * scale, Math.ceil(count / columns) * side, scale);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#ground = rgb(getComputedStyle(this.#canvas).color);
    for (let at = 0; at < count; at++) {
      context.fillStyle = this.#colour(this.#values[at] / this.#largest);
      const [left, top] = [Math.round((at % columns) * side), Math.round(Math.floor(at / columns) * side)];
      const shown = Math.max(1, Math.round(side) - GAP);
      context.fillRect(left, top, shown, shown);
    }
  }

  #resize(width: number, height: number, scale: number): void {
    const [columns, rows] = [Math.round(width), Math.round(height)];
    if (this.#canvas.width === columns && this.#canvas.height === rows) return;
    [this.#canvas.width, this.#canvas.height] = [columns, rows];
    this.#canvas.style.height = `${rows / scale}px`;
  }

  /** The colour of a value from -1 to 1. The root lets small values be seen. */
  #colour(value: number): string {
    const end = value > 0 ? ORANGE : BLUE;
    const part = Math.sqrt(Math.abs(value));
    const mixed = this.#ground.map((ground, i) => Math.round(ground + (end[i] - ground) * part));
    return `rgb(${mixed.join()})`;
  }
}

/** The number of columns with which so many squares have about the wanted height; those that fill all rows are preferred. */
function columnsFor(count: number, width: number): number {
  const wanted = Math.min(HEIGHT, innerHeight * SHARE);
  const cost = (columns: number): number => {
    const height = Math.ceil(count / columns) * (width / columns);
    return Math.abs(height - wanted) + (count % columns === 0 ? 0 : wanted / 3);
  };
  const all = Array.from({ length: count }, (_, place) => place + 1);
  return all.reduce((best, columns) => (cost(columns) < cost(best) ? columns : best));
}

function rgb(colour: string): number[] {
  return (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}
