/**
 * Transformation: rewriting an operation to apply after another one of the same text.
 */

import { Builder, Cursor } from './operation.js';

export const LEFT = 'left';
export const RIGHT = 'right';

/**
 * Rewrites `x` to apply after `y`; where both insert at one place, `side` tells where the
 * insert of `x` goes.
 */
export function transform(x, y, side) {
  const [mine, theirs, built] = [new Cursor(x), new Cursor(y), new Builder()];
  while (!mine.ended) {
    if (mine.kind === 'insert' && (side === LEFT || theirs.kind !== 'insert')) {
      built.insert(mine.text());
      mine.skip();
    } else if (theirs.kind === 'insert') {
      built.retain(theirs.left);
      theirs.skip();
    } else {
      const n = Math.min(mine.left, theirs.left);
      if (theirs.kind !== 'delete') {
        if (mine.kind === 'delete') built.delete(n);
        else built.retain(n);
      }
      mine.skip(n);
      theirs.skip(n);
    }
  }
  return built.done();
}
