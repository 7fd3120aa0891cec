// bridge.mjs - lets tests/support/browser.py drive Chromium: a request is a line of JSON on standard input
// ({id, page, call, args}), an answer one on standard output ({id, value} or {id, error}).
//
// `page` is the number of a page, and `call` one of `own` below or any method of a page of Playwright. What a page logs
// as an error, what it throws and what its policy forbids is kept for `problems`.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
const pages = [];
let browser;

function watch(page) {
  page.problems = [];
  page.dialogs = [];
  page.on("console", (message) => {
    if (message.type() === "error") page.problems.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => page.problems.push(String(error.stack || error)));
  page.on("dialog", (dialog) => {
    page.dialogs.push(dialog.message());
    dialog.dismiss();
  });
}

const own = {
  async launch(_, executablePath, args) {
    browser = await chromium.launch({ executablePath, args });
    return browser.version();
  },
  async open(_, options, timeoutMs) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(timeoutMs);
    watch(page);
    return pages.push(page) - 1;
  },
  // Another tab with the cookies of this page.
  async tab(page) {
    const other = await page.context().newPage();
    watch(other);
    return pages.push(other) - 1;
  },
  close: (page) => page.context().close(),
  resize: (page, width, height) => page.setViewportSize({ width, height }),
  scheme: (page, colorScheme) => page.emulateMedia({ colorScheme }),
  problems: (page) => page.problems.splice(0),
  dialogs: (page) => page.dialogs.splice(0),
  cookies: (page) => page.context().cookies(),
  headers: (page, headers) => page.context().setExtraHTTPHeaders(headers),
  offline: (page, offline) => page.context().setOffline(offline),
  count: (page, selector) => page.locator(selector).count(),
  texts: (page, selector) => page.locator(selector).allInnerTexts(),
  wait: async (page, selector, options) => {
    await page.locator(selector).first().waitFor(options);
  },
  press: (page, keys) => page.keyboard.press(keys),
  select: (page, selector, value) => page.selectOption(selector, value),
  async go(page, url) {
    const answer = await page.goto(url);
    return answer ? answer.status() : 0;
  },
  async shot(page, path, fullPage) {
    await page.screenshot({ path, fullPage, animations: "disabled" });
  },
  // True when the page as a whole can be moved sideways.
  wide: (page) => page.evaluate(() => document.scrollingElement.scrollWidth > window.innerWidth),
  async axe(page) {
    await page.evaluate(axe);
    const found = await page.evaluate((rules) => window.axe.run(document, rules), RULES);
    return found.violations.map((one) => ({
      id: one.id,
      help: one.help,
      nodes: one.nodes.map((node) => `${node.html.slice(0, 200)}: ${node.failureSummary}`),
    }));
  },
};

async function answer({ page, call, args }) {
  if (Object.hasOwn(own, call)) return own[call](pages[page], ...args);
  const target = pages[page];
  if (typeof target?.[call] !== "function") throw new Error(`a page has no ${call}`);
  const value = await target[call](...args);
  return value === null || typeof value !== "object" || Array.isArray(value) ? value : undefined;
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const request = JSON.parse(line);
  const reply = { id: request.id };
  try {
    reply.value = (await answer(request)) ?? null;
  } catch (error) {
    reply.error = String(error.message || error);
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
});
lines.on("close", async () => {
  await browser?.close();
  process.exit(0);
});
