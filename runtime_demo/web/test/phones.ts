/** Emulated phones in Chromium, and the server of the page that they open. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { chromium, devices, type Browser, type BrowserContext, type Page } from "playwright-core";

export const ROOT = resolve(import.meta.dirname, "../../../..");
const IN_VENV = join(ROOT, ".venv/bin/python");
export const PYTHON = existsSync(IN_VENV) ? IN_VENV : "python3";
export const ENVIRONMENT = { ...process.env, PYTHONPATH: ROOT };
const PHONE = { ...devices["Pixel 7"], viewport: { width: 390, height: 844 } };
const LONGEST = 120_000; // milliseconds that anything may take, also on a busy machine

/** Starts Chromium. */
export function launch(options: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", ...options] });
}

/**
 * Serves bundles of a folder as a user does, on any free port unless one is given. Returns the address and the process,
 * which is added to `servers`.
 */
export async function serving(folder: string, servers: ChildProcess[], bundlesAndOptions: string[]): Promise<[string, ChildProcess]> {
  const given = ["-m", "edgernn", "serve", "--host", "0.0.0.0", "--port", "0", "--json", ...bundlesAndOptions];
  const server = spawn(PYTHON, given, { cwd: folder, env: ENVIRONMENT, stdio: ["ignore", "pipe", "ignore"] });
  servers.push(server);
  const line = await new Promise<Buffer>((done, failed) => server.stdout!.once("data", done).once("end", failed));
  return [JSON.parse(line.toString()).url, server];
}

/** The browser of a phone. */
export async function phoneOf(browser: Browser, options = {}): Promise<BrowserContext> {
  const context = await browser.newContext({ ...PHONE, ...options });
  context.setDefaultTimeout(LONGEST);
  return context;
}

/**
 * Keeps what an element says, and its value, from now on. Returns what waits until it has said some words: also those that
 * are there only for a moment, which `waitFor` can miss, since it looks twice a second.
 */
export async function recorded(page: Page, id: string): Promise<(words: RegExp) => Promise<void>> {
  const said = await page.locator(id).evaluateHandle((element) => {
    const said: string[] = [];
    const keep = (): void => void said.push(`${element.textContent}${element.getAttribute("value") ?? ""}`);
    new MutationObserver(keep).observe(element, { attributes: true, characterData: true, childList: true, subtree: true });
    return said;
  });
  return async (words) => {
    await page.waitForFunction(([said, words]) => said.some((each) => new RegExp(words).test(each)), [said, words.source] as const);
  };
}

/** A phone that has opened the page. Whatever it asks of others than the server, and every error, is a fault. */
export async function phoneAt(browser: Browser, url: string, options = {}): Promise<{ page: Page; context: BrowserContext; faults: string[] }> {
  const context = await phoneOf(browser, options);
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  context.on("request", (request) => request.url().startsWith(url) || request.url().startsWith("blob:") || faults.push(request.url()));
  await page.goto(url);
  return { page, context, faults };
}
