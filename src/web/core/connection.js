/**
 * A WebSocket that comes back: back-off with jitter, a watch for links that died silently, and
 * the codes after which trying again is for the user to decide. Knows nothing of documents.
 */

import { csrfEntry } from './csrf.js';

export const SUBPROTOCOL = 'quire.v1';

const [RETRY_FIRST_MS, RETRY_MAX_MS] = [100, 10_000];
/** Silence is broken by a ping after the first; the second is how long an answer may take. */
const [QUIET_MS, ANSWER_MS] = [15_000, 8_000];

/**
 * @typedef {object} Handler
 * @property {() => void} opened the socket takes messages
 * @property {(message: object) => void} received
 * @property {() => void} lost the socket is gone and will be replaced
 * @property {(code: number, reason: string) => void} refused the socket is gone for good
 */

export class Connection {
  #url;
  /** @type {Handler} */
  #handler;
  #env;
  #socket = null;
  #failures = 0;
  #retryMs = null;
  #retryTimer;
  #watchTimer;
  #awaiting = false;
  #pings = 0;
  #stopped = true;

  /** `env` brings WebSocket, setTimeout, clearTimeout, random and, in a browser, cookies. */
  constructor(url, handler, env) {
    this.#url = url;
    this.#handler = handler;
    this.#env = env;
  }

  /** Connects now, also out of a pause or after a refusal. */
  start() {
    this.#stopped = false;
    this.#failures = 0;
    if (this.#socket === null) this.#connect();
  }

  /** Closes for good. */
  stop() {
    this.#stopped = true;
    this.#drop(1000);
  }

  /** Drops the socket and makes a new one, at once or after the usual pause. */
  restart({ now = false } = {}) {
    this.#drop(1000);
    this.#handler.lost();
    if (now) this.start();
    else this.#pause();
  }

  /**
   * Sends a message; one that is answered puts a limit on the server's silence. A socket that is
   * closing takes none: whoever hears that it is gone says it again.
   */
  send(message, { answered = true } = {}) {
    if (this.#isOpen()) this.#socket.send(JSON.stringify(message));
    if (answered) this.#await();
  }

  /** Notes that the server took us in: the next loss begins with the shortest pause. */
  settled() {
    this.#failures = 0;
  }

  /** Sets the next pause, as the server asked. */
  retryAfter(ms) {
    this.#retryMs = ms;
  }

  /** Asks for a sign of life, where there is reason to doubt: the network changed. */
  probe() {
    if (this.#stopped) return;
    if (this.#socket === null) this.start();
    else if (this.#isOpen()) this.#ping();
  }

  #connect() {
    this.#env.clearTimeout(this.#retryTimer);
    // Read anew each time: a login in another tab brings another token.
    const offered = [SUBPROTOCOL, ...csrfEntry(this.#env.cookies?.() ?? '')];
    const socket = new this.#env.WebSocket(this.#url, offered);
    this.#socket = socket;
    const current = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = current(() => this.#handler.opened());
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event.code, event.reason));
    this.#awaiting = false;
    this.#await();
  }

  #receive(data) {
    this.#awaiting = false;
    this.#watch(QUIET_MS, () => this.#ping());
    this.#handler.received(JSON.parse(data));
  }

  #closed(code, reason) {
    this.#drop();
    if (code >= 4400 && code < 4500) {
      this.#stopped = true;
      this.#handler.refused(code, reason);
    } else {
      this.#handler.lost();
      this.#pause();
    }
  }

  #pause() {
    if (this.#stopped) return;
    const longest = Math.min(RETRY_FIRST_MS * 2 ** this.#failures, RETRY_MAX_MS);
    const pause = this.#retryMs ?? longest * (0.5 + 0.5 * this.#env.random());
    this.#failures += 1;
    this.#retryMs = null;
    this.#retryTimer = this.#env.setTimeout(() => this.#connect(), pause);
  }

  /** Waits for any message; asking more in the meantime does not prolong it. */
  #await() {
    if (this.#awaiting) return;
    this.#awaiting = true;
    this.#watch(ANSWER_MS, () => this.restart());
  }

  #watch(ms, expired) {
    this.#env.clearTimeout(this.#watchTimer);
    this.#watchTimer = this.#env.setTimeout(expired, ms);
  }

  #isOpen() {
    return this.#socket.readyState === 1;
  }

  #ping() {
    this.send({ t: 'ping', n: (this.#pings += 1) });
  }

  /** Lets go of the socket; what it still says is not heard. */
  #drop(code) {
    this.#env.clearTimeout(this.#retryTimer);
    this.#env.clearTimeout(this.#watchTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null && code !== undefined) socket.close(code);
  }
}
