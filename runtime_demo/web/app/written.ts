/** The text that the network writes, in words that can be tapped, and told to screen readers in chunks. */

const CHUNK = 160; // characters that are told at once, up to the end of a word
const SPACE = /\s/u;

export class Written {
  #element: HTMLElement;
  #spoken: HTMLElement;
  #text = "";
  #told = 0;
  #current = -1; // the word that arrow keys have reached

  /** chosen: is called with the place in the text at which a tapped word begins. */
  constructor(element: HTMLElement, spoken: HTMLElement, chosen: (place: number) => void) {
    this.#element = element;
    this.#spoken = spoken;
    element.addEventListener("click", (event) => {
      const word = (event.target as Element).closest<HTMLElement>(".word");
      if (word !== null) chosen(Number(word.dataset["place"]));
    });
    element.addEventListener("keydown", (event) => {
      const moves: Record<string, number> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      if (event.key in moves) {
        this.#move(moves[event.key]);
        event.preventDefault();
      } else if ((event.key === "Enter" || event.key === " ") && this.#current >= 0) {
        event.preventDefault();
        chosen(Number(this.#words[this.#current].dataset["place"]));
      }
    });
  }

  get text(): string {
    return this.#text;
  }

  clear(): void {
    this.#element.replaceChildren();
    this.#text = "";
    this.#told = 0;
    this.#current = -1;
    this.#spoken.textContent = "";
  }

  add(text: string): void {
    for (const character of text) this.#push(character);
    if (this.#text.length - this.#told >= CHUNK && SPACE.test(this.#text.at(-1) ?? "")) this.tell();
  }

  /** Tell screen readers what they have not been told. */
  tell(): void {
    const chunk = this.#text.slice(this.#told);
    this.#told = this.#text.length;
    if (chunk.trim() !== "") this.#spoken.textContent = chunk;
  }

  get #words(): HTMLElement[] {
    return [...this.#element.querySelectorAll<HTMLElement>(".word")];
  }

  #push(character: string): void {
    const last = this.#element.lastElementChild;
    if (SPACE.test(character)) {
      this.#element.append(character);
    } else if (last !== null && last === this.#element.lastChild) {
      last.append(character);
    } else {
      const word = document.createElement("span");
      word.className = "word";
      word.role = "button";
      word.id = `word-${this.#text.length}`;
      word.dataset["place"] = String(this.#text.length);
      word.append(character);
      this.#element.append(word);
    }
    this.#text += character;
  }

  #move(by: number): void {
    const words = this.#words;
    if (words.length === 0) return;
    words[this.#current]?.classList.remove("current");
    this.#current = Math.min(Math.max(this.#current + by, 0), words.length - 1);
    const word = words[this.#current];
    word.classList.add("current");
    word.scrollIntoView({ block: "nearest" });
    this.#element.setAttribute("aria-activedescendant", word.id);
  }
}
