/**
 * Who is signed in, as the server says, and how to change it. The login itself is a cookie that no
 * script can read; nothing secret is held here, stored, or told to other tabs.
 *
 * @typedef {object} Login
 * @property {'unknown' | 'open' | 'out' | 'in'} state `open`: the server knows no people
 * @property {string} [subject] who it is, for as long as there are accounts
 * @property {string} [name] what others call them
 * @property {number} [lasts] for how long it is good if nobody asks again, in ms
 */

import { csrfToken } from '../core/csrf.js';

const ADDRESS = '/auth/session';
const CHANNEL = 'quire.login';
const ANSWER_MS = 10_000;
/** A login that is not used ends early. To ask is to use it, so a page that is open asks. */
const [ASK_MIN_MS, ASK_MAX_MS] = [10_000, 600_000];

export class Account {
  /** @type {Login} */
  login = { state: 'unknown' };
  #changed;
  #channel = new BroadcastChannel(CHANNEL);
  #asking = null;
  #timer;

  /**
   * @param {(login: Login) => void} changed after each answer
   * @param {(event: 'in' | 'out') => void} elsewhere another tab has signed in or out
   */
  constructor(changed, elsewhere) {
    this.#changed = changed;
    this.#channel.onmessage = async ({ data }) => {
      if (data !== 'in' && data !== 'out') return;
      // What was asked before tells of the login before.
      await this.#asking;
      if (data === 'out') this.#found({ state: 'out' });
      elsewhere(data);
    };
  }

  /**
   * Asks the server; what is asked already is not asked again.
   * @returns {Promise<Login>} which does not fail: without an answer it is `unknown`
   */
  ask() {
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  /**
   * Exchanges a token for a login.
   * @throws {Error} whose message is for the user
   */
  async signIn(token) {
    const response = await send('POST', { authorization: `Bearer ${token}` });
    if (!response.ok) throw new Error(await problem(response));
    this.#found(read(await response.json()));
    this.#channel.postMessage('in');
  }

  /**
   * Ends the login in this browser.
   * @throws {Error} whose message is for the user
   */
  async signOut() {
    let response = await this.#end();
    // A token that is too old is renewed by asking.
    if (response.status === 403 && (await this.ask()).state === 'in') response = await this.#end();
    if (!response.ok && response.status !== 401) throw new Error(await problem(response));
    this.#found({ state: 'out' });
    this.#channel.postMessage('out');
  }

  #end() {
    return send('DELETE', { 'x-csrf-token': csrfToken(document.cookie) ?? '' });
  }

  async #ask() {
    const login = await answer();
    if (login.state === 'unknown') this.#later();
    else this.#found(login);
    return login;
  }

  #found(login) {
    this.login = login;
    this.#later();
    this.#changed(login);
  }

  /**
   * Asks three times in the time that the login has: from half of it on it is made anew. Where
   * nobody has answered yet, whose edits are not saved yet is not known either: it asks again.
   */
  #later() {
    clearTimeout(this.#timer);
    const { state, lasts } = this.login;
    if (state !== 'in' && state !== 'unknown') return;
    const pause = Math.min(Math.max((lasts ?? 0) / 3, ASK_MIN_MS), ASK_MAX_MS);
    this.#timer = setTimeout(() => this.ask(), pause);
  }
}

/** @returns {Promise<Login>} */
async function answer() {
  try {
    const response = await send('GET');
    if (response.ok) return read(await response.json());
    return { state: response.status === 401 ? 'out' : 'unknown' };
  } catch {
    return { state: 'unknown' };
  }
}

/** @returns {Login} */
function read({ open, subject, name, expires, idle_seconds: idle }) {
  if (open === true) return { state: 'open' };
  const left = Date.parse(expires) - Date.now() || 0;
  const lasts = Math.min(left, idle === undefined ? Infinity : idle * 1000);
  return { state: 'in', subject: String(subject), name: String(name), lasts };
}

async function send(method, headers = {}) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const options = { method, headers, signal, cache: 'no-store', credentials: 'same-origin' };
  try {
    return await fetch(ADDRESS, { ...options, redirect: 'error' });
  } catch (cause) {
    throw new Error('The server cannot be reached. Try again in a moment.', { cause });
  }
}

/** Returns what a problem+json answer says, in the server's words. */
async function problem(response) {
  const otherwise = `The server answered with HTTP ${response.status}.`;
  try {
    const { title, detail } = await response.json();
    return String(detail ?? title ?? otherwise);
  } catch {
    return otherwise;
  }
}
