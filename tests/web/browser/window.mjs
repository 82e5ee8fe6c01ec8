/** A person at a browser window: what they do, what they see. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { Line } from './program.mjs';

const require = createRequire(new URL('../../../src/web/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/**
 * A line that is cut, and a page that finds out that nobody is signed in, is what a test wants;
 * everything else in the console is a fault.
 */
const EXPECTED = /WebSocket connection to .* failed|net::ERR_|with a status of 401 /;

export function launch(...more) {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: [...FLAGS, ...more] });
}

export class Person {
  static #present = new Set();

  /** What the page complained about. */
  complaints = [];

  /** Opens a window with a line of its own to the server. */
  static async arrive(browser, port, { name, color = '#2f6fb5', ...options } = {}) {
    const person = new Person();
    Person.#present.add(person);
    person.line = await Line.to(port);
    const viewport = { width: 900, height: 600 };
    person.context = await browser.newContext({ viewport, ...options });
    if (name !== undefined) {
      const stored = JSON.stringify({ name, color });
      await person.context.addInitScript((value) => {
        localStorage.setItem('quire.person', value);
      }, stored);
    }
    person.page = await person.context.newPage();
    person.page.on('pageerror', (error) => person.complaints.push(error.stack));
    person.page.on('console', (message) => {
      const text = message.text();
      if (message.type() === 'error' && !EXPECTED.test(text)) person.complaints.push(text);
    });
    return person;
  }

  async open(doc) {
    await this.page.goto(`${this.line.url}/d/${doc}`);
    await this.badge('saved');
  }

  /** Exchanges a token for a login, and goes on at a place of the server. */
  async signIn(token, place = '/') {
    await this.page.goto(`${this.line.url}/login?next=${encodeURIComponent(place)}`);
    await this.page.fill('#token', token);
    await this.press('Enter');
    await this.page.waitForURL(`${this.line.url}${place}`);
  }

  /** Types at the place of the caret. */
  async type(text) {
    await this.page.keyboard.type(text);
  }

  async press(keys) {
    await this.page.keyboard.press(keys);
  }

  text() {
    return this.page.evaluate(() => document.querySelector('quire-editor').text);
  }

  /** Waits until keys go to the text. */
  async atText() {
    await this.#until(() => document.activeElement?.localName === 'quire-editor', null,
      async () => 'the text has no focus');
  }

  /** Returns the lines as they are drawn, without the flags of others. */
  drawn() {
    return this.page.evaluate(() => {
      const { shadowRoot } = document.querySelector('quire-editor');
      return [...shadowRoot.querySelectorAll('.cm-line')].map((line) => {
        const copy = line.cloneNode(true);
        for (const caret of copy.querySelectorAll('.q-caret')) caret.remove();
        return copy.textContent;
      });
    });
  }

  /** Waits until the text is the one given. */
  async reads(text) {
    const same = (expected) => document.querySelector('quire-editor').text === expected;
    await this.#until(same, text, async () => `${await this.text()} is not ${text}`);
  }

  /** Waits until the text holds a piece. */
  async sees(piece) {
    const holds = (expected) => document.querySelector('quire-editor').text.includes(expected);
    await this.#until(holds, piece, async () => `${await this.text()} does not hold ${piece}`);
  }

  /** Waits until the badge shows a state, and returns what it says. */
  async badge(state) {
    const shows = (expected) => document.getElementById('badge').dataset.state === expected;
    await this.#until(shows, state, async () => `the badge is not ${state}`);
    return this.page.textContent('#badge .label');
  }

  /** Waits until the flags at the carets of others are these names. */
  async carets(...names) {
    const shows = (expected) => {
      const { shadowRoot } = document.querySelector('quire-editor');
      const flags = [...shadowRoot.querySelectorAll('.q-flag')].map((flag) => flag.textContent);
      return JSON.stringify(flags.sort()) === JSON.stringify(expected);
    };
    await this.#until(shows, names.sort(), async () => `carets of ${names} are not there`);
  }

  async leave() {
    assert.deepEqual(this.complaints, [], 'the page does not complain');
    await this.#dismiss();
  }

  /** Closes what a failed test left open. */
  static async dismissAll() {
    for (const person of Person.#present) await person.#dismiss();
  }

  async #dismiss() {
    Person.#present.delete(this);
    await this.context?.close();
    await this.line?.close();
  }

  async #until(condition, value, complaint) {
    try {
      await this.page.waitForFunction(condition, value, { timeout: 15_000 });
    } catch (error) {
      throw new Error(await complaint(), { cause: error });
    }
  }
}
