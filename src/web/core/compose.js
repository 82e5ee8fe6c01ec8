/**
 * Composition: one operation that does what two do one after the other.
 */

import { Builder, Cursor } from './operation.js';

/** Returns the operation that does `first` and then `second`. */
export function compose(first, second) {
  const [a, b, built] = [new Cursor(first), new Cursor(second), new Builder()];
  while (!(a.ended && b.ended)) {
    if (b.kind === 'insert') {
      built.insert(b.text());
      b.skip();
    } else if (a.kind === 'delete') {
      built.delete(a.left);
      a.skip();
    } else {
      const n = Math.min(a.left, b.left);
      if (a.kind === 'insert') {
        if (b.kind !== 'delete') built.insert(a.text(n));
      } else if (b.kind === 'delete') built.delete(n);
      else built.retain(n);
      a.skip(n);
      b.skip(n);
    }
  }
  return built.done();
}
