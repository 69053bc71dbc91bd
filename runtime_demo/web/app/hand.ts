/** The hand of whoever draws: a pen that is led by a pointer, or by keys. */

export type Place = readonly [number, number];

/** What is drawn on. Places are in units of its own. */
export interface Surface {
  readonly element: HTMLElement | SVGElement;
  /** Whether someone may draw. */
  readonly lent: boolean;
  /** How far a key moves the pen. */
  readonly stride: number;
  /** The place of a point, in shares of the width and the height of the element. */
  place(across: number, down: number): Place;
  /** The nearest place on the surface. */
  within(place: Place): Place;
  /** The pen has drawn a line; of no length, where it was put down. */
  line(from: Place, to: Place): void;
  lifted(): void;
  /** A key has moved the pen, so that it must be shown somewhere else, or it is no longer led by keys. */
  moved(): void;
}

const MOVES: Record<string, Place> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Hand {
  /** Where the pen is. */
  at: Place = [0, 0];
  /** Whether it is led by keys, so that it must be shown. */
  guided = false;
  readonly #surface: Surface;
  #down = false;

  constructor(surface: Surface) {
    this.#surface = surface;
    const element = surface.element as HTMLElement;
    element.addEventListener("pointerdown", (event) => {
      if (!surface.lent || !event.isPrimary || event.button !== 0) return;
      this.#lift(); // where keys have left it down
      element.setPointerCapture(event.pointerId);
      this.guided = false;
      this.#move(this.#place(event), false);
      this.#press();
    });
    element.addEventListener("pointermove", (event) => {
      if (!this.#down || this.guided || !event.isPrimary) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length > 0 ? events : [event]) this.#move(this.#place(each), true);
    });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => (event as PointerEvent).isPrimary && this.#lift());
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("blur", () => {
      this.#lift();
      this.guided = false;
      surface.moved();
    });
  }

  /** Whether someone is drawing. */
  get down(): boolean {
    return this.#down;
  }

  #place(event: PointerEvent): Place {
    const { left, top, width, height } = this.#surface.element.getBoundingClientRect();
    return this.#surface.place((event.clientX - left) / width, (event.clientY - top) / height);
  }

  /** Arrow keys move the pen; Space or Enter puts it down and lifts it. */
  #key(event: KeyboardEvent): void {
    const move = MOVES[event.key];
    if (!this.#surface.lent || (move === undefined && event.key !== " " && event.key !== "Enter")) return;
    event.preventDefault();
    this.guided = true;
    const { stride } = this.#surface;
    if (move !== undefined) this.#move([this.at[0] + stride * move[0], this.at[1] + stride * move[1]], this.#down);
    else if (event.repeat) return; // Space is held
    else if (this.#down) this.#lift();
    else this.#press();
    this.#surface.moved();
  }

  #press(): void {
    this.#down = true;
    this.#surface.line(this.at, this.at);
  }

  #lift(): void {
    if (!this.#down) return;
    this.#down = false;
    this.#surface.lifted();
  }

  #move(place: Place, inked: boolean): void {
    const before = this.at;
    this.at = this.#surface.within(place);
    if (inked) this.#surface.line(before, this.at);
  }
}
