/** A small seeded generator, so that one number replays a run. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** Returns a number from 0 up to 1 (mulberry32). */
  unit() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Returns a whole number from 0 up to `n`. */
  below(n) {
    return Math.floor(this.unit() * n);
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}

const PIECES = ['a', 'b', ' ', '\n', 'é', 'e\u0301', '\r\n', '😀', '👩‍👩‍👧', '𝒳', '中', 'word'];

/** Returns a short text with emoji, combining marks and line ends. */
export function someText(random, pieces = 3) {
  return Array.from({ length: 1 + random.below(pieces) }, () => random.pick(PIECES)).join('');
}

/** Returns a canonical operation on a text of `chars` characters. */
export function someOperation(random, chars, { Builder }) {
  const built = new Builder();
  let left = chars;
  for (let rounds = 1 + random.below(3); rounds > 0; rounds -= 1) {
    const kept = random.below(left + 1);
    built.retain(kept);
    left -= kept;
    if (random.below(2) === 0) built.insert(someText(random));
    const gone = Math.min(random.below(4), left);
    built.delete(gone);
    left -= gone;
  }
  return built.done();
}
