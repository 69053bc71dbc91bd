/** A sheet of paper with strokes on it, as SVG, and a pen for whoever wants to draw on it. */
import { Hand, type Place, type Surface } from "./hand.ts";
import type { Box, Line } from "./protocol.ts";

const MARGIN = 0.08; // of the sheet, as a share of its side
const STRIDE = 1 / 50; // of a key, the same
const SMOOTH = 1 / 120; // how far a point that is left out of a line may lie from it, the same
const CROSS = 0.025; // half the size of the mark of a pen that is led by keys
const SVG = "http://www.w3.org/2000/svg";

/** Strokes, and whether somebody else than the network drew them. */
export interface Drawn {
  readonly line: Line;
  readonly given: boolean;
}

export class Sketch implements Surface {
  readonly element: SVGSVGElement;
  readonly #hand: Hand;
  readonly #strokes = shape("g", {});
  readonly #pen = shape("path", { class: "pen" });
  #side = 1; // of the sheet, in units of the drawing
  #corner: Place = [-0.5, -0.5]; // left and top of the sheet, where the drawing began at 0, 0
  #line: Place[] = []; // that is being drawn
  #drawn: ((line: Line) => void) | null = null;

  constructor(element: SVGSVGElement) {
    this.element = element;
    element.replaceChildren(this.#strokes, this.#pen);
    this.#hand = new Hand(this);
  }

  /** Whether the sheet has the size of a drawing. */
  get fitted(): boolean {
    return this.element.hasAttribute("viewBox");
  }

  /** Whether someone is drawing. */
  get held(): boolean {
    return this.#hand.down;
  }

  get lent(): boolean {
    return this.#drawn !== null;
  }

  get stride(): number {
    return STRIDE * this.#side;
  }

  place(across: number, down: number): Place {
    return [this.#corner[0] + across * this.#side, this.#corner[1] + down * this.#side];
  }

  within([x, y]: Place): Place {
    const nearest = (value: number, axis: 0 | 1): number => Math.min(Math.max(value, this.#corner[axis]), this.#corner[axis] + this.#side);
    return [nearest(x, 0), nearest(y, 1)];
  }

  line(from: Place, to: Place): void {
    if (this.#line.length === 0) this.#strokes.append(polyline({ line: [from], given: true }));
    this.#line.push(to);
    this.#strokes.lastElementChild!.setAttribute("points", dots(this.#line));
  }

  lifted(): void {
    const line = simplified(this.#line, SMOOTH * this.#side);
    this.#line = [];
    this.#drawn?.(line);
  }

  moved(): void {
    const [x, y, reach] = [...this.#hand.at, CROSS * this.#side];
    const path = `M${x - reach} ${y}h${2 * reach}M${x} ${y - reach}v${2 * reach}`;
    this.#pen.setAttribute("d", this.#hand.guided ? path : "");
  }

  /** Let people draw. drawn: is called with each line, in units of the drawing. */
  lend(drawn: (line: Line) => void): void {
    this.#drawn = drawn;
  }

  /** Let the sheet show a box with a margin, in its middle. least: the least side of the sheet. */
  fit([left, top, right, bottom]: Box, least: number): void {
    const side = Math.max(right - left, bottom - top, least) / (1 - 2 * MARGIN);
    this.#hand.at = [(left + right) / 2, (top + bottom) / 2];
    this.#lay([(left + right - side) / 2, (top + bottom - side) / 2], side);
  }

  /** Let the sheet grow until it shows a box too, if it does not. */
  grow([left, top, right, bottom]: Box): void {
    const margin = (MARGIN * this.#side) / 2;
    const [x, y, side] = [this.#corner[0] + margin, this.#corner[1] + margin, this.#side - 2 * margin];
    if (left >= x && top >= y && right <= x + side && bottom <= y + side) return;
    const [wideLeft, wideTop] = [Math.min(left, x), Math.min(top, y)];
    const [width, height] = [Math.max(right, x + side) - wideLeft, Math.max(bottom, y + side) - wideTop];
    const grown = Math.max(width, height) / (1 - 2 * MARGIN);
    this.#lay([wideLeft + (width - grown) / 2, wideTop + (height - grown) / 2], grown);
  }

  /** Move the sheet so that the drawing begins at a place on it. */
  move([x, y]: Place): void {
    this.#hand.at = [this.#hand.at[0] - x, this.#hand.at[1] - y];
    this.#lay([this.#corner[0] - x, this.#corner[1] - y], this.#side);
  }

  #lay(corner: Place, side: number): void {
    [this.#corner, this.#side] = [corner, side];
    this.element.setAttribute("viewBox", `${corner.join(" ")} ${side} ${side}`);
    this.moved();
  }

  /** Show strokes. A line that is being drawn stays. */
  show(strokes: readonly Drawn[]): void {
    const held = this.#line.length > 0 ? [this.#strokes.lastElementChild!] : [];
    this.#strokes.replaceChildren(...strokes.map(polyline), ...held);
  }
}

/** The points of a line without those that lie nearly on it (Ramer 1972, Douglas and Peucker 1973). */
export function simplified(line: Line, apart: number): Line {
  if (line.length < 2) return line;
  const [[x, y], [endX, endY]] = [line[0], line.at(-1)!];
  const [dx, dy] = [endX - x, endY - y];
  const length = dx * dx + dy * dy || 1;
  const away = line.map(([px, py]) => {
    const along = Math.min(Math.max(((px - x) * dx + (py - y) * dy) / length, 0), 1);
    return Math.hypot(px - x - along * dx, py - y - along * dy);
  });
  const most = Math.max(...away);
  if (most === 0 && dx === 0 && dy === 0) return [line[0]];
  if (most <= apart) return [line[0], line.at(-1)!];
  const middle = away.indexOf(most);
  return [...simplified(line.slice(0, middle + 1), apart).slice(0, -1), ...simplified(line.slice(middle), apart)];
}

function polyline({ line, given }: Drawn): SVGElement {
  return shape("polyline", { points: dots(line), class: given ? "given" : "drawn" });
}

/** A dot is a line of no length. */
function dots(line: Line): string {
  return (line.length === 1 ? [line[0], line[0]] : line).map((place) => place.join(",")).join(" ");
}

function shape(name: string, attributes: Record<string, string>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
