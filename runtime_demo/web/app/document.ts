/** The document: its elements, and what it hands to its user. */

/** The element of an id that is in index.html. */
export function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no ${id}`);
  return found as T;
}

/** Save bytes as a file of the user's. */
export function download(bytes: ArrayBuffer, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Let a button open a file: the hidden input beside it asks for one. */
export function pickFile(button: HTMLElement, input: HTMLElement, picked: (file: File) => void): void {
  const files = input as HTMLInputElement;
  button.addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    if (files.files?.[0]) picked(files.files[0]);
    files.value = "";
  });
}

/** Fill a group with buttons, of which one is chosen: at first the first. */
export function choices(group: HTMLElement, names: readonly string[], chosen: (place: number) => void): void {
  const buttons = names.map((name, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.ariaPressed = String(place === 0);
    button.addEventListener("click", () => {
      for (const each of buttons) each.ariaPressed = String(each === button);
      chosen(place);
    });
    return button;
  });
  group.replaceChildren(...buttons);
}

/** A share from 0 to 1 for people. */
export function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** A number of things in words. */
export function counted(count: number, thing: string): string {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}
