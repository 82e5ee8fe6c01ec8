/**
 * A text that never changes: operations make a new one that shares what they left alone. It
 * converts between scalar values, which the protocol counts, and UTF-16 units, which editors
 * count; the price is the number of chunks and one chunk, and nothing where the two agree.
 */

import { count, cut, unitsOf } from './operation.js';

const CHUNK_UNITS = 2048;

/** @typedef {{text: string, chars: number}} Chunk */

export class Text {
  /** @type {Chunk[]} */
  #chunks;

  constructor(chunks = []) {
    this.#chunks = chunks;
    this.chars = chunks.reduce((sum, chunk) => sum + chunk.chars, 0);
    this.units = chunks.reduce((sum, chunk) => sum + chunk.text.length, 0);
  }

  static of(string) {
    const pieces = new Pieces();
    pieces.add(string);
    return new Text(pieces.chunks);
  }

  toString() {
    return this.#chunks.map((chunk) => chunk.text).join('');
  }

  /**
   * Returns the text after an operation.
   * @throws {RangeError} where it reaches past the end
   */
  apply(op) {
    const [reader, pieces] = [new Reader(this.#chunks), new Pieces()];
    for (const part of op) {
      if (typeof part === 'string') pieces.add(part);
      else if (typeof part === 'number') reader.take(part, (chunk) => pieces.push(chunk));
      else reader.take(part.d, () => {});
    }
    reader.rest((chunk) => pieces.push(chunk));
    return new Text(pieces.chunks);
  }

  /** Converts a place in scalar values to UTF-16 units; past the end is the end. */
  unitsAt(chars) {
    if (chars >= this.chars) return this.units;
    if (this.chars === this.units) return chars;
    let units = 0;
    for (const chunk of this.#chunks) {
      if (chars < chunk.chars) return units + within(chunk, chars);
      chars -= chunk.chars;
      units += chunk.text.length;
    }
    return units;
  }

  /** Converts a place in UTF-16 units to scalar values; inside a pair means before it. */
  charsAt(units) {
    if (units >= this.units) return this.chars;
    if (this.chars === this.units) return units;
    let chars = 0;
    for (const chunk of this.#chunks) {
      if (units < chunk.text.length) return chars + charsBefore(chunk, units);
      units -= chunk.text.length;
      chars += chunk.chars;
    }
    return chars;
  }
}

function within(chunk, chars) {
  return plain(chunk) ? chars : unitsOf(chunk.text, chars);
}

function charsBefore(chunk, units) {
  if (plain(chunk)) return units;
  return count(chunk.text.slice(0, splitsPair(chunk.text, units) ? units - 1 : units));
}

function plain(chunk) {
  return chunk.chars === chunk.text.length;
}

function splitsPair(text, unit) {
  const code = text.charCodeAt(unit);
  return code >= 0xdc00 && code < 0xe000;
}

/** Reads chunks from the start, whole where it can. */
class Reader {
  #chunks;
  #index = 0;
  #used = 0;

  constructor(chunks) {
    this.#chunks = chunks;
  }

  take(n, use) {
    while (n > 0) {
      const chunk = this.#chunks[this.#index];
      if (chunk === undefined) throw new RangeError('the operation reaches past the end');
      const taken = Math.min(n, chunk.chars - this.#used);
      use(slice(chunk, this.#used, this.#used + taken));
      n -= taken;
      this.#used += taken;
      if (this.#used === chunk.chars) [this.#index, this.#used] = [this.#index + 1, 0];
    }
  }

  rest(use) {
    for (; this.#index < this.#chunks.length; this.#index += 1, this.#used = 0) {
      const chunk = this.#chunks[this.#index];
      use(slice(chunk, this.#used, chunk.chars));
    }
  }
}

function slice(chunk, from, to) {
  if (from === 0 && to === chunk.chars) return chunk;
  const text = plain(chunk) ? chunk.text.slice(from, to) : cut(chunk.text, from, to);
  return { text, chars: to - from };
}

/** Collects chunks; neighbours that fit into one become one. */
class Pieces {
  /** @type {Chunk[]} */
  chunks = [];

  push(chunk) {
    const last = this.chunks.length - 1;
    const before = this.chunks[last];
    if (before !== undefined && before.text.length + chunk.text.length <= CHUNK_UNITS) {
      const joined = { text: before.text + chunk.text, chars: before.chars + chunk.chars };
      this.chunks[last] = joined;
    } else this.chunks.push(chunk);
  }

  add(string) {
    for (let from = 0; from < string.length;) {
      let to = Math.min(from + CHUNK_UNITS, string.length);
      if (splitsPair(string, to)) to -= 1;
      const text = string.slice(from, to);
      this.push({ text, chars: count(text) });
      from = to;
    }
  }
}
