/** The state of a network as squares: blue below zero, orange above, and the ground at zero. */

const BLUE = [64, 140, 255];
const ORANGE = [255, 140, 30];
const GAP = 1; // device pixels between squares
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
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio || 1;
    const [width, height] = [Math.round(clientWidth * scale), Math.round(clientHeight * scale)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    const count = this.#values.length;
    const context = this.#canvas.getContext("2d");
    if (context === null || count === 0 || width === 0) return;
    context.clearRect(0, 0, width, height);
    this.#ground = rgb(getComputedStyle(this.#canvas).color);
    const [columns, side] = grid(count, width, height);
    const left = (width - columns * side) >> 1;
    for (let at = 0; at < count; at++) {
      context.fillStyle = this.#colour(this.#values[at] / this.#largest);
      const [x, y] = [left + (at % columns) * side, Math.floor(at / columns) * side];
      context.fillRect(x, y, Math.max(1, side - GAP), Math.max(1, side - GAP));
    }
  }

  /** The colour of a value from -1 to 1. The root lets small values be seen. */
  #colour(value: number): string {
    const end = value > 0 ? ORANGE : BLUE;
    const part = Math.sqrt(Math.abs(value));
    const mixed = this.#ground.map((ground, i) => Math.round(ground + (end[i] - ground) * part));
    return `rgb(${mixed.join()})`;
  }
}

/** The columns of squares, and the largest side, with which `count` of them fit. */
function grid(count: number, width: number, height: number): [number, number] {
  let side = Math.max(1, Math.floor(Math.sqrt((width * height) / count)));
  while (side > 1 && Math.floor(width / side) * Math.floor(height / side) < count) side--;
  return [Math.max(1, Math.floor(width / side)), side];
}

function rgb(colour: string): number[] {
  return (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}
