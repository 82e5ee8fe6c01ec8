/**
 * A server of one document, written from PROTOCOL.md for tests: sections 2 to 6 in their most
 * literal form, in memory, with a delay between the order of a batch and its durability.
 */

import { firstInsert, lastInsertEnd, read } from '../../../src/web/core/operation.js';
import { position } from '../../../src/web/core/position.js';
import { Text } from '../../../src/web/core/text.js';
import { LEFT, RIGHT, transform } from '../../../src/web/core/transform.js';

const LIMITS = { op_bytes: 65_536, doc_chars: 10_000_000, ops_per_second: 1000 };

export class Server {
  /** What is durable. */
  text = new Text();
  head = 0;
  /** How often an `ack` had to tell the operation. */
  corrections = 0;
  #revisions = [];
  #sessions = new Map();
  #peers = new Set();
  #commit;
  #window;
  #ids = 0;

  /** `commit` is given what makes a revision durable, and calls it when it likes. */
  constructor({ commit = (act) => act(), window = Infinity } = {}) {
    this.#commit = commit;
    this.#window = window;
  }

  /** Takes a connection; `peer` has `send(message)` and `close(code)`. */
  connect(peer) {
    const connection = { peer, session: null, id: null, user: undefined, mode: 'edit' };
    return {
      receive: (message) => this.#receive(connection, message),
      gone: () => this.#gone(connection),
    };
  }

  #receive(connection, message) {
    if (message.t === 'hello') this.#hello(connection, message);
    else if (message.t === 'ping') connection.peer.send({ t: 'pong', n: message.n });
    else if (message.t === 'cursor') this.#cursor(connection, message);
    else if (message.t === 'op') this.#batch(connection, message);
    else throw new Error(`unknown message ${message.t}`);
  }

  #hello(connection, { session: id, rev, user, mode = 'edit' }) {
    const session = this.#sessions.get(id) ?? { id, batches: [], durable: 0, forgotten: 0 };
    this.#sessions.set(id, session);
    const older = session.connection;
    if (older) {
      this.#gone(older);
      older.peer.close(4410);
    }
    Object.assign(connection, { session, id: (this.#ids += 1), user, mode });
    session.connection = connection;
    const welcome = { t: 'welcome', v: 1, head: this.head, seq: session.durable, mode,
      you: connection.id, limits: LIMITS };
    if (rev !== undefined && rev <= this.head && rev >= this.head - this.#window) {
      const missed = this.#revisions.slice(rev, this.head);
      const ops = missed.map(({ author, base, op, owner, seq }) => (
        { a: author, base, op, ...(owner === session ? { own: seq } : {}) }));
      connection.peer.send({ ...welcome, rev, ops });
    } else {
      // Whoever was given a text cannot know where a run of an earlier revision ends.
      session.forgotten = this.head;
      connection.peer.send({ ...welcome, rev: this.head, text: this.text.toString() });
    }
    this.#peers.add(connection);
    this.#presence(connection, { user });
    const list = [...this.#peers].map((other) => (
      { id: other.id, user: other.user, sel: this.#placed(other) }));
    connection.peer.send({ t: 'presence', rev: this.head, n: this.#peers.size, list });
  }

  #gone(connection) {
    if (!this.#peers.delete(connection)) return;
    if (connection.session.connection === connection) connection.session.connection = null;
    this.#presence(connection, { gone: true });
  }

  #cursor(connection, { rev, sel }) {
    connection.placed = sel === null ? null : { rev, sel };
    this.#presence(connection, { sel: this.#placed(connection) });
  }

  /** Returns where a caret is at the head, undefined where there is none. */
  #placed({ placed }) {
    if (!placed) return undefined;
    const seen = this.#revisions.slice(placed.rev, this.head);
    return placed.sel.map((at) => seen.reduce((place, { op }) => position(place, op), at));
  }

  #presence(connection, change) {
    const list = [{ id: connection.id, ...change }];
    for (const other of this.#peers) {
      if (other === connection) continue;
      other.peer.send({ t: 'presence', rev: this.head, n: this.#peers.size, list });
    }
  }

  #batch(connection, { seq, base, op }) {
    const { session } = connection;
    if (seq <= session.durable) {
      connection.peer.send({ t: 'ack', seq, rev: session.batches[seq - 1].rev });
      return;
    }
    if (seq <= session.batches.length) return;
    if (seq > session.batches.length + 1) {
      const msg = `batch ${session.batches.length + 1} is missing`;
      connection.peer.send({ t: 'error', code: 'gap', fatal: true, msg, seq });
      connection.peer.close(4409);
      return;
    }
    const accepted = this.#rebase(session, base, read(op));
    const revision = { rev: this.#revisions.length + 1, author: connection.id, base, op: accepted,
      owner: session, seq, sender: connection };
    this.#revisions.push(revision);
    session.batches.push(revision);
    this.#commit(() => this.#durable(revision));
  }

  #rebase(session, base, op) {
    const run = this.#runOf(session, base);
    const stick = run !== null && firstInsert(op) === run.at ? run.made : 0;
    return this.#revisions.slice(base).reduce((mine, revision) => {
      const left = stick > 0 && revision.base < stick;
      return transform(mine, revision.op, left ? LEFT : RIGHT);
    }, op);
  }

  #runOf(session, base) {
    const inserts = ({ rev, op }) => rev <= base && rev > session.forgotten && firstInsert(op) >= 0;
    const last = session.batches.findLast(inserts);
    if (last === undefined) return null;
    const later = this.#revisions.slice(last.rev, base);
    const at = later.reduce((place, { op }) => position(place, op), lastInsertEnd(last.op));
    return { made: last.rev, at };
  }

  #durable(revision) {
    const { rev, author, base, op, owner, seq, sender } = revision;
    if (rev !== this.head + 1) throw new Error('durable out of order');
    this.text = this.text.apply(op);
    this.head = rev;
    owner.durable = seq;
    for (const connection of this.#peers) {
      if (connection.session !== owner) {
        connection.peer.send({ t: 'op', rev, a: author, base, op });
      } else if (sender === connection) connection.peer.send({ t: 'ack', seq, rev });
      else {
        this.corrections += 1;
        connection.peer.send({ t: 'ack', seq, rev, op });
      }
    }
  }
}
