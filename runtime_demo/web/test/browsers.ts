/** Browsers for tests: Chromium by playwright, and WebKitGTK, of the family of Safari, by its WebDriver. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

export const CHROMIUM = "/usr/bin/chromium";
export const WEBKIT = "/usr/bin/WebKitWebDriver";
const XVFB = "/usr/bin/Xvfb";
const LONGEST = 120_000; // milliseconds of one script

/** A page in a browser. */
export interface Page {
  /** The value of an expression, awaited. */
  evaluate<T>(expression: string): Promise<T>;
  close(): Promise<void>;
}

/** What a browser needs and this machine lacks. */
export function missing(browser: "chromium" | "webkit"): string[] {
  return (browser === "chromium" ? [CHROMIUM] : [WEBKIT, XVFB]).filter((path) => !existsSync(path));
}

/** A server of a page with one script, and of the files of a folder, under `/files/`, which can also be written. */
export async function serve(script: string, folder: string): Promise<{ server: Server; url: string }> {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
    try {
      if (path === "/") response.setHeader("content-type", "text/html; charset=utf-8").end("<!doctype html><script src=/script.js></script>");
      else if (path === "/script.js") response.setHeader("content-type", "text/javascript; charset=utf-8").end(script);
      else if (!path.startsWith("/files/")) response.writeHead(404).end();
      else if (request.method === "PUT") {
        const parts: Buffer[] = [];
        for await (const part of request) parts.push(part as Buffer);
        await mkdir(dirname(join(folder, path.slice(7))), { recursive: true });
        await writeFile(join(folder, path.slice(7)), Buffer.concat(parts));
        response.end();
      } else response.end(await readFile(join(folder, path.slice(7))));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** Opens a page. */
export async function open(browser: "chromium" | "webkit", url: string): Promise<Page> {
  return browser === "chromium" ? openChromium(url) : openWebKit(url);
}

async function openChromium(url: string): Promise<Page> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage();
  await page.goto(url);
  return { evaluate: (expression) => page.evaluate(expression), close: () => browser.close() };
}

async function openWebKit(url: string): Promise<Page> {
  const started: ChildProcess[] = [];
  const close = async (): Promise<void> => started.reverse().forEach((each) => each.kill());
  try {
    const screen = spawn(XVFB, ["-displayfd", "3", "-screen", "0", "800x600x24"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
    started.push(screen);
    const display = await firstLine(screen.stdio[3] as NodeJS.ReadableStream);
    const port = 20_000 + (process.pid % 10_000);
    const environment = { ...process.env, DISPLAY: `:${display}`, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" };
    started.push(spawn(WEBKIT, [`--port=${port}`], { env: environment, stdio: "ignore" }));
    const driver = `http://127.0.0.1:${port}`;
    const options = { "webkitgtk:browserOptions": { binary: miniBrowser(), args: ["--automation"] } };
    const { sessionId } = await post<{ sessionId: string }>(`${driver}/session`, { capabilities: { alwaysMatch: options } });
    const session = `${driver}/session/${sessionId}`;
    await post(`${session}/timeouts`, { script: LONGEST });
    await post(`${session}/url`, { url });
    return {
      async evaluate<T>(expression: string): Promise<T> {
        const script = `const done = arguments[0]; Promise.resolve(${expression}).then(done);`;
        return post<T>(`${session}/execute/async`, { script, args: [] });
      },
      async close() {
        await fetch(session, { method: "DELETE" }).catch(() => undefined);
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The value that WebDriver returns to a command; tried again while it does not listen yet. */
async function post<T>(url: string, body: unknown): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
      const { value } = (await response.json()) as { value: T & { message?: string } };
      if (!response.ok) throw new Error(`WebDriver: ${value.message}`);
      return value;
    } catch (error) {
      if (!(error instanceof TypeError) || tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function miniBrowser(): string {
  const folders = readdirSync("/usr/lib").flatMap((each) => ["4.1", "4.0"].map((version) => `/usr/lib/${each}/webkit2gtk-${version}`));
  return folders.map((folder) => `${folder}/MiniBrowser`).find(existsSync) ?? "MiniBrowser";
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const part of stream) {
    text += part;
    if (text.includes("\n")) break;
  }
  return text.trim();
}
