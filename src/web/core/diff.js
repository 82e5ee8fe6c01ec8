/**
 * The operation between two texts: by lines first, then by characters within what changed.
 * Bounded: where two stretches have too little in common, one replaces the other.
 */

import { Builder, count } from './operation.js';

const EDITS_MAX = 300;

/** Returns an operation that makes `after` of `before`. */
export function diff(before, after) {
  const built = new Builder();
  between(lines(before), lines(after), {
    keep: (kept) => built.retain(count(kept.join(''))),
    change: (gone, come) => between([...gone.join('')], [...come.join('')], {
      keep: (kept) => built.retain(kept.length),
      change: (removed, added) => built.insert(added.join('')).delete(removed.length),
    }),
  });
  return built.done();
}

function lines(text) {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** Walks from list `a` to list `b` and reports what is kept and what changes, in order. */
function between(a, b, report) {
  let [start, endA, endB] = [0, a.length, b.length];
  while (start < endA && start < endB && a[start] === b[start]) start += 1;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA -= 1;
    endB -= 1;
  }
  let [atA, atB] = [start, start];
  const change = (toA, toB) => {
    if (toA > atA || toB > atB) report.change(a.slice(atA, toA), b.slice(atB, toB));
  };
  report.keep(a.slice(0, start));
  for (const [x, y, length] of snakes(a.slice(start, endA), b.slice(start, endB))) {
    change(start + x, start + y);
    report.keep(a.slice(start + x, start + x + length));
    [atA, atB] = [start + x + length, start + y + length];
  }
  change(endA, endB);
  report.keep(a.slice(endA));
}

/**
 * Returns the common stretches `[in a, in b, length]` of a shortest edit (Myers' algorithm), or
 * none where it would take more than `EDITS_MAX` edits.
 */
function snakes(a, b) {
  if (a.length === 0 || b.length === 0) return [];
  const furthest = new Map([[1, 0]]);
  const trace = [];
  for (let edits = 0; edits <= EDITS_MAX; edits += 1) {
    trace.push(new Map(furthest));
    for (let k = -edits; k <= edits; k += 2) {
      let x = down(furthest, k, edits) ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return backtrack(trace, a.length, b.length);
    }
  }
  return [];
}

function down(furthest, k, edits) {
  return k === -edits || (k !== edits && furthest.get(k - 1) < furthest.get(k + 1));
}

function backtrack(trace, x, y) {
  const found = [];
  for (let edits = trace.length - 1; edits >= 0; edits -= 1) {
    const furthest = trace[edits];
    const k = x - y;
    const from = down(furthest, k, edits) ? k + 1 : k - 1;
    const before = furthest.get(from);
    const start = from > k ? before : before + 1;
    if (x > start) found.unshift([start, start - k, x - start]);
    [x, y] = [before, before - from];
  }
  return found;
}
