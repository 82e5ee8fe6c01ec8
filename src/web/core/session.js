/**
 * One open document: the replica, its connection, the other participants, and whether what was
 * typed is safe. What an editor or a program talks to.
 *
 * @typedef {'opening' | 'saved' | 'saving' | 'offline' | 'signed-out' | 'stopped'} State
 *   `signed-out` takes edits as `offline` does: a new login and `resume()` send them
 * @typedef {object} Status
 * @property {State} state
 * @property {number} unsaved characters typed or deleted here and not durable yet
 * @property {boolean} writable what the server granted last
 * @property {number} [code] why the session stopped, or was signed out
 * @property {string} [reason] the server's own words
 *
 * @typedef {{id: number | string, name: string, color: string, sel: [number, number] | null}}
 *   Participant places count characters of what the user sees
 *
 * @typedef {object} Listener
 * @property {(show: import('./replica.js').Show) => void} show
 * @property {(status: Status) => void} status
 * @property {(participants: Participant[], total: number) => void} presence
 */

import { Connection } from './connection.js';
import { lastInsertEnd } from './operation.js';
import { position } from './position.js';
import { Replica, StreamError } from './replica.js';

const VERSION = 1;
const CURSOR_MS = 100;
/** Not a close code of the protocol: this copy and the server's disagree, which is a bug. */
export const BROKEN = 4499;
/** Close codes of PROTOCOL.md section 6 that another login may change. */
const [UNAUTHENTICATED, FORBIDDEN, NO_DOCUMENT] = [4401, 4403, 4404];
const DOORS = [UNAUTHENTICATED, FORBIDDEN, NO_DOCUMENT];

const BROWSER = {
  WebSocket: globalThis.WebSocket,
  setTimeout: (act, ms) => globalThis.setTimeout(act, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
  random: () => Math.random(),
  cookies: () => globalThis.document?.cookie ?? '',
};

export class Session {
  replica = new Replica();
  #id = secret();
  #listener;
  #user;
  #mode;
  #env;
  #connection;
  #welcomed = false;
  #stopped = null;
  #fatal = null;
  #last = null;
  #you = null;
  #others = new Map();
  #total = 1;
  #sel = null;
  #told = null;
  #cursorTimer = null;
  #resendTimer = null;

  /**
   * @param {string} url of the document's WebSocket
   * @param {Listener} listener
   * @param {{user?: {name: string, color: string}, mode?: 'edit' | 'view'}} options
   */
  constructor(url, listener, { user, mode = 'edit', env = BROWSER } = {}) {
    this.#listener = listener;
    this.#user = user;
    this.#mode = mode;
    this.#env = env;
    this.#connection = new Connection(url, {
      opened: () => this.#hello(),
      received: (message) => this.#receive(message),
      lost: () => this.#lost(),
      refused: (code, reason) => this.#refused(code, reason),
    }, env);
  }

  /** Opens the document, or tries again after a stop. */
  start() {
    this.#stopped = null;
    this.#connection.start();
    this.#report();
  }

  /**
   * Connects again with the login that there is now, and sends what was typed meanwhile. Where the
   * session stopped for a reason that a login does not change, it stays stopped.
   */
  resume() {
    if (this.#stopped === null) this.#connection.restart({ now: true });
    else if (DOORS.includes(this.#stopped.code)) this.start();
  }

  /** Lets go of the connection because the login has ended: as where the server says so. */
  signOut(reason) {
    if (this.#stopped !== null) return;
    this.#connection.stop();
    this.#refused(UNAUTHENTICATED, reason);
  }

  /** Leaves. What is not durable yet is lost. */
  stop() {
    this.#connection.stop();
    this.#lost();
  }

  /** Looks whether the connection still lives; for when the network or the page comes back. */
  probe() {
    this.#connection.probe();
  }

  /** Changes who the others see. */
  rename(user) {
    this.#user = user;
    if (this.#stopped === null) this.#connection.restart({ now: true });
  }

  /** Takes an edit of the user, in characters of what the user sees. */
  edit(op) {
    const message = this.replica.edit(op);
    this.#carry(op);
    this.#send(message);
    this.#report();
  }

  /** Takes the user's selection `[anchor, head]`, or null where there is none. */
  select(sel) {
    this.#sel = sel;
    this.#tellCursor();
  }

  get status() {
    const { unsaved, writable, rev } = this.replica;
    const status = { unsaved, writable: writable && rev !== null };
    if (this.#stopped !== null) {
      const state = this.#stopped.code === UNAUTHENTICATED ? 'signed-out' : 'stopped';
      return { state, ...status, ...this.#stopped };
    }
    if (rev === null) return { state: 'opening', ...status };
    if (!this.#welcomed) return { state: 'offline', ...status };
    return { state: unsaved === 0 ? 'saved' : 'saving', ...status };
  }

  #hello() {
    const hello = { t: 'hello', v: VERSION, session: this.#id, mode: this.#mode };
    if (this.replica.rev !== null) hello.rev = this.replica.rev;
    if (this.#user !== undefined) hello.user = this.#user;
    this.#connection.send(hello);
  }

  #receive(message) {
    try {
      if (message.t === 'welcome') this.#welcome(message);
      else if (message.t === 'presence') this.#presence(message);
      else if (message.t === 'error') this.#error(message);
      else if (message.t === 'moved') this.#connection.retryAfter(message.retry_ms);
      else this.#take(this.replica.receive(message));
    } catch (error) {
      if (error instanceof StreamError) this.#connection.restart();
      else this.#broken(error);
    }
    this.#report();
  }

  #welcome(message) {
    const effects = this.replica.receive(message);
    this.#welcomed = true;
    this.#you = message.you;
    this.#told = null;
    this.#others.clear();
    this.#connection.settled();
    this.#take(effects);
  }

  #take({ show, send }) {
    let followed = false;
    for (const change of show) {
      this.#listener.show(change);
      this.#carry(change.op);
      followed = this.#follow(change) || followed;
    }
    if (followed) this.#tellPresence();
    this.#send(send);
    if (show.length > 0) this.#report();
    this.#tellCursor();
  }

  #send(message) {
    if (message !== null) this.#connection.send(message);
  }

  /** Moves the author's caret behind what came from there, ahead of the next presence. */
  #follow({ op, author }) {
    const end = lastInsertEnd(op);
    const other = this.#others.get(author);
    if (other === undefined || end < 0) return false;
    other.sel = [end, end];
    return true;
  }

  /** Keeps everyone's place while the text changes; the editor does the same to what it shows. */
  #carry(op) {
    for (const other of this.#others.values()) {
      if (other.sel !== null) other.sel = other.sel.map((at) => position(at, op));
    }
  }

  #tellPresence() {
    this.#listener.presence([...this.#others.values()], this.#total);
  }

  #presence({ rev, n, list }) {
    for (const { id, user, sel, gone } of list) {
      if (id === this.#you) continue;
      if (gone) {
        this.#others.delete(id);
        continue;
      }
      const other = this.#others.get(id) ?? { id, name: '', color: '', sel: null };
      if (user) Object.assign(other, { name: String(user.name), color: String(user.color) });
      other.sel = sel ? sel.map((at) => this.replica.locate(at, rev)) : null;
      this.#others.set(id, other);
    }
    this.#total = Math.max(n, this.#others.size + 1);
    this.#tellPresence();
  }

  #error(message) {
    if (message.fatal) {
      this.#fatal = message.msg;
      if (message.retry_ms != null) this.#connection.retryAfter(message.retry_ms);
      return;
    }
    if (message.code !== 'rate') return;
    this.#env.clearTimeout(this.#resendTimer);
    const again = () => this.#send(this.replica.resend());
    this.#resendTimer = this.#env.setTimeout(again, message.retry_ms);
  }

  #lost() {
    this.#welcomed = false;
    this.#fatal = null;
    this.#clearTimers();
    this.replica.disconnect();
    this.#report();
  }

  #refused(code, reason) {
    this.#stopped = { code, reason: this.#fatal ?? reason };
    this.#others.clear();
    this.#total = 1;
    this.#tellPresence();
    this.#lost();
  }

  #broken(error) {
    this.#connection.stop();
    this.#refused(BROKEN, error.message);
  }

  #clearTimers() {
    this.#env.clearTimeout(this.#cursorTimer);
    this.#env.clearTimeout(this.#resendTimer);
    this.#cursorTimer = null;
  }

  /** Sends the selection, not too often, and only while it means the same to everyone. */
  #tellCursor() {
    if (this.#cursorTimer !== null || this.#current()) return;
    this.#told = JSON.stringify(this.#sel);
    const cursor = { t: 'cursor', rev: this.replica.rev, sel: this.#sel };
    this.#connection.send(cursor, { answered: false });
    this.#cursorTimer = this.#env.setTimeout(() => {
      this.#cursorTimer = null;
      this.#tellCursor();
    }, CURSOR_MS);
  }

  #current() {
    const { flight, buffer } = this.replica;
    if (!this.#welcomed || flight !== null || buffer.length > 0) return true;
    return this.#told === JSON.stringify(this.#sel);
  }

  #report() {
    const status = this.status;
    const key = JSON.stringify(status);
    if (key === this.#last) return;
    this.#last = key;
    this.#listener.status(status);
  }
}

function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
