/**
 * Operations on text: reading them from the wire, building them in canonical form, and the
 * questions the run rule asks of them. Every length counts Unicode scalar values. Not here:
 * how two operations meet (transform.js, compose.js) and the text itself (text.js).
 *
 * @typedef {number | string | {d: number}} Component retain, insert, delete
 * @typedef {Component[]} Operation applied from the start; what follows is retained
 * @typedef {{made: number, at: number}} Run the revision that made it, and where it ends now
 */

const SURROGATE = /[\ud800-\udfff]/;

/** Counts the scalar values of a well-formed string. */
export function count(text) {
  if (!SURROGATE.test(text)) return text.length;
  let chars = 0;
  for (let unit = 0; unit < text.length; unit += width(text, unit)) chars += 1;
  return chars;
}

/** Returns how many UTF-16 units precede scalar value `chars` when counting from `start`. */
export function unitsOf(text, chars, start = 0) {
  let unit = start;
  for (; chars > 0; chars -= 1) unit += width(text, unit);
  return unit;
}

/** Returns the scalar values `from .. to` of a string. */
export function cut(text, from, to) {
  if (!SURROGATE.test(text)) return text.slice(from, to);
  const start = unitsOf(text, from);
  return text.slice(start, unitsOf(text, to - from, start));
}

function width(text, unit) {
  const code = text.charCodeAt(unit);
  return code >= 0xd800 && code < 0xdc00 ? 2 : 1;
}

/** Builds an operation in canonical form, whatever order its parts come in. */
export class Builder {
  /** @type {Operation} */
  #parts = [];

  retain(n) {
    if (n > 0) this.#join('number', n, (last) => last + n);
    return this;
  }

  insert(text) {
    if (text === '') return this;
    const parts = this.#parts;
    const at = typeof parts.at(-1) === 'object' ? parts.length - 1 : parts.length;
    if (typeof parts[at - 1] === 'string') parts[at - 1] += text;
    else parts.splice(at, 0, text);
    return this;
  }

  delete(n) {
    if (n > 0) this.#join('object', { d: n }, (last) => ({ d: last.d + n }));
    return this;
  }

  /** Adds a component as it stands. */
  push(part) {
    if (typeof part === 'number') return this.retain(part);
    return typeof part === 'string' ? this.insert(part) : this.delete(part.d);
  }

  /** Returns the operation; the builder is used up. */
  done() {
    if (typeof this.#parts.at(-1) === 'number') this.#parts.pop();
    return this.#parts;
  }

  #join(kind, part, joined) {
    const last = this.#parts.length - 1;
    if (typeof this.#parts[last] === kind) this.#parts[last] = joined(this.#parts[last]);
    else this.#parts.push(part);
  }
}

/** Walks an operation in pieces; past its end it retains without limit. */
export class Cursor {
  #op;
  #next = 0;

  constructor(op) {
    this.#op = op;
    this.#load();
  }

  get ended() {
    return this.kind === 'end';
  }

  /** Returns the text of the next `n` inserted characters, or of all that are left. */
  text(n = this.left) {
    return cut(this.#part, this.#used, this.#used + n);
  }

  /** Moves on by `n` characters, which must not be more than are left. */
  skip(n = this.left) {
    this.left -= n;
    this.#used += n;
    if (this.left === 0) this.#load();
  }

  #part;
  #used = 0;

  #load() {
    const part = this.#op[this.#next++];
    this.#part = part;
    this.#used = 0;
    if (part === undefined) [this.kind, this.left] = ['end', Infinity];
    else if (typeof part === 'number') [this.kind, this.left] = ['retain', part];
    else if (typeof part === 'string') [this.kind, this.left] = ['insert', count(part)];
    else [this.kind, this.left] = ['delete', part.d];
  }
}

/**
 * Reads an operation that came from outside, in any valid form.
 * @throws {TypeError} where it is not an operation
 */
export function read(value) {
  if (!Array.isArray(value)) throw new TypeError('an operation is a list');
  const built = new Builder();
  for (const part of value) {
    if (!valid(part)) throw new TypeError(`not a component: ${JSON.stringify(part)}`);
    built.push(part);
  }
  return built.done();
}

function valid(part) {
  if (typeof part === 'string') return part !== '' && part.isWellFormed();
  if (typeof part === 'number') return positive(part);
  return typeof part === 'object' && part !== null && positive(part.d)
    && Object.keys(part).length === 1;
}

function positive(n) {
  return Number.isSafeInteger(n) && n > 0;
}

/** Tells whether two canonical operations are the same. */
export function equal(a, b) {
  return a.length === b.length && a.every((part, i) => part === b[i]
    || (typeof part === 'object' && part.d === b[i].d));
}

/** Returns where the first insert goes, in the text before the operation; -1 without one. */
export function firstInsert(op) {
  let at = 0;
  for (const part of op) {
    if (typeof part === 'string') return at;
    at += typeof part === 'number' ? part : part.d;
  }
  return -1;
}

/** Returns the place after the last insert, in the text after the operation; -1 without one. */
export function lastInsertEnd(op) {
  let [at, end] = [0, -1];
  for (const part of op) {
    if (typeof part === 'number') at += part;
    else if (typeof part === 'string') end = at += count(part);
  }
  return end;
}

/** Returns the revision of the run that an operation continues, 0 if it continues none. */
export function stick(op, /** @type {Run | null} */ run) {
  return run !== null && firstInsert(op) === run.at ? run.made : 0;
}

/** Counts the characters that an operation inserts and deletes. */
export function changed(op) {
  return op.reduce((sum, part) => {
    if (typeof part === 'number') return sum;
    return sum + (typeof part === 'string' ? count(part) : part.d);
  }, 0);
}
