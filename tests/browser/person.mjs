// People at the page: each one a browser context of its own, with what the page must not do written down. A test ends
// with `person.faultless()`.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { until } from '../system/lib/until.mjs';

const executablePath = process.env.TERTULIA_CHROMIUM ?? '/usr/bin/chromium';
const waitMs = 30_000;
/** A name that is no loopback: a page from there has no secure context, as from another machine over plain http. */
export const otherMachine = 'tertulia.test';

// What Chromium writes by itself, and no page can keep it from doing so: when nobody listens, and that a header which the
// server always sends counts on https only.
const itsOwn = /^WebSocket connection to '\S+' failed: |ERR_CONNECTION_REFUSED|^The Cross-Origin-Opener-Policy header has been ignored/;

// One for all tests of a file: starting it takes longer than most of them. People do not share anything in it.
/** @type {Promise<import('playwright-core').Browser>|undefined} */ let chrome;
const home = mkdtempSync(join(tmpdir(), 'tertulia-browser-'));

async function start() {
  assert.ok(existsSync(executablePath), `${executablePath} is missing: script/setup --test installs Debian's chromium`);
  return chromium.launch({
    executablePath,
    // What it keeps beside the profile goes with the test.
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', `--host-resolver-rules=MAP ${otherMachine} 127.0.0.1`,
    ],
  });
}

after(async () => {
  await (await chrome)?.close();
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
});

/**
 * Runs `body` with a browser; its people are gone afterwards.
 * @template T @param {(browser: Browser) => Promise<T>} body @returns {Promise<T>}
 */
export async function withBrowser(body) {
  chrome ??= start();
  const browser = new Browser(await chrome);
  try {
    return await body(browser);
  } catch (error) {
    error.message += browser.people.map((person) => `\n  ${person.name} saw: ${person.faults.join(' | ') || 'no fault'}`).join('');
    throw error;
  } finally {
    await Promise.all(browser.people.map((person) => person.page.context().close()));
  }
}

class Browser {
  /** @type {Person[]} */ people = [];

  /** @param {import('playwright-core').Browser} chrome */
  constructor(chrome) {
    this.chrome = chrome;
  }

  /**
   * Somebody with a browser of their own, looking at `url`.
   * @param {string} name @param {string} url
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  async person(name, url, options = {}) {
    const context = await this.chrome.newContext({ viewport: { width: 1000, height: 700 }, ...options });
    context.setDefaultTimeout(waitMs);
    // What is drawn in the log is written down as it comes, so that what stood wrong for a moment is seen too.
    await context.addInitScript(() => {
      window.drawn = [];
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
      });
      document.addEventListener('DOMContentLoaded', () => {
        const list = document.getElementById('messages');
        if (!list) return;
        new MutationObserver(() => {
          const rows = [...list.querySelectorAll('li[data-sequence]')];
          window.drawn.push(rows.map((row) => `${row.dataset.sequence} ${row.querySelector('.text').textContent}`));
          if (window.drawn.length > 2000) window.drawn.shift();
        }).observe(list, { childList: true, subtree: true });
      });
    });
    const person = new Person(name, url, await context.newPage());
    this.people.push(person);
    await person.open();
    return person;
  }
}

export class Person {
  /** @type {string[]} What the console said, what was thrown, what was refused. */
  faults = [];
  /** @type {string[]} Everything that was asked for. */
  requests = [];

  /** @param {string} name @param {string} url @param {import('playwright-core').Page} page */
  constructor(name, url, page) {
    this.name = name;
    this.url = url;
    this.page = page;
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      const text = `${message.text()} (${message.location().url})`;
      if (!itsOwn.test(text)) this.faults.push(text);
    });
    page.on('pageerror', (error) => this.faults.push(String(error.stack ?? error)));
    page.on('request', (request) => this.requests.push(request.url()));
    page.on('response', (response) => {
      if (response.status() >= 400) this.faults.push(`${response.status()} ${response.url()}`);
    });
    page.on('dialog', (dialog) => {
      this.faults.push(`a dialog: ${dialog.type()}`);
      void dialog.accept();
    });
  }

  async open() {
    await this.page.goto(this.url);
  }

  /** Comes in through the door. @param {string} [room] default: the one in the address */
  async come(room) {
    const { page } = this;
    if (room !== undefined) await page.fill('#door-room', room);
    await page.fill('#door-name', this.name);
    await page.click('#door-enter');
    await this.live();
  }

  /** In the room, and all is well. */
  async live() {
    await this.page.waitForSelector('#table:not([hidden])');
    await this.page.waitForSelector('#line[hidden]', { state: 'attached' });
  }

  /** Types a text and sends it with Enter. @param {string} text */
  async say(text) {
    await this.page.fill('#say', text);
    await this.page.press('#say', 'Enter');
  }

  /** @param {string} text waits until the log shows it */
  async sees(text) {
    await this.page.locator('#messages .text', { hasText: text }).first().waitFor();
  }

  /** Comes back now, if the page is waiting to try again. */
  async retryNow() {
    const button = this.page.locator('#line-retry');
    if (await button.isVisible()) await button.click({ timeout: 2000 }).catch(() => {}); // it may go meanwhile
  }

  /** What the log shows. @returns {Promise<{sequence: number, text: string, own: boolean}[]>} */
  log() {
    return this.page.$$eval('#messages > li[data-sequence]', (rows) =>
      rows.map((row) => ({
        sequence: Number(row.dataset.sequence),
        text: row.querySelector('.text').textContent,
        own: row.classList.contains('own'),
      })));
  }

  /** What is on its way. @returns {Promise<string[]>} */
  outgoing() {
    return this.page.$$eval('#outgoing > li', (rows) => rows.map((row) => row.querySelector('.text').textContent));
  }

  /** @returns {Promise<string[]>} */
  async people() {
    return this.page.$$eval('#people-list > li', (rows) => rows.map((row) => row.lastElementChild.textContent));
  }

  /** @param {string} key @returns {Promise<string|null>} */
  remembered(key) {
    return this.page.evaluate((name) => localStorage.getItem(name), key);
  }

  /** Was the log without gap, repeat and disorder at every moment? */
  async alwaysInOrder() {
    const drawn = await this.page.evaluate(() => window.drawn);
    const known = new Map();
    for (const rows of drawn) {
      let before;
      for (const row of rows) {
        const [, sequence, text] = /^(\d+) ([^]*)$/.exec(row);
        const n = Number(sequence);
        assert.ok(before === undefined || n === before + 1, `${this.name}: ${n} stood after ${before}`);
        assert.equal(known.get(n) ?? text, text, `${this.name}: message ${n} was another one before`);
        known.set(n, text);
        before = n;
      }
    }
    assert.ok(known.size > 0, `${this.name} saw no message`);
  }

  /** Nothing was refused, thrown or complained about. */
  async faultless() {
    const violations = await this.page.evaluate(() => window.violations);
    assert.deepEqual([...this.faults, ...violations], [], `${this.name} saw faults`);
  }
}

/** @param {Person} person @param {string} what @param {() => Promise<boolean>} condition */
export function eventually(person, what, condition) {
  return until(`${person.name}: ${what}`, condition, waitMs);
}
