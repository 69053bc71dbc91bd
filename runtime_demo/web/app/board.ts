/** A picture in large pixels, with boxes on it, and a pen for whoever wants to draw on it. */
import { Hand, type Place, type Surface } from "./hand.ts";
import type { Pixels } from "./protocol.ts";

const SIDE = 560; // device pixels of the longer side, at least
const NIB = 0.04; // radius of the pen, as a share of the longer side
const NOW = "#1fd65f"; // green, of the newest box
const BEFORE = "#12823a";
const GROUND = "#0008"; // behind numbers

type Box = readonly number[];

export class Board implements Surface {
  readonly stride = 1;
  readonly element: HTMLCanvasElement;
  readonly #hand: Hand;
  readonly #picture = document.createElement("canvas");
  #boxes: readonly (readonly Box[])[] = [];
  #first: number | null = null; // the number of the first box
  #inked: ((levels: Float32Array) => void) | null = null;
  #lifted: () => void = () => undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.element = canvas;
    this.#hand = new Hand(this);
  }

  /** Whether someone is drawing. */
  get held(): boolean {
    return this.#hand.down;
  }

  get lent(): boolean {
    return this.#inked !== null;
  }

  place(across: number, down: number): Place {
    return [across * this.#picture.width, down * this.#picture.height];
  }

  within([x, y]: Place): Place {
    return [Math.min(Math.max(x, 0), this.#picture.width), Math.min(Math.max(y, 0), this.#picture.height)];
  }

  lifted(): void {
    this.#lifted();
  }

  moved(): void {
    this.#draw();
  }

  /** Let people draw. inked: is called with the levels (height · width) of each piece of a line. lifted: after a line. */
  lend(inked: (levels: Float32Array) => void, lifted: () => void = () => undefined): void {
    [this.#inked, this.#lifted] = [inked, lifted];
  }

  /** Show a picture, without boxes. */
  show({ data, height, width }: Pixels): void {
    const { width: before, height: tall } = this.#picture;
    if (before !== width || tall !== height) {
      [this.#picture.width, this.#picture.height] = [width, height];
      const scale = Math.ceil(SIDE / Math.max(height, width));
      [this.element.width, this.element.height] = [width * scale, height * scale];
      this.element.style.setProperty("--ratio", String(width / height));
      this.#hand.at = [width / 2, height / 2];
    }
    this.#picture.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
    this.#boxes = [];
    this.#draw();
  }

  /** Show grey levels (height · width), from 0 to 1. */
  showLevels(levels: Float32Array, height: number, width: number): void {
    const data = new Uint8ClampedArray(4 * levels.length).fill(255);
    levels.forEach((level, place) => data.fill(255 * level, 4 * place, 4 * place + 3));
    this.show({ data, height, width });
  }

  /** Show boxes, of each step a list; the first of the last step is the brightest. first: the number of the first step, if they have numbers. */
  mark(boxes: readonly (readonly Box[])[], first: number | null): void {
    [this.#boxes, this.#first] = [boxes, first];
    this.#draw();
  }

  #draw(): void {
    const context = this.element.getContext("2d");
    if (context === null || this.#picture.width === 0) return;
    const scale = this.element.width / this.#picture.width;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#picture, 0, 0, this.element.width, this.element.height);
    this.#boxes.forEach((boxes, place) => {
      const last = place === this.#boxes.length - 1;
      boxes.forEach((box, number) => {
        if (number > 0 && !last) return;
        const [left, top, right, bottom] = box.map((edge) => edge * scale);
        context.strokeStyle = last && number === 0 ? NOW : BEFORE;
        context.lineWidth = last && number === 0 ? 6 : 3;
        context.strokeRect(left, top, right - left, bottom - top);
        if (this.#first !== null && number === 0) this.#number(context, place + this.#first, left, top, last);
      });
    });
    if (this.#hand.guided) this.#cross(context, scale);
  }

  #number(context: CanvasRenderingContext2D, number: number, left: number, top: number, last: boolean): void {
    const [x, y] = [Math.max(left, 0) + 4, Math.max(top, 0) + 4];
    context.font = "bold 26px system-ui, sans-serif";
    context.textBaseline = "top";
    context.fillStyle = GROUND;
    context.fillRect(x, y, context.measureText(String(number)).width + 8, 30);
    context.fillStyle = last ? NOW : "#8fdca8";
    context.fillText(String(number), x + 4, y + 2);
  }

  #cross(context: CanvasRenderingContext2D, scale: number): void {
    const [x, y] = this.#hand.at.map((each) => each * scale);
    context.strokeStyle = this.#hand.down ? NOW : "#ff8c1e";
    context.lineWidth = 4;
    context.beginPath();
    context.moveTo(x - 14, y);
    context.lineTo(x + 14, y);
    context.moveTo(x, y - 14);
    context.lineTo(x, y + 14);
    context.stroke();
  }

  /** Ink along a line: full where the nib passes, and less within a pixel around it. */
  line([fromX, fromY]: Place, [toX, toY]: Place): void {
    const { width, height } = this.#picture;
    const nib = Math.max(NIB * Math.max(width, height), 0.7);
    const [dx, dy] = [toX - fromX, toY - fromY];
    const length = dx * dx + dy * dy || 1;
    const levels = Float32Array.from({ length: width * height }, (_, place) => {
      const [x, y] = [(place % width) + 0.5, Math.floor(place / width) + 0.5];
      const along = Math.min(Math.max(((x - fromX) * dx + (y - fromY) * dy) / length, 0), 1);
      const away = Math.hypot(x - fromX - along * dx, y - fromY - along * dy);
      return Math.min(Math.max(nib + 0.5 - away, 0), 1);
    });
    this.#inked?.(levels);
  }
}
