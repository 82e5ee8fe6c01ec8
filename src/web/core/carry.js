/**
 * Carrying an operation over by character identity: what was written on top of one result of a
 * batch is rewritten for another result of it, every character staying beside its neighbour.
 */

import { Builder, Cursor } from './operation.js';

/**
 * Rewrites `op`, which applies after `predicted`, to apply after `accepted`, where both are
 * forms of one batch on a text of `chars` characters.
 */
export function carry(op, predicted, accepted, chars) {
  const [old, now] = [identities(predicted, chars), identities(accepted, chars)];
  const place = new Map(now.map((id, at) => [id, at]));
  const [gone, come] = [new Set(), new Map()];
  const cursor = new Cursor(op);
  for (let at = 0; !cursor.ended; cursor.skip()) {
    if (cursor.kind === 'insert') {
      const before = anchor(old, place, at);
      come.set(before, (come.get(before) ?? '') + cursor.text());
      continue;
    }
    const end = at + cursor.left;
    if (cursor.kind === 'delete') for (const id of old.slice(at, end)) gone.add(place.get(id));
    at = end;
  }
  const built = new Builder();
  for (let at = 0; at <= now.length; at += 1) {
    built.insert(come.get(at) ?? '');
    if (gone.has(at)) built.delete(1);
    else built.retain(1);
  }
  return built.done();
}

/** Returns where text goes that stood after the first `at` characters. */
function anchor(old, place, at) {
  while (at > 0 && !place.has(old[at - 1])) at -= 1;
  return at === 0 ? 0 : place.get(old[at - 1]) + 1;
}

/** Names each character after an operation: by its old place, or by its turn among the new. */
function identities(op, chars) {
  const [ids, cursor] = [[], new Cursor(op)];
  for (let [at, made] = [0, 0]; !cursor.ended || at < chars;) {
    if (cursor.kind === 'insert') {
      for (let n = cursor.left; n > 0; n -= 1) ids.push(-(made += 1));
      cursor.skip();
      continue;
    }
    const n = Math.min(cursor.left, chars - at);
    if (cursor.kind !== 'delete') for (let i = 0; i < n; i += 1) ids.push(at + i);
    at += n;
    cursor.skip(n);
  }
  return ids;
}
