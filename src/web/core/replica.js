/**
 * One client's copy of a document: PROTOCOL.md section 5 as a state machine. Messages and edits
 * go in; what to show and what to send come out. No socket, no clock, no editor.
 *
 * What the user sees is always `buffer(flight(confirmed))`.
 *
 * @typedef {import('./operation.js').Operation} Operation
 * @typedef {{op: Operation, before: Text, author: string | undefined}} Show a change to display
 * @typedef {{show: Show[], send: object | null}} Effects
 */

import { carry } from './carry.js';
import { compose } from './compose.js';
import { diff } from './diff.js';
import * as ops from './operation.js';
import { position } from './position.js';
import { Text } from './text.js';
import { LEFT, RIGHT, transform } from './transform.js';

/** How many revisions are kept to place the carets of others, who may be behind. */
const RECENT_MAX = 256;
/** A character takes six bytes at most in JSON, a component without text twenty. */
const [CHAR_BYTES, PART_BYTES] = [6, 20];

/** The stream is not what the protocol promises; a new connection makes it right. */
export class StreamError extends Error {}

export class Replica {
  /** @type {number | null} */
  rev = null;
  confirmed = new Text();
  view = this.confirmed;
  /** @type {{seq: number, op: Operation, stick: number} | null} */
  flight = null;
  /** @type {Operation} */
  buffer = [];
  /** @type {ops.Run | null} */
  run = null;
  seq = 0;
  writable = false;
  limits = { op_bytes: Infinity, doc_chars: Infinity };
  #welcomed = false;
  #recent = [];

  /** Counts the characters that are inserted or deleted here and not durable yet. */
  get unsaved() {
    return ops.changed(this.buffer) + (this.flight === null ? 0 : ops.changed(this.flight.op));
  }

  /** Takes an edit of the user; returns the message to send, if any. */
  edit(op) {
    this.view = this.view.apply(op);
    this.buffer = compose(this.buffer, op);
    return this.#flush();
  }

  /** Notes that the connection is gone: nothing is sent before the next welcome. */
  disconnect() {
    this.#welcomed = false;
  }

  /** Returns the batch in flight once more, for this revision. */
  resend() {
    return this.flight === null || !this.#welcomed ? null : this.#send();
  }

  /**
   * Takes a message of the server.
   * @returns {Effects}
   * @throws {StreamError} where the revisions are not contiguous
   */
  receive(message) {
    switch (message.t) {
      case 'welcome': return this.#welcome(message);
      case 'op': return shown(this.#next(message.rev), () => this.#remote(message));
      case 'ops': return shown(this.#next(message.rev), () => this.#remotes(message.list));
      case 'merged': return shown(message.rev > this.rev, () => this.#merged(message));
      case 'ack': return this.#ack(message);
      default: return { show: [], send: null };
    }
  }

  /** Maps a place at a revision to the place in what the user sees. */
  locate(at, rev) {
    let place = at;
    for (const past of this.#recent) if (past.rev > rev) place = position(place, past.op);
    if (this.flight !== null) place = position(place, this.flight.op);
    return Math.min(position(place, this.buffer), this.view.chars);
  }

  #next(rev) {
    return rev === this.rev + 1;
  }

  #flush() {
    if (!this.#welcomed || !this.writable || this.flight || !this.buffer.length) return null;
    const [op, rest] = split(this.buffer, this.limits.op_bytes);
    this.flight = { seq: (this.seq += 1), op, stick: 0 };
    this.buffer = rest;
    return this.#send();
  }

  #send() {
    this.flight.stick = ops.stick(this.flight.op, this.run);
    return { t: 'op', seq: this.flight.seq, base: this.rev, op: this.flight.op };
  }

  #welcome(message) {
    const show = typeof message.text === 'string'
      ? this.#snapshot(message)
      : this.#missed(message);
    this.#welcomed = true;
    this.writable = message.mode === 'edit';
    this.limits = { ...this.limits, ...message.limits };
    return { show, send: this.writable ? this.resend() ?? this.#flush() : null };
  }

  #missed(message) {
    if (this.rev === null || message.rev !== this.rev) throw new StreamError('unasked revisions');
    return message.ops.flatMap((revision) => {
      const own = this.flight !== null && revision.own === this.flight.seq;
      return own ? this.#settle(ops.read(revision.op)) : this.#remote(revision);
    });
  }

  #snapshot(message) {
    const first = this.rev === null;
    if (!first && this.flight !== null && message.seq >= this.flight.seq) {
      this.confirmed = this.confirmed.apply(this.flight.op);
      this.flight = null;
    }
    const op = first ? ops.read(message.text === '' ? [] : [message.text])
      : diff(this.confirmed.toString(), message.text);
    const show = this.#apply(op, Infinity);
    // The revisions in between are not known here, so neither is where an own run ends.
    this.run = null;
    this.rev = message.rev;
    this.#recent = [];
    return show;
  }

  #remotes(list) {
    return list.flatMap((revision) => this.#remote(revision));
  }

  #remote(revision) {
    return this.#revision(ops.read(revision.op), revision.base, revision.a);
  }

  #merged(message) {
    const show = this.#apply(ops.read(message.op), Infinity);
    this.#advance(message.rev, ops.read(message.op));
    return show;
  }

  #revision(op, base, author) {
    const show = this.#apply(op, base, author);
    this.#advance(this.rev + 1, op);
    return show;
  }

  #advance(rev, op) {
    this.rev = rev;
    if (this.run !== null) this.run = { made: this.run.made, at: position(this.run.at, op) };
    if (this.#recent.push({ rev, op }) > RECENT_MAX) this.#recent.shift();
  }

  /** Applies what someone else did below the batch in flight and the buffer. */
  #apply(op, base, author) {
    const { flight, buffer, view } = this;
    const flightFirst = flight !== null && flight.stick > 0 && base < flight.stick;
    // The author cannot have seen a run that is still in flight.
    const bufferFirst = flight !== null && ops.firstInsert(buffer) >= 0
      && ops.firstInsert(buffer) === ops.lastInsertEnd(flight.op);
    let seen = op;
    if (flight !== null) [seen, flight.op] = cross(seen, flight.op, flightFirst);
    [seen, this.buffer] = cross(seen, buffer, bufferFirst);
    this.confirmed = this.confirmed.apply(op);
    this.view = view.apply(seen);
    return [{ op: seen, before: view, author }];
  }

  #ack(message) {
    if (this.flight === null || message.seq !== this.flight.seq) return { show: [], send: null };
    const accepted = message.op == null ? this.flight.op : ops.read(message.op);
    const { show } = shown(this.#next(message.rev), () => this.#settle(accepted));
    return { show, send: this.#flush() };
  }

  /** Moves the batch in flight into the confirmed text, as it was accepted. */
  #settle(accepted) {
    const predicted = this.flight.op;
    const before = this.view;
    this.flight = null;
    let show = [];
    if (!ops.equal(accepted, predicted)) {
      this.buffer = carry(this.buffer, predicted, accepted, this.confirmed.chars);
      this.view = this.confirmed.apply(accepted).apply(this.buffer);
      const op = diff(before.toString(), this.view.toString());
      show = [{ op, before, author: undefined }];
    }
    this.confirmed = this.buffer.length === 0 ? this.view : this.confirmed.apply(accepted);
    this.#advance(this.rev + 1, accepted);
    const end = ops.lastInsertEnd(accepted);
    if (end >= 0) this.run = { made: this.rev, at: end };
    return show;
  }
}

function shown(contiguous, show) {
  if (!contiguous) throw new StreamError('a revision is missing');
  return { show: show(), send: null };
}

/** Lets two operations on one text pass each other. */
function cross(theirs, mine, mineFirst) {
  return [
    transform(theirs, mine, mineFirst ? RIGHT : LEFT),
    transform(mine, theirs, mineFirst ? LEFT : RIGHT),
  ];
}

/** Splits an operation into a part that fits into `bytes` and the rest, to apply after it. */
function split(op, bytes) {
  const [head, rest, cursor] = [new ops.Builder(), new ops.Builder(), new ops.Cursor(op)];
  let [budget, place] = [bytes, 0];
  for (; !cursor.ended && budget > PART_BYTES + CHAR_BYTES; budget -= PART_BYTES) {
    const fits = Math.floor((budget - PART_BYTES) / CHAR_BYTES);
    const n = cursor.kind === 'insert' ? Math.min(cursor.left, fits) : cursor.left;
    if (cursor.kind === 'insert') {
      head.insert(cursor.text(n));
      budget -= n * CHAR_BYTES;
    } else head.push(cursor.kind === 'retain' ? n : { d: n });
    if (cursor.kind !== 'delete') place += n;
    cursor.skip(n);
  }
  rest.retain(place);
  for (; !cursor.ended; cursor.skip()) {
    if (cursor.kind === 'insert') rest.insert(cursor.text());
    else rest.push(cursor.kind === 'retain' ? cursor.left : { d: cursor.left });
  }
  return [head.done(), rest.done()];
}
