// Phones in a browser, for tests in other languages: JsSIP in the pages of one headless Chromium.
//
// Usage: node phones.mjs CHROMIUM, the program's path. Every line of standard input is a command in JSON, such as
//
//   {"phone": "p", "command": "open", "server": "ws://127.0.0.1:5060", "user": "bob", "domain": "127.0.0.1"}
//   {"phone": "p", "command": "call", "target": "sip:alice@127.0.0.1"}
//   {"phone": "p", "command": "hang_up"}
//   {"phone": "p", "command": "close"}
//
// and every line of standard output an event: {"phone": "p", "event": "registered"}, likewise
// ringing, accepted, confirmed, ended, failed (with a cause), unregistered. The first line is {"event": "ready"}. Each name has a page of its own, which lasts; a phone that was closed
// may be opened again. The end of standard input ends everything.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Certificates of tests are signed by nobody whom it knows.
  "--ignore-certificate-errors",
];

const print = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

async function bundle() {
  const built = await build({
    entryPoints: [fileURLToPath(new URL("page.js", import.meta.url))],
    bundle: true,
    format: "iife",
    write: false,
    logLevel: "error",
  });
  return built.outputFiles[0].text;
}

async function openPage(browser, script, name) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => print({ phone: name, event: "failed", cause: error.message }));
  await page.exposeFunction("report", (event) => print({ phone: name, ...event }));
  await page.addScriptTag({ content: script });
  return page;
}

async function obey(browser, script) {
  const pages = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const { phone, command, ...parameters } = JSON.parse(line);
    if (!pages.has(phone)) {
      pages.set(phone, await openPage(browser, script, phone));
    }
    await pages.get(phone).evaluate(
      (name, given) => globalThis.phone[name](given), command, parameters,
    );
  }
}

const profile = await mkdtemp(join(tmpdir(), "sipshard-phones-"));
const browser = await puppeteer.launch({
  executablePath: process.argv[2],
  headless: true,
  // A busy machine needs half a minute for it.
  timeout: 90_000,
  userDataDir: profile,
  args: FLAGS,
});
try {
  const script = await bundle();
  print({ event: "ready" });
  await obey(browser, script);
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
