import { element } from "./document.ts";
import { Page } from "./page.ts";
import type { Site } from "./protocol.ts";

new Page(JSON.parse(element("site").textContent ?? "") as Site);
